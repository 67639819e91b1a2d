"""Socket.IO's words for what Openline has: namespaces, sockets, rooms, and whom an event goes to."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

from openline.app.addresses import addresses_of, tell_apart
from openline.app.handler import Handler
from openline.app.table import Table
from openline.hub.connection import Connection
from openline.hub.hub import Hub
from openline.hub.outcome import Outcome
from openline.hub.payload import Payload
from openline.model import Position, User
from openline.protocol.channel_name import require_event
from openline.protocol.rooms import everybody, room_channel, room_of
from openline.transports.socketio_entry import Handshake

if TYPE_CHECKING:
    from openline.app.openline import Openline

__all__ = ["Answers", "Audience", "Namespace", "Socket"]

F = TypeVar("F", bound=Callable[..., Any])
Rooms = str | Iterable[str]

_NOTHING: Final[Outcome[Position | None]] = Outcome.of(None)
_WORDS: Final[Mapping[str, str]] = {
    "closed": "transport close",
    "lost": "transport close",
    "disconnected": "server namespace disconnect",
    "shutdown": "server shutting down",
}


@dataclass(frozen=True, slots=True)
class Answers:
    """What came of asking many: the first arguments of those who acknowledged, and who did not in time.

    Those on other nodes are told by their ids. ``silent`` are nodes that did not say in time whom they have.
    """

    answered: Mapping["Socket | str", Any]
    missing: tuple["Socket | str", ...]
    silent: tuple[str, ...] = ()


@dataclass(frozen=True)
class Audience:
    """Whom an event goes to; each word makes another one, so that ``space.to("a").except_("b").emit("x")`` reads."""

    space: "Namespace"
    rooms: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    is_volatile: bool = False
    seconds: float = 10.0
    sender: Connection | None = None

    def to(self, rooms: Rooms) -> "Audience":
        """Whoever is in one of ``rooms`` too; without any, it is everybody in the namespace."""
        return replace(self, rooms=(*self.rooms, *_names(rooms)))

    in_ = to

    def except_(self, rooms: Rooms) -> "Audience":
        """Nobody who is in one of ``rooms``; a socket's id is a room, too."""
        return replace(self, left_out=(*self.left_out, *_names(rooms)))

    @property
    def volatile(self) -> "Audience":
        """Only who is there now: what is said is not kept."""
        return replace(self, is_volatile=True)

    def timeout(self, seconds: float) -> "Audience":
        """How long acknowledgements are waited for."""
        return replace(self, seconds=seconds)

    def emit(self, type: str, *arguments: Any) -> Outcome[Position | None]:
        """Send an event with any number of arguments; each socket gets it once, whatever rooms it is in.

        Its last position comes out once it is in the store. It need not be awaited. Raises :class:`TypeError` or
        :class:`ValueError` for what JSON cannot hold, or a name that no event can have.
        """
        require_event(type)
        payload = Payload.of_arguments(arguments)
        hub = self.space.hub
        return hub.tasks.on_loop(partial(self._emit, hub, type, payload))

    def send(self, *arguments: Any) -> Outcome[Position | None]:
        """Emit a ``message``."""
        return self.emit("message", *arguments)

    def _emit(self, hub: Hub, type: str, payload: Payload) -> Outcome[Position | None]:
        if not self.rooms and not self.left_out:
            return hub.publish_directly(everybody(self.space.name), type, payload, volatile=self.is_volatile)
        # Every node leaves out whom it has, at the moment when it hands the event out.
        sockets, channels = tell_apart(addresses_of(hub, self.space.name, self.left_out))
        outcome = _NOTHING
        for address in self._addresses(hub):
            if address.startswith("$"):
                outcome = hub.publish_directly(
                    address, type, payload, exclude=sockets, exclude_channels=channels, volatile=self.is_volatile
                )
            else:
                outcome = hub.publish(
                    address,
                    type,
                    payload,
                    exclude=sockets,
                    exclude_channels=channels,
                    volatile=self.is_volatile,
                    sender=self.sender,
                )
            # Whoever is in this one, too, has it by then.
            also = tell_apart((address,))
            sockets, channels = sockets | also[0], channels | also[1]
        return outcome

    async def emit_with_ack(self, type: str, *arguments: Any) -> Answers:
        """Send an event that everybody who is there now is to acknowledge, and wait until all have, or time is up.

        Call it on the event loop. Raises as :meth:`emit` does.
        """
        payload = Payload.of_arguments(arguments)
        hub = self.space.hub
        here = {socket.id: socket for socket in self.fetch_sockets()}
        left_out = addresses_of(hub, self.space.name, self.left_out)
        asked = await hub.everywhere.ask(self._addresses(hub), type, payload, self.seconds, left_out)
        answered = {here.get(name, name): value for name, value in asked.answered.items()}
        return Answers(answered, tuple(here.get(name, name) for name in asked.missing), tuple(asked.silent))

    # -- who they are

    def fetch_sockets(self) -> list["Socket"]:
        """Everybody on this node whom an event would go to."""
        hub = self.space.hub
        left_out = {c for address in addresses_of(hub, self.space.name, self.left_out) for c in _members(hub, address)}
        found = {c: None for address in self._addresses(hub) for c in _members(hub, address) if c not in left_out}
        return [Socket(self.space, connection) for connection in found]

    def sockets_join(self, rooms: Rooms) -> None:
        """Put all of them into ``rooms``."""
        for socket in self.fetch_sockets():
            socket.join(rooms)

    def sockets_leave(self, rooms: Rooms) -> None:
        """Take all of them out of ``rooms``."""
        for socket in self.fetch_sockets():
            for room in _names(rooms):
                socket.leave(room)

    def disconnect_sockets(self, close: bool = False) -> None:  # noqa: FBT001, FBT002  Socket.IO's own signature
        """Disconnect all of them."""
        for socket in self.fetch_sockets():
            socket.disconnect(close)

    def _addresses(self, hub: Hub) -> list[str]:
        if not self.rooms:
            return [everybody(self.space.name)]
        return addresses_of(hub, self.space.name, self.rooms)


