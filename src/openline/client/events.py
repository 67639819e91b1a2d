"""What an application gets to see of the client: events, members, history, and how the line is doing."""

from dataclasses import dataclass
from typing import Any, Literal

import msgspec

__all__ = ["Event", "History", "Member", "Presence", "Retry", "Status", "StatusChange"]

Status = Literal["connecting", "open", "waiting", "closed"]


class Member(msgspec.Struct, frozen=True):
    """One connection of somebody: its public id, the id of the user, and what the server tells about them."""

    connection: str
    user: str | None = None
    data: Any = None


class Presence(msgspec.Struct, frozen=True):
    """Who is in a channel: ``count`` is exact, ``members`` is a page; ``next`` is the ``after`` of the next one."""

    count: int
    members: list[Member] = []
    next: int | None = None


@dataclass(frozen=True, slots=True)
class Event:
    """Something that came from the server.

    ``payload`` is JSON's Python form, or ``bytes``. ``channel`` is None for what was sent to this connection, its user
    or everybody. ``position`` is None for what is not kept. ``sender`` is None when the server itself spoke.
    ``recovered``: it was said before the moment of subscribing and only now came.

    Types that begin with ``$`` are the client's own words; see ``docs/python-client.md``.
    """

    type: str
    payload: Any = None
    channel: str | None = None
    position: str | None = None
    sender: Member | None = None
    recovered: bool = False


@dataclass(frozen=True, slots=True)
class History:
    """A page of what was said, oldest first.

    ``more``: there are others further on in the direction asked. ``recovered``, with ``since``: whether this is
    everything behind it.
    """

    publications: tuple[Event, ...]
    more: bool
    position: str
    recovered: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusChange:
    """How the line is doing now.

    Waiting: seconds until the next try, and why the line ended. Open: whether the same connection goes on, and whether
    what the server remembers has begun anew, so that earlier positions are worth nothing.
    """

    status: Status
    retry_in: float | None = None
    code: int | None = None
    reason: str = ""
    resumed: bool = False
    restarted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """What the server could not take just now, and when it is sent again: in ``seconds``, if the line is open then."""

    code: str
    message: str
    seconds: float
