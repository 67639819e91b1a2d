"""What a run has shown, for people and for programs."""

from dataclasses import asdict, dataclass
from typing import Any, Final

from openline.cli.bench.plan import Plan
from openline.cli.bench.tally import Latencies

__all__ = ["Report", "ServerFigures"]

_PERCENTILES: Final = (50.0, 90.0, 99.0, 99.9)
#: From here on our own share of a core is part of what was measured.
_BUSY_PERCENT: Final = 80.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerFigures:
    """Of the server's processes, while it was published; memory at the end, and its growth for each connection."""

    pids: tuple[int, ...]
    cpu_percent: float
    cpu_us_per_delivery: float | None
    rss_bytes: int
    rss_bytes_per_connection: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A run; ``seconds`` is how long it was published, ``connect_seconds`` how long opening took."""

    plan: Plan
    connect_seconds: float
    seconds: float
    planned: int
    published: int
    expected: int
    delivered: int
    lost: int
    duplicated: int
    out_of_order: int
    closed: int
    first_close: str | None
    refused: int
    first_refusal: str | None
    latencies: Latencies
    own_cpu_percent: float
    server: ServerFigures | None

    @property
    def is_good(self) -> bool:
        """Whether all that was planned was published, and arrived everywhere, once and in order."""
        wrong = (self.lost, self.duplicated, self.out_of_order, self.closed, self.refused)
        return not any(wrong) and self.published == self.planned

    def as_json(self) -> dict[str, Any]:
        """Plain values; latencies in milliseconds, by percentile, null where nothing came."""
        plan = asdict(self.plan)
        del plan["token"]
        values: dict[str, Any] = {name: getattr(self, name) for name in _COUNTS}
        return {
            "plan": plan,
            **values,
            "deliveries_per_s": self.delivered / self.seconds,
            "connects_per_s": self.plan.connections / self.connect_seconds,
            "latency_ms": dict(self._latencies()),
            "server": asdict(self.server) if self.server else None,
        }

    def _latencies(self) -> list[tuple[str, float | None]]:
        found: list[tuple[str, float | None]] = []
        for percent in _PERCENTILES:
            value = self.latencies.percentile(percent)
            found.append((f"p{percent:g}", None if value is None else value / 1000))
        return [*found, ("max", self.latencies.most / 1000 if self.latencies.count else None)]

    def as_text(self) -> str:
        """A table of two columns."""
        rows = [
            (
                "published",
                f"{_count(self.published)} of {_count(self.planned)} ({_rate(self.published / self.seconds)})",
            ),
            (
                "delivered",
                f"{_count(self.delivered)} of {_count(self.expected)} ({_rate(self.delivered / self.seconds)})",
            ),
            ("lost", _count(self.lost)),
            ("duplicated", _count(self.duplicated)),
            ("out of order", _count(self.out_of_order)),
            ("lines closed", _with_reason(self.closed, self.first_close)),
            ("refused", _with_reason(self.refused, self.first_refusal)),
            ("latency", self._latency_text()),
            ("connecting", f"{_count(self.plan.connections)} in {self.connect_seconds:.2f} s"),
            ("server", self._server_text()),
            ("this client", f"CPU {self.own_cpu_percent:.0f} %"),
        ]
        return "\n".join(f"{name:14}{text}" for name, text in rows)

    def _latency_text(self) -> str:
        found = [f"{name} {value:.2f} ms" for name, value in self._latencies() if value is not None]
        return "  ".join(found) or "nothing has come"

    def _server_text(self) -> str:
        server = self.server
        if server is None:
            return "not measured: its process is not to be seen from here (--pid names it)"
        pids = ", ".join(map(str, server.pids))
        each = f", {server.cpu_us_per_delivery:.1f} µs per delivery" if server.cpu_us_per_delivery is not None else ""
        memory = (
            f"memory {server.rss_bytes / 1e6:.1f} MB, {server.rss_bytes_per_connection / 1024:.1f} KB per connection"
        )
        return f"CPU {server.cpu_percent:.0f} %{each}; {memory} (process {pids})"

    def remarks(self) -> list[str]:
        """What has to be known to read the figures rightly."""
        said: list[str] = []
        if self.own_cpu_percent >= _BUSY_PERCENT:
            said.append(
                "This client was busy itself: latencies are partly its own. Ask for a lower rate or fewer connections, "
                "or run several side by side."
            )
        if self.published < self.planned and self.closed:
            said.append("Not all was published: whose line was closed publishes no more.")
        elif self.published < self.planned:
            said.append("Not all was published in time: the server, or this client, was too slow for the rate.")
        if self.expected and self.lost and not self.closed:
            said.append("Lost means: not there when nothing had come for 3 s.")
        return said


_COUNTS: Final = (
    "connect_seconds",
    "seconds",
    "planned",
    "published",
    "expected",
    "delivered",
    "lost",
    "duplicated",
    "out_of_order",
    "closed",
    "first_close",
    "refused",
    "first_refusal",
    "own_cpu_percent",
)


def _count(number: int) -> str:
    return f"{number:,}".replace(",", " ")


def _rate(per_second: float) -> str:
    return f"{_count(round(per_second))}/s" if per_second >= 100 else f"{per_second:.1f}/s"


def _with_reason(number: int, reason: str | None) -> str:
    return f"{_count(number)} (the first: {reason})" if number and reason else _count(number)
