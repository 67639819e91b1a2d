"""The line of an event stream: one long answer over HTTP, written like a WebSocket, natively or over plain ASGI."""

import asyncio
import os
import socket
from asyncio import Protocol, Transport
from collections.abc import Callable, Mapping
from contextlib import suppress
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar
from typing import Protocol as Interface

from openline.errors import CloseCode
from openline.hub.outcome import Outcome
from openline.hub.ports import Wire
from openline.hub.timers import Timer
from openline.protocol.codec import Codec
from openline.protocol.commands import Word
from openline.protocol.handshake import response_head
from openline.transports.asgi import AsgiWire
from openline.transports.exchange import Exchange
from openline.transports.underneath import Underneath
from openline.transports.wire import SocketWire

if TYPE_CHECKING:
    from openline.transports.doors import Doors, Line

__all__ = ["AsgiStream", "Manners", "NativeStream", "open_stream"]

W = TypeVar("W", bound=Wire)
#: What is handed to an ASGI host at a time.
_CHUNK_BYTES: Final = 65_536


class Manners(Interface):
    """What a stream says by itself: in good time, so that it is not taken for dead, and at its end.

    ``leaves``: a client that ends the stream means to leave; else it may come back as the same connection.
    """

    leaves: bool

    def heartbeat(self, stream: "Line") -> bytes:
        """What goes out every ``ping_every_seconds``; ``b""`` for nothing."""
        ...

    def farewell(self, code: int, reason: str) -> bytes:
        """What is said behind everything else when the line closes; ``b""`` for nothing."""
        ...


