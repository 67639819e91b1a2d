"""A transport over one end of a real socket pair: it buffers and resumes as asyncio's do, when the test lets it."""

import os
import socket
from typing import Any

from openline.protocol.raw_codec import RawCodec
from openline.transports.wire import SocketWire
from tests.transports.sockets import Owner


class PairTransport:
    """What :class:`SocketWire` uses of ``asyncio.Transport``; nothing is written in the background but by :meth:`pump`.

    ``ours`` is written to and ``theirs`` read by the test, which plays the peer. ``got`` is what the peer has read.
    """

    def __init__(self, *, tls: bool = False, number: int | None = None) -> None:
        """``number``: that of our descriptor, which must be free."""
        self.ours, self.theirs = socket.socketpair()
        if number is not None:
            self._renumber(number)
        for end in (self.ours, self.theirs):
            end.setblocking(False)
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        self.wire: SocketWire | None = None
        self.got = bytearray()
        self.reading = True
        self.broken = False
        self.aborted = False
        self._tls = tls
        self._waiting = bytearray()
        self._paused = False

    def _renumber(self, number: int) -> None:
        if self.theirs.fileno() == number:
            self.ours, self.theirs = self.theirs, self.ours
        elif self.ours.fileno() != number:
            first, self.ours = self.ours, socket.socket(fileno=os.dup2(self.ours.fileno(), number))
            first.close()

    # -- what a wire sees

    def get_extra_info(self, name: str) -> Any:
        return {"socket": self.ours, "ssl_object": object() if self._tls else None}[name]

    def set_write_buffer_limits(self, high: int) -> None:
        assert high == 0

    def get_write_buffer_size(self) -> int:
        return len(self._waiting)

    def write(self, data: bytes) -> None:
        self._waiting += data
        if len(self._waiting) == len(data):
            self._send()
        self._paused = self._paused or bool(self._waiting)

    def abort(self) -> None:
        self._waiting.clear()
        self.aborted = True

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    # -- what a test does

    def make_wire(self, limit: int = 100_000) -> SocketWire:
        """The wire over this transport, which belongs to ``owner``."""
        self.owner = Owner()
        self.wire = SocketWire(
            self,  # type: ignore[arg-type]
            RawCodec(),  # type: ignore[arg-type]
            self.owner,
            outbox_bytes=limit,
        )
        return self.wire

    @property
    def too_slow(self) -> int:
        """How often the wire was given up."""
        return self.owner.given_up

    def _send(self) -> None:
        try:
            while self._waiting:
                del self._waiting[: self.ours.send(self._waiting)]
        except BlockingIOError:
            return
        except OSError:
            self.broken = True
            self._waiting.clear()

    def pump(self) -> None:
        """The loop's turn: write what the socket takes now, and tell the wire once nothing waits."""
        self._send()
        if self._paused and not self._waiting:
            self._paused = False
            assert self.wire is not None
            self.wire.resume_writing()

    def read(self, size: int) -> bytes:
        """The peer reads up to ``size`` bytes; the loop has not run yet."""
        try:
            data = self.theirs.recv(size)
        except BlockingIOError:
            return b""
        self.got += data
        return data

    def drain(self) -> bytes:
        """The peer reads and the loop runs until nothing is left; what the peer has got in all."""
        while self.read(65_536) or self._paused:
            self.pump()
        return bytes(self.got)

    def fill(self) -> int:
        """Write to the socket beside everybody until it is full; how many bytes that were."""
        size = 0
        try:
            while True:
                size += self.ours.send(b"~" * 1024)
        except BlockingIOError:
            return size

    def close(self) -> None:
        """Both ends are closed; the next socket gets their numbers."""
        self.ours.close()
        self.theirs.close()


class PacketTransport(PairTransport):
    """Keeps what each system call wrote apart."""

    def __init__(self) -> None:
        super().__init__()
        for end in (self.ours, self.theirs):
            end.close()
        self.ours, self.theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.theirs.setblocking(False)

    def calls(self) -> list[bytes]:
        """What was written, call by call."""
        found: list[bytes] = []
        while data := self.read(65_536):
            found.append(data)
        return found
