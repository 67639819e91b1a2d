"""The Python client: one connection to a server that outlives its sockets, for tools, workers and tests."""

from openline.client.channel import Channel
from openline.client.ending import LineClosedError
from openline.client.events import Event, History, Member, Presence, Retry, Status, StatusChange
from openline.client.line import Line, connect
from openline.client.outbox import OutboxLimits
from openline.client.surroundings import Clock, Surroundings

__all__ = [
    "Channel",
    "Clock",
    "Event",
    "History",
    "Line",
    "LineClosedError",
    "Member",
    "OutboxLimits",
    "Presence",
    "Retry",
    "Status",
    "StatusChange",
    "Surroundings",
    "connect",
]
