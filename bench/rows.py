"""Owns the table of what is measured, in the order of the page."""

from collections.abc import Mapping

from machine import MachineError
from measure import Load
from plans import CONNECT, CPU, LIMITS, MEMORY, P99, RATE, Effort, Goal, Plan, Row, cost_goal, each
from rows_http import polls, streams

SIZES = (100, 400, 1500, 5000, 15_000)
CHANNELS = (10, 100, 1000, 10_000)
HOLDERS = 10


def rows(effort: Effort) -> tuple[Row, ...]:
    """Everything that is measured, in the order of the page."""
    return (
        _fan_out(effort),
        streams(effort),
        polls(effort),
        _socket_io(effort),
        _rooms(effort),
        _spread(effort),
        _echo(effort),
        _idle(effort),
        _last(effort),
        _pure(effort),
        _growth(effort),
        _channels(effort),
    )


def rows_named(names: str, effort: Effort) -> tuple[Row, ...]:
    """Those of a list such as ``fanout,echo``, all for ``""``; raises MachineError for a name that there is not."""
    by_key = {row.key: row for row in rows(effort)}
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    unknown = [name for name in wanted if name not in by_key]
    if unknown:
        raise MachineError(f"there is no row {unknown[0]!r}; rows are {', '.join(by_key)}")
    return tuple(row for key, row in by_key.items() if key in wanted or not wanted)


def _fan_out(effort: Effort) -> Row:
    plans, goals = [], []
    for members in (1000, effort.most_members):
        rounds, far = (effort.close, effort.far) if members == 1000 else (effort.large, effort.far_large)
        for window, limit in LIMITS.items():
            key = f"fanout-{members}-{window}"
            title = f"{members:,} members, {window} in flight"
            load = Load(mode="fanout", clients=members, window=window, seconds=effort.seconds)
            close = (limit, f"{limit}_enveloped", "openline", "openline_history", "socketify", "ws", "socketio")
            plans.append(Plan(key, title, load, each(close, rounds, far)))
            for server, history in (("openline", "off"), ("openline_history", "100")):
                text = f"fan-out, {title}, history {history}"
                goals += _one_in_flight(key, server, text) if window == 1 else _many_in_flight(key, server, text)
    says = (
        "One channel; one member publishes messages of 100 B, every member receives each. With 1 in flight nothing "
        "can be joined, so it takes a system call per delivery; with 16 what goes to the same member may be joined."
    )
    return Row("fanout", "Fan-out", says, tuple(plans), tuple(goals))


def _one_in_flight(plan: str, server: str, text: str) -> list[Goal]:
    bounds = {"limit": 1.10, "socketify": 0.85, "ws": 0.45, "socketio": 0.3, "python_socketio": 0.06}
    return [
        Goal(text=f"{text}: CPU per delivery", plan=plan, figure=CPU, bound=bound, server=server, other=other)
        for other, bound in bounds.items()
    ]


def _many_in_flight(plan: str, server: str, text: str) -> list[Goal]:
    cpu = Goal(text=f"{text}: CPU per delivery", plan=plan, figure=CPU, bound=1.15, server=server, other="limit_corked")
    return [cpu] + [
        Goal(text=f"{text}: deliveries/s", plan=plan, figure=RATE, bound=bound, at="least", server=server, other=other)
        for other, bound in {"socketify": 1.0, "ws": 15.0}.items()
    ]