def _members(hub: Hub, address: str) -> Iterable[Connection]:
    return hub.everywhere.members(address)


def _names(rooms: Rooms) -> tuple[str, ...]:
    return (rooms,) if isinstance(rooms, str) else tuple(rooms)


class Socket:
    """A connection in Socket.IO's words; two of the same connection are equal.

    ``connection`` is what handlers of ``line.on`` get. Clients of other doors are sockets of the default namespace.
    """

    __slots__ = ("connection", "nsp")

    def __init__(self, space: "Namespace", connection: Connection) -> None:
        self.connection = connection
        self.nsp = space

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Socket) and other.connection is self.connection

    def __hash__(self) -> int:
        return hash(self.connection)

    def __repr__(self) -> str:
        return f"<Socket {self.id} of {self.nsp.name}>"

    @property
    def id(self) -> str:
        """Its id, which is a room with nobody else in it."""
        return self.connection.id

    @property
    def user(self) -> User | None:
        """Who ``authenticate`` says that it is."""
        return self.connection.user

    @property
    def data(self) -> dict[str, Any]:
        """The application's own notes about it."""
        return self.connection.state

    @property
    def handshake(self) -> Handshake | None:
        """What the client brought: ``auth``, ``query``, ``headers``, ``address``, ``time``; None on other doors."""
        session = self.connection.session
        return session if isinstance(session, Handshake) else None

    @property
    def connected(self) -> bool:
        """Whether it may still be reached."""
        return self.connection.alive

    @property
    def rooms(self) -> set[str]:
        """The rooms that it is in, its own among them."""
        found = (room_of(self.nsp.name, channel) for channel in self.connection.channels)
        return {self.id, *(room for room in found if room is not None)}

    # -- rooms

    def join(self, rooms: Rooms) -> Outcome[None]:
        """Put it into ``rooms``; what comes out last is settled when it is in."""
        outcome: Outcome[None] = Outcome.of(None)
        for room in _names(rooms):
            outcome = self.connection.subscribe(room_channel(self.nsp.name, room))
        return outcome

    def leave(self, room: str) -> None:
        """Take it out of ``room``."""
        self.connection.unsubscribe(room_channel(self.nsp.name, room))

    # -- speaking

    def emit(self, type: str, *arguments: Any) -> Outcome[Position | None]:
        """Send it an event with any number of arguments; None comes out when it is gone for good."""
        return self.connection.emit(type, Payload.of_arguments(arguments))

    def send(self, *arguments: Any) -> Outcome[Position | None]:
        """Send it a ``message``."""
        return self.emit("message", *arguments)

    async def emit_with_ack(self, type: str, *arguments: Any, timeout: float = 10.0) -> Any:  # noqa: ASYNC109
        """Send it an event and wait for its acknowledgement: the first argument, a tuple of several, None of none.

        Raises :class:`TimeoutError` after ``timeout`` seconds and :class:`~openline.errors.GoneError` when it ends.
        """
        return await self.connection.ask(type, Payload.of_arguments(arguments), timeout=timeout)

    @property
    def broadcast(self) -> Audience:
        """Everybody in the namespace but this one."""
        return Audience(self.nsp, left_out=(self.id,), sender=self.connection)

    def to(self, rooms: Rooms) -> Audience:
        """Whoever is in one of ``rooms``, but this one."""
        return self.broadcast.to(rooms)

    in_ = to

    def except_(self, rooms: Rooms) -> Audience:
        """Everybody in the namespace but this one and those in ``rooms``."""
        return self.broadcast.except_(rooms)

    @property
    def volatile(self) -> Audience:
        """This one alone, if it is there now."""
        return Audience(self.nsp, rooms=(self.id,), is_volatile=True)

    def disconnect(self, close: bool = False) -> None:  # noqa: FBT001, FBT002  Socket.IO's own signature
        """End it for good; with ``close`` all namespaces of its client, and the line."""
        handshake = self.handshake
        if close and handshake is not None:
            self.nsp.hub.tasks.on_loop(handshake.close)
        else:
            self.connection.disconnect()


