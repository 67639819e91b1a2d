"""How a Socket.IO client comes into a namespace: as somebody new, or as the connection that it was before."""

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs

from openline.errors import CloseCode, CommandError, ConnectError
from openline.hub.answers import Answers
from openline.hub.connection import Connection, State
from openline.hub.hub import Hub
from openline.hub.outcome import Outcome
from openline.hub.resume import Resumption
from openline.hub.turns import Turns
from openline.hub.welcome import Welcome
from openline.model import Position, Request
from openline.protocol.socketio_codec import SocketIoCodec, read_offset

if TYPE_CHECKING:
    from openline.transports.socketio_peer import SocketIoPeer, SocketWires

__all__ = ["Entry", "Handshake"]

_NO_NAMESPACE: Final = "Invalid namespace"


class Handshake:
    """What a Socket.IO client brought when it connected to its namespace.

    ``time`` is when, in seconds since 1970.
    """

    __slots__ = ("_auth", "_peer", "cause", "time")

    def __init__(self, peer: "SocketIoPeer", auth: dict[str, Any]) -> None:
        self._peer = peer
        # Most bring nothing.
        self._auth = auth or None
        self.time = time.time()
        #: Why it ends, in Socket.IO's words, where the hub does not know.
        self.cause: str | None = None

    def close(self) -> Outcome[None]:
        """Disconnect the client from all its namespaces, and close its line."""
        self._peer.disconnect()
        return Outcome.of(None)

    @property
    def auth(self) -> dict[str, Any]:
        """What the client's ``auth`` option holds."""
        return self._auth or {}

    @property
    def request(self) -> Request:
        """The request that opened the session."""
        return self._peer.session.request

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers of the request that opened the session, with names in lower case."""
        return self.request.headers

    @property
    def address(self) -> str:
        """The client's IP address."""
        return self.request.client

    @property
    def url(self) -> str:
        """What was asked for: path and query."""
        return f"{self.request.path}?{self.request.query}"

    @property
    def query(self) -> Mapping[str, str]:
        """The query's parameters; of one that stands twice the last."""
        return {name: values[-1] for name, values in parse_qs(self.request.query, keep_blank_values=True).items()}