def _socket_io(effort: Effort) -> Row:
    fan_outs = [
        Plan(
            f"socketio-{members}-{window}",
            f"{members:,} Socket.IO clients, {window} in flight",
            Load(mode="fanout", clients=members, window=window, seconds=effort.seconds),
            each((limit, "openline_socketio", "socketio"), rounds) | {"python_socketio": 1},
        )
        for members, rounds in {1000: effort.close, effort.socketio: effort.large}.items()
        for window, limit in LIMITS.items()
    ]
    rooms = Load(mode="channels", clients=1000, channels=100, publishers=10, window=64, seconds=effort.seconds)
    echo = Load(mode="echo", clients=200, seconds=effort.seconds)
    idle = Load(mode="idle", clients=effort.socketio, hold=1.0)
    others = {
        "rooms": ("100 rooms of 10 Socket.IO clients, 64 in flight", rooms),
        "echo": ("200 Socket.IO clients, each with one message on its way", echo),
        "idle": (f"{idle.clients:,} idle Socket.IO clients", idle),
    }
    servers = each(("socketio", "openline_socketio"), effort.far) | {"python_socketio": 1}
    more = [Plan(f"socketio-{key}", title, load, servers) for key, (title, load) in others.items()]
    memory = Goal(
        text="memory per idle Socket.IO client, KB of RSS",
        plan="socketio-idle",
        figure=MEMORY,
        bound=6.0,
        server="openline_socketio",
    )
    goals = (*(cost_goal(plan, "openline_socketio", 1.15) for plan in fan_outs), memory)
    says = (
        "Clients of Socket.IO protocol 5 over WebSocket, as its own servers have them: one emits, and a handler emits "
        "to all, to a room, or back."
    )
    return Row("socketio", "Socket.IO's clients", says, (*fan_outs, *more), goals)


def _rooms(effort: Effort) -> Row:
    load = Load(
        mode="channels",
        clients=10 * effort.rooms,
        channels=effort.rooms,
        publishers=10,
        window=64,
        seconds=effort.seconds,
    )
    title = f"{effort.rooms:,} channels of 10 members, 64 in flight"
    close = ("ws", "openline", "openline_history", "socketify", "limit")
    plan = Plan("rooms", title, load, each(close, effort.large, 1) | {"socketio": 1})
    says = "Every member publishes in turn, and the channels take turns too."
    return Row("rooms", "Many small channels", says, (plan,), _rates(plan, f"{title}: deliveries/s", {"ws": 2.0}))


def _spread(effort: Effort) -> Row:
    load = Load(mode="channels", clients=500, channels=100, each=20, publishers=10, window=64, seconds=effort.seconds)
    title = "500 members, each in 20 of 100 channels, 64 in flight"
    close = ("ws", "openline", "openline_history", "socketify", "limit")
    plan = Plan("spread", title, load, each(close, effort.close, 1) | {"socketio": 1})
    says = "Publications go to one channel after the other, so that neighbours have members in common, but not all."
    return Row("spread", "Members of many channels", says, (plan,), _rates(plan, f"{title}: deliveries/s", {"ws": 1.5}))


def _rates(plan: Plan, text: str, bounds: Mapping[str, float]) -> tuple[Goal, ...]:
    servers = [server for server in ("openline", "openline_history") if server in plan.servers]
    history = {"openline": ", history off", "openline_history": ", history 100"} if len(servers) > 1 else {}
    return tuple(
        Goal(
            text=text.replace(":", f"{history.get(server, '')}:"),
            plan=plan.key,
            figure=RATE,
            bound=bound,
            at="least",
            server=server,
            other=other,
        )
        for server in servers
        for other, bound in bounds.items()
    )


def _echo(effort: Effort) -> Row:
    load = Load(mode="echo", clients=200, seconds=effort.seconds)
    title = "200 connections, each with one message on its way"
    plan = Plan("echo", title, load, each(("ws", "openline", "socketify", "limit"), effort.close, 1) | {"socketio": 1})
    says = (
        "Each connection sends 100 B and sends again when they have come back; in Openline through a `def` handler "
        "whose return value is the reply, in the others through whatever they hand messages to."
    )
    goals = _rates(plan, "echo through a `def` handler, 200 connections: messages/s", {"ws": 1.5, "socketify": 1.0})
    return Row("echo", "Echo", says, (plan,), goals)


def _idle(effort: Effort) -> Row:
    load = Load(mode="idle", clients=effort.idle, hold=1.0)
    title = f"{effort.idle:,} idle connections"
    plan = Plan("idle", title, load, each(("ws", "openline", "socketify", "limit"), effort.close, 1) | {"socketio": 1})
    says = (
        "Openline's connections do what its pages do: they upgrade, send one message with `$connect` and a "
        "subscription to one channel without presence, and wait for both replies; Socket.IO's join the default "
        "namespace; all others only upgrade."
    )
    goals = (
        Goal(text="memory per idle connection, KB of RSS", plan="idle", figure=MEMORY, bound=4.0),
        Goal(
            text="CPU per connect: upgrade, `$connect`, subscribe", plan="idle", figure=CONNECT, bound=0.5, other="ws"
        ),
    )
    return Row("idle", "Idle connections and connecting", says, (plan,), goals)


