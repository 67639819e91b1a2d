"""The doors that open onto the hub: which protocol is spoken at which path, and what its messages mean."""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol
from urllib.parse import parse_qs

from openline.errors import CloseCode, CommandError, ErrorCode, RequestRefused
from openline.hub.connection import Connection, State
from openline.hub.dispatch import Dispatch
from openline.hub.hub import Hub
from openline.hub.outcome import Outcome
from openline.hub.ports import Wire
from openline.hub.tick import Tick
from openline.hub.timers import Timers
from openline.model import Request
from openline.protocol.channel_name import is_channel
from openline.protocol.codec import Codec
from openline.protocol.commands import Command
from openline.protocol.frames import TEXT
from openline.protocol.json_codec import SUBPROTOCOL, JsonCodec, read_command, split_batch
from openline.protocol.raw_codec import MESSAGE, RawCodec, text_payload
from openline.protocol.socketio_codec import Spelling
from openline.protocol.websocket import Opcode
from openline.transports.admission import TOKEN_PREFIX
from openline.transports.forwarding import Forwarding
from openline.transports.settings import LineSettings, Paths, SocketIoSettings
from openline.transports.socketio import SocketIo

__all__ = ["Door", "Doors", "JsonDoor", "Line", "plain", "plain_text", "subprotocol"]


class Line(Protocol):
    """A live line, as a door sees it."""

    @property
    def wire(self) -> Wire:
        """Its writing end."""
        ...

    def close(self, code: int, reason: str = "") -> None:
        """End it."""
        ...


class Door(Protocol):
    """A protocol over a line."""

    @property
    def codec(self) -> Codec:
        """What its clients understand."""
        ...

    def opened(self, line: Line) -> None:
        """The line is there."""
        ...

    def message(self, line: Line, opcode: Opcode, payload: bytes) -> None:
        """A whole message came: ``TEXT`` (valid UTF-8) or ``BINARY``."""
        ...

    @property
    def max_message_bytes(self) -> int:
        """The most that a message may have."""
        ...

    @property
    def beats(self) -> bool:
        """Whether the line is to see by WebSocket's pings that its client lives; otherwise the door does."""
        ...

    def ping(self, line: Line) -> bytes:
        """What goes out beside the WebSocket ping."""
        ...

    def lost(self, line: Line, *, clean: bool) -> None:
        """The line has gone; ``clean``: its client said goodbye. May be said twice."""
        ...


class JsonDoor:
    """The JSON protocol (``spec/protocol.md``)."""

    beats = True

    def __init__(self, doors: "Doors", codec: JsonCodec, *, patient: bool = False) -> None:
        """``patient``: a client that is silent for a moment is still waited for, not taken for one without a word."""
        self._doors = doors
        self._patient = patient
        self.codec = codec
        self.max_message_bytes = doors.settings.max_message_bytes
        self._ping = codec.ping()
        self._receive = doors.dispatch.receive
        self._at_once = codec.gives_frames
        self._answer_at_once = doors.dispatch.answer_at_once
        # One bound method for all timers, which keep it as long as the window for $connect.
        self._silent = doors.connect_silently

    def opened(self, line: Line) -> None:
        """See :class:`Door`."""
        request = line.wire.request
        doors, settings = self._doors, self._doors.settings
        silent = request is not None and (request.token is not None or "cookie" in request.headers)
        if not self._patient and (silent or doors.hub.application.anonymous):
            # One timer, and another where this one finds it still outside.
            connection = doors.hub.lifecycle.open(line.wire)
            doors.timers.after(settings.silent_after_seconds, self._silent, connection)
        else:
            doors.open(line)

    def message(self, line: Line, opcode: Opcode, payload: bytes) -> None:
        """See :class:`Door`."""
        if opcode is TEXT and self._at_once and self._answer_at_once(line.wire, payload):
            return
        if opcode is TEXT and payload[:1] == b"{":
            self._receive(line.wire, read_command(payload))
            return
        try:
            if opcode is not TEXT:
                raise CommandError(ErrorCode.BAD_MESSAGE, "Send text frames; bytes travel as base64.")
            parts = split_batch(payload)
        except CommandError as error:
            self._doors.tick.to_wire(line.wire, self.codec.error(None, error))
            return
        self._doors.dispatch.receive_all(line.wire, [read_command(part) for part in parts])

    def ping(self, line: Line) -> bytes:
        """See :class:`Door`: a script sees no WebSocket pings, so those who said ``$connect`` get one of their own."""
        connection = line.wire.connection
        return self._ping if connection is not None and connection.resume else b""

    def lost(self, line: Line, *, clean: bool) -> None:
        """See :class:`Door`."""
        self._doors.line_lost(line.wire, clean=clean)


