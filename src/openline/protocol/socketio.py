"""Socket.IO, protocol 5: packets as text with binary attachments and back, everything in them checked; no I/O."""

import re
from enum import IntEnum
from typing import Any, Final

import msgspec

from openline.errors import CloseCode, ProtocolError
from openline.model import JsonBytes
from openline.protocol.attachments import put_back
from openline.protocol.commands import Command
from openline.protocol.strict_json import MAX_HUGE, has_too_huge

__all__ = [
    "DEFAULT",
    "MAX_ARGUMENTS",
    "MAX_ATTACHMENTS",
    "MAX_AUTH_BYTES",
    "RESERVED",
    "Kind",
    "Packet",
    "PacketReader",
    "encode_packet",
    "read_command",
]

#: In one packet; Socket.IO's own limit.
MAX_ATTACHMENTS: Final = 10
#: Of one event, or one acknowledgement.
MAX_ARGUMENTS: Final = 1000
#: What a CONNECT may bring; it is kept as long as the client is there.
MAX_AUTH_BYTES: Final = 16_384
#: Events that clients keep for themselves: a packet that names one is malformed, whoever sends it.
RESERVED: Final = frozenset(
    ("connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener")
)
#: The namespace that clients mean who name none.
DEFAULT: Final = "/"

_MAX_NAMESPACE: Final = 128
_MAX_ID: Final = 2**53 - 1
#: What a waiting event costs beside its arguments, about.
_OVERHEAD: Final = 600
#: What each of its arguments costs beside its text, about.
_EACH: Final = 48
#: In an ``auth``; as Python has them, the values are what costs, and not their text.
_MAX_AUTH_VALUES: Final = 500
#: Putting attachments into their places takes so much longer than reading a value.
_HARDER: Final = 5
_FORM: Final = re.compile(rb"([0-6])(?:(\d{1,16})-)?(?:(/[^,\x00-\x1f]*)(?:,|\Z))?(\d{1,16})?(.*)", re.DOTALL)
_object: Final = msgspec.json.Decoder(dict[str, Any]).decode
_array: Final = msgspec.json.Decoder(list[msgspec.Raw]).decode
_string: Final = msgspec.json.Decoder(str).decode
_value: Final = msgspec.json.Decoder().decode
_BAD_JSON: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


class Kind(IntEnum):
    """What a packet is."""

    CONNECT = 0
    DISCONNECT = 1
    EVENT = 2
    ACK = 3
    CONNECT_ERROR = 4
    BINARY_EVENT = 5
    BINARY_ACK = 6


# What is most said: an event in the default namespace, that wants no acknowledgement and brings no bytes.
_PLAIN_EVENT: Final = b"2["
_BINARY: Final = (b"5", b"6")
_KINDS: Final = {b"%d" % kind: kind for kind in Kind}
_WITHOUT_ATTACHMENTS: Final = {Kind.BINARY_EVENT: Kind.EVENT, Kind.BINARY_ACK: Kind.ACK}
_IDENTIFIED: Final = (Kind.EVENT, Kind.ACK)


class Packet(msgspec.Struct, frozen=True, gc=False):
    """One packet of a client, whole.

    ``kind`` is never a binary one: what came with it is in ``attachments``, and ``values`` has it in its places.
    ``auth`` is what a CONNECT brings, None where that is more than it may. ``arguments`` are those of an EVENT (its
    name first, which ``event`` is, too) or an ACK, as JSON texts.
    """

    kind: Kind
    namespace: str = DEFAULT
    id: int | None = None
    auth: dict[str, Any] | None = None
    arguments: tuple[JsonBytes, ...] = ()
    attachments: tuple[bytes, ...] = ()
    event: str = ""

    def values(self, *, binary: bool = False) -> list[Any]:
        """The arguments as Python values, with the attachments in their places.

        ``binary``: the packet said that it has some, even none. Raises :class:`ProtocolError` for what no JSON reader
        takes, and for placeholders without an attachment.
        """
        try:
            found = [_value(argument) for argument in self.arguments]
            return put_back(found, self.attachments) if binary or self.attachments else found
        except (*_BAD_JSON, ValueError) as error:
            raise _malformed("its data cannot be read") from error


