"""Engine.IO sessions: their heartbeat, what is polled and posted, the upgrade, and one end for all of it."""

import secrets
from typing import TYPE_CHECKING, Final, cast

from openline.errors import CloseCode, ProtocolError
from openline.hub.outcome import Outcome
from openline.hub.timers import Timer
from openline.model import Request
from openline.protocol.codec import Codec
from openline.protocol.engineio import (
    CLOSE,
    MESSAGE,
    NOOP,
    PAYLOAD_PACKETS,
    PING,
    PONG,
    SEPARATOR,
    Fault,
    Packet,
    fault,
    read_packet,
    text_frame,
)
from openline.protocol.websocket import Opcode
from openline.transports.engineio_again import Again
from openline.transports.engineio_ports import Peer, UpgradingLine
from openline.transports.engineio_post import Payload
from openline.transports.engineio_wire import EngineWire

if TYPE_CHECKING:
    from openline.transports.doors import Line
    from openline.transports.engineio_door import EngineDoor

__all__ = ["Session"]

_PING: Final = text_frame(PING)
#: Ends that the client is to come back from.
_COME_BACK: Final = (CloseCode.INTERNAL_ERROR, CloseCode.RESTART, CloseCode.TRY_LATER, CloseCode.SLOW)


class Session:
    """One client, over whatever carries it: polled until it has a ``line``, which it never loses without ending.

    It is the door of its line (see :class:`openline.transports.doors.Door`).
    """

    __slots__ = (
        "_beat_at",
        "_deadline",
        "_door",
        "_farewell",
        "_poll",
        "_polled",
        "_posted",
        "_posting",
        "_timer",
        "again",
        "closed",
        "line",
        "peer",
        "prober",
        "request",
        "sid",
        "wire",
    )

    beats = False

    def __init__(self, door: "EngineDoor", request: Request) -> None:
        self.sid = door.mark() + secrets.token_urlsafe(15)
        self.request = request
        self.line: UpgradingLine | None = None
        #: The WebSocket that has probed: polls are answered at once, so that the client can leave them for it.
        self.prober: Line | None = None
        self.closed = False
        # How it closes once the client has taken what was said before.
        self._farewell: tuple[int, str] | None = None
        self._door = door
        self._poll: Outcome[bytes] | None = None
        # The last one, answered or not.
        self._polled: Outcome[bytes] | None = None
        #: What may be asked for, or said, once more.
        self.again = Again()
        self._posting = False
        # What is still to be taken of it.
        self._posted: Payload | None = None
        self._deadline: float | None = None
        self._beat_at = 0.0
        self._timer: Timer | None = None
        self.peer: Peer = door.make_peer(self)
        self.wire = EngineWire(door.codec, self, outbox_bytes=door.outbox_bytes)
        self.wire.something = self._answer_poll

    # -- beginning

    @property
    def codec(self) -> Codec:
        """See :class:`Door`."""
        return self._door.codec

    @property
    def max_message_bytes(self) -> int:
        """See :class:`Door`."""
        return self._door.settings.max_payload_bytes

    def opened(self, line: "Line") -> None:
        """See :class:`Door`: it begins on a WebSocket."""
        self.line = cast("UpgradingLine", line)
        self.line.adopt(self.wire)
        self.open(upgrades=())

    def open(self, upgrades: tuple[str, ...]) -> None:
        """Begin: the client hears who it is."""
        self._door.sessions[self.sid] = self
        self.write(text_frame(self._door.greeting(self.sid, upgrades)))
        self._beat_in(self._door.settings.ping_interval_seconds)
        self.peer.opened()

    def write(self, frames: bytes) -> None:
        """Queue frames behind everything said so far."""
        self._door.tick.to_wire(self.wire, frames)

    # -- heartbeat

    def _beat_in(self, seconds: float) -> None:
        self._deadline = None
        self._beat_at = self._door.timers.now + seconds
        self._timer = self._door.timers.after(seconds, self._beat)

    def _beat(self) -> None:
        timeout = self._door.settings.ping_timeout_seconds
        self._deadline = self._beat_at + timeout
        self.wire.deaf = self.wire.held
        self.write(_PING)
        self._timer = self._door.timers.after(timeout, self._miss)

    def _miss(self) -> None:
        if self.wire.late:
            self._set_timer(self._door.timers.after(0.0, self._miss))
        elif self._unheard:
            # While nothing is read, nothing can be heard: but what is written shows whether there is somebody still.
            settings = self._door.settings
            self._beat_in(max(0.0, settings.ping_interval_seconds - settings.ping_timeout_seconds))
        else:
            self.close("ping timeout", CloseCode.NO_PONG, "Nothing was heard for too long.")

    @property
    def _unheard(self) -> bool:
        """Whether its client may have answered: it was not read since it was asked, and has taken what it was asked."""
        return self.wire.deaf and (self.line is not None or not self.wire.waiting)

    def _pong(self) -> None:
        if self._deadline is not None:
            self._set_timer(None)
            self._beat_in(self._door.settings.ping_interval_seconds)

    def _check_heart(self) -> None:
        """A request that comes too late finds the session closed, however late our timer is."""
        if self._deadline is not None and not self._unheard and self._door.timers.now >= self._deadline:
            self._miss()

    # -- polling

    def poll(self, mark: str = "", passage: str = "", *, lost: bool = False) -> Outcome[bytes]:
        """The answer to a GET: a payload, once there is something to say; raises :func:`fault`.

        ``mark`` and ``passage`` are those of the request (see :class:`Again`). ``lost``: it is the one before, once
        more, whose answer did not arrive.
        """
        self._check_polled()
        if self._poll is not None:
            self._take_place(mark)
        elif self.again.owes or (lost and self.again.poll_passage(mark)):
            answer = self.again.take()
            if answer is not None:
                return Outcome.of(answer)
            self.close("transport error", CloseCode.PROTOCOL_ERROR)
            raise fault(Fault.SESSION)
        self.again.polls(mark, passage)
        self._door.tick.flush()
        self._poll = self._polled = waiting = Outcome[bytes]()
        self._answer_poll()
        # Behind what was said before, and not in one answer with it: clients take a goodbye ahead of all else in there.
        if self._farewell is not None and not waiting.done:
            self._end_poll(self._farewell[0])
            self._vanish()
        return waiting

    def _take_place(self, mark: str) -> None:
        """A poll comes while another waits: with its mark it is that one once more; raises :func:`fault` otherwise."""
        if not self.again.is_last(mark):
            self.close("transport error", CloseCode.PROTOCOL_ERROR)
            raise fault(Fault.REQUEST, "Two polls at once")
        # Where the first one waits nobody takes what it would say.
        waiting, self._poll = self._poll, None
        if waiting is not None:
            waiting.settle(NOOP)

    def _check_polled(self) -> None:
        self._check_heart()
        if self.gone:
            raise fault(Fault.SESSION)
        if self.line is not None:
            raise fault(Fault.REQUEST)

    def _answer_poll(self) -> None:
        if self._poll is not None:
            packets = self.wire.take_packets(PAYLOAD_PACKETS)
            if packets or self.prober is not None:
                self._settle_poll(packets or [NOOP])

    def _settle_poll(self, packets: list[bytes]) -> None:
        poll, self._poll = self._poll, None
        if poll is not None:
            payload = SEPARATOR.join(packets)
            self.again.answered(payload)
            poll.settle(payload)

    def poll_lost(self, answer: Outcome[bytes]) -> None:
        """The client has given up the poll that waited for ``answer``; it is a moment too late for it to be written."""
        if self._poll is answer:
            self.close("transport close")
        elif self._polled is answer and not self.gone:
            self.again.lost(answer.result())

    def begin_post(self) -> None:
        """A POST has come; raises :func:`fault`."""
        self._check_polled()
        if self._posting:
            self.close("transport error", CloseCode.PROTOCOL_ERROR)
            raise fault(Fault.REQUEST, "Two posts at once")
        self._posting = True

    def end_post(self) -> None:
        """The POST has been answered, or is given up."""
        self._posting = False

    def post(self, body: bytes) -> None:
        """Take a payload; raises :func:`fault` where it, or what is in it, ends the session."""
        if self.gone:
            raise fault(Fault.SESSION)
        self._posted = Payload(self, body)

    def take_posted(self, packet: Packet) -> bool:
        """Take a packet of a payload; whether there may be more."""
        if packet.kind == CLOSE:
            self._leave()
        if not self.closed:
            self._take(packet)
        return not self.closed

    async def readable(self) -> None:
        """Take the rest of the payload, and come back once the client may send more; raises :func:`fault`.

        It sends nothing before its POST is answered.
        """
        posted, self._posted = self._posted, None
        if posted is not None:
            await posted.rest()

    def _leave(self) -> None:
        """The client says goodbye while it is polled: the poll that waits ends with NOOP."""
        if not self.closed:
            self._door.tick.flush()
            self._settle_poll([*self.wire.take_packets(PAYLOAD_PACKETS - 1), NOOP])
            self.close("transport close")

    # -- packets

    def message(self, line: "Line", opcode: Opcode, payload: bytes) -> None:
        """See :class:`Door`."""
        try:
            if opcode is Opcode.BINARY:
                self.peer.binary(payload)
            elif payload[:1] == MESSAGE:
                self.peer.text(payload[1:])
            elif payload[:1] == CLOSE:
                self.close("transport close")
            else:
                self._take(read_packet(payload))
        except ProtocolError as error:
            self.close("parse error", error.code, error.reason)

    def _take(self, packet: Packet) -> None:
        if packet.kind == MESSAGE:
            (self.peer.binary if packet.binary else self.peer.text)(packet.data)
        elif packet.kind == PONG:
            self._pong()
        elif packet.kind != NOOP:
            raise ProtocolError(CloseCode.PROTOCOL_ERROR, "an Engine.IO packet that only servers send, or out of place")

    # -- upgrade

    def probe(self, line: "Line") -> bool:
        """A WebSocket asks to carry on, for which whoever polls is to let go: whether it may, before all others."""
        if self.gone or self.line is not None or self.prober not in (None, line):
            return False
        self.prober = line
        self._answer_poll()
        return True

    def upgrade(self, line: UpgradingLine) -> None:
        """The client is on ``line`` from now on."""
        self._door.tick.flush()
        self.prober = None
        self._settle_poll([NOOP])
        # Nothing is asked for again: what was answered need not be kept.
        self._polled, self.again = None, Again()
        if self.wire.released is not None:
            self.wire.released()
        self.line = line
        line.door = self
        line.adopt(self.wire)
        if self._farewell is not None:
            line.close(*self._farewell)
            self._vanish()

    # -- ending

    @property
    def gone(self) -> bool:
        """Whether nothing more can be had from it."""
        return self.closed and self._farewell is None

    def ping(self, line: "Line") -> bytes:
        """See :class:`Door`: never asked."""
        return b""

    def lost(self, line: "Line", *, clean: bool) -> None:
        """See :class:`Door`: its goodbye is no more than the end of the line; Socket.IO says its own."""
        self._end("transport close")

    def wire_closes(self, code: int, reason: str) -> None:
        """See :class:`openline.transports.wire.Owner`."""
        self.peer.closes(code, reason)

    def too_slow(self) -> None:
        """See :class:`openline.transports.wire.Owner`."""
        if self.line is None:
            self.close("transport error", CloseCode.SLOW)
        else:
            self.line.too_slow()

    def close(self, reason: str, code: int = CloseCode.NORMAL, message: str = "", *, heard: bool = False) -> None:
        """End it behind everything said so far; ``reason`` is in Socket.IO's words. Later calls change nothing.

        ``heard``: what was said is to reach a client that is between two polls, or in the middle of an upgrade.
        """
        if self.closed:
            return
        self._door.tick.flush()
        if heard and self.line is None and self._poll is None and self.wire.waiting:
            self._farewell = (code, message)
        self._end(reason)
        if self.line is not None:
            self.line.close(code, message)
        elif self._farewell is None:
            self._end_poll(code)
            self._vanish()
        else:
            self._timer = self._door.timers.after(self._door.settings.upgrade_within_seconds, self._vanish)

    def _vanish(self) -> None:
        self._farewell = None
        self._set_timer(None)
        self._door.sessions.pop(self.sid, None)
        if self.line is None:
            self.wire.shut()

    def _end_poll(self, code: int) -> None:
        """Let the poll that waits go: with a goodbye, or with an error where the client is to come back.

        Some clients take a goodbye for the server's last word.
        """
        packets = self.wire.take_packets(PAYLOAD_PACKETS - 1)
        if code not in _COME_BACK:
            self._settle_poll([*packets, CLOSE])
        elif packets:
            self._settle_poll(packets)
        elif self._poll is not None:
            self._poll.fail(fault(Fault.SESSION))
            self._poll = None

    def _end(self, reason: str) -> None:
        if not self.closed:
            self.closed = True
            self._set_timer(None)
            if self._farewell is None:
                self._door.sessions.pop(self.sid, None)
            self.peer.ended(reason)

    def _set_timer(self, timer: Timer | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = timer