class RawDoor:
    """Bare data in and out of one channel (``spec/protocol.md``, section 6)."""

    beats = True

    def __init__(self, doors: "Doors", codec: RawCodec, channel: str, *, echo: bool) -> None:
        self._doors = doors
        self._channel = channel
        self._echo = echo
        self.codec = codec
        self.max_message_bytes = doors.settings.max_message_bytes

    def opened(self, line: Line) -> None:
        """See :class:`Door`."""
        if not is_channel(self._channel):
            line.close(CloseCode.NOT_FOUND, f"{self._channel[:60]!r} is no channel name.")
            return
        self._doors.open(line)
        self._doors.dispatch.enter(line.wire, self._channel)

    def message(self, line: Line, opcode: Opcode, payload: bytes) -> None:
        """See :class:`Door`."""
        binary = opcode is Opcode.BINARY
        data = payload if binary else text_payload(payload)
        command = Command(
            type=MESSAGE, channel=self._channel, payload=data, binary=binary, echo=self._echo, size=len(data) + 200
        )
        self._doors.dispatch.receive(line.wire, command)

    def ping(self, line: Line) -> bytes:
        """See :class:`Door`: nothing, every WebSocket library answers pings by itself."""
        return b""

    def lost(self, line: Line, *, clean: bool) -> None:
        """See :class:`Door`."""
        self._doors.line_lost(line.wire, clean=clean)


