"""Reaches into uvicorn, as ``uvicorn_mounted`` and ``underneath`` do: WebSockets of ours leave its HTTP, become lines.

``openline serve`` runs uvicorn with :class:`NativeHttpProtocol`, which takes our upgrades before any ASGI application
is called.
"""

import asyncio
import sys
from asyncio import AbstractEventLoop, TimerHandle, Transport
from collections.abc import Callable, Sequence
from socket import AF_INET, AF_INET6, socket
from typing import Any, Final, Protocol, cast
from urllib.parse import unquote

import httptools
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from openline.errors import RequestRefused
from openline.hub.timers import Timer
from openline.model import Request
from openline.protocol.handshake import Upgrade, read_upgrade, refusal, switching_protocols
from openline.transports.admission import Gate
from openline.transports.doors import Doors, subprotocol
from openline.transports.passing_on import piped
from openline.transports.settings import LineSettings
from openline.transports.socket_transport import SocketTransport, below
from openline.transports.unread import Unread
from openline.transports.websocket import WebSocketLine
from openline.transports.whole_head import read_asked, split_target

__all__ = ["Headers", "Host", "NativeHttpProtocol", "admit", "make_line"]

Headers = Sequence[tuple[bytes, bytes]]

#: Where a server's configuration has its application, if that is one of ours.
_HOST: Final = "_openline_host"
#: For applications that an Openline is only mounted in.
_DEFAULT_LIMITS: Final = LineSettings()


class Host(Protocol):
    """What the served application offers: its doors and its gate, made when the loop runs."""

    @property
    def doors(self) -> Doors:
        """The doors; starts the hub."""
        ...

    @property
    def gate(self) -> Gate:
        """Who may come in."""
        ...


def _peer(transport: Transport) -> str:
    """The address of the client, ``""`` where there is none.

    The system is asked: uvloop would keep its answer as long as the connection.
    """
    if isinstance(transport, SocketTransport):
        return transport.peer
    ours: Any = transport.get_extra_info("socket")
    if ours is None or ours.family not in (AF_INET, AF_INET6):
        return ""
    borrowed = socket(ours.family, ours.type, ours.proto, fileno=ours.fileno())
    try:
        return str(borrowed.getpeername()[0])
    except OSError:  # gone already
        return ""
    finally:
        borrowed.detach()


def admit(host: Host, transport: Transport, *, path: str, query: str, upgrade: Upgrade, headers: Headers) -> Request:
    """The request for an upgrade of ``transport``; raises :class:`RequestRefused`."""
    return host.gate.admit(
        path=path,
        query=query,
        headers=headers,
        peer=_peer(transport),
        secure=transport.get_extra_info("ssl_object") is not None,
        subprotocols=upgrade.subprotocols,
    )


def make_line(
    doors: Doors,
    transport: Transport,
    request: Request,
    upgrade: Upgrade,
    connections: set[Any],
    more: Sequence[tuple[str, str]] = (),
) -> WebSocketLine:
    """Make a line of ``transport``, whose request has asked for it; raises :class:`RequestRefused`.

    ``more`` are headers that the answer is to have.
    """
    door = doors.door(request, native=True)
    transport = below(transport)
    line = WebSocketLine(doors, door, transport, connections)
    line.wire.request = request
    line.wire.deliver([switching_protocols(upgrade.key, subprotocol(door, upgrade.subprotocols), more)])
    connections.add(line)
    transport.set_protocol(line)
    line.read_below()
    return line


