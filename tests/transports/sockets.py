"""Real sockets under a transport that has no loop: what the kernel does is real, when it is asked is the test's."""

import os
import socket
from collections.abc import Callable
from typing import Any

from openline.protocol.json_codec import JsonCodec
from openline.transports.wire import SocketWire

CODEC = JsonCodec(lambda text: text)


class SocketTransport:
    """An asyncio transport over a non-blocking socket, as far as a wire needs one."""

    def __init__(self, end: socket.socket, *, secure: bool = False) -> None:
        self._end = end
        self._secure = secure
        self._buffer = bytearray()
        self.closed = self.aborted = False
        self.reading = True
        self.resume_writing: Callable[[], None] = lambda: None

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return {"socket": self._end, "ssl_object": self._secure or None}.get(name, default)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        assert high == 0

    def get_write_buffer_size(self) -> int:
        return len(self._buffer)

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def write(self, data: bytes) -> None:
        assert not self.closed
        self._buffer += data
        if len(self._buffer) == len(data):
            self._write_some()

    def _write_some(self) -> None:
        try:
            del self._buffer[: os.write(self._end.fileno(), self._buffer)]
        except BlockingIOError:
            pass
        except OSError:
            self._buffer.clear()

    def writable(self) -> None:
        """The loop found the socket writable."""
        if self._buffer and not self.closed:
            self._write_some()
            if not self._buffer:
                self.resume_writing()

    def abort(self) -> None:
        """What waits is lost; the descriptor goes when the test says so, as it does in a later turn of the loop."""
        self._buffer.clear()
        self.aborted = True

    def close(self) -> None:
        """As the loop does: the descriptor goes after everybody has let go of it."""
        self.closed = True
        self._end.close()


class Owner:
    """What a wire asks of its line: with what it was closed, how often it was given up."""

    def __init__(self) -> None:
        self.closed: list[tuple[int, str]] = []
        self.given_up = 0

    def wire_closes(self, code: int, reason: str) -> None:
        self.closed.append((code, reason))

    def too_slow(self) -> None:
        self.given_up += 1


class Line:
    """Both ends of a line, and what the far one has read."""

    def __init__(self, *, outbox_bytes: int = 65_536, buffer_bytes: int = 4096, secure: bool = False) -> None:
        near, self._far = socket.socketpair()
        near.setblocking(False)
        self._far.setblocking(False)
        near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer_bytes)
        self.transport = SocketTransport(near, secure=secure)
        self.heard = bytearray()
        self.owner = Owner()
        self.wire = SocketWire(
            self.transport,  # type: ignore[arg-type]  # as much of a transport as a wire needs
            CODEC,
            self.owner,
            outbox_bytes=outbox_bytes,
        )
        self.transport.resume_writing = self.wire.resume_writing

    @property
    def slow(self) -> bool:
        """Whether the wire has given it up, perhaps in the middle of a frame."""
        return self.owner.given_up > 0 or self.transport.aborted

    @property
    def number(self) -> int:
        """The descriptor, while it is open."""
        return self.transport.get_extra_info("socket").fileno()

    def read(self) -> bytes:
        """The peer reads everything, as far as it comes."""
        while True:
            try:
                data = self._far.recv(65_536)
            except BlockingIOError:
                data = b""
            if not data:
                if not self.transport.get_write_buffer_size() or self.transport.closed:
                    return bytes(self.heard)
                self.transport.writable()
            self.heard += data

    def read_some(self, size: int) -> None:
        """The peer reads up to ``size`` bytes."""
        try:
            self.heard += self._far.recv(size)
        except BlockingIOError:
            return
        self.transport.writable()

    def close(self) -> None:
        """The line ends: the wire lets go, then the descriptor is closed."""
        self.wire.shut()
        self.transport.close()

    def hang_up(self) -> None:
        """The peer is gone."""
        self._far.close()

    def discard(self) -> None:
        self.transport.close()
        self._far.close()
