"""What nodes and the engine process of one host say to each other: frames of MessagePack, in order, never pickle.

A frame is its length in four bytes and one message, an array that begins with the message's name.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, Union, get_type_hints

import msgspec

from openline.brokers.memory_directory import Entries
from openline.hub.ports import Directory
from openline.model import Page, Position, Publication, Retention

__all__ = [
    "ARGUMENTS",
    "MOST_BYTES",
    "RESULTS",
    "VERSION",
    "Answer",
    "Ask",
    "Catch",
    "Drop",
    "Failure",
    "Frames",
    "Hear",
    "Missed",
    "Open",
    "Opened",
    "Publish",
    "Read",
    "Refused",
    "Scatter",
    "Unwant",
    "Want",
    "frame",
    "raw",
    "read_down",
    "read_missed",
    "read_page",
    "read_up",
]

#: Both ends are started by one command; a program that was changed in between is noticed.
VERSION: Final = 1
#: Bytes of one frame.
MOST_BYTES: Final = 64 * 1024 * 1024
_LENGTH: Final = 4


class _Message(msgspec.Struct, array_like=True, tag=True, gc=False):
    """``number`` is what an answer names; 0 where none is wanted."""


class Open(_Message):
    """The first of a connection: which engine of that process is meant, and what is ``wanted`` of it from now on.

    ``line`` says which Openline of the program it is, ``process`` the id of the process that asks.
    """

    version: int
    url: str
    line: int
    process: int = 0
    wanted: Sequence[str] = ()


class Publish(_Message):
    """See :class:`~openline.hub.ports.Broker`; so are the next ones."""

    number: int
    publication: Publication
    retention: Retention
    key: str | None = None


class Scatter(_Message):  # noqa: D101
    number: int
    publication: Publication


class Read(_Message):  # noqa: D101
    number: int
    channel: str
    after: Position | None
    before: Position | None
    limit: int
    size: int


class Want(_Message):
    """Subscribe."""

    number: int
    channel: str


class Unwant(_Message):
    """Unsubscribe."""

    channel: str


class Drop(_Message):
    """Forget a log."""

    channel: str


class Ask(_Message):
    """A call of :class:`~openline.hub.ports.Directory` by ``node``; the ``arguments`` are an array."""

    number: int
    node: str
    method: str
    arguments: msgspec.Raw


class Catch(_Message):
    """What was published behind ``after`` in all that is wanted; the answer is :class:`Missed`."""

    number: int
    after: Position


class Opened(_Message):
    """The engine is there, and stands at ``position``."""

    position: Position


class Refused(_Message):
    """It is not, and why: ``subject`` names the setting."""

    subject: str
    reason: str


class Hear(_Message):
    """Something was published, by another node, in a channel that is wanted."""

    publication: Publication


class Answer(_Message):
    """What came of ``number``; of a publish its ``stamp`` and the one before it in its channel, ``previous``.

    Without a ``previous`` it was published before, or is wanted by nobody. Of anything else ``stamp`` is where the
    engine stands.
    """

    number: int
    stamp: int
    previous: int = -1
    value: msgspec.Raw = msgspec.Raw(b"\xc0")


class Failure(_Message):
    """What was asked with ``number`` has failed."""

    number: int
    reason: str


class Missed(msgspec.Struct, array_like=True):
    """``publications`` in their order, up to ``stamp``, and the channels in which something is ``lost``."""

    stamp: int
    publications: tuple[Publication, ...] = ()
    lost: tuple[str, ...] = ()


Up = Union[Open, Publish, Scatter, Read, Want, Unwant, Drop, Ask, Catch]  # noqa: UP007  msgspec is given it as a value
Down = Union[Opened, Refused, Hear, Answer, Failure]  # noqa: UP007

#: The calls of a directory: what they take behind the node, and how what comes out is read.
ARGUMENTS: Final[dict[str, Callable[[msgspec.Raw], tuple[Any, ...]]]] = {}
RESULTS: Final[dict[str, Callable[[msgspec.Raw], Any]]] = {}
for _name in [name for name in vars(Directory) if not name.startswith("_")]:
    _hints = get_type_hints(getattr(Entries, _name))
    _result = _hints.pop("return")
    _, *_types = _hints.values()
    ARGUMENTS[_name] = msgspec.msgpack.Decoder(tuple[tuple(_types)]).decode  # type: ignore[misc]
    RESULTS[_name] = msgspec.msgpack.Decoder(_result).decode

_encoder: Final = msgspec.msgpack.Encoder()
read_up: Final = msgspec.msgpack.Decoder(Up).decode
read_down: Final = msgspec.msgpack.Decoder(Down).decode
read_page: Final = msgspec.msgpack.Decoder(Page).decode
read_missed: Final = msgspec.msgpack.Decoder(Missed).decode
raw: Final = _encoder.encode


def frame(message: _Message) -> bytes:
    """The bytes of ``message``; raises :class:`UnicodeEncodeError` for text that is not Unicode."""
    buffer = bytearray(_LENGTH)
    _encoder.encode_into(message, buffer, _LENGTH)
    buffer[:_LENGTH] = (len(buffer) - _LENGTH).to_bytes(_LENGTH, "big")
    return bytes(buffer)


class Frames:
    """Cuts what comes in into messages; raises :class:`ValueError` for one that is too long."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._due = _LENGTH

    def take(self, data: bytes) -> Iterator[bytes]:
        """The messages that ``data`` completes."""
        buffer = self._buffer
        buffer += data
        begin = 0
        while len(buffer) - begin >= self._due:
            size = int.from_bytes(buffer[begin : begin + _LENGTH], "big")
            if size > MOST_BYTES:
                raise ValueError(f"a frame of {size} bytes")
            end = begin + _LENGTH + size
            if end > len(buffer):
                self._due = _LENGTH + size
                break
            self._due = _LENGTH
            yield bytes(buffer[begin + _LENGTH : end])
            begin = end
        del buffer[:begin]