def _malformed(why: str) -> ProtocolError:
    return ProtocolError(CloseCode.PROTOCOL_ERROR, f"malformed Socket.IO packet: {why}")


class PacketReader:
    """Makes packets of one client's messages; the first violation is the last thing that it is given.

    ``max_bytes`` limits what the attachments of one packet have together. One packet at most is kept waiting.
    ``max_values`` limits the values in one packet, about; in one with attachments it is a fifth of that.
    """

    __slots__ = ("_attachments", "_max_bytes", "_max_values", "_missing", "_packet", "_size")

    def __init__(self, max_bytes: int, max_values: int = 50_000) -> None:
        self._max_bytes = max_bytes
        self._max_values = max_values
        self._packet: Packet | None = None
        self._attachments: list[bytes] = []
        self._missing = 0
        self._size = 0

    @property
    def waiting(self) -> bool:
        """Whether attachments are to come."""
        return self._packet is not None

    def text(self, data: bytes) -> Packet | None:
        """Take a text message (valid UTF-8): the packet, None while its attachments are to come.

        Raises :class:`ProtocolError`.
        """
        if self._packet is not None:
            raise _malformed("text where an attachment was due")
        # There are not more values than bytes: most packets need no closer look.
        if len(data) > self._max_values // _HARDER:
            most = self._max_values // (_HARDER if data[:1] in _BINARY else 1)
            if _has_more(data, most):
                raise ProtocolError(CloseCode.TOO_BIG, f"more than {most} values in one packet")
        packet, attachments = _read(data)
        if not attachments:
            return packet
        self._packet, self._missing, self._size, self._attachments = packet, attachments, 0, []
        return None

    def binary(self, data: bytes) -> Packet | None:
        """Take a binary message: the packet that it completes, None while more is to come.

        Raises :class:`ProtocolError`.
        """
        packet = self._packet
        if packet is None:
            raise _malformed("an attachment that belongs to nothing")
        self._attachments.append(data)
        self._size += len(data)
        if self._size > self._max_bytes:
            raise ProtocolError(CloseCode.TOO_BIG, f"attachments of more than {self._max_bytes} bytes")
        self._missing -= 1
        if self._missing:
            return None
        whole = msgspec.structs.replace(packet, attachments=tuple(self._attachments))
        self._packet, self._attachments = None, []
        whole.values()
        return whole


def _has_more(text: bytes, values: int) -> bool:
    """Whether there are more than so many values in ``text``, or keys: arrays and objects count twice, strings once."""
    if _marks(text) <= values and text.count(b'"') <= 2 * values:
        return False
    plain = text.replace(rb"\\", b"").replace(rb"\"", b"")
    return plain.count(b'"') > 2 * values or _marks(b"".join(plain.split(b'"')[::2])) > values


def _marks(text: bytes) -> int:
    return text.count(b",") + text.count(b"[") + text.count(b"{")


def _read(data: bytes) -> tuple[Packet, int]:
    """The packet in a text, and how many attachments belong to it."""
    if data.startswith(_PLAIN_EVENT):
        return _event(Kind.EVENT, DEFAULT, None, data[1:]), 0
    form = _FORM.fullmatch(data)
    if form is None:
        raise _malformed("it begins with 0 to 6")
    digit, count, name, number, rest = form.groups()
    kind = _KINDS[digit]
    if (kind in _WITHOUT_ATTACHMENTS) is (count is None):
        raise _malformed("attachments are counted where there are some, and only there")
    attachments = int(count or 0)
    if attachments > MAX_ATTACHMENTS:
        raise _malformed(f"more than {MAX_ATTACHMENTS} attachments")
    if name is not None and len(name) > _MAX_NAMESPACE:
        raise _malformed(f"a namespace has {_MAX_NAMESPACE} bytes at most")
    namespace = DEFAULT if name is None else name.decode()
    kind = _WITHOUT_ATTACHMENTS.get(kind, kind)
    packet_id = None if number is None else int(number)
    if packet_id is not None and (kind not in _IDENTIFIED or packet_id > _MAX_ID):
        raise _malformed("an id where none may be, or too large")
    packet = _BODIES[kind](kind, namespace, packet_id, rest)
    if count is not None and not attachments:
        packet.values(binary=True)
    return packet, attachments


