"""What stands in the store's tables: publications and channels as rows, each with a checksum, and back."""

import binascii
import struct
from functools import lru_cache
from typing import Any, Final

import msgspec

from openline.model import Publication, Retention

__all__ = [
    "CHANNEL_COLUMNS",
    "LOG_COLUMNS",
    "ChannelRow",
    "Damaged",
    "Kept",
    "decode_row",
    "encode_body",
    "kept_of",
    "log_row",
]

LOG_COLUMNS: Final = "channel, stamp, previous, number, ahead, at, crc, body"
CHANNEL_COLUMNS: Final = "id, name, head, number, total, floor, keep_count, keep_ms, keep_size, touched, crc"
#: No stamp, count or time in the store is above it.
_MOST: Final = 2**53
#: The whole numbers of a row of the log.
_FACTS: Final = struct.Struct("<6q")


LogRow = tuple[int, int, int, int, int, int, int, bytes]


class Damaged(Exception):  # noqa: N818  what it is, not an error that is raised to users
    """A row is not what was written."""


class _Body(msgspec.Struct, array_like=True, gc=False):
    """What of a publication stands in no column of its own; what is added later comes last, with a default."""

    type: str
    payload: bytes
    binary: bool
    sender: bytes | None
    exclude: tuple[str, ...]
    ask: str | None
    subject: str = ""
    spread: bool = False
    attachments: tuple[bytes, ...] = ()
    exclude_channels: tuple[str, ...] = ()


_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(_Body).decode


def encode_body(publication: Publication) -> bytes:
    """The body of a row; raises :class:`UnicodeEncodeError` for text that is no text."""
    p = publication
    exclude, channels = tuple(p.exclude), tuple(p.exclude_channels)
    body = _Body(p.type, p.payload, p.binary, p.sender, exclude, p.ask, p.subject, p.spread, p.attachments, channels)
    return _encode(body)


def log_row(channel: "ChannelRow", stamp: int, previous: int, at: int, body: bytes) -> LogRow:
    """The row of what is published next in ``channel``.

    ``number`` counts the channel's publications, ``ahead`` their bytes up to this one. So whether a row is still to be
    seen follows from the row and its channel alone, and nothing is counted when rows are dropped, in whatever portions.
    """
    facts = (channel.id, stamp, previous, channel.number + 1, channel.total, at)
    return (*facts, _row_checksum(facts, body), body)


def decode_row(name: str, epoch: str, row: tuple[Any, ...]) -> Publication:
    """The publication of a row; raises :class:`Damaged` where it is not what was written."""
    *facts, crc, body = row
    try:
        if _row_checksum(tuple(facts), body) != crc:
            raise Damaged
        parts = _decode(body)
    except (TypeError, struct.error, msgspec.MsgspecError) as error:
        raise Damaged from error
    return Publication(
        name,
        parts.type,
        parts.payload,
        binary=parts.binary,
        epoch=epoch,
        stamp=facts[1],
        previous=facts[2],
        sender=parts.sender,
        exclude=frozenset(parts.exclude),
        ask=parts.ask,
        subject=parts.subject,
        spread=parts.spread,
        attachments=parts.attachments,
        exclude_channels=frozenset(parts.exclude_channels),
    )


def _row_checksum(facts: tuple[int, ...], body: bytes) -> int:
    return binascii.crc32(_FACTS.pack(*facts), binascii.crc32(body))


def _checksum(facts: tuple[object, ...]) -> int:
    return binascii.crc32(repr(facts).encode())


class Kept(msgspec.Struct, frozen=True, gc=False):
    """A retention in the store's units."""

    count: int = 0
    ms: int = 0
    size: int = 0

    def grows_to(self, other: "Kept") -> bool:
        """Whether ``other`` would show what this one hides."""
        return other.count > self.count or other.ms > self.ms or other.size > self.size


@lru_cache
def kept_of(retention: Retention) -> Kept:
    """``retention`` in whole milliseconds, and no larger than the store's numbers."""
    return Kept(
        max(0, min(retention.count, _MOST)),
        int(max(0.0, min(retention.seconds, _MOST / 1000)) * 1000),
        max(0, min(retention.size, _MOST)),
    )


class ChannelRow:
    """What the store knows of a channel.

    A row of the log is to be seen when it is behind ``floor``, among the last ``kept.count`` numbers, the last
    ``kept.size`` bytes, and young enough. These are always the newest ones. ``pruned`` is up to which number rows were
    dropped, as far as this process knows.
    """

    __slots__ = ("floor", "head", "id", "kept", "name", "number", "pruned", "total", "touched")

    def __init__(self, id: int, name: str, head: int) -> None:  # noqa: A002
        self.id = id
        self.name = name
        self.head = self.floor = head
        self.number = self.total = self.touched = self.pruned = 0
        self.kept = Kept()

    @classmethod
    def of(cls, row: tuple[Any, ...]) -> "ChannelRow":
        """The channel of a row; raises :class:`Damaged`."""
        *facts, crc = row
        if _checksum(tuple(facts)) != crc:
            raise Damaged
        channel = cls(facts[0], facts[1], facts[2])
        channel.number, channel.total, channel.floor = facts[3:6]
        channel.kept = Kept(*facts[6:9])
        channel.touched = facts[9]
        channel.pruned = channel.number
        return channel

    def row(self) -> tuple[object, ...]:
        """What stands in the table."""
        k = self.kept
        place = (self.id, self.name, self.head, self.number, self.total, self.floor)
        facts = (*place, k.count, k.ms, k.size, self.touched)
        return (*facts, _checksum(facts))

    def bounds(self, now: int) -> tuple[int, int, int, int]:
        """What to compare a row with: it is seen when stamp > 0th, number > 1st, ahead >= 2nd and at > 3rd."""
        return self.floor, self.number - self.kept.count, self.total - self.kept.size, now - self.kept.ms
