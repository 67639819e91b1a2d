"""Owns the rows about doors over HTTP: event streams, and what it costs to ask instead of being pushed to."""

from measure import Load
from plans import LIMITS, Effort, Plan, Row, cost_goal, each

#: Seconds between messages, and how long each of these is measured.
PACES = {5.0: 10.0, 1.0: 5.0, 0.2: 3.0}
CLIENTS = 1000
#: The ways to hear of a message, the first of which the others are compared with.
WAYS = ("openline_history", "openline_streams", "openline_long_polls", "openline_short_polls")


def streams(effort: Effort) -> Row:
    plans = tuple(
        Plan(
            f"streams-{window}",
            f"1,000 event streams, {window} in flight",
            Load(mode="fanout", clients=1000, window=window, seconds=effort.seconds),
            each((limit, "openline_streams", "openline"), effort.close),
        )
        for window, limit in LIMITS.items()
    )
    goals = tuple(cost_goal(plan, "openline_streams", 1.15) for plan in plans)
    says = "The same fan-out to event streams (`GET /events`); a WebSocket publishes. Beside it, WebSockets only."
    return Row("streams", "Event streams", says, plans, goals)


def polls(effort: Effort) -> Row:
    """What 1,000 clients cost that ask, beside those that are pushed to."""
    plans = tuple(_paced(effort, every, seconds) for every, seconds in PACES.items())
    says = (
        "The same messages at a fixed pace to members on WebSockets, on event streams, by long polls (`wait=25`) and "
        "by short polls (one a second each, spread evenly), with a history of 100; bytes are those of HTTP and "
        "WebSocket. In the end each client must have received exactly what was published."
    )
    return Row("polls", "Asking instead of being pushed to", says, plans)


def _paced(effort: Effort, every: float, seconds: float) -> Plan:
    load = Load(mode="paced", clients=CLIENTS, every=every, seconds=seconds * min(1.0, effort.seconds))
    rate = f"{1 / every:g} messages a second" if every != 1 else "one message a second"
    return Plan(f"polls-{1 / every:g}", f"{CLIENTS:,} clients, {rate}", load, each(WAYS, effort.far))
