"""One WebSocket frame as bytes and back (RFC 6455 §5): its header, its mask, its close payload."""

from enum import IntEnum
from typing import Final, NamedTuple

from openline.accelerator import native
from openline.errors import CloseCode, ProtocolError

__all__ = [
    "Header",
    "Item",
    "Opcode",
    "decode_close",
    "encode_close",
    "encode_frame",
    "encode_masked",
    "encode_text",
    "fit_reason",
    "is_utf8",
    "length_field_end",
    "mask",
    "may_be_sent",
    "parse_frames",
    "parse_frames_in_python",
    "read_header",
]

FINAL: Final = 0x80
MASKED: Final = 0x80
RESERVED_BITS: Final = 0x70
CONTROL_LIMIT: Final = 125  # §5.5
REASON_LIMIT: Final = CONTROL_LIMIT - 2


class Opcode(IntEnum):
    """What a frame is (§5.2); from ``CLOSE`` on they are control frames."""

    CONTINUATION = 0x0
    TEXT = 0x1
    BINARY = 0x2
    CLOSE = 0x8
    PING = 0x9
    PONG = 0xA


# What a reader hands on: a whole message or a control frame.
Item = tuple[Opcode, bytes]

# As globals: a lookup through the enum costs more than the comparison, once per frame.
TEXT, BINARY, PING, PONG = Opcode.TEXT, Opcode.BINARY, Opcode.PING, Opcode.PONG

OPCODES: Final[dict[int, Opcode]] = {int(opcode): opcode for opcode in Opcode}

# First bytes of the frames that `parse_frames` takes: final, no reserved bit, neither fragment nor close.
PLAIN: Final[dict[int, Opcode]] = {FINAL | opcode: opcode for opcode in (TEXT, BINARY, PING, PONG)}

# MASKS[k][b] == b ^ k. Below MASKS_PAY_FROM bytes one XOR of big integers is quicker (measured, CPython 3.11).
MASKS: Final = tuple(bytes(map(key.__xor__, range(256))) for key in range(256))
MASKS_PAY_FROM: Final = 400


class Header(NamedTuple):
    """A frame's header; ``size`` counts its own bytes (the mask's key included), ``length`` those of the payload."""

    opcode: Opcode
    final: bool
    size: int
    length: int


def parse_frames_in_python(data: bytes | bytearray | memoryview, start: int, limit: int) -> tuple[list[Item], int]:
    """Take the plain frames from ``data[start:]``; return them and where the first byte that was not taken stands.

    A plain frame is whole, masked, final, without reserved bits; it is TEXT, BINARY, PING or PONG, its length is
    written in the shortest form and is at most ``limit`` (a control frame's at most 125), and TEXT is valid UTF-8.
    Everything else (a fragment, a close, the front of a frame, a violation) ends the run and stays for the
    :class:`~openline.protocol.websocket.FrameReader`, which knows what came before and names the failure.

    The contract, which the native twin shares: nothing but plain frames is taken, in order, without a hole; it may
    stop earlier at any frame's beginning (this one leaves 64-bit lengths alone); payloads are new ``bytes``; nothing
    of ``data`` is kept; time is linear in what was taken plus one frame; it never raises for any content.
    """
    # One copy spares a view's dearer slices.
    data = bytes(data)
    items: list[Item] = []
    end = len(data)
    while end - start >= 6:
        opcode = PLAIN.get(data[start])
        if opcode is None:
            break
        length = data[start + 1] - MASKED
        body = start + 6
        if length > CONTROL_LIMIT:
            if length == 127 or opcode is PING or opcode is PONG:
                break
            length = data[start + 2] << 8 | data[start + 3]
            body += 2
            if length <= CONTROL_LIMIT:
                break
        stop = body + length
        if length < 0 or length > limit or stop > end:
            break
        payload = mask(data[body:stop], data[body - 4 : body])
        if opcode is TEXT and not payload.isascii() and not is_utf8(payload):
            break
        items.append((opcode, payload))
        start = stop
    return items, start


if native is None:
    parse_frames = parse_frames_in_python
else:
    native.use_opcodes(TEXT, BINARY, PING, PONG)
    parse_frames = native.parse_frames


