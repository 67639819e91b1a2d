"""One native WebSocket line: frames in and out, pings, deadlines, and an orderly end (RFC 6455 §5 and §7)."""

from asyncio import BufferedProtocol, Transport
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, cast

from openline.errors import CloseCode
from openline.hub.outcome import Outcome
from openline.hub.timers import Timer
from openline.protocol.frames import BINARY, parse_frames
from openline.protocol.websocket import FrameReader, Item, Opcode, decode_close, encode_close, encode_frame
from openline.transports.engineio_wire import EngineWire
from openline.transports.socket_transport import SocketTransport
from openline.transports.wire import SocketWire

if TYPE_CHECKING:
    from openline.transports.doors import Door, Doors

__all__ = ["WebSocketLine"]

# One buffer serves every line: what is read is parsed before the next line reads, and only an incomplete frame is
# copied. It holds so much that the smallest messages in it do not keep the others from their turn for long.
_BUFFER: Final = memoryview(bytearray(32_768))
_PING: Final = encode_frame(Opcode.PING, b"")
#: What is taken of one read before other lines have their turn: so many messages, or bytes of what are no plain frames.
_MESSAGES: Final = 128
_BYTES: Final = 4096
#: Close codes that a client sends when it ends on purpose.
_CLEAN: Final = (CloseCode.NORMAL, CloseCode.GOING_AWAY, CloseCode.NO_STATUS, None)


