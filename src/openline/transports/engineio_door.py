"""The Engine.IO door: its sessions by id, what opens one, and the WebSockets that carry one on."""

from collections.abc import Callable
from sys import intern
from typing import TYPE_CHECKING, Final, cast

import msgspec

from openline.errors import CloseCode
from openline.hub.tick import Tick
from openline.hub.timers import Timer, Timers
from openline.model import Request
from openline.protocol.codec import Codec
from openline.protocol.engineio import (
    PING,
    PONG,
    PROBE,
    UPGRADE,
    Fault,
    encode_handshake,
    fault,
    read_query,
    text_frame,
)
from openline.protocol.websocket import Opcode
from openline.transports.engineio import Session
from openline.transports.engineio_ports import Peer, UpgradingLine
from openline.transports.settings import SocketIoSettings

if TYPE_CHECKING:
    from openline.transports.doors import Door, Line

__all__ = ["EngineDoor"]

_TAKEN: Final = "This session is on a WebSocket already."
_PROBED: Final = text_frame(PONG + PROBE)
#: Intervals below this need a wheel that turns faster than the hub's.
_SHORT_SECONDS: Final = 5.0


class EngineDoor:
    """All sessions of one hub; ``make_peer`` makes what speaks over each.

    ``codec`` is what the wire of a session has before its peer gives it another. The ids of sessions begin with
    ``mark``.
    """

    def __init__(
        self,
        *,
        tick: Tick,
        timers: Timers,
        settings: SocketIoSettings,
        outbox_bytes: int,
        codec: Codec,
        make_peer: Callable[[Session], Peer],
        mark: Callable[[], str] = str,
    ) -> None:
        self.tick = tick
        self.settings = settings
        self.outbox_bytes = outbox_bytes
        self.codec = codec
        self.make_peer = make_peer
        self.mark = mark
        self.sessions: dict[str, Session] = {}
        shortest = min(settings.ping_interval_seconds, settings.ping_timeout_seconds)
        self.timers = timers if shortest >= _SHORT_SECONDS else timers.finer(max(shortest / 20, 0.001))

    def greeting(self, sid: str, upgrades: tuple[str, ...]) -> bytes:
        """What a new session is told first: who it is, and how often its heart is to beat."""
        settings = self.settings
        return encode_handshake(
            sid,
            upgrades=upgrades,
            ping_interval=settings.ping_interval_seconds,
            ping_timeout=settings.ping_timeout_seconds,
            max_payload=settings.max_payload_bytes,
        )

    # -- WebSocket

    def websocket(self, request: Request) -> "Door":
        """The door for the WebSocket that ``request`` asks for; raises :func:`fault`."""
        query = read_query(request.query, method="GET", upgrade=True, transports=self.settings.transports)
        if query.sid is None:
            return Session(self, _compact(request))
        session = self.sessions.get(query.sid)
        if session is None:
            raise fault(Fault.SESSION)
        return Probe(self, session)

    # -- polling

    def handshake(self, request: Request) -> Session:
        """A new session that is polled."""
        session = Session(self, _compact(request))
        session.open(tuple(name for name in ("websocket",) if name in self.settings.transports))
        return session

    def session(self, sid: str) -> Session:
        """The session of this id; raises :func:`fault` where there is none."""
        session = self.sessions.get(sid)
        if session is None:
            raise fault(Fault.SESSION)
        return session

    def close(self) -> None:
        """The server stops: every session ends."""
        for session in tuple(self.sessions.values()):
            session.close("server shutting down", CloseCode.RESTART, "The server restarts.")


class Probe:
    """The door of a WebSocket that is to carry a session on (Engine.IO 4, "Upgrade")."""

    beats = False

    def __init__(self, door: EngineDoor, session: Session) -> None:
        self._door = door
        self._session = session
        self._timer: Timer | None = None
        self.codec = door.codec
        self.max_message_bytes = door.settings.max_payload_bytes

    def opened(self, line: "Line") -> None:
        """See :class:`openline.transports.doors.Door`; a session takes one WebSocket, and once."""
        if self._session.gone or self._session.line is not None or self._session.prober is not None:
            line.close(CloseCode.POLICY_VIOLATION, _TAKEN)
            return
        self._timer = self._door.timers.after(
            self._door.settings.upgrade_within_seconds,
            lambda: line.close(CloseCode.POLICY_VIOLATION, "The upgrade took too long."),
        )

    def message(self, line: "Line", opcode: Opcode, payload: bytes) -> None:
        """See :class:`openline.transports.doors.Door`."""
        session = self._session
        if payload == PING + PROBE and opcode is Opcode.TEXT:
            if session.probe(line):
                self._door.tick.to_wire(line.wire, _PROBED)
            else:
                line.close(CloseCode.POLICY_VIOLATION, _TAKEN)
        elif payload == UPGRADE and session.prober is line and not session.gone:
            self._set_timer_off()
            session.upgrade(cast("UpgradingLine", line))
        else:
            line.close(CloseCode.PROTOCOL_ERROR, "An upgrade begins with 2probe and ends with 5.")

    def ping(self, line: "Line") -> bytes:
        """See :class:`openline.transports.doors.Door`: never asked."""
        return b""

    def lost(self, line: "Line", *, clean: bool) -> None:
        """See :class:`openline.transports.doors.Door`: the session goes on being polled."""
        self._set_timer_off()
        if self._session.prober is line:
            self._session.prober = None

    def _set_timer_off(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _compact(request: Request) -> Request:
    """``request`` as long as the session may keep it: what many clients have in common is kept once."""
    headers = {intern(name): intern(value) for name, value in request.headers.items()}
    return msgspec.structs.replace(
        request, path=intern(request.path), query=intern(request.query), host=intern(request.host), headers=headers
    )