def mask(payload: bytes, key: bytes) -> bytes:
    """Put the mask of the four bytes ``key`` on ``payload``, or take it off: it is the same step (§5.3)."""
    length = len(payload)
    if length < MASKS_PAY_FROM:
        keys = (key * (length // 4 + 1))[:length]
        return (int.from_bytes(payload) ^ int.from_bytes(keys)).to_bytes(length)
    result = bytearray(payload)
    for place in range(4):
        result[place::4] = result[place::4].translate(MASKS[key[place]])
    return bytes(result)


def is_utf8(payload: bytes) -> bool:
    """Whether ``payload`` is UTF-8 as RFC 3629 has it: no surrogates, nothing overlong, nothing above U+10FFFF."""
    try:
        payload.decode()
    except UnicodeDecodeError:
        return False
    return True


def length_field_end(front: bytes | bytearray) -> int:
    """Tell how many bytes of a frame :func:`read_header` must see, as far as its ``front`` shows."""
    if len(front) < 2:
        return 2
    return {126: 4, 127: 10}.get(front[1] & 0x7F, 2)


def read_header(data: bytes | bytearray, start: int, *, masked: bool) -> Header | None:
    """Read the header that begins at ``start``; None when its length field is not there yet (the key may be missing).

    Raises :class:`~openline.errors.ProtocolError` for what is wrong in any frame, whatever came before it.
    """
    if len(data) - start < 2:
        return None
    first, second = data[start], data[start + 1]
    opcode = OPCODES.get(first & 0x0F)
    if opcode is None or first & RESERVED_BITS:
        raise ProtocolError(CloseCode.PROTOCOL_ERROR, "unknown opcode or reserved bit")
    if (second >= MASKED) is not masked:
        raise ProtocolError(CloseCode.PROTOCOL_ERROR, "frame without a mask" if masked else "masked frame")
    short = second & 0x7F
    if opcode >= Opcode.CLOSE and (first < FINAL or short > CONTROL_LIMIT):
        raise ProtocolError(CloseCode.PROTOCOL_ERROR, "control frame fragmented or too long")
    end = start + length_field_end(data[start : start + 2])
    if len(data) < end:
        return None
    length = int.from_bytes(data[start + 2 : end]) if short > CONTROL_LIMIT else short
    if short > CONTROL_LIMIT and length <= (CONTROL_LIMIT if short == 126 else 0xFFFF):
        raise ProtocolError(CloseCode.PROTOCOL_ERROR, "length not in its shortest form")
    return Header(opcode, first >= FINAL, end - start + 4 * masked, length)


def encode_frame(opcode: Opcode, payload: bytes) -> bytes:
    """Encode one final frame as a server sends it: header and payload, not masked."""
    return _header(opcode, len(payload), 0) + payload


# The headers of short texts, which most are.
SHORT_TEXTS: Final = tuple(bytes((FINAL | TEXT, length)) for length in range(CONTROL_LIMIT + 1))


def encode_text(payload: bytes) -> bytes:
    """Encode one text message as a server sends it; what :func:`encode_frame` does, for what is sent all the time."""
    length = len(payload)
    if length <= CONTROL_LIMIT:
        return SHORT_TEXTS[length] + payload
    if length <= 0xFFFF:
        return b"\x81\x7e%b%b" % (length.to_bytes(2), payload)
    return _header(TEXT, length, 0) + payload


def encode_masked(opcode: Opcode, payload: bytes, key: bytes) -> bytes:
    """Encode one final frame as a client sends it; ``key`` is four bytes, fresh and random for every frame (§5.3)."""
    if len(key) != 4:
        raise ValueError("a mask's key has four bytes")
    return _header(opcode, len(payload), MASKED) + key + mask(payload, key)


def _header(opcode: Opcode, length: int, masked: int) -> bytes:
    """Encode a final frame's header without the key; ValueError for a control frame that may not be that long."""
    if length <= CONTROL_LIMIT:
        return bytes((FINAL | opcode, masked | length))
    if opcode >= Opcode.CLOSE:
        raise ValueError(f"a control frame holds {CONTROL_LIMIT} bytes, not {length}")
    if length <= 0xFFFF:
        return bytes((FINAL | opcode, masked | 126)) + length.to_bytes(2)
    return bytes((FINAL | opcode, masked | 127)) + length.to_bytes(8)


def encode_close(code: int | None, reason: str = "") -> bytes:
    """Encode a server's close frame; what does not fit of ``reason`` is cut off between two characters.

    Without a ``code`` there is no room for a reason (§5.5.1). Raises ValueError for a code that may not be sent.
    """
    if code is None:
        return encode_frame(Opcode.CLOSE, b"")
    if not may_be_sent(code):
        raise ValueError(f"close code {code} may not be sent")
    return encode_frame(Opcode.CLOSE, code.to_bytes(2) + fit_reason(reason).encode())


def fit_reason(reason: str) -> str:
    """``reason`` as a close frame can hold it: at most 123 bytes of UTF-8, cut off between two characters (§5.5)."""
    return reason.encode(errors="replace")[:REASON_LIMIT].decode(errors="ignore")


def decode_close(payload: bytes) -> tuple[int | None, str]:
    """Decode a close frame's payload: its code, None if there is none, and its reason.

    Raises :class:`~openline.errors.ProtocolError`.
    """
    if not payload:
        return None, ""
    if not is_utf8(payload[2:]):
        raise ProtocolError(CloseCode.INVALID_DATA, "close reason is not UTF-8")
    code = int.from_bytes(payload[:2])
    if len(payload) < 2 or not may_be_sent(code):
        raise ProtocolError(CloseCode.PROTOCOL_ERROR, "close code that may not be sent")
    return code, payload[2:].decode()


def may_be_sent(code: int) -> bool:
    """Tell whether a close code may stand on the wire (§7.4 and the registry: 1012 to 1014 came later)."""
    return 1000 <= code <= 1003 or 1007 <= code <= 1014 or 3000 <= code <= 4999