class WebSocketLine(BufferedProtocol):
    """Owns the transport and its wire.

    Hands messages to ``door``; leaves ``connections``, the server's set of what is open, when the transport is gone.
    """

    __slots__ = (
        "_clean",
        "_closing",
        "_connections",
        "_doors",
        "_gone",
        "_heard",
        "_reader",
        "_timer",
        "_transport",
        "door",
        "wire",
    )

    #: uvloop holds on to the ``data_received`` of the protocol before, unless this one has one, too.
    data_received: None = None

    def __init__(self, doors: "Doors", door: "Door", transport: Transport, connections: set[Any]) -> None:
        settings = doors.settings
        self._doors = doors
        self._transport = transport
        self._connections = connections
        self._gone: Outcome[None] | None = None
        # For what is left of a read when its plain frames are taken; there is none while nothing is left.
        self._reader: FrameReader | None = None
        self._closing = False
        self._clean = False
        self._heard = False
        self._timer: Timer | None = None
        self.door = door
        self.wire: SocketWire = SocketWire(transport, door.codec, self, outbox_bytes=settings.outbox_bytes)

    def begin(self) -> None:
        """The upgrade is through: the line lives."""
        if self.door.beats:
            self._ping_in(self._doors.settings.ping_every_seconds)
        self.door.opened(self)

    def adopt(self, wire: EngineWire) -> None:
        """From now on ``wire`` writes here; what it had kept comes first."""
        self.wire = wire
        wire.attach(self._transport)

    @property
    def gone(self) -> Outcome[None]:
        """Settled when the transport is gone; for those who wait, made when asked for."""
        if self._gone is None:
            self._gone = Outcome()
        return self._gone

    # -- reading

    @staticmethod
    def get_buffer(sizehint: int) -> memoryview:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The buffer that all lines share; a bound method of each would be kept by the event loop."""
        return _BUFFER

    def buffer_updated(self, nbytes: int) -> None:
        """Bytes have come."""
        self.feed(_BUFFER[:nbytes])

    def read_below(self) -> None:
        """Have the transport's frames read below the event loop, where it can; called once it is ours."""
        if isinstance(self._transport, SocketTransport):
            self._transport.expect(self, self.door.max_message_bytes)

    def found(self, what: Any, more: Any) -> tuple[Any, Any] | None:
        """See :class:`~openline.transports.receiver.Reader`."""
        if what is None:
            self._socket.found(None, more)
            return None
        if more or len(what) > _MESSAGES:
            return self._take_some(what, more)
        # As most reads are: one plain frame, or several.
        self._heard = True
        for opcode, payload in what:
            if opcode <= BINARY and not self._closing:
                self.door.message(self, opcode, payload)
            else:
                self._control(opcode, payload)
        return None

    def _take_some(self, what: list[Item], more: bytes) -> tuple[Any, Any] | None:
        if len(what) > _MESSAGES:
            self._take(what[:_MESSAGES])
            return what[_MESSAGES:], more
        self._go_on(what, more[:_BYTES])
        return ([], more[_BYTES:]) if len(more) > _BYTES else None

    def failed(self, error: Exception) -> None:
        """See :class:`~openline.transports.receiver.Reader`."""
        self._socket.failed(error)

    @property
    def _socket(self) -> SocketTransport:
        return cast("SocketTransport", self._transport)

    def _go_on(self, items: list[Item], rest: bytes) -> None:
        """Take plain frames, and behind them what is none, or not whole: that is read as bytes, as long as it is so."""
        if self._reader is None:
            items += self._read_on(rest)
            self._socket.expect(self, -1)
        else:
            items = self._reader.feed(rest)
        self._take(items)
        if self._reader is None:
            self._socket.expect(self, self.door.max_message_bytes)

    def feed(self, data: memoryview | bytes) -> None:
        """Take what the peer sent, in whatever pieces; a break of the protocol closes the line."""
        if isinstance(self._transport, SocketTransport):
            # What came with the head, before anything was read below.
            self._go_on([], bytes(data))
            return
        if self._reader is None:
            items, end = parse_frames(data, 0, self.door.max_message_bytes)
            if end < len(data):
                items += self._read_on(data[end:])
        else:
            items = self._reader.feed(data)
        self._take(items)

    def _take(self, items: list[Item]) -> None:
        self._heard = True
        for opcode, payload in items:
            if opcode <= BINARY and not self._closing:
                self.door.message(self, opcode, payload)
            else:
                self._control(opcode, payload)
        if self._reader is not None:
            self._look_at(self._reader)

    def _read_on(self, rest: memoryview | bytes) -> list[Item]:
        """What is left of a read when its plain frames are taken."""
        settings = self._doors.settings
        self._reader = FrameReader(max_message=self.door.max_message_bytes, max_fragments=settings.max_fragments)
        return self._reader.feed(rest)

    def _look_at(self, reader: FrameReader) -> None:
        if reader.failure is not None:
            self.close(reader.failure.code, reader.failure.reason)
            self._hang_up()
        elif reader.idle:
            self._reader = None

    def _control(self, opcode: Opcode, payload: bytes) -> None:
        """Take a control frame; a message that comes while the line closes is none, and dropped."""
        if opcode is Opcode.CLOSE:
            self._closed_by_peer(payload)
        elif opcode is Opcode.PING and not self._closing:
            self._doors.tick.to_wire(self.wire, encode_frame(Opcode.PONG, payload))

    def eof_received(self) -> bool:
        """The peer writes no more: without a Close frame that is the end of the line.

        A peer that does not even read what waits is given up after a while: it is pinged no more.
        """
        if not self._closing:
            self._set_timer(self._doors.settings.close_within_seconds, WebSocketLine._abort)
        return False

    # -- liveness

    def _ping_in(self, seconds: float) -> None:
        self._set_timer(seconds, WebSocketLine._ping)

    def _ping(self) -> None:
        if self._closing:
            return
        self._heard = False
        self._doors.tick.to_wire(self.wire, _PING + self.door.ping(self))
        self._set_timer(self._doors.settings.pong_within_seconds, WebSocketLine._suspect)

    def _suspect(self) -> None:
        """Nothing has come: look once more after the loop has read, it may have been us who were late."""
        if self._lives:
            self._ping_in(self._rest)
        else:
            self._set_timer(0.0, WebSocketLine._suspect if self.wire.late else WebSocketLine._judge)

    def _judge(self) -> None:
        if self._lives:
            self._ping_in(self._rest)
        elif self.wire.late:
            self._set_timer(0.0, WebSocketLine._judge)
        elif not self._closing:
            self.close(CloseCode.NO_PONG, "Nothing was heard for too long.")
            self._transport.abort()

    @property
    def _lives(self) -> bool:
        """Whether something was heard; while nothing is read (see ``hold_reading``), nothing can be."""
        return self._heard or not self._transport.is_reading()

    @property
    def _rest(self) -> float:
        """Seconds from the verdict on one ping to the next ping."""
        settings = self._doors.settings
        return max(0.0, settings.ping_every_seconds - settings.pong_within_seconds)

    # -- ending

    def close(self, code: int, reason: str = "") -> None:
        """Say goodbye behind everything queued, and close the transport once the peer has answered, or after a while.

        Later calls change nothing.
        """
        if self._closing:
            return
        self._doors.tick.flush()
        if not self._closing:
            self._say_goodbye(self.wire.shut(), code, reason)

    def _say_goodbye(self, rest: bytes, code: int | None, reason: str) -> None:
        self._closing = True
        # A client that was kept from writing must be able to answer.
        self._transport.resume_reading()
        self._transport.write(rest + encode_close(code, reason))
        self._set_timer(self._doors.settings.close_within_seconds, WebSocketLine._abort)
        self.door.lost(self, clean=self._clean)

    def _closed_by_peer(self, payload: bytes) -> None:
        if not self._closing:
            code, _ = decode_close(payload)
            self._clean = code in _CLEAN
            # What takes longer than that is not for somebody who goes.
            self._doors.tick.turn()
            self._say_goodbye(self.wire.shut(), code, "")
        # RFC 6455 §7.1.1: the server closes the TCP connection first.
        self._transport.close()

    def _hang_up(self) -> None:
        """Write no more, and wait for no answer: what the peer sends now cannot be read any more (§7.1.7).

        Closing altogether, with bytes of the peer unread, could cost it our Close frame.
        """
        if self._transport.can_write_eof():
            self._transport.write_eof()
        else:
            self._transport.close()

    def wire_closes(self, code: int, reason: str) -> None:
        """See :class:`~openline.transports.wire.Owner`."""
        self.close(code, reason)

    def too_slow(self) -> None:
        """See :class:`~openline.transports.wire.Owner`."""
        if not self._closing:
            self._say_goodbye(b"", CloseCode.SLOW, "More waited than this connection may leave unread.")
            self._transport.close()

    def shutdown(self) -> None:
        """The server stops (uvicorn calls it on every connection)."""
        self._doors.shutdown()
        self.close(CloseCode.RESTART, "The server restarts.")

    def connection_lost(self, exc: Exception | None) -> None:
        """The transport is gone; its descriptor is closed after this returns, and has left every group."""
        self._closing = True
        self.wire.shut()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.door.lost(self, clean=self._clean)
        self._connections.discard(self)
        if self._gone is not None:
            self._gone.settle(None)

    def _abort(self) -> None:
        self._transport.abort()

    def _set_timer(self, seconds: float, callback: "Callable[[WebSocketLine], None]") -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._doors.timers.after(seconds, callback, self)

    # -- writing

    def pause_writing(self) -> None:
        """The transport has bytes queued; the wire has noticed by itself."""

    def resume_writing(self) -> None:
        """The transport has written everything."""
        self.wire.resume_writing()