class Entry:
    """Carries out CONNECT."""

    def __init__(
        self,
        hub: Hub,
        turns: Turns,
        codec_of: Callable[[str], SocketIoCodec],
        recovers: Callable[[Mapping[str, Any]], bool],
    ) -> None:
        self._hub = hub
        self._turns = turns
        self._codec_of = codec_of
        self._answers = Answers(hub.tick)
        self._recovers = recovers

    def begin(self, peer: "SocketIoPeer", wire: "SocketWires", namespace: str, auth: dict[str, Any]) -> None:
        """Let the client of ``wire`` into ``namespace``, or tell it why not."""
        connection = self._open(wire, namespace, Handshake(peer, auth))
        self._turns.run(connection, self._enter(peer, connection, wire, auth))

    def _open(self, wire: "SocketWires", namespace: str, handshake: Handshake) -> Connection:
        connection = self._hub.lifecycle.open(wire)
        connection.namespace = namespace
        connection.session = handshake
        return connection

    async def _enter(
        self, peer: "SocketIoPeer", connection: Connection, wire: "SocketWires", auth: dict[str, Any]
    ) -> None:
        try:
            if not await self._hub.application.has_namespace(connection.namespace, auth).step():
                raise ConnectError(_NO_NAMESPACE)
            if not (self._recovers(auth) and await self._take_up(peer, connection, wire)):
                await self._admit(peer, connection, wire)
        except Exception as error:
            self._refuse(peer, connection, wire, error, known=False)

    async def _admit(self, peer: "SocketIoPeer", connection: Connection, wire: "SocketWires") -> None:
        handshake = _handshake(connection)
        connection.since = self._hub.broker.position
        welcome = Welcome(self._hub, connection, lambda: self._tell(connection, wire))
        resumable = self._recovers(handshake.auth)
        await self._hub.lifecycle.admit(connection, _token(handshake), handshake.request, resumable=resumable)
        try:
            self._hub.early.say(connection)
            await self._hub.application.connected(connection).step()
        except Exception as error:
            self._refuse(peer, connection, wire, error, known=welcome.accepted)
            return
        welcome.accept()
        peer.entered()

    def _tell(self, connection: Connection, wire: "SocketWires") -> None:
        pid = connection.resume[0] if connection.resume else None
        self._hub.tick.to_wire(wire, self._codec_of(connection.namespace).connected(connection.id, pid))

    def _refuse(
        self, peer: "SocketIoPeer", connection: Connection, wire: "SocketWires", error: Exception, *, known: bool
    ) -> None:
        """Tell why not, on a line that is still there, and end what had begun.

        ``known``: its client has been told, now or before, that it is in.
        """
        told = self._answers.explain(error, connection, "connect")
        if connection.wire is wire:
            if _comes_back(told, peer, wire):
                self._hub.lifecycle.end(
                    connection, "disconnected", code=CloseCode.TRY_LATER, message=told.message, refused=not known
                )
                return
            accepted = connection.stage is State.LIVE and connection.hold is None
            peer.forget(wire)
            codec = self._codec_of(connection.namespace)
            frame = codec.goodbye() if accepted else codec.refused(told.message or told.code, _data(told))
            self._hub.tick.to_wire(wire, frame)
        self._hub.lifecycle.end(connection, "disconnected", refused=not known)

    # -- coming back

    async def _take_up(self, peer: "SocketIoPeer", newcomer: Connection, wire: "SocketWires") -> bool:
        """Whether the client goes on as the connection that it was; otherwise it is new."""
        handshake = _handshake(newcomer)
        pid = handshake.auth.get("pid")
        known = await self._hub.lifecycle.resumable(pid).step() if isinstance(pid, str) else None
        if known is None or known.namespace != newcomer.namespace or known.since is None:
            return False
        found = _since(known.since, handshake.auth.get("offset"))
        resumption = await self._hub.lifecycle.take_up(newcomer, str(pid), _token(handshake), handshake.request)
        if resumption is None:
            return False
        resumption.connection.session = handshake
        try:
            if found is None:
                self._start_over(peer, resumption.connection, wire)
            else:
                await self._go_on(peer, resumption, wire, *found)
        finally:
            self._turns.go_on(resumption.connection)
        return True

    async def _go_on(
        self, peer: "SocketIoPeer", resumption: Resumption, wire: "SocketWires", since: Position, told: int
    ) -> None:
        connection = resumption.connection
        try:
            # Who stands in front of a namespace is asked again: much may have changed meanwhile.
            await self._hub.application.admitting(connection).step()
            await resumption.prepare(since)
            rest = await self._read_rest(connection, since, told) if told else b""
            if not resumption.current:
                return
            if resumption.lost or rest is None:
                self._start_over(peer, connection, wire)
                return
            peer.entered()
            self._tell(connection, wire)
            self._hub.tick.to_wire(wire, rest)
            await resumption.replay()
        except Exception as error:
            reason = self._answers.explain(error, connection, "connect")
            if isinstance(error, CommandError) and not _comes_back(error, peer, wire):
                self._refuse(peer, connection, wire, error, known=True)
                return
            resumption.abandon(CloseCode.TRY_LATER if reason.retry else CloseCode.INTERNAL_ERROR, reason.message)

    async def _read_rest(self, connection: Connection, since: Position, told: int) -> bytes | None:
        """What did not come of the publication at ``since``, of whose events ``told`` did; None where it is lost."""
        codec, before = self._codec_of(connection.namespace), Position(since.epoch, since.stamp - 1)
        for channel in filter(codec.spells, tuple(connection.subscriptions)):
            page = await self._hub.broker.read(channel, after=before, limit=1).step()
            if not page.complete:
                return None
            if page.publications and page.publications[0].stamp == since.stamp:
                return codec.rest(page.publications[0], told)
        # The application has taken it out of that channel meanwhile.
        return b""

    def _start_over(self, peer: "SocketIoPeer", connection: Connection, wire: "SocketWires") -> None:
        """Something is lost: the connection ends, and its client is somebody new, as Socket.IO has it."""
        handshake = Handshake(peer, _handshake(connection).auth)
        self._hub.membership.detach(connection)
        connection.wire = None
        self._hub.lifecycle.end(connection, "lost")
        fresh = self._open(wire, connection.namespace, handshake)
        self._turns.run(fresh, self._anew(peer, fresh, wire))

    async def _anew(self, peer: "SocketIoPeer", connection: Connection, wire: "SocketWires") -> None:
        try:
            await self._admit(peer, connection, wire)
        except Exception as error:
            self._refuse(peer, connection, wire, error, known=False)


def _handshake(connection: Connection) -> Handshake:
    if not isinstance(connection.session, Handshake):
        raise TypeError("a connection of another door")
    return connection.session


def _token(handshake: Handshake) -> str | None:
    token = handshake.auth.get("token")
    return token if isinstance(token, str) else handshake.request.token


def _comes_back(told: CommandError, peer: "SocketIoPeer", wire: "SocketWires") -> bool:
    """Whether the session of who is refused is to end, so that its client comes back by itself.

    A stock client takes CONNECT_ERROR for the last word on a namespace, which is wrong where the same may succeed
    later. Beside another namespace that is in, it is the lesser evil all the same: that one would be cut off, over and
    over as long as the trouble lasts. There the application is told that it may connect again.
    """
    return told.retry and not peer.others_in(wire)


def _data(error: CommandError) -> object:
    if isinstance(error, ConnectError):
        return error.data
    return {"code": error.code, "retry": True} if error.retry else {"code": error.code}


def _since(begun: Position, offset: object) -> tuple[Position, int] | None:
    """From where to go on, and how many events of the publication there have come (0: all).

    None where the client cannot have got ``offset`` from us.

    The stock client keeps the last string that it saw, even from a connection before this one: what it has received on
    this one, if anything, is not ahead of where that began.
    """
    if offset is None:
        return begun, 0
    try:
        found = read_offset(offset) if isinstance(offset, str) else None
    except CommandError:
        return None
    if found is None:
        return None
    position, told = found
    return (position, told) if position.epoch == begun.epoch and position.stamp > begun.stamp else (begun, 0)
