"""Socket.IO's words for what Openline has: namespaces, sockets and rooms."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeVar

from openline.app.audience import Alone, Audience, Rooms, names
from openline.app.handler import Handler
from openline.app.table import Table
from openline.hub.connection import Connection
from openline.hub.hub import Hub
from openline.hub.outcome import Outcome
from openline.hub.payload import Payload
from openline.model import Position, User
from openline.protocol.rooms import room_channel, room_of
from openline.transports.socketio_entry import Handshake

if TYPE_CHECKING:
    from openline.app.openline import Openline

__all__ = ["Namespace", "Socket"]

F = TypeVar("F", bound=Callable[..., Any])

_WORDS: Final[Mapping[str, str]] = {
    "closed": "transport close",
    "lost": "transport close",
    "disconnected": "server namespace disconnect",
    "shutdown": "server shutting down",
}


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
        for room in names(rooms):
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
    def volatile(self) -> Alone:
        """This one alone, if it is there now; behind it, ``to``, ``except_`` and ``broadcast`` mean others."""
        return Alone(self.nsp, rooms=(self.id,), is_volatile=True, sender=self.connection)

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
        self._table.listen(Handler(function, fixed=2, view=self.socket))
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
