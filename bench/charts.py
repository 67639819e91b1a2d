"""Owns which plots a row has: what is drawn, not how."""

from collections.abc import Iterable, Mapping
from itertools import product

from plans import BUSY, CPU, DOWN, MEMORY, RATE, REQUESTS, UP, Plan, Row
from results import Measured
from rows import CHANNELS
from rows_http import WAYS
from svg import Bar, bars, lines
from verdicts import NAMES, ratio

Chart = tuple[str, str, str]
#: Each way to hear of a message, as the page about doors names it.
DOORS = dict(zip(WAYS, ("WebSocket", "event stream", "long poll", "short poll, 1 s"), strict=True))


def charts_of(row: Row, measured: Mapping[str, Measured]) -> list[Chart]:
    """File name, alternative text and SVG of each plot; none where nothing is measured."""
    if row.key == "growth":
        return _growth(row.plans, measured)
    if row.key == "polls":
        return list(_polls(row.plans, measured))
    if row.key == "channels":
        return _channels(measured)
    if row.key in ("fanout", "socketio"):
        return [chart for plan in row.plans[:2] for chart in _cost(plan, measured)]
    figures = {"rooms": (RATE, "deliveries/s"), "spread": (RATE, "deliveries/s"), "echo": (RATE, "messages/s")}
    if row.key == "idle":
        return _bars(row.plans[0], measured, MEMORY, "KB of resident memory per idle connection; less is better")
    if row.key in figures:
        figure, unit = figures[row.key]
        return _bars(row.plans[0], measured, figure, f"{unit}, server on one core; more is better")
    return []


def _cost(plan: Plan, measured: Mapping[str, Measured]) -> Iterable[Chart]:
    known = measured.get(plan.key)
    if known is None or plan.reference not in known.runs:
        return
    data = [
        Bar(NAMES[server], found, server.startswith("openline"))
        for server in plan.servers
        if (found := ratio(known, CPU, server, plan.reference)) is not None
    ]
    data.sort(key=lambda bar: bar.value)
    title = f"Fan-out to {plan.title}: CPU per delivery"
    unit = f"× {NAMES[plan.reference]}, logarithmic; less is better"
    yield f"{plan.key}.svg", title, bars(title, unit, data, log=True)


def _bars(plan: Plan, measured: Mapping[str, Measured], figure: str, unit: str) -> list[Chart]:
    known = measured.get(plan.key)
    if known is None:
        return []
    found = {server: known.median(server, figure) for server in plan.servers if server != "limit"}
    data = [Bar(NAMES[server], value, server.startswith("openline")) for server, value in found.items() if value]
    data.sort(key=lambda bar: bar.value, reverse=figure == RATE)
    return [(f"{plan.key}.svg", f"{plan.title}: {unit}", bars(plan.title, unit, data))] if data else []


def _growth(plans: Iterable[Plan], measured: Mapping[str, Measured]) -> list[Chart]:
    series: dict[str, list[tuple[float, float]]] = {}
    for plan in plans:
        for server in ("openline", "socketify", "ws"):
            found = ratio(measured.get(plan.key), CPU, server, "limit")
            if found is not None:
                series.setdefault(NAMES[server], []).append((plan.load.clients, found))
    if NAMES["openline"] not in series:
        return []
    title = "CPU per delivery, by members"
    picture = lines(title, "× the C limit at the same size (dashed); less is better", "members", series, level=1.0)
    return [("growth.svg", title, picture)]


def _polls(plans: Iterable[Plan], measured: Mapping[str, Measured]) -> Iterable[Chart]:
    wanted = {
        "cpu": ("server CPU, % of one core", (BUSY,), 1.0),
        "bytes": ("KB a second, both ways", (UP, DOWN), 1e3),
        "requests": ("requests a second", (REQUESTS,), 1.0),
    }
    known = {1 / plan.load.every: measured[plan.key] for plan in plans if plan.key in measured}
    for name, (unit, figures, divided) in wanted.items():
        series: dict[str, list[tuple[float, float]]] = {}
        for (rate, plan), server in product(sorted(known.items()), WAYS):
            found = [plan.median(server, figure) for figure in figures]
            if None not in found:
                series.setdefault(DOORS[server], []).append((rate, sum(map(float, found)) / divided))
        if len(known) > 1 and series:
            title = f"1,000 clients of one channel: {unit}"
            picture = lines(title, "less is better", "messages a second in the channel", series)
            yield f"polls-{name}.svg", title, picture


def _channels(measured: Mapping[str, Measured]) -> list[Chart]:
    wanted = {"CPU of a publication": ("publish", CPU), "memory of a connection": ("idle", MEMORY)}
    series: dict[str, list[tuple[float, float]]] = {}
    for name, (what, figure) in wanted.items():
        first = measured.get(f"channels-{what}-{CHANNELS[0]}")
        base = first.median("openline", figure) if first else None
        for count in CHANNELS:
            plan = measured.get(f"channels-{what}-{count}")
            found = plan.median("openline", figure) if plan else None
            if base and found:
                series.setdefault(name, []).append((count, found / base))
    if not series:
        return []
    title = "What a server with more channels costs"
    unit = f"× the same server with {CHANNELS[0]} channels (dashed); less is better"
    return [("channels.svg", title, lines(title, unit, "channels on the server", series, level=1.0))]