def _connect(kind: Kind, namespace: str, packet_id: int | None, rest: bytes) -> Packet:
    if len(rest) > MAX_AUTH_BYTES or _has_more(rest, _MAX_AUTH_VALUES):
        return Packet(kind, namespace)
    try:
        return Packet(kind, namespace, auth=_object(rest) if rest else {})
    except _BAD_JSON as error:
        raise _malformed("what CONNECT brings is one JSON object") from error


def _disconnect(kind: Kind, namespace: str, packet_id: int | None, rest: bytes) -> Packet:
    if rest:
        raise _malformed("DISCONNECT brings nothing")
    return Packet(kind, namespace)


def _event(kind: Kind, namespace: str, packet_id: int | None, rest: bytes) -> Packet:
    arguments = _arguments(rest)
    if not arguments:
        raise _malformed("an event without a name")
    try:
        event = _string(arguments[0])
    except _BAD_JSON as error:
        raise _malformed("an event's name is a string") from error
    if event in RESERVED:
        raise _malformed("an event of this name is the client's own")
    return Packet(kind, namespace, packet_id, arguments=arguments, event=event)


def _ack(kind: Kind, namespace: str, packet_id: int | None, rest: bytes) -> Packet:
    if packet_id is None:
        raise _malformed("an acknowledgement without an id")
    return Packet(kind, namespace, packet_id, arguments=_arguments(rest))


def _refused(kind: Kind, namespace: str, packet_id: int | None, rest: bytes) -> Packet:
    raise _malformed("only servers refuse")


def _arguments(rest: bytes) -> tuple[JsonBytes, ...]:
    try:
        arguments = _array(rest)
    except _BAD_JSON as error:
        raise _malformed("its data is one JSON array") from error
    if has_too_huge(rest):
        raise _malformed(f"more than {MAX_HUGE} numbers beyond 1e100")
    if len(arguments) > MAX_ARGUMENTS:
        raise _malformed(f"more than {MAX_ARGUMENTS} arguments")
    return tuple(map(bytes, arguments))


_BODIES: Final = {
    Kind.CONNECT: _connect,
    Kind.DISCONNECT: _disconnect,
    Kind.EVENT: _event,
    Kind.ACK: _ack,
    Kind.CONNECT_ERROR: _refused,
}


def read_command(packet: Packet) -> Command:
    """An EVENT as a command for the application."""
    arguments = packet.arguments[1:]
    size = _OVERHEAD + _EACH * len(arguments) + sum(map(len, arguments)) + sum(map(len, packet.attachments))
    return Command(
        type=packet.event,
        id=packet.id,
        payload=arguments[0] if arguments else b"null",
        more=arguments[1:],
        attachments=packet.attachments,
        size=size,
    )


def encode_packet(kind: Kind, namespace: str, packet_id: int | None, data: JsonBytes, attachments: int = 0) -> bytes:
    """The text of a packet; an event or an acknowledgement with ``attachments`` becomes a binary one."""
    prefix = b"%d" % kind if not attachments else b"%d%d-" % ((kind + 3), attachments)
    place = b"" if namespace == DEFAULT else namespace.encode() + b","
    number = b"" if packet_id is None else b"%d" % packet_id
    return b"".join((prefix, place, number, data))