class NativeHttpProtocol(HttpToolsProtocol):
    """uvicorn's HTTP, less our doors, and with what it lacks: deadlines and a limit for request heads.

    An upgrade of ours whose head comes in one piece, as it does, costs none of uvicorn's HTTP: that is made when
    something else has come.
    """

    # What uvicorn asks of a protocol whose HTTP is not made yet.
    cycle: RequestResponseCycle = None  # type: ignore[assignment]
    _is_http = False
    _deadline: TimerHandle | Timer | None = None
    _unread: Unread | None = None
    _refused: RequestRefused | None = None
    _head_bytes = 0
    _unparsed = 0
    _chunk = b""

    def __init__(
        self,
        config: uvicorn.Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: AbstractEventLoop | None = None,
    ) -> None:
        self._given = (config, server_state, app_state, _loop)
        self.config = config
        self.connections = server_state.connections
        self.loop = asyncio.get_running_loop() if _loop is None else _loop

    def _make_http(self) -> None:
        self._is_http = True
        transport = self.transport
        super().__init__(*self._given)
        super().connection_made(transport)

    @property
    def _host(self) -> Host | None:
        # Found once for all connections of a server.
        known = self.config.__dict__
        if _HOST not in known:
            app = cast("object", self.config.loaded_app)  # pyright: ignore[reportUnknownMemberType]
            known[_HOST] = app if isinstance(getattr(app, "doors", None), Doors) else None
        return cast("Host | None", known[_HOST])

    @property
    def _limits(self) -> LineSettings:
        host = self._host
        return _DEFAULT_LIMITS if host is None else host.doors.settings

    @property
    def serves_openline(self) -> bool:
        """Whether the served application is one of ours, and not one that it is mounted in."""
        return self._host is not None

    def let_go(self) -> None:
        """The transport is somebody else's now: no deadline of ours holds for it."""
        self._head_is_there()

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        """A client has come: its request head is due."""
        self.transport = transport
        # So that we hear of everything that waits; at 0, TLS would take nothing for that.
        transport.set_write_buffer_limits(high=1)
        self.connections.add(self)
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client has gone."""
        self._head_is_there()
        self._all_is_written()
        if self._is_http:
            super().connection_lost(exc)
        else:
            self.connections.discard(self)

    def data_received(self, data: bytes) -> None:
        """Go on as uvicorn does, as long as what comes leads anywhere."""
        if not self._is_http:
            if self._take_at_once(data):
                return
            self._make_http()
        self._chunk = data
        self._unparsed += len(data)
        super().data_received(data)
        self._chunk = b""
        # A name or value without an end is kept by the parser, which has no limit of its own.
        if self._unparsed > self._limits.max_head_bytes:
            self._refuse(_too_large())

    def pause_writing(self) -> None:
        """Something waits to be written: its client is to read on. TLS has the answer to an upgrade wait, too."""
        self._unread = Unread(self.transport, self, self._limits.stalled_after_seconds, self._after)
        if self._is_http:
            super().pause_writing()

    def resume_writing(self) -> None:
        """Nothing waits any more."""
        self._all_is_written()
        if self._is_http:
            super().resume_writing()

    def _all_is_written(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    def on_message_begin(self) -> None:
        """A request begins: its head is due."""
        super().on_message_begin()
        self._head_bytes = self._unparsed = 0
        if self._deadline is None:
            self._expect_head()

    def on_url(self, url: bytes) -> None:
        """Count the head's bytes."""
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Count the head's bytes, and those of trailers."""
        self._count(len(name) + len(value) + 4)
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The head is there."""
        self._head_is_there()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """The body goes on."""
        self._unparsed = 0
        super().on_body(body)

    def on_response_complete(self) -> None:
        """The next head is due, though uvicorn's keep-alive ends a connection that stays silent before that."""
        super().on_response_complete()
        if self.cycle.response_complete and self._deadline is None and not self.transport.is_closing():
            self._expect_head()

    def _count(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > self._limits.max_head_bytes:
            self._refused = _too_large()
            raise self._refused  # ends the parsing; uvicorn goes on with send_400_response

    def send_400_response(self, msg: str) -> None:
        """Say what was wrong with the head."""
        self._refuse(self._refused or RequestRefused(400, f"{msg}\n"))

    def _expect_head(self) -> None:
        host = self._host
        if host is None:
            self._deadline = self.loop.call_later(_DEFAULT_LIMITS.head_within_seconds, self._head_is_late)
        else:
            doors = host.doors
            seconds = doors.settings.head_within_seconds
            self._deadline = doors.timers.after(seconds, NativeHttpProtocol._head_is_late, self)

    def _after(self, seconds: float, callback: Callable[[], None]) -> TimerHandle | Timer:
        host = self._host
        return self.loop.call_later(seconds, callback) if host is None else host.doors.timers.after(seconds, callback)

    def _head_is_there(self) -> None:
        self._unparsed = 0
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _head_is_late(self) -> None:
        self._deadline = None
        self._refuse(RequestRefused(408, "The request head took too long.\n"))

    def _refuse(self, error: RequestRefused) -> None:
        if not self.transport.is_closing():
            self.transport.write(refusal(error))
            self.transport.close()

    def shutdown(self) -> None:
        """The server stops: a request that waits for something to be said would keep it from that."""
        host = self._host
        if host is not None:
            host.doors.shutdown()
        super().shutdown()

    def handle_websocket_upgrade(self) -> None:
        """Take the upgrade if an application of ours is served; leave it to uvicorn where one is only mounted."""
        host = self._host
        if host is None or _is_elsewhere(host, unquote(self.url.decode("latin-1"))) or _takes_time(host, self.url):
            super().handle_websocket_upgrade()
            return
        try:
            line = self._take(host)
        except RequestRefused as error:
            self._refuse(error)
            return
        self._unset_keepalive_if_required()
        self.parser = None  # type: ignore[assignment]  # what the HTTP side held is released
        self.scope = self.headers = self.flow = None  # type: ignore[assignment]
        self._begin(line, self._chunk[_upgrade_offset(len(self._chunk)) :])

    def _take(self, host: Host) -> WebSocketLine:
        cycle = cast("RequestResponseCycle | None", self.cycle)
        # A line writes to the descriptor: an answer that is still on its way out would be cut in two.
        if (cycle is not None and not cycle.response_complete) or self.transport.get_write_buffer_size():
            raise RequestRefused(400, "A WebSocket does not begin behind a request that waits for its answer.\n")
        upgrade = read_upgrade(self.scope["method"], self.scope["http_version"], self.headers)
        return self._make_line(host, self.url, upgrade, self.headers)

    def _take_at_once(self, data: bytes) -> bool:
        """Take the upgrade that ``data`` is all of, if it is one; False, and nothing done, for anything else."""
        host = self._host
        if host is None:
            return False
        doors = host.doors
        if len(data) > doors.settings.max_head_bytes:
            return False
        try:
            asked = read_asked(data)
            if asked is None or _is_elsewhere(host, asked.path):
                return False
            if piped(doors, asked, data, self.transport, _peer(self.transport), self.connections):
                self._head_is_there()
                self.connections.discard(self)
                return True
            if doors.socketio.asks and doors.is_engine(asked.path):
                return False
            self._head_is_there()
            transport = self.transport
            request = host.gate.judge(
                asked.path,
                asked.query,
                asked.headers,
                peer=_peer(transport),
                secure=transport.get_extra_info("ssl_object") is not None,
                subprotocols=asked.upgrade.subprotocols,
            )
            line = make_line(doors, transport, request, asked.upgrade, self.connections)
        except RequestRefused as error:
            self._head_is_there()
            self._refuse(error)
        else:
            self._begin(line, data[asked.size :])
        return True

    def _make_line(self, host: Host, target: bytes, upgrade: Upgrade, headers: Headers) -> WebSocketLine:
        path, query = split_target(target)
        request = admit(host, self.transport, path=unquote(path), query=query, upgrade=upgrade, headers=headers)
        return make_line(host.doors, self.transport, request, upgrade, self.connections)

    def _begin(self, line: WebSocketLine, early: bytes) -> None:
        self.connections.discard(self)
        line.begin()
        if early:
            line.feed(early)


def _is_elsewhere(host: Host, path: str) -> bool:
    """Whether another application answers there, below the one that is served: an ASGI call finds it."""
    mounts: Sequence[str] = getattr(host, "mounts", ())
    return bool(mounts) and any(path.startswith(f"{mount}/") for mount in mounts)


def _takes_time(host: Host, target: bytes) -> bool:
    """Whether the application is asked about this upgrade first: it takes its time, which an ASGI call has."""
    if not host.doors.socketio.asks:
        return False
    try:
        return host.doors.is_engine(unquote(split_target(target)[0]))
    except RequestRefused:
        return False


def _too_large() -> RequestRefused:
    return RequestRefused(431, "The request head is too large.\n")


def _upgrade_offset(otherwise: int) -> int:
    """How many bytes of the chunk belonged to the head.

    uvicorn calls us while it handles httptools' ``HttpParserUpgrade``, which says so.
    """
    error = sys.exception()
    return int(error.args[0]) if isinstance(error, httptools.HttpParserUpgrade) and error.args else otherwise
