"""The backend API, version 1, as values: what may be asked, and what is answered.

``protocol/api_reading.py`` reads what is asked; the document that describes it (``protocol/openapi.py``) is built from
the same types.
"""

from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

import msgspec

from openline.protocol.channel_name import NAME

__all__ = [
    "MAX_CHANNELS",
    "MAX_ENTRIES",
    "OPERATIONS",
    "Broadcast",
    "ChannelList",
    "ChannelQuery",
    "ChannelState",
    "DisconnectConnection",
    "DisconnectUser",
    "Drain",
    "DrainQuery",
    "Ended",
    "Failure",
    "HistoryPage",
    "HistoryQuery",
    "Member",
    "Operation",
    "Plan",
    "PresencePage",
    "PresenceQuery",
    "Publish",
    "PublishMany",
    "PublishToUser",
    "Published",
    "PublishedIn",
    "PublishedMany",
    "Told",
    "UnsubscribeConnection",
    "UnsubscribeUser",
]

#: Channels of one request, and entries of one answer, at most.
MAX_CHANNELS: Final = 1000
MAX_ENTRIES: Final = 1000
#: Entries of an answer where nobody says how many.
_ENTRIES: Final = 100

# Patterns are Python's; the document has them in the dialect of JSON Schema.
_POSITION: Final = r"\A[A-Za-z0-9_\-]{1,32}\.(0|[1-9][0-9]{0,14})\Z"

Channel = Annotated[str, msgspec.Meta(pattern=rf"\A{NAME}\Z", description="A channel's name.", examples=["chat:lobby"])]
Pattern = Annotated[
    str,
    msgspec.Meta(
        pattern=rf"\A({NAME}|([A-Za-z0-9_][A-Za-z0-9_\-.~:@]{{0,126}})?\*)\Z",
        description="A channel's name, or the beginning of one and a *.",
        examples=["chat:*"],
    ),
]
EventType = Annotated[
    str,
    msgspec.Meta(
        pattern=r"\A[^$\x00-\x1f\x7f-\x9f][^\x00-\x1f\x7f-\x9f]{0,127}\Z",
        description="The event's name.",
        examples=["message"],
    ),
]
Payload = Annotated[
    msgspec.Raw,
    msgspec.Meta(description="Any JSON value: 256 KiB, 64 levels, integers within ±(2**53 - 1); null unless told."),
]
Encoding = Annotated[
    Literal["base64"], msgspec.Meta(description="The payload is bytes, and stands here as a base64 string.")
]
Key = Annotated[
    str,
    msgspec.Meta(
        pattern=r"\A[!#-~]([ !#-~]{0,62}[!#-~])?\Z",
        description="Makes it safe to repeat: the same key in the same place within 5 minutes is one publication.",
        examples=["order-7-paid"],
    ),
]
ConnectionId = Annotated[
    str, msgspec.Meta(min_length=1, max_length=64, description="A connection's public id.", examples=["kZx0aV3LqTn1"])
]
UserId = Annotated[
    str, msgspec.Meta(min_length=1, max_length=128, description="A user's id, as authenticate returns it.")
]
Reason = Annotated[
    str, msgspec.Meta(max_length=123, description="Reaches the client, up to 123 bytes of it, with close code 4410.")
]
Exclude = Annotated[
    list[ConnectionId], msgspec.Meta(max_length=1000, description="Who does not get it, neither now nor later.")
]
Position = Annotated[
    str, msgspec.Meta(pattern=_POSITION, description="A place in everything published.", examples=["5f0c9a1e.42"])
]
Limit = Annotated[int, msgspec.Meta(ge=1, le=MAX_ENTRIES, description="Entries at most.")]
Count = Annotated[int, msgspec.Meta(ge=0)]
Channels = Annotated[
    list[Annotated[str, msgspec.Meta(max_length=1000)]],
    msgspec.Meta(min_length=1, max_length=MAX_CHANNELS, description="Channels' names; each has its own outcome."),
]
Volatile = Annotated[bool, msgspec.Meta(description="Whoever is there gets it, nothing is kept.")]
Subject = Annotated[
    str, msgspec.Meta(max_length=256, description="Of what it is news: slow clients may get only the latest.")
]
_Unset = msgspec.UnsetType
UNSET = msgspec.UNSET