def _last(effort: Effort) -> Row:
    members = effort.most_members
    load = Load(mode="fanout", clients=members, seconds=2.5 * effort.seconds)
    plan = Plan(
        "last", f"{members:,} members, 1 in flight", load, each(("limit", "openline", "openline_history"), effort.large)
    )
    goals = tuple(
        Goal(
            text=f"last of {members:,} members reached, p99, history {history}",
            plan="last",
            figure=P99,
            bound=1.3,
            server=server,
            other="limit",
        )
        for server, history in (("openline", "off"), ("openline_history", "100"))
    )
    says = "The time from sending a message to its arrival at the last member: the median, and the 99th percentile."
    return Row("last", "The last member", says, (plan,), goals)


def _pure(effort: Effort) -> Row:
    plans = tuple(
        Plan(
            f"pure-{window}",
            f"1,000 members, {window} in flight",
            Load(mode="fanout", clients=1000, window=window, seconds=effort.seconds),
            each(("openline_pure", "openline"), effort.close),
        )
        for window in (1, 16)
    )
    goals = tuple(
        # Deliveries per CPU second: the quotient of CPU per delivery, upside down.
        Goal(
            text=f"pure-Python twin, {plan.title}: deliveries per CPU second",
            plan=plan.key,
            figure=CPU,
            bound=0.85,
            at="least",
            other="openline_pure",
            against="native",
        )
        for plan in plans
    )
    return Row("pure", "Without the native part", "`OPENLINE_PURE=1` against native.", plans, goals)


def _growth(effort: Effort) -> Row:
    sizes = [size for size in SIZES if size <= max(5000, 1.5 * effort.most_members)]
    plans = tuple(
        Plan(
            f"growth-{size}",
            f"{size:,} members",
            Load(mode="fanout", clients=size, seconds=effort.seconds),
            each(("limit", "openline"), effort.large) | {"socketify": 1, "ws": 1},
        )
        for size in sizes
    )
    goal = Goal(
        text=f"growth: CPU per delivery × limit, {sizes[-1]:,} members",
        plan=plans[-1].key,
        figure=CPU,
        bound=1.10,
        other="openline",
        other_plan=plans[0].key,
        to_limit=True,
        against=f"that with {sizes[0]}",
    )
    says = "Fan-out with one in flight: CPU per delivery as a ratio to the limit at the same size."
    return Row("growth", "How cost grows with members", says, plans, (goal,))


def _channels(effort: Effort) -> Row:
    plans: list[Plan] = []
    for count in CHANNELS:
        share = count // HOLDERS
        held = Load(mode="hold", clients=HOLDERS, channels=count, each=share, stride=share)
        idle = Load(mode="idle", clients=effort.idle, channels=count, hold=1.0, held=held)
        publish = Load(
            mode="channels", clients=100, channels=10, publishers=10, window=16, seconds=effort.seconds, held=held
        )
        plans.append(Plan(f"channels-idle-{count}", f"{count:,} channels: idle", idle, {"openline": effort.large}))
        plans.append(
            Plan(f"channels-publish-{count}", f"{count:,} channels: publish", publish, {"openline": effort.large})
        )
    few, many = CHANNELS[0], CHANNELS[-1]
    goals = tuple(
        Goal(
            text=f"{text} with {many:,} channels",
            plan=f"channels-{what}-{many}",
            figure=figure,
            bound=1.10,
            other="openline",
            other_plan=f"channels-{what}-{few}",
            against=f"that with {few}",
        )
        for what, figure, text in (
            ("idle", MEMORY, "memory of an idle connection"),
            ("publish", CPU, "CPU of a publication, per delivery"),
        )
    )
    says = (
        f"Ten connections hold all the channels. On top of them: {effort.idle:,} idle connections, each subscribed to "
        "one of the channels; and publications into ten channels of 11 members, 16 in flight."
    )
    return Row("channels", "How cost grows with channels", says, tuple(plans), goals)
