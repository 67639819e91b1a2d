"""Owns what a row of the table is made of: loads on servers, the goals held against them, and how much is measured."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from measure import Load

CPU = "cpu_us_per_delivery"
RATE = "deliveries_per_s"
MEMORY = "rss_kb_per_conn"
CONNECT = "cpu_us_per_connect"
P99 = "last_client_ms_p99"
BUSY = "server_cpu_percent"
REQUESTS = "requests_per_s"
UP = "bytes_up_per_s"
DOWN = "bytes_down_per_s"

# Those that goals are close to are measured in every round, the others in the first ones.
FAR = ("ws_framed", "picows", "websockets", "starlette", "python_socketio")
#: What fan-out with so many messages in flight is held against.
LIMITS: Mapping[int, str] = {1: "limit", 16: "limit_corked"}


@dataclass(frozen=True, slots=True)
class Plan:
    """One load, put on several servers as many times as stands beside them; the first is what ratios refer to."""

    key: str
    title: str
    load: Load
    servers: Mapping[str, int]

    @property
    def reference(self) -> str:
        return next(iter(self.servers))


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """What is to be reached: a figure of a server, as a ratio to the same figure of another one of ``plan``.

    Without ``other`` the figure itself is bounded; with ``other_plan`` the other one is taken from that plan, and with
    ``to_limit`` the two that are compared are themselves ratios to the reference of their plans.
    """

    text: str
    plan: str
    figure: str
    bound: float
    at: Literal["most", "least"] = "most"
    server: str = "openline"
    other: str = ""
    other_plan: str = ""
    to_limit: bool = False
    against: str = ""  # who the other one is, where its name does not say it


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the table: what ``make bench ROWS=key`` measures."""

    key: str
    title: str
    says: str
    plans: tuple[Plan, ...]
    goals: tuple[Goal, ...] = field(default=())


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is measured: rounds of the close servers and of the far ones, seconds of each, greatest sizes."""

    close: int = 5
    large: int = 3
    far: int = 2
    far_large: int = 1
    seconds: float = 1.2
    most_members: int = 10_000
    rooms: int = 1000
    idle: int = 5000
    socketio: int = 5000


FULL = Effort()
QUICK = Effort(
    close=1, large=1, far=1, far_large=0, seconds=0.4, most_members=3000, rooms=300, idle=1000, socketio=1000
)


def each(close: Iterable[str], rounds: int, far: int = 0) -> dict[str, int]:
    return dict.fromkeys(close, rounds) | (dict.fromkeys(FAR, far) if far else {})


def cost_goal(plan: Plan, server: str, bound: float) -> Goal:
    text = f"fan-out, {plan.title}: CPU per delivery"
    return Goal(text=text, plan=plan.key, figure=CPU, bound=bound, server=server, other=plan.reference)