class Doors:
    """All doors of one hub."""

    def __init__(
        self,
        hub: Hub,
        *,
        settings: LineSettings,
        paths: Paths,
        socketio: SocketIoSettings,
        spellings: Mapping[str, Spelling],
        on_shutdown: Callable[[], None],
    ) -> None:
        self.hub = hub
        self.socketio = SocketIo(hub, settings=socketio, outbox_bytes=settings.outbox_bytes, spellings=spellings)
        self.settings = settings
        facts = {
            "ping": max(settings.ping_every_seconds, settings.pong_within_seconds),
            "limits": {"message": settings.max_message_bytes},
        }
        self.dispatch = Dispatch(hub, facts)
        self.tick: Tick = hub.tick
        self.timers: Timers = hub.timers
        self.shutdown = on_shutdown
        #: What passes requests on to other nodes, where there are any.
        self.forwarding: Forwarding | None = None
        #: Requests that wait for something to come: each goes on when its outcome is settled.
        self.waiting: set[Outcome[None]] = set()
        self._paths = paths
        # Native lines take whole WebSocket frames; ASGI hosts frame by themselves.
        self._native: tuple[JsonDoor, RawCodec] = (JsonDoor(self, JsonCodec()), RawCodec())
        self._plain: tuple[JsonDoor, RawCodec] = (JsonDoor(self, JsonCodec(plain_text)), RawCodec(plain))

    @property
    def paths(self) -> Paths:
        """Where they are."""
        return self._paths

    def is_door(self, path: str) -> bool:
        """Whether a WebSocket may be opened at ``path``."""
        paths = self._paths
        return (
            self.is_engine(path)
            or path == paths.json
            or path.startswith(f"{paths.raw}/")
            or (path == "/" and paths.lobby is not None)
        )

    def is_engine(self, path: str) -> bool:
        """Whether Socket.IO's clients are served at ``path``, by WebSocket or polled."""
        base = self.socketio.settings.path
        return base is not None and path.removesuffix("/") == base

    async def ask(self, request: Request) -> Sequence[tuple[str, str]]:
        """The headers that the application wants to have on the answer to a handshake.

        Raises :class:`RequestRefused` where it wants none of it. Only Engine.IO's handshakes are asked for.
        """
        return await self.socketio.ask(request) if self.is_engine(request.path) else ()

    def demand_open(self) -> None:
        """Raise :class:`RequestRefused` (503) while the server drains: a balancer then asks another one."""
        if self.hub.lifecycle.closing:
            raise RequestRefused(503, "The server restarts; come back in a moment.\n", (("Retry-After", "1"),))

    def door(self, request: Request, *, native: bool) -> Door:
        """The door at the path of ``request``; raises :class:`RequestRefused`.

        404 where there is none, 503 while the server drains.
        """
        paths = self._paths
        self.demand_open()
        if self.is_engine(request.path):
            return self.socketio.engine.websocket(request)
        json_door, raw_codec = self._native if native else self._plain
        if request.path == paths.json:
            return json_door
        if request.path.startswith(f"{paths.raw}/"):
            return RawDoor(self, raw_codec, request.path[len(paths.raw) + 1 :], echo=_echo(request.query))
        if request.path == "/" and paths.lobby is not None:
            return RawDoor(self, raw_codec, paths.lobby, echo=_echo(request.query))
        raise RequestRefused(404, f"There is no door here. WebSockets go to {paths.json} or {paths.raw}/CHANNEL.\n")

    def open(self, line: Line) -> Connection:
        """Begin a connection on ``line``; where it is not let in within the time that it has, the line closes."""
        # Timers hold the connection, which lets go of its line, so that the line need not stay until they are due.
        connection = self.hub.lifecycle.open(line.wire)
        self.timers.after(self.settings.connect_within_seconds, _close_unless_in, connection)
        return connection

    def connect_silently(self, connection: Connection) -> None:
        """The client of a line that was opened a moment ago is whoever its request says, if it has not said."""
        if connection.stage is State.OPENING:
            self.dispatch.connect_silently(connection)
            rest = self.settings.connect_within_seconds - self.settings.silent_after_seconds
            self.timers.after(rest, _close_unless_in, connection)

    def stop_waiting(self) -> None:
        """The server stops: answer every request that waits."""
        for enough in tuple(self.waiting):
            enough.settle(None)

    def line_lost(self, wire: Wire, *, clean: bool) -> None:
        """The line of a connection has gone; ``clean``: its client said goodbye."""
        self.hub.lifecycle.line_lost(wire, clean=clean)


def _close_unless_in(connection: Connection) -> None:
    if connection.wire is not None and connection.stage is State.OPENING:
        connection.wire.close(CloseCode.UNAUTHORIZED, "Send $connect with a token first.")


def subprotocol(door: Door, offered: Sequence[str]) -> str | None:
    """The subprotocol to echo: ours at our own door, at the raw door the first one, which is the client's business.

    Never a token. A browser that offered some gives up where none is echoed.
    """
    if isinstance(door, JsonDoor):
        return SUBPROTOCOL if SUBPROTOCOL in offered else None
    return next((name for name in offered if not name.startswith(TOKEN_PREFIX)), None)


def plain(opcode: Opcode, payload: bytes) -> bytes:
    """A message for a host that frames by itself: its opcode, and the payload behind."""
    return bytes((opcode,)) + payload


def plain_text(payload: bytes) -> bytes:
    """A text message for a host that frames by itself."""
    return plain(Opcode.TEXT, payload)


def _echo(query: str) -> bool:
    return parse_qs(query).get("echo", ["0"])[-1] not in ("0", "")
