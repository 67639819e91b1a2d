"""Whom an event goes to, in Socket.IO's words: rooms, and those that are left out, on every node."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from openline.app.addresses import addresses_of, tell_apart
from openline.hub.connection import Connection
from openline.hub.hub import Hub
from openline.hub.outcome import Outcome
from openline.hub.payload import Payload
from openline.model import Position
from openline.protocol.channel_name import require_event
from openline.protocol.rooms import everybody

if TYPE_CHECKING:
    from openline.app.socketio import Namespace, Socket

__all__ = ["Alone", "Answers", "Audience", "Rooms", "names"]

Rooms = str | Iterable[str]

_NOTHING: Final[Outcome[Position | None]] = Outcome.of(None)


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
        return replace(self, rooms=(*self.rooms, *names(rooms)))

    in_ = to

    def except_(self, rooms: Rooms) -> "Audience":
        """Nobody who is in one of ``rooms``; a socket's id is a room, too."""
        return replace(self, left_out=(*self.left_out, *names(rooms)))

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
        return [self.space.socket(connection) for connection in found]

    def sockets_join(self, rooms: Rooms) -> None:
        """Put all of them into ``rooms``."""
        for socket in self.fetch_sockets():
            socket.join(rooms)

    def sockets_leave(self, rooms: Rooms) -> None:
        """Take all of them out of ``rooms``."""
        for socket in self.fetch_sockets():
            for room in names(rooms):
                socket.leave(room)

    def disconnect_sockets(self, close: bool = False) -> None:  # noqa: FBT001, FBT002  Socket.IO's own signature
        """Disconnect all of them."""
        for socket in self.fetch_sockets():
            socket.disconnect(close)

    def _addresses(self, hub: Hub) -> list[str]:
        if not self.rooms:
            return [everybody(self.space.name)]
        return addresses_of(hub, self.space.name, self.rooms)


class Alone(Audience):
    """One socket alone; as soon as others are named it is they, without that one."""

    @property
    def broadcast(self) -> Audience:
        """Everybody in the namespace but this one."""
        return Audience(self.space, (), self.rooms, self.is_volatile, self.seconds, self.sender)

    def to(self, rooms: Rooms) -> Audience:
        """Whoever is in one of ``rooms``, but this one."""
        return self.broadcast.to(rooms)

    in_ = to

    def except_(self, rooms: Rooms) -> Audience:
        """Everybody in the namespace but this one and those in ``rooms``."""
        return self.broadcast.except_(rooms)


def _members(hub: Hub, address: str) -> Iterable[Connection]:
    return hub.everywhere.members(address)


def names(rooms: Rooms) -> tuple[str, ...]:
    """One name or several, as several."""
    return (rooms,) if isinstance(rooms, str) else tuple(rooms)