class _Stream(Generic[W]):
    """See :class:`openline.transports.doors.Line`. Until it is begun nothing is written: frames wait, whoever tries."""

    wire: W

    def __init__(self, doors: "Doors", manners: Manners) -> None:
        self._doors = doors
        self._manners = manners
        self._closing = False
        self._timer: Timer | None = None
        #: Settled when the stream is over and done.
        self.gone: Outcome[None] = Outcome()

    def _beat(self) -> None:
        if not self._closing:
            self._set_timer(self._doors.settings.ping_every_seconds, self._beat)
            self._doors.tick.to_wire(self.wire, self._manners.heartbeat(self))

    def close(self, code: int, reason: str = "") -> None:
        """End the stream."""
        raise NotImplementedError

    def _set_timer(self, seconds: float | None, callback: Callable[[], None] | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if seconds is None or callback is None else self._doors.timers.after(seconds, callback)


def open_stream(doors: "Doors", codec: Codec, manners: Manners, exchange: Exchange) -> "NativeStream | AsgiStream":
    """The stream that is to answer ``exchange``: native where the server lets us. Its ``run`` begins it."""
    under = Underneath.of(exchange.receive)
    if under is None:
        return AsgiStream(doors, codec, manners, exchange)
    return NativeStream(doors, codec, manners, exchange, under)


class NativeStream(_Stream[SocketWire], Protocol):
    """Owns a transport that was taken from the HTTP server, in whose set ``connections`` it is while it lives.

    What the client sends on it is dropped. A peer that is gone without a word shows by acknowledging nothing.
    """

    def __init__(self, doors: "Doors", codec: Codec, manners: Manners, exchange: Exchange, under: Underneath) -> None:
        super().__init__(doors, manners)
        # Until it runs: a stream that lives for hours is to keep nothing of its request.
        self._request: tuple[Exchange, Underneath] | None = (exchange, under)
        self._transport = under.transport
        self._connections = under.connections
        self._begun = False
        # How it was closed before it had begun.
        self._closed: tuple[int, str] | None = None
        # The client may go while it is judged, and its descriptor be another's by then.
        self.wire = SocketWire(self._transport, codec, self, outbox_bytes=doors.settings.outbox_bytes, begun=False)

    async def run(self, headers: Mapping[str, str], first: bytes, begun: Callable[[], None]) -> None:
        """Take the transport, write the head and ``first``, and call ``begun``.

        Returns at once where the server tells the application of its end, else at the end of the stream.
        """
        if self._request is None:
            raise RuntimeError("a stream runs once")
        (exchange, under), self._request = self._request, None
        if not under.take():
            self.wire.shut()
            self._doors.line_lost(self.wire, clean=True)
            return
        exchange.answered = True
        self._begin(response_head(HTTPStatus.OK, (*headers.items(), ("connection", "close"))) + first)
        if self._closed is None:
            begun()
        else:
            self._transport.write(self._manners.farewell(*self._closed))
            self._hang_up()
        if not under.told_of_end:
            await self.gone

    def _begin(self, first: bytes) -> None:
        self._connections.add(self)
        self._transport.set_protocol(self)
        self._transport.resume_reading()
        _give_up_after(self._transport, self._doors.settings.pong_within_seconds)
        self._begun = True
        self._set_timer(self._doors.settings.ping_every_seconds, self._beat)
        self.wire.begin(first)

    # -- reading

    def data_received(self, data: bytes) -> None:
        """Nothing is expected."""

    def eof_received(self) -> bool:
        """The peer has gone."""
        return False

    # -- ending

    def close(self, code: int, reason: str = "") -> None:
        """End the stream behind everything queued; a peer that does not read that is given up after a while.

        Later calls change nothing.
        """
        if self._closing:
            return
        self._doors.tick.flush()
        # Looked at again: what was flushed may have been too much for this very stream.
        if self._closing:
            return
        self._closing = True
        rest = self.wire.shut()
        if self._begun:
            self._transport.write(rest + self._manners.farewell(code, reason))
            self._hang_up()
        else:
            self._closed = (code, reason)
        self._doors.line_lost(self.wire, clean=False)

    def _hang_up(self) -> None:
        self._set_timer(self._doors.settings.close_within_seconds, self._transport.abort)
        self._transport.close()

    def wire_closes(self, code: int, reason: str) -> None:
        """See :class:`~openline.transports.wire.Owner`."""
        self.close(code, reason)

    def too_slow(self) -> None:
        """See :class:`~openline.transports.wire.Owner`."""
        if not self._closing:
            self._closing = True
            if self._begun:
                self._hang_up()
            else:
                self._closed = (CloseCode.SLOW, "More waited than this connection may leave unread.")
            self._doors.line_lost(self.wire, clean=False)

    def shutdown(self) -> None:
        """The server stops (uvicorn calls it on every connection)."""
        self._doors.shutdown()
        self.close(CloseCode.RESTART, "The server restarts.")

    def connection_lost(self, exc: Exception | None) -> None:
        """The transport is gone; its descriptor is closed after this returns, and has left every group."""
        clean = exc is None and self._manners.leaves and not self._closing
        self._closing = True
        self.wire.shut()
        self._set_timer(None, None)
        self._doors.line_lost(self.wire, clean=clean)
        self._connections.discard(self)
        self.gone.settle(None)

    # -- writing

    def pause_writing(self) -> None:
        """The transport has bytes queued; the wire has noticed by itself."""

    def resume_writing(self) -> None:
        """The transport has written everything."""
        self.wire.resume_writing()


class AsgiStream(_Stream[AsgiWire]):
    """An answer of an ASGI host, which frames it and carries it.

    It sees of its client what the host takes. One that has vanished without a word is the system's to notice.
    """

    def __init__(self, doors: "Doors", codec: Codec, manners: Manners, exchange: Exchange) -> None:
        super().__init__(doors, manners)
        self._exchange = exchange
        self._farewell: bytes | None = None
        self._writer: asyncio.Task[None] | None = None
        #: Whether the host has taken anything since the last heartbeat.
        self._moved = False
        self.wire = AsgiWire(codec, doors.settings.outbox_bytes, self.close)

    async def run(self, headers: Mapping[str, str], first: bytes, begun: Callable[[], None]) -> None:
        """Send the head and ``first``, call ``begun``, and write until either side ends."""
        clean = False
        try:
            await self._exchange.start(HTTPStatus.OK, headers)
            self._set_timer(self._doors.settings.ping_every_seconds, self._beat)
            begun()
            async with asyncio.TaskGroup() as tasks:
                self._writer = writer = tasks.create_task(self._write(first))
                reader = tasks.create_task(self._exchange.disconnected())
                await asyncio.wait((writer, reader), return_when=asyncio.FIRST_COMPLETED)
                clean = reader.done() and self._manners.leaves and not self._closing
                writer.cancel()
                reader.cancel()
        finally:
            self._set_timer(None, None)
            self._closing = True
            self.wire.shut()
            self._doors.line_lost(self.wire, clean=clean)
            self.gone.settle(None)

    async def _write(self, first: bytes) -> None:
        # ASGI: an OSError says that the client has gone.
        with suppress(OSError):
            await self._exchange.go_on(first)
            self._moved = True
            outbox = self.wire.outbox
            while self._farewell is None or len(outbox):
                await self.wire.something.wait()
                self.wire.something.clear()
                while len(outbox):
                    await self._exchange.go_on(outbox.take(_CHUNK_BYTES))
                    self._moved = True
                    if not len(outbox):
                        self._tell_losses()
                self.wire.emptied()
            if self._farewell:
                await self._exchange.go_on(self._farewell)
            await self._exchange.end()

    def _beat(self) -> None:
        if not self._moved:
            # Not even the heartbeat has gone out.
            self.close(CloseCode.SLOW, "Nothing was read for too long.")
        self._moved = False
        super()._beat()

    def _tell_losses(self) -> None:
        lost, self.wire.outbox.lost = self.wire.outbox.lost, {}
        for channel, count in lost.items():
            self.wire.deliver([self.wire.codec.notice(Word.GAP, channel, b'{"lost":%d}' % count)])

    def close(self, code: int, reason: str = "") -> None:
        """End the stream behind everything queued; a host that does not take that is given up after a while.

        Later calls change nothing.
        """
        if self._closing:
            return
        self._doors.tick.flush()
        # Looked at again: what was flushed may have been too much for this very stream.
        if self._closing:
            return
        self._closing = True
        self._farewell = self._manners.farewell(code, reason)
        self.wire.shut()
        self._set_timer(self._doors.settings.close_within_seconds, self._give_up)
        self._doors.line_lost(self.wire, clean=False)

    def _give_up(self) -> None:
        if self._writer is not None:
            self._writer.cancel()


def _give_up_after(transport: Transport, seconds: float) -> None:
    """Have the kernel break the connection when what was sent is not acknowledged for so long (Linux, tcp(7))."""
    option: int | None = getattr(socket, "TCP_USER_TIMEOUT", None)
    raw: Any = transport.get_extra_info("socket")
    if option is None or raw is None or raw.family not in (socket.AF_INET, socket.AF_INET6):
        return
    with socket.socket(fileno=os.dup(raw.fileno())) as ours:
        ours.setsockopt(socket.IPPROTO_TCP, option, round(seconds * 1000))
