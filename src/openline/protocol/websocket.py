"""What a WebSocket peer sends, from bytes in any pieces to checked messages (RFC 6455 §5–§8), without I/O."""

import codecs
from typing import Final

from openline.errors import CloseCode, ProtocolError
from openline.protocol.frames import (
    Header,
    Item,
    Opcode,
    decode_close,
    encode_close,
    encode_frame,
    encode_masked,
    is_utf8,
    length_field_end,
    mask,
    parse_frames,
    read_header,
)

__all__ = ["FrameReader", "Item", "Opcode", "decode_close", "encode_close", "encode_frame", "encode_masked"]

new_utf8_decoder: Final = codecs.getincrementaldecoder("utf-8")


class FrameReader:
    """One peer's bytes in, its messages and control frames out; the first violation ends it.

    ``max_message`` limits a message's bytes, ``max_fragments`` its frames. With ``masked`` the peer is a client, which
    must mask its frames; without, it is a server, which must not. A reader that waits for nothing owns no buffer.
    """

    __slots__ = ("_done", "_front", "_masked", "_max_fragments", "_max_message", "_message", "failure")

    def __init__(self, *, max_message: int, max_fragments: int = 1024, masked: bool = True) -> None:
        self._max_message = max_message
        self._max_fragments = max_fragments
        self._masked = masked
        self._front: _Front | None = None
        self._message: _Message | None = None
        self._done = False
        self.failure: ProtocolError | None = None

    @property
    def held(self) -> int:
        """How many bytes of an incomplete frame and an incomplete message are kept."""
        front, message = self._front, self._message
        return (len(front.data) if front else 0) + (len(message.body) if message else 0)

    @property
    def idle(self) -> bool:
        """Whether it waits for nothing: a new one would go on just as well."""
        return self._front is None and self._message is None and not self._done

    def feed(self, data: bytes | bytearray | memoryview) -> list[Item]:
        """Take bytes as they came and return what they complete, in order.

        The items are messages (``TEXT``, which is UTF-8, and ``BINARY``), ``PING``, ``PONG``, and ``CLOSE``, whose
        payload :func:`decode_close` takes. Nothing of ``data`` is kept but a copy of an incomplete end. When the peer
        breaks the protocol, the items before that are returned and ``failure`` says why. After a failure or a
        ``CLOSE`` everything is ignored. Never raises for any content.
        """
        if self._done:
            return []
        items: list[Item] = []
        start = 0
        if self.idle and self._masked:
            items, start = parse_frames(data, 0, self._max_message)
        if start < len(data):
            try:
                self._read(bytes(data[start:]), 0, items)
            except ProtocolError as failure:
                # The traceback would keep `data` alive as long as the failure.
                self.failure = failure.with_traceback(None)
                self._end()
        return items

    def _read(self, data: bytes, start: int, items: list[Item]) -> None:
        """Append the items of ``data[start:]``: a frame, then whatever is plain, and so on to the end."""
        end = len(data)
        while start < end and not self._done:
            if self._front is None:
                start = self._begin(data, start, items)
            else:
                start = self._go_on(self._front, data, start, items)
            if start < end and self.idle and self._masked:
                plain, start = parse_frames(data, start, self._max_message)
                items += plain

    def _begin(self, data: bytes, start: int, items: list[Item]) -> int:
        """Read the frame that begins at ``start`` and return where it ends; keep what is there of it if it does not."""
        header = self._judge(data, start)
        if header is not None and len(data) - start >= header.size + header.length:
            end = start + header.size + header.length
            self._take(header, data[start:end], items)
            return end
        self._front = _Front(bytearray(data[start:]), header)
        return len(data)

    def _go_on(self, front: "_Front", data: bytes, start: int, items: list[Item]) -> int:
        """Add to ``front`` what it lacks, at most; return where the rest of ``data`` begins."""
        end = min(len(data), start + front.missing())
        front.data += data[start:end]
        if front.header is None:
            front.header = self._judge(front.data, 0)
        if front.header is not None and front.missing() == 0:
            self._front = None
            self._take(front.header, bytes(front.data), items)
        return end

    def _judge(self, data: bytes | bytearray, start: int) -> Header | None:
        """Read a header and decide whether its frame may come at all, before a byte of it is kept."""
        header = read_header(data, start, masked=self._masked)
        if header is None or header.opcode >= Opcode.CLOSE:
            return header
        message = self._message
        if (header.opcode is Opcode.CONTINUATION) is (message is None):
            raise ProtocolError(CloseCode.PROTOCOL_ERROR, "fragment out of order")
        if header.length + (len(message.body) if message else 0) > self._max_message:
            raise ProtocolError(CloseCode.TOO_BIG, f"message of more than {self._max_message} bytes")
        if message is not None and message.fragments >= self._max_fragments:
            raise ProtocolError(CloseCode.TOO_BIG, f"message of more than {self._max_fragments} fragments")
        return header

    def _take(self, header: Header, frame: bytes, items: list[Item]) -> None:
        """Act on a whole frame that :meth:`_judge` let pass."""
        payload = frame[header.size :]
        if self._masked:
            payload = mask(payload, frame[header.size - 4 : header.size])
        if header.opcode is Opcode.CLOSE:
            decode_close(payload)
            self._end()
        elif header.opcode < Opcode.CLOSE:
            if self._message is not None or not header.final:
                self._add_fragment(header, payload, items)
                return
            if header.opcode is Opcode.TEXT and not is_utf8(payload):
                raise ProtocolError(CloseCode.INVALID_DATA, "text is not UTF-8")
        items.append((header.opcode, payload))

    def _add_fragment(self, header: Header, payload: bytes, items: list[Item]) -> None:
        """Begin a message, go on with it, or complete it."""
        message = self._message
        if message is None:
            message = self._message = _Message(header.opcode)
        if not message.add(payload, final=header.final):
            raise ProtocolError(CloseCode.INVALID_DATA, "text is not UTF-8")
        if header.final:
            self._message = None
            items.append((message.opcode, bytes(message.body)))

    def _end(self) -> None:
        """Let go of everything; nothing more is read."""
        self._done = True
        self._front = self._message = None


class _Front:
    """The front of a frame whose end has not come; ``header`` is None until its length is known."""

    __slots__ = ("data", "header")

    def __init__(self, data: bytearray, header: Header | None) -> None:
        self.data = data
        self.header = header

    def missing(self) -> int:
        """Tell how many bytes to wait for: the rest of the frame, or of what says how long it is."""
        header = self.header
        return (length_field_end(self.data) if header is None else header.size + header.length) - len(self.data)


class _Message:
    """A message whose last fragment has not come; a text's UTF-8 is followed from fragment to fragment."""

    __slots__ = ("_decoder", "body", "fragments", "opcode")

    def __init__(self, opcode: Opcode) -> None:
        self.opcode = opcode
        self.body = bytearray()
        self.fragments = 0
        self._decoder = new_utf8_decoder() if opcode is Opcode.TEXT else None

    def add(self, payload: bytes, *, final: bool) -> bool:
        """Append a fragment; False if the text cannot be UTF-8 any more."""
        self.body += payload
        self.fragments += 1
        if self._decoder is None:
            return True
        try:
            self._decoder.decode(payload, final)
        except UnicodeDecodeError:
            return False
        # CPython keeps the front of a surrogate (ED A0 to ED BF) until its third byte, which cannot save it.
        return not b"\xed\xa0" <= self._decoder.getstate()[0] < b"\xee"
