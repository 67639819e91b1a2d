"""What the hub says to Socket.IO clients of one namespace, as WebSocket frames that hold Engine.IO messages."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec

from openline.errors import CommandError, ErrorCode
from openline.model import JsonBytes, Position, Publication
from openline.protocol.attachments import take_out
from openline.protocol.commands import CommandId
from openline.protocol.engineio import MESSAGE, text_frame
from openline.protocol.socketio import RESERVED, Kind, encode_packet
from openline.protocol.strict_json import encode_json
from openline.protocol.websocket import Opcode, encode_frame

__all__ = ["Encoded", "SocketIoCodec", "Spelling", "encode_arguments", "read_offset"]

#: What a publication is called for Socket.IO clients: its events, each with its one argument as JSON text; None where
#: it is called what it is.
Spelling = Callable[[Publication], Sequence[tuple[str, JsonBytes]] | None]

_encode: Final = msgspec.json.Encoder().encode
#: Stands in no position (see :meth:`~openline.model.Position.parse`).
_PART: Final = b"~"
_is_count: Final = re.compile("[1-9][0-9]{0,5}", re.ASCII).fullmatch
_PLACEHOLDER: Final = b'{"_placeholder":true,"num":0}'


class Encoded(msgspec.Struct, frozen=True, gc=False):
    """Arguments ready to travel: one JSON array, and the bytes that placeholders in it stand for."""

    arguments: JsonBytes
    attachments: tuple[bytes, ...] = ()


def encode_arguments(arguments: Sequence[Any]) -> Encoded:
    """``arguments`` ready to travel, bytes in them wherever they stand.

    Raises :class:`TypeError` or :class:`ValueError` for what JSON cannot hold.
    """
    try:
        plain, attachments = take_out(list(arguments))
    except RecursionError:
        raise ValueError("the value is nested too deep") from None
    return Encoded(encode_json(plain), attachments)


def read_offset(text: str) -> tuple[Position, int]:
    """Where a client stands that got ``text`` last, and of how many events of the publication there; 0 stands for all.

    Raises :class:`~openline.errors.CommandError` for what is no such thing.
    """
    position, mark, told = text.partition(_PART.decode())
    if mark and not _is_count(told):
        raise CommandError(ErrorCode.BAD_POSITION, "This is no position.")
    return Position.parse(position), int(told) if mark else 0


class SocketIoCodec:
    """See :class:`~openline.protocol.codec.Codec`.

    With ``recovery`` every event carries the position behind its arguments: the stock client keeps the last string that
    it sees there, so volatile ones carry it too. What waits for an acknowledgement does not: the client's callback is
    its last argument. ``spellings`` are by channel; where a publication is several events, all but the last say how
    many of them have come (:func:`read_offset`).
    """

    def __init__(
        self, namespace: str, *, recovery: bool = False, spellings: Mapping[str, Spelling] | None = None
    ) -> None:
        self.name = f"socketio {namespace}"
        self.namespace = namespace
        self.recovery = recovery
        self._spellings = spellings or {}

    def publication(self, publication: Publication) -> bytes:
        """See :class:`~openline.protocol.codec.Codec`; nothing for an event that clients keep for themselves."""
        spelled = self._spelled(publication)
        if spelled is not None:
            return b"".join(spelled)
        if publication.type in RESERVED:
            return b""
        arguments, attachments = _travelling(publication)
        return self._event(publication, publication.type, arguments, attachments)

    def spells(self, channel: str) -> bool:
        """Whether the publications of ``channel`` may be several events."""
        return channel in self._spellings

    def rest(self, publication: Publication, told: int) -> bytes:
        """The events of a publication that is spelled, but the first ``told``."""
        return b"".join((self._spelled(publication) or ())[told:])

    def _spelled(self, publication: Publication) -> Sequence[bytes] | None:
        spelling = self._spellings.get(publication.channel)
        said = None if spelling is None else spelling(publication)
        if said is None:
            return None
        told = [(name, b"," + argument) for name, argument in said if name not in RESERVED]
        marks = [b"%b%d" % (_PART, number) for number in range(1, len(told))] if publication.stamp else []
        marks += [b""] * (len(told) - len(marks))
        return [self._event(publication, *each, (), mark) for each, mark in zip(told, marks, strict=True)]

    def _event(
        self,
        publication: Publication,
        name: str,
        arguments: bytes,
        attachments: tuple[bytes, ...],
        mark: bytes = b"",
    ) -> bytes:
        """``arguments`` each have a comma in front, ``mark`` stands behind the position."""
        number = None if publication.ask is None else int(publication.ask)
        behind = b""
        if self.recovery and number is None and publication.epoch:
            stamp = publication.stamp or publication.previous
            behind = b',"%b.%d%b"' % (publication.epoch.encode(), stamp, mark)
        return self._frames(Kind.EVENT, number, b"[%b%b%b]" % (_encode(name), arguments, behind), attachments)

    def _frames(self, kind: Kind, number: int | None, data: JsonBytes, attachments: Sequence[bytes]) -> bytes:
        text = text_frame(MESSAGE + encode_packet(kind, self.namespace, number, data, len(attachments)))
        if not attachments:
            return text
        return b"".join((text, *(encode_frame(Opcode.BINARY, data) for data in attachments)))

    def notice(self, word: str, channel: str | None, payload: JsonBytes) -> bytes:
        """Nothing: Socket.IO clients know no notices."""
        return b""

    def reply(self, command_id: CommandId, payload: JsonBytes) -> bytes:
        """An acknowledgement with one argument."""
        return self.acknowledge(int(command_id), Encoded(b"[%b]" % payload))

    def acknowledge(self, number: int, answer: Encoded) -> bytes:
        """An acknowledgement."""
        return self._frames(Kind.ACK, number, answer.arguments, answer.attachments)

    def pong(self, command_id: CommandId | None) -> bytes:
        """Nothing: the heartbeat is Engine.IO's."""
        return b""

    def error(self, command_id: CommandId | None, error: CommandError) -> bytes:
        """Nothing: an event that fails stays unacknowledged."""
        return b""

    def connected(self, sid: str, pid: str | None) -> bytes:
        """The CONNECT packet; ``pid`` is the secret that takes the connection up again."""
        said = {"sid": sid} if pid is None else {"sid": sid, "pid": pid}
        return self._frames(Kind.CONNECT, None, _encode(said), ())

    def refused(self, message: str, data: Any = None) -> bytes:
        """The CONNECT_ERROR packet."""
        said = {"message": message} if data is None else {"message": message, "data": data}
        return self._frames(Kind.CONNECT_ERROR, None, _encode(said), ())

    def goodbye(self) -> bytes:
        """The DISCONNECT packet."""
        return self._frames(Kind.DISCONNECT, None, b"", ())


def _travelling(publication: Publication) -> tuple[bytes, tuple[bytes, ...]]:
    """The arguments of a publication, each with a comma in front, and what belongs to them."""
    payload = publication.payload
    if publication.binary:
        return b"," + _PLACEHOLDER, (payload,)
    if publication.spread:
        return (b"," + payload[1:-1] if len(payload) > 2 else b""), publication.attachments
    return (b"" if payload == b"null" else b"," + payload), publication.attachments
