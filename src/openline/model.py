"""The values that travel through every floor: positions, publications, users, and how long a channel remembers."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from openline.errors import CommandError, ErrorCode

__all__ = ["NOTHING_KEPT", "JsonBytes", "Page", "Position", "Publication", "Request", "Retention", "User", "fitting"]

#: UTF-8 text that holds one valid JSON value within the limits of ``spec/protocol.md``, section 1.
JsonBytes = bytes

_POSITION: Final = re.compile(r"([A-Za-z0-9_-]{1,32})\.(0|[1-9][0-9]{0,15})", re.ASCII)
_MAX_STAMP: Final = 2**53 - 1


class Position(msgspec.Struct, frozen=True, gc=False):
    """A place in everything that an engine has published: its epoch, and the stamp within.

    The text form is ``EPOCH.STAMP``, safe in URLs (``spec/protocol.md``, section 1).
    """

    epoch: str
    stamp: int

    def __str__(self) -> str:
        return f"{self.epoch}.{self.stamp}"

    @classmethod
    def parse(cls, text: str) -> "Position":
        """The position that ``text`` names; raises :class:`CommandError` (``bad_position``) for anything else."""
        match = _POSITION.fullmatch(text)
        if match is None or int(match[2]) > _MAX_STAMP:
            raise CommandError(ErrorCode.BAD_POSITION, "A position looks like EPOCH.STAMP; give back one you received.")
        return cls(match[1], int(match[2]))


class User(msgspec.Struct, frozen=True):
    """Who is behind a connection: what ``authenticate`` returns.

    ``id`` has 1 to 128 characters without control characters. ``data`` is shown to other clients in presence and in
    ``from``: put only there what everybody may see; it must be encodable as JSON.
    """

    id: str
    data: Any = None

    def __post_init__(self) -> None:
        if not 1 <= len(self.id) <= 128 or not self.id.isprintable():
            raise CommandError(ErrorCode.UNAUTHORIZED, "A user id has 1 to 128 printable characters.")


class Request(msgspec.Struct, frozen=True):
    """The HTTP request that opened a line, as ``authenticate`` sees it.

    ``scheme``, ``host`` and ``client`` (an IP address) come from the proxy where it is trusted. ``headers`` have
    lower-case names; ``cookie`` is among them only when ``origin`` is listed, because a browser sends cookies for
    whoever asks. ``origin`` is the page's: the header's, or our own where a browser sends none because it is that; None
    where no page is known of. ``token`` came in a header or as a subprotocol.
    """

    path: str
    query: str = ""
    scheme: str = "http"
    host: str = ""
    client: str = ""
    origin: str | None = None
    headers: Mapping[str, str] = {}
    token: str | None = None


class Publication(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """An event as it stands in a channel's stream.

    ``payload`` is JSON text, or plain bytes where ``binary`` says so. ``stamp`` is 0 for a volatile one. ``previous``
    is the stamp before it in its channel, of a volatile one that is handed out the newest of the engine. ``sender`` is
    the JSON of the ``from`` object, None when the server itself speaks. ``exclude`` holds the ids of connections that
    do not get it, live or recovered. ``subject`` says of what it is news, where slow clients get only the latest.
    ``ask`` is the id under which an answer is awaited.
    With ``spread`` the payload is the JSON array of several arguments (Socket.IO's events have any number).
    ``attachments`` are the bytes that placeholders in it stand for (see ``protocol.attachments``).
    """

    channel: str
    type: str
    payload: JsonBytes
    binary: bool = False
    epoch: str = ""
    stamp: int = 0
    previous: int = 0
    sender: JsonBytes | None = None
    exclude: frozenset[str] = frozenset()
    ask: str | None = None
    subject: str = ""
    spread: bool = False
    attachments: tuple[bytes, ...] = ()

    @property
    def position(self) -> Position | None:
        """Where it stands; None for a volatile one."""
        return Position(self.epoch, self.stamp) if self.stamp else None

    @property
    def size(self) -> int:
        """Bytes that keeping it costs, about: what retention and outboxes count."""
        size = len(self.payload) + len(self.channel) + len(self.type) + 160
        if self.sender is not None:
            size += len(self.sender)
        return size + sum(map(len, self.attachments)) if self.attachments else size


class Retention(msgspec.Struct, frozen=True, gc=False):
    """How much of a channel is kept: at most ``count`` publications, ``seconds`` old, ``size`` bytes in all."""

    count: int = 0
    seconds: float = 0.0
    size: int = 0


#: For a channel without history.
NOTHING_KEPT: Final = Retention()


class Page(msgspec.Struct, frozen=True):
    """A part of a channel's log, oldest first.

    ``complete``: the log reaches back to where the reading began, nothing is missing in front. ``more``: there is
    more further on in the direction asked.
    """

    publications: tuple[Publication, ...]
    complete: bool = True
    more: bool = False


def fitting(publications: Sequence[Publication], limit: int, size: int) -> int:
    """How many of ``publications`` make a page of ``limit`` publications and ``size`` bytes.

    One at least, where there is one.
    """
    for count, publication in enumerate(publications[:limit]):
        size -= publication.size
        if size < 0:
            return max(count, 1)
    return min(len(publications), limit)