class Namespace:
    """One namespace; ``name`` begins with ``/``. Words for whom an event goes to are those of :class:`Audience`."""

    def __init__(self, line: "Openline", name: str, find_table: Callable[[], Table]) -> None:
        self.name = name
        self._line = line
        self._find_table = find_table
        #: Everybody in the namespace.
        self.all = Audience(self)

    @property
    def _table(self) -> Table:
        # One that a pattern stands for has handlers of its own from the first that it is given.
        return self._find_table()

    @property
    def hub(self) -> Hub:
        """The hub of what runs."""
        return self._line.running.hub

    def socket(self, connection: Connection) -> Socket:
        """A connection in Socket.IO's words."""
        if connection.namespace == self.name:
            return Socket(self, connection)
        return Socket(self._line.of(connection.namespace), connection)

    # -- handlers

    def on(self, type: str, *, thread: bool = False) -> Callable[[F], F]:
        """Decorate ``function(socket, *arguments)``: the handler of events of ``type``.

        Annotations say what the arguments must be. What it returns acknowledges the event: a tuple with several
        arguments, anything else but None with one; ``()`` with none. ``*`` takes events that have no handler, as
        ``function(socket, type, *arguments)``.
        """

        def register(function: F) -> F:
            self._table.add(type, function, thread=thread, view=self.socket)
            return function

        return register

    def on_any(self, function: F) -> F:
        """Decorate ``function(socket, type, *arguments)``: called for every event, ahead of its handler."""
        self._table.listeners.append(Handler(function, fixed=2, view=self.socket))
        return function

    def on_connect(self, function: F) -> F:
        """Decorate ``function(socket)``: called when a client comes in; what it raises keeps it out.

        The client learns that it is in when the function has returned, or asks it something.
        """
        self._table.connect.append(Handler(function, view=self.socket))
        return function

    def on_disconnect(self, function: F) -> F:
        """Decorate ``function(socket, reason)``: called once when it has ended for good, with Socket.IO's reason."""
        self._table.disconnect.append((Handler(function, view=self.socket), _reason))
        return function

    def use(self, function: F) -> F:
        """Decorate ``function(socket)``: asked before anybody is let in, on whatever door.

        Raise :class:`~openline.errors.ConnectError` to keep a client out; its ``connect_error`` tells why.
        """
        self._table.guards.append(Handler(function, view=self.socket))
        return function

    # -- speaking

    def to(self, rooms: Rooms) -> Audience:
        """Whoever is in one of ``rooms``."""
        return self.all.to(rooms)

    in_ = to

    def except_(self, rooms: Rooms) -> Audience:
        """Everybody but those in ``rooms``."""
        return self.all.except_(rooms)

    @property
    def volatile(self) -> Audience:
        """Everybody who is there now."""
        return self.all.volatile

    def timeout(self, seconds: float) -> Audience:
        """Everybody, who have so long to acknowledge."""
        return self.all.timeout(seconds)

    def emit(self, type: str, *arguments: Any) -> Outcome[Position | None]:
        """Send an event to everybody; see :meth:`Audience.emit`."""
        return self.all.emit(type, *arguments)

    def send(self, *arguments: Any) -> Outcome[Position | None]:
        """Send everybody a ``message``."""
        return self.all.send(*arguments)

    def fetch_sockets(self) -> list[Socket]:
        """Everybody in the namespace on this node."""
        return self.all.fetch_sockets()


def _reason(connection: Connection, word: str) -> str:
    session = connection.session
    cause = session.cause if isinstance(session, Handshake) else None
    return _WORDS.get(word, word) if cause is None or word == "disconnected" else cause
