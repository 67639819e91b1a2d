"""A transport below the event loop's own: a TCP socket that the receiver reads, and what waits to be written to it."""

import errno
import os
from asyncio import AbstractEventLoop, BaseProtocol, Transport, get_running_loop
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from socket import AF_INET, AF_INET6, SHUT_WR, SO_ERROR, SOL_SOCKET, socket
from typing import Any, Final, Protocol, cast

from openline.transports.receiver import WRITABLE, Reader, Receiver

__all__ = ["BorrowedSocket", "SocketTransport", "below"]

#: Of what waits, as much is offered to the socket at a time.
_OFFERED: Final = 262_144
_HIGH: Final = 65_536


class _Speaker(Protocol):
    """What is called of a protocol: ``asyncio.Protocol``, flow control included."""

    data_received: Callable[[bytes], None] | None

    def feed(self, data: bytes) -> None: ...
    def eof_received(self) -> bool | None: ...
    def pause_writing(self) -> None: ...
    def resume_writing(self) -> None: ...
    def connection_lost(self, exc: Exception | None) -> None: ...


class SocketTransport(Transport):
    """See ``asyncio.Transport``; it owns ``descriptor``, a connected TCP socket that does not block.

    ``peer`` is the address of the client, for who wants to know it before a line begins.
    """

    __slots__ = (
        "_closing",
        "_ends",
        "_high",
        "_lost",
        "_paused",
        "_protocol",
        "_queue",
        "_reading",
        "_receiver",
        "descriptor",
        "peer",
    )

    def __init__(self, receiver: Receiver, descriptor: int, protocol: BaseProtocol, peer: str) -> None:
        # asyncio's own would make a dict for each.
        self._receiver = receiver
        self.descriptor = -1
        self.peer = peer
        self._protocol = cast("_Speaker", protocol)
        self._queue: bytearray | None = None
        self._high = _HIGH
        self._reading = True
        self._paused = self._closing = self._ends = self._lost = False
        receiver.seat(descriptor, self)
        # From here on it is ours to close.
        self.descriptor = descriptor

    @property
    def loop(self) -> AbstractEventLoop:
        """The loop that it belongs to."""
        return self._receiver.loop

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Of the names that asyncio knows: ``socket``, ``peername`` and ``sockname``; others have no meaning here."""
        if self.descriptor < 0 or name not in ("socket", "peername", "sockname"):
            return default
        borrowed = BorrowedSocket(self.descriptor)
        if name == "socket":
            return borrowed
        try:
            return borrowed.getpeername() if name == "peername" else borrowed.getsockname()
        except OSError:  # gone already
            return default

    def set_protocol(self, protocol: BaseProtocol) -> None:
        """From now on ``protocol`` hears of what comes, as bytes, until :meth:`expect` says otherwise."""
        self._protocol = cast("_Speaker", protocol)

    def get_protocol(self) -> BaseProtocol:
        """Who hears of what comes."""
        return cast("BaseProtocol", self._protocol)

    # -- reading

    def expect(self, reader: Reader, limit: int) -> None:
        """From now on ``reader``, the protocol, gets what comes; see :meth:`Receiver.expect`."""
        if not self._lost:
            self._receiver.expect(self.descriptor, reader, limit)

    def found(self, what: Any, more: Any) -> None:
        """See :class:`~openline.transports.receiver.Reader`."""
        if self._lost:
            return
        if what is not None:
            if not self._closing:
                # A WebSocket line, which takes no plain bytes here, may have taken over since these were read.
                (self._protocol.data_received or self._protocol.feed)(more)
        elif more == WRITABLE:
            self._write_on()
        elif more:
            self._lose(OSError(more, os.strerror(more)))
        else:
            self._end_of_reading()

    def failed(self, error: Exception) -> None:
        """See :class:`~openline.transports.receiver.Reader`."""
        told = {"message": "A protocol failed", "exception": error, "transport": self, "protocol": self._protocol}
        self.loop.call_exception_handler(told)
        self._lose(error)

    def _end_of_reading(self) -> None:
        self._reading = False
        self._watch()
        if not self._protocol.eof_received():
            self.close()

    def is_reading(self) -> bool:
        """Whether the peer is listened to."""
        return self._reading and not self._closing

    @property
    def behind(self) -> bool:
        """Whether what the peer has sent may be unread for no other reason than that we are late."""
        return self._receiver.behind

    def pause_reading(self) -> None:
        """Read nothing until :meth:`resume_reading`."""
        self._reading = False
        self._watch()

    def resume_reading(self) -> None:
        """Go on reading."""
        if not self._closing:
            self._reading = True
            self._watch()

    def _watch(self) -> None:
        if not self._lost:
            self._receiver.watch(self.descriptor, reading=self._reading, writing=self._queue is not None)

    # -- writing

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """``pause_writing`` is called above ``high``, ``resume_writing`` at a quarter of it, whatever ``low``."""
        self._high = _HIGH if high is None else high

    def get_write_buffer_size(self) -> int:
        """Bytes that wait."""
        return 0 if self._queue is None else len(self._queue)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Write ``data`` behind everything before; nothing once it closes."""
        if self._closing or self._ends or not data:
            return
        if self._queue is None:
            taken = self._offer(data)
            if taken == len(data) or self._lost:
                return
            self._queue = bytearray(data[taken:])
            self._watch()
        else:
            self._queue += data
        if len(self._queue) > self._high and not self._paused:
            self._paused = True
            self._protocol.pause_writing()

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> None:
        """Write all of them."""
        self.write(b"".join(list_of_data))

    def _offer(self, data: bytes | bytearray | memoryview) -> int:
        try:
            return os.write(self.descriptor, data)
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError as error:
            self._lose(error)
            return 0

    def _write_on(self) -> None:
        queue = self._queue
        if queue is None:
            # Nothing waits, so this is an error that shows here.
            code = BorrowedSocket(self.descriptor).getsockopt(SOL_SOCKET, SO_ERROR) or errno.ECONNRESET
            self._lose(OSError(code, os.strerror(code)))
            return
        with memoryview(queue) as waiting:
            taken = self._offer(waiting[:_OFFERED])
        if self._lost:
            return
        del queue[:taken]
        if not queue:
            self._queue = None
            self._watch()
            if self._ends:
                self._shut_down()
        if self._paused and len(queue) <= self._high // 4:
            self._paused = False
            self._protocol.resume_writing()
        if self._closing and self._queue is None:
            self._lose(None)

    def can_write_eof(self) -> bool:
        """It can."""
        return True

    def write_eof(self) -> None:
        """Say behind everything that waits that nothing more will come."""
        if not (self._ends or self._closing):
            self._ends = True
            if self._queue is None:
                self._shut_down()

    def _shut_down(self) -> None:
        try:
            BorrowedSocket(self.descriptor).shutdown(SHUT_WR)
        except OSError:  # gone already, which reading will tell
            return

    # -- ending

    def is_closing(self) -> bool:
        """Whether it closes, or is closed."""
        return self._closing

    def close(self) -> None:
        """Close once everything that waits is written; nothing is read any more."""
        if not self._closing:
            self._closing = True
            self._reading = False
            if self._queue is None:
                self._lose(None)
            else:
                self._watch()

    def abort(self) -> None:
        """Close now."""
        self._lose(None)

    def _lose(self, error: Exception | None) -> None:
        """Leave the seat now; the protocol is told in the next turn, and the descriptor closed after that."""
        self._closing = True
        self._queue = None
        if not self._lost:
            self._lost = True
            self._receiver.unseat(self.descriptor)
            self.loop.call_soon(self._close, error)

    def _close(self, error: Exception | None) -> None:
        try:
            self._protocol.connection_lost(error)
        finally:
            self._release()

    def _release(self) -> None:
        descriptor, self.descriptor = self.descriptor, -1
        os.close(descriptor)

    def __del__(self) -> None:
        # Its loop was closed before it was: until then the seat keeps us.
        if self.descriptor >= 0:
            self._release()


