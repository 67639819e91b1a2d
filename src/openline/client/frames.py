"""What stands in a frame, seen from a client: payloads, positions, answers and errors, checked when they come in."""

import base64
import binascii
import logging
from collections.abc import Sequence
from typing import Annotated, Any, Final, TypeVar

import msgspec

from openline.client.events import Event, History, Member, Presence
from openline.errors import CommandError, ErrorCode
from openline.protocol.commands import CommandId
from openline.protocol.strict_json import encode_json

__all__ = [
    "ConnectReply",
    "Frame",
    "Moved",
    "SubscribeReply",
    "UnreadableError",
    "answer_of",
    "away_seconds",
    "covers",
    "error_of",
    "event_of",
    "history_of",
    "read",
    "read_all",
    "same_epoch",
    "unwrap",
    "wrap",
    "write",
]

_log = logging.getLogger("openline.client")

_Place = Annotated[str, msgspec.Meta(pattern=r"\A[A-Za-z0-9_-]{1,32}\.[0-9]{1,16}\Z")]
#: What a server may ask for at most: who is told more comes back and asks.
_MOST_AWAY_SECONDS: Final = 60.0
_BYTES: Final[tuple[type[bytes], ...]] = (bytes, bytearray, memoryview)  # type: ignore[assignment]  # all are buffers
T = TypeVar("T")


class UnreadableError(CommandError):
    """The server sent what does not follow the protocol."""

    def __init__(self, reason: str) -> None:
        super().__init__(ErrorCode.FAILED, reason)


class Frame(msgspec.Struct, frozen=True, gc=False):
    """One JSON object of the wire; null stands for left out."""

    type: str
    id: CommandId | None = None
    channel: str | None = None
    payload: msgspec.Raw = msgspec.Raw()
    encoding: str | None = None
    position: _Place | None = None
    sender: Member | None = msgspec.field(default=None, name="from")
    code: str | None = None
    message: str | None = None
    field: str | None = None
    retry: bool | None = None

    def kept(self) -> "Frame":
        """The same, without the text that it was read from."""
        return msgspec.structs.replace(self, payload=msgspec.Raw(bytes(self.payload)))


class Moved(msgspec.Struct, frozen=True):
    """The payload of ``$joined`` and ``$left``."""

    member: Member
    count: int


class _Kept(msgspec.Struct, frozen=True):
    channel: str
    recovered: bool = True


class _Limits(msgspec.Struct, frozen=True):
    message: int = 65_536


class ConnectReply(msgspec.Struct, frozen=True):
    """The payload of the reply to ``$connect``."""

    connection: str
    resume: str
    position: _Place
    resumed: bool = False
    recovered: bool | None = None
    subscriptions: list[_Kept] = []
    user: str | None = None
    ping: float = 25.0
    limits: _Limits = _Limits()


class _Away(msgspec.Struct, frozen=True):
    retry: float = 0.0


class SubscribeReply(msgspec.Struct, frozen=True):
    """The payload of the reply to ``$subscribe``."""

    position: _Place
    publications: list[msgspec.Raw] = []
    recovered: bool | None = None
    more: bool = False
    presence: Presence | None = None


class _HistoryReply(msgspec.Struct, frozen=True):
    position: _Place
    publications: list[msgspec.Raw] = []
    recovered: bool | None = None
    more: bool = False


_read_frame: Final = msgspec.json.Decoder(Frame).decode
# What a decoder raises for text that it cannot make a value of.
_UNREADABLE: Final = (msgspec.MsgspecError, UnicodeError, RecursionError)


def read(text: str) -> Frame | None:
    """The frame in one message; None, and a line in the log, for what is none."""
    try:
        return _read_frame(text)
    except _UNREADABLE as error:
        _log.warning("The server sent what is no frame: %s", error)
        return None


def answer_of(payload: msgspec.Raw, kind: type[T]) -> T:
    """``payload`` as ``kind``; raises :class:`UnreadableError`."""
    try:
        return msgspec.json.decode(bytes(payload) or b"null", type=kind)
    except _UNREADABLE as error:
        raise UnreadableError(f"the server's answer does not follow the protocol: {error}") from error


def away_seconds(frame: Frame) -> float:
    """How long the server will be away, which ``$away`` says; a minute at most."""
    try:
        retry = answer_of(frame.payload, _Away).retry
    except UnreadableError:
        return 0.0
    return min(max(retry, 0.0), _MOST_AWAY_SECONDS)


def read_all(publications: Sequence[msgspec.Raw]) -> list[tuple[Frame, int]]:
    """Each with its bytes; raises :class:`UnreadableError`."""
    return [(answer_of(publication, Frame), len(bytes(publication))) for publication in publications]


def unwrap(frame: Frame) -> Any:
    """Its payload; raises :class:`UnreadableError`.

    What claims to be base64 and is not stays the text it is.
    """
    try:
        payload: Any = msgspec.json.decode(bytes(frame.payload) or b"null")
    except _UNREADABLE as error:
        raise UnreadableError(f"a payload is no JSON: {error}") from error
    if frame.encoding != "base64" or not isinstance(payload, str):
        return payload
    try:
        return base64.b64decode(payload, validate=True)
    except (binascii.Error, ValueError):
        return payload


def event_of(frame: Frame, *, recovered: bool = False) -> Event:
    """What a reader gets to see; raises :class:`UnreadableError`."""
    return Event(frame.type, unwrap(frame), frame.channel, frame.position, frame.sender, recovered)


def history_of(frame: Frame) -> History:
    """The answer to ``$history``; raises :class:`UnreadableError`."""
    reply = answer_of(frame.payload, _HistoryReply)
    events = tuple(event_of(said, recovered=True) for said, _ in read_all(reply.publications))
    return History(events, reply.more, reply.position, reply.recovered)


def error_of(frame: Frame) -> CommandError:
    """What an ``$error`` says."""
    return CommandError(
        frame.code or ErrorCode.FAILED, frame.message or "", field=frame.field, retry=frame.retry is True
    )


def wrap(payload: Any) -> dict[str, Any]:
    """The fields that carry a payload."""
    if isinstance(payload, _BYTES):
        return {"payload": base64.b64encode(payload).decode(), "encoding": "base64"}
    return {} if payload is None else {"payload": payload}


def write(frame: dict[str, Any]) -> bytes:
    """The text of a frame, without the fields that are None.

    What no server could read is found here, because its error would name no command: raises :class:`CommandError`
    (``bad_payload``).
    """
    fields = {name: value for name, value in frame.items() if value is not None}
    try:
        if "payload" in fields:
            fields["payload"] = msgspec.Raw(encode_json(fields["payload"]))
        return msgspec.json.encode(fields)
    except (TypeError, ValueError, RecursionError, msgspec.MsgspecError) as error:
        raise CommandError(ErrorCode.BAD_PAYLOAD, f"The payload is no JSON: {error}", field="payload") from error


def _split(position: str) -> tuple[str, int]:
    # One that the application made up says nothing about any other.
    epoch, _, stamp = position.rpartition(".")
    return epoch, int(stamp) if stamp.isdecimal() else -1


def same_epoch(one: str, other: str) -> bool:
    """Whether two positions say something about each other."""
    return _split(one)[0] == _split(other)[0]


def covers(place: str | None, position: str) -> bool:
    """Whether ``position`` lies behind who stands at ``place``; never between two epochs."""
    if place is None:
        return False
    (epoch, stamp), (mine, reached) = _split(position), _split(place)
    return epoch == mine and stamp <= reached