class _Asked(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What stands in a request; what is left out is UNSET or the default."""


class _Event(_Asked, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What every kind of publication has."""

    type: EventType
    payload: Payload | _Unset = UNSET
    encoding: Encoding | _Unset = UNSET
    exclude: Exclude = []
    key: Key | _Unset = UNSET


class _ChannelEvent(_Event, frozen=True, kw_only=True, forbid_unknown_fields=True):
    volatile: Volatile = False
    subject: Subject = ""


class Publish(_ChannelEvent, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An event for one channel."""

    channel: Channel


class PublishMany(_ChannelEvent, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One event for each of many channels."""

    channels: Channels


class PublishToUser(_Event, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An event for all connections of one user."""

    user: UserId


class Broadcast(_Event, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An event for everybody who is connected."""


class HistoryQuery(_Asked, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which part of a channel's history: the newest, or what stands behind ``since`` or ahead of ``before``."""

    channel: Channel
    since: Position | _Unset = UNSET
    before: Position | _Unset = UNSET
    limit: Limit = _ENTRIES


class PresenceQuery(_Asked, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who is in a channel, from the page behind ``after`` on; ``limit`` 0 asks for the counts alone."""

    channel: Channel
    limit: Annotated[int, msgspec.Meta(ge=0, le=MAX_ENTRIES, description="Members at most.")] = _ENTRIES
    after: Annotated[int, msgspec.Meta(ge=0, le=2**53 - 1, description="`next` of the page before.")] = 0


class ChannelQuery(_Asked, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which channels somebody is in, by name, from the one behind ``after`` on."""

    pattern: Pattern = "*"
    limit: Limit = _ENTRIES
    after: Annotated[str, msgspec.Meta(max_length=128, description="`next` of the page before.")] = ""


class DisconnectUser(_Asked, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """End all connections of a user, for good, its polls that wait, and its tickets."""

    user: UserId
    reason: Reason = ""


class DisconnectConnection(_Asked, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """End one connection, for good."""

    connection: ConnectionId
    reason: Reason = ""


class UnsubscribeUser(_Asked, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Take all connections of a user out of a channel, with its polls that wait there and its tickets."""

    user: UserId
    channel: Channel


class UnsubscribeConnection(_Asked, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Take one connection out of a channel."""

    connection: ConnectionId
    channel: Channel


class DrainQuery(_Asked, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What ending this server would come to."""


class Drain(_Asked, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """End this server, the one process that answers, as SIGTERM does."""


class Published(msgspec.Struct, frozen=True, kw_only=True):
    """It has been published, at ``position``; a volatile one has none."""

    position: Position | _Unset = UNSET


class Failure(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Why it was not published; with ``retry`` the same request may succeed later."""

    code: str
    message: str
    retry: bool = False


class PublishedIn(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one channel: it has been published, or there is an ``error``."""

    channel: str
    position: Position | _Unset = UNSET
    error: Failure | _Unset = UNSET


class PublishedMany(msgspec.Struct, frozen=True):
    """One outcome for each channel, in the order of the request."""

    outcomes: list[PublishedIn]


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """One connection of somebody, as other clients see it."""

    connection: str
    user: str | _Unset = UNSET
    data: Any = UNSET


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """A publication as history has it; without ``from`` the server itself spoke."""

    type: str
    channel: str
    payload: msgspec.Raw
    encoding: Encoding | _Unset = UNSET
    position: Position
    sender: Member | _Unset = msgspec.field(default=UNSET, name="from")


class HistoryPage(msgspec.Struct, frozen=True, kw_only=True):
    """Oldest first.

    ``more``: there are others further on in the direction asked. ``position``: how far everything published has come.
    ``recovered``, with ``since``: whether this is everything behind it.
    """

    publications: list[Told]
    position: Position
    more: bool
    recovered: bool | _Unset = UNSET


class PresencePage(msgspec.Struct, frozen=True, kw_only=True):
    """Who is in a channel: exact counts, and a page of members in order of arrival.

    ``subscriptions`` counts them whether or not the channel has presence; ``next`` is the ``after`` of the next page.
    """

    count: Count
    subscriptions: Count = 0
    members: list[Member]
    next: Count | _Unset = UNSET


class ChannelState(msgspec.Struct, frozen=True, kw_only=True):
    """A channel that somebody is in: how many subscriptions, and how many present where it has presence."""

    channel: Channel
    subscriptions: Count
    present: Count


class ChannelList(msgspec.Struct, frozen=True, kw_only=True):
    """Channels by name; ``next`` is the ``after`` of the next page."""

    channels: list[ChannelState]
    next: Channel | _Unset = UNSET


class Ended(msgspec.Struct, frozen=True):
    """How many connections it concerned."""

    connections: Count


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What a drain that began now would do.

    ``waiting`` are long polls, ``handlers`` the names of those that run. ``end_seconds``: when what still runs then is
    cancelled; without handlers it ends with the window.
    """

    connections: Count
    waiting: Count
    grace_seconds: float
    window_seconds: float
    handlers: list[str]
    end_seconds: float


@dataclass(frozen=True, slots=True)
class Operation:
    """One thing that may be asked, at ``ROOT/name``: with GET and a query, or with POST and a body.

    ``word`` is its own where the name is not; ``status`` is that of its answer.
    """

    name: str
    request: type[msgspec.Struct]
    answer: type[msgspec.Struct]
    method: Literal["GET", "POST"] = "POST"
    word: str = ""
    status: int = 200

    @property
    def keyed(self) -> bool:
        """Whether it takes an idempotency key."""
        return issubclass(self.request, _Event)


OPERATIONS: Final = (
    Operation("publish", Publish, Published),
    Operation("publish-many", PublishMany, PublishedMany),
    Operation("publish-to-user", PublishToUser, Published),
    Operation("broadcast", Broadcast, Published),
    Operation("history", HistoryQuery, HistoryPage, "GET"),
    Operation("presence", PresenceQuery, PresencePage, "GET"),
    Operation("channels", ChannelQuery, ChannelList, "GET"),
    Operation("disconnect-user", DisconnectUser, Ended),
    Operation("disconnect-connection", DisconnectConnection, Ended),
    Operation("unsubscribe-user", UnsubscribeUser, Ended),
    Operation("unsubscribe-connection", UnsubscribeConnection, Ended),
    Operation("drain", DrainQuery, Plan, "GET", word="plan_of_drain"),
    Operation("drain", Drain, Plan, status=202),
)