def below(transport: Transport) -> Transport:
    """Take the socket from under a transport of the event loop's, which ends without a word to its protocol.

    The transport itself comes back where that cannot be: it encrypts, has something to write, or is ours already.
    """
    lent = None if transport.get_extra_info("ssl_object") else transport.get_extra_info("socket")
    if isinstance(transport, SocketTransport) or lent is None or lent.family not in (AF_INET, AF_INET6):
        return transport
    receiver = None if transport.get_write_buffer_size() else Receiver.of(get_running_loop())
    if receiver is None or transport.is_closing():
        return transport
    descriptor = os.dup(lent.fileno())
    # The connection lives on with the new number; what the event loop knows of it goes.
    transport.pause_reading()
    transport.set_protocol(BaseProtocol())
    transport.abort()
    return SocketTransport(receiver, descriptor, BaseProtocol(), "")


class BorrowedSocket:
    """Somebody else's socket, for as long as a call takes."""

    __slots__ = ("_descriptor",)

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def fileno(self) -> int:
        """Its number."""
        return self._descriptor

    @contextmanager
    def _borrowed(self) -> Generator[socket]:
        borrowed = socket(fileno=self._descriptor)
        try:
            yield borrowed
        finally:
            borrowed.detach()

    @property
    def family(self) -> int:
        """Its family."""
        with self._borrowed() as borrowed:
            return borrowed.family

    def getpeername(self) -> Any:
        """As of ``socket.socket``."""
        with self._borrowed() as borrowed:
            return borrowed.getpeername()

    def getsockname(self) -> Any:
        """As of ``socket.socket``."""
        with self._borrowed() as borrowed:
            return borrowed.getsockname()

    def getsockopt(self, level: int, option: int) -> int:
        """As of ``socket.socket``."""
        with self._borrowed() as borrowed:
            return borrowed.getsockopt(level, option)

    def setsockopt(self, level: int, option: int, value: int) -> None:
        """As of ``socket.socket``."""
        with self._borrowed() as borrowed:
            borrowed.setsockopt(level, option, value)

    def shutdown(self, how: int) -> None:
        """As of ``socket.socket``."""
        with self._borrowed() as borrowed:
            borrowed.shutdown(how)
