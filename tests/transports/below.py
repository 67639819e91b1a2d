"""A receiver in a test's hand: sockets are real, and the loop does nothing but what the test lets it do."""

import asyncio
import socket
import struct
import time
from collections.abc import Callable
from typing import Any

from openline.transports.receiver import Receiver
from openline.transports.socket_transport import SocketTransport

_PATIENCE = 60.0


class Loop:
    """What a receiver and its transports use of an event loop."""

    def __init__(self) -> None:
        self.readers: dict[int, Callable[[], None]] = {}
        self.soon: list[tuple[Callable[..., None], tuple[Any, ...]]] = []
        self.failures: list[dict[str, Any]] = []

    def add_reader(self, descriptor: int, callback: Callable[[], None]) -> None:
        self.readers[descriptor] = callback

    def remove_reader(self, descriptor: int) -> None:
        del self.readers[descriptor]

    def call_soon(self, callback: Callable[..., None], *arguments: Any) -> None:
        self.soon.append((callback, arguments))

    def is_closed(self) -> bool:
        return False

    def call_exception_handler(self, told: dict[str, Any]) -> None:
        self.failures.append(told)

    def turn(self) -> None:
        """What has come is read once, and what was to be called soon is called."""
        for callback in tuple(self.readers.values()):
            callback()
        while self.soon:
            callback, arguments = self.soon.pop(0)
            callback(*arguments)


class Listening(asyncio.Protocol):
    """Notes what it hears."""

    def __init__(self) -> None:
        self.got = b""
        self.reads: list[int] = []
        self.heard: list[str] = []
        self.half_open = False
        self.then: Callable[[], None] = lambda: None

    def data_received(self, data: bytes) -> None:
        self.got += data
        self.reads.append(len(data))
        self.then()

    def eof_received(self) -> bool:
        self.heard.append("eof")
        return self.half_open

    def pause_writing(self) -> None:
        self.heard.append("pause")

    def resume_writing(self) -> None:
        self.heard.append("resume")

    def connection_lost(self, exc: Exception | None) -> None:
        self.heard.append("lost" if exc is None else type(exc).__name__)


class Below:
    """A receiver, and sockets that it reads."""

    def __init__(self) -> None:
        self.loop = Loop()
        self.receiver = Receiver(self.loop)  # type: ignore[arg-type]
        self.ends: list[socket.socket] = []
        self.transports: list[SocketTransport] = []
        # A receiver ends when nobody is seated.
        self.pair()

    def pair(self, protocol: asyncio.BaseProtocol | None = None, *, kind: int = socket.SOCK_STREAM) -> Any:
        """A transport whose peer is the test: (the transport, its protocol, the peer's end)."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, kind)
        return self._seat(ours, theirs, protocol or Listening())

    def tcp(self) -> Any:
        """As :meth:`pair`, over TCP."""
        with socket.create_server(("127.0.0.1", 0)) as listener:
            theirs = socket.create_connection(listener.getsockname())
            ours, _ = listener.accept()
        return self._seat(ours, theirs, Listening())

    def _seat(self, ours: socket.socket, theirs: socket.socket, protocol: asyncio.BaseProtocol) -> Any:
        ours.setblocking(False)
        theirs.setblocking(False)
        for end in (ours, theirs):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
        transport = SocketTransport(self.receiver, ours.detach(), protocol, "127.0.0.1")
        self.ends.append(theirs)
        self.transports.append(transport)
        return transport, protocol, theirs

    def until(self, it_is_so: Callable[[], object]) -> None:
        """Turn until it is so: what is sent over TCP is there when the system has brought it, and not at once."""
        deadline = time.monotonic() + _PATIENCE
        while not it_is_so():
            assert time.monotonic() < deadline
            self.loop.turn()

    def close(self) -> None:
        """Everything is closed, the receiver by itself."""
        for transport in self.transports:
            transport.abort()
        for end in self.ends:
            end.close()
        self.loop.turn()
        assert not self.loop.readers


def reset(end: socket.socket) -> None:
    """The peer is gone, and says so with RST."""
    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    end.close()


def read_all(end: socket.socket) -> bytes:
    """What the peer can read now."""
    got = b""
    try:
        while data := end.recv(65_536):
            got += data
    except BlockingIOError:
        pass
    return got
