"""Engine.IO, protocol 4: packets and payloads as bytes and back, the handshake's query and answer; no I/O, no clock.

What leaves is WebSocket frames on every transport: a polled answer is made of them when it is asked for.
"""

import base64
import binascii
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple
from urllib.parse import parse_qs

import msgspec

from openline.errors import CloseCode, ProtocolError, RequestRefused
from openline.protocol.frames import is_utf8, read_header
from openline.protocol.websocket import Opcode, encode_frame

__all__ = [
    "CLOSE",
    "MESSAGE",
    "NOOP",
    "PAYLOAD_PACKETS",
    "PING",
    "PONG",
    "PROBE",
    "SEPARATOR",
    "UPGRADE",
    "Fault",
    "Packet",
    "Query",
    "decode_payload",
    "encode_handshake",
    "fault",
    "is_handshake",
    "read_packet",
    "read_query",
    "split_frames",
    "text_frame",
]

OPEN: Final = b"0"
CLOSE: Final = b"1"
PING: Final = b"2"
PONG: Final = b"3"
MESSAGE: Final = b"4"
UPGRADE: Final = b"5"
NOOP: Final = b"6"
#: What the probe of an upgrade carries.
PROBE: Final = b"probe"
#: Between the packets of a payload.
SEPARATOR: Final = b"\x1e"
#: The most packets in one polled answer: python-socketio's client refuses more.
PAYLOAD_PACKETS: Final = 16

_KINDS: Final = frozenset((OPEN, CLOSE, PING, PONG, MESSAGE, UPGRADE, NOOP))
_BINARY: Final = b"b"
_encode: Final = msgspec.json.Encoder().encode


class Fault:
    """Why a request is turned down: the codes of Engine.IO's JSON answers."""

    TRANSPORT: Final = 0
    SESSION: Final = 1
    METHOD: Final = 2
    REQUEST: Final = 3
    FORBIDDEN: Final = 4
    VERSION: Final = 5


_FAULTS: Final = {
    Fault.TRANSPORT: "Transport unknown",
    Fault.SESSION: "Session ID unknown",
    Fault.METHOD: "Bad handshake method",
    Fault.REQUEST: "Bad request",
    Fault.FORBIDDEN: "Forbidden",
    Fault.VERSION: "Unsupported protocol version",
}


def fault(code: int, message: str = "") -> RequestRefused:
    """The refusal of a request: 400, or 403 for a forbidden one, with Engine.IO's JSON as its text."""
    text = _encode({"code": code, "message": message or _FAULTS[code]}).decode()
    return RequestRefused(403 if code == Fault.FORBIDDEN else 400, text)


class Query(NamedTuple):
    """What a request asks for; without ``sid`` it is a handshake. ``mark`` is what clients tell requests apart by."""

    transport: str
    sid: str | None
    mark: str = ""


def read_query(query: str, *, method: str, upgrade: bool, transports: Sequence[str]) -> Query:
    """What the ``query`` of a request asks for; raises :func:`fault`.

    ``upgrade``: the request asks for a WebSocket. ``transports`` are those that are served.
    """
    given = parse_qs(query, keep_blank_values=True)
    transport = _single(given, "transport")
    if transport is None or transport not in transports or "j" in given:
        raise fault(Fault.TRANSPORT)
    if (transport == "websocket") is not upgrade:
        raise fault(Fault.REQUEST)
    sid = _single(given, "sid")
    if "sid" in given and not sid:
        raise fault(Fault.SESSION)
    if sid is None and method != "GET":
        raise fault(Fault.METHOD)
    if _single(given, "EIO") != "4":
        raise fault(Fault.VERSION)
    return Query(transport, sid, _single(given, "t") or "")


def is_handshake(query: str) -> bool:
    """Whether a request with this ``query`` names no session, whatever else it says."""
    return "sid" not in parse_qs(query, keep_blank_values=True)


def _single(given: dict[str, list[str]], name: str) -> str | None:
    values = given.get(name, ())
    return values[0] if len(values) == 1 else None


def encode_handshake(
    sid: str, *, upgrades: Sequence[str], ping_interval: float, ping_timeout: float, max_payload: int
) -> bytes:
    """The data of the OPEN packet; times in seconds, which it tells in whole milliseconds."""
    said = {
        "sid": sid,
        "upgrades": list(upgrades),
        "pingInterval": round(ping_interval * 1000),
        "pingTimeout": round(ping_timeout * 1000),
        "maxPayload": max_payload,
    }
    return OPEN + _encode(said)


class Packet(NamedTuple):
    """One packet: its kind, and what it carries; ``binary`` messages came as bytes."""

    kind: bytes
    data: bytes
    binary: bool = False


def read_packet(text: bytes) -> Packet:
    """The packet in a text of valid UTF-8; raises :class:`ProtocolError` for what is none."""
    kind = text[:1]
    if kind not in _KINDS:
        raise ProtocolError(CloseCode.PROTOCOL_ERROR, "not an Engine.IO packet: it begins with 0 to 6")
    return Packet(kind, text[1:])


def decode_payload(body: bytes) -> Iterator[Packet]:
    """The packets in the body of a POST, however many, each decoded when it is asked for.

    Raises :class:`ProtocolError` at the first one that is none, and at once where the body is not UTF-8.
    """
    if not is_utf8(body):
        raise ProtocolError(CloseCode.INVALID_DATA, "the payload is not UTF-8")
    return _packets(body)


def _packets(body: bytes) -> Iterator[Packet]:
    start = 0
    while (end := body.find(SEPARATOR, start)) >= 0:
        yield _from_payload(body[start:end])
        start = end + 1
    yield _from_payload(body[start:])


def _from_payload(part: bytes) -> Packet:
    if part[:1] != _BINARY:
        return read_packet(part)
    try:
        return Packet(MESSAGE, base64.b64decode(part[1:], validate=True), binary=True)
    except (binascii.Error, ValueError) as error:
        raise ProtocolError(CloseCode.INVALID_DATA, "a binary packet is not base64") from error


def text_frame(packet: bytes) -> bytes:
    """A packet as a WebSocket frame."""
    return encode_frame(Opcode.TEXT, packet)


def split_frames(frames: bytes, most: int) -> tuple[list[bytes], bytes]:
    """The first packets, at most ``most``, of whole frames of ours, in the form of a payload; and the frames left."""
    packets: list[bytes] = []
    start = 0
    while start < len(frames) and len(packets) < most:
        header = read_header(frames, start, masked=False)
        if header is None:
            raise ValueError("half a frame")
        body = start + header.size
        start = body + header.length
        data = frames[body:start]
        packets.append(data if header.opcode is Opcode.TEXT else _BINARY + base64.b64encode(data))
    return packets, frames[start:]
