"""The Socket.IO side of one session: its packets, its namespaces, and a wire for each."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from openline.errors import CloseCode, ProtocolError
from openline.hub.connection import Connection, State
from openline.hub.load import Load, load_of
from openline.hub.outcome import Outcome
from openline.hub.timers import Timer
from openline.model import Request
from openline.protocol.socketio import MAX_AUTH_BYTES, Kind, Packet, PacketReader, read_command
from openline.protocol.socketio_codec import SocketIoCodec
from openline.transports.engineio import Session
from openline.transports.engineio_wire import EngineWire
from openline.transports.group import DescriptorGroup
from openline.transports.socketio_entry import Handshake

if TYPE_CHECKING:
    from openline.transports.socketio import SocketIo

_TOO_MUCH: Final = f"auth has more than {MAX_AUTH_BYTES} bytes, or very many values"

__all__ = ["NamespaceWire", "SocketIoPeer", "SocketWires"]


class NamespaceWire:
    """See :class:`openline.hub.ports.Wire`.

    The first namespace of a session has the session's own wire; this is that of another one, which writes through it.
    """

    __slots__ = ("_peer", "codec", "connection", "descriptor", "load", "open", "places", "request")

    def __init__(self, peer: "SocketIoPeer", codec: SocketIoCodec, load: Load) -> None:
        self._peer = peer
        # That of the session.
        self.load: Load | None = load
        self.codec = codec
        self.connection: Connection | None = None
        self.request: Request | None = None
        self.places: dict[DescriptorGroup, int] = {}
        # It never has a descriptor of its own: groups let it take its bytes itself.
        self.descriptor = -1
        self.open = True

    def make_group(self) -> DescriptorGroup:
        """See :class:`openline.hub.ports.Wire`."""
        return DescriptorGroup()

    def deliver(self, frames: Sequence[bytes]) -> None:
        """See :class:`openline.hub.ports.Wire`."""
        if self.open:
            self._peer.session.wire.deliver(frames)

    def fell_short(self, data: bytes, taken: int) -> None:
        """Never called: there is no descriptor."""

    def drained(self) -> Outcome[None]:
        """See :class:`openline.hub.ports.Wire`."""
        return self._peer.session.wire.drained()

    def close(self, code: int, reason: str = "") -> None:
        """See :class:`openline.hub.ports.Wire`."""
        self._peer.close(self, code, reason)

    def hold_reading(self, *, held: bool) -> None:
        """See :class:`openline.hub.ports.Wire`: one namespace holds all of the session."""
        self._peer.session.wire.hold_reading(held=held)

    def shut(self) -> None:
        """Leave every group; nothing is written any more."""
        self.open = False
        for group in tuple(self.places):
            group.leave(self)


#: The wire of one namespace, whichever way.
SocketWires = EngineWire | NamespaceWire


class SocketIoPeer:
    """See :class:`openline.transports.engineio.Peer`."""

    __slots__ = ("_door", "_late", "_left", "_reader", "_timer", "_wires", "session")

    def __init__(self, door: "SocketIo", session: Session) -> None:
        self.session = session
        self._door = door
        self._wires: dict[str, SocketWires] = {}
        # Namespaces that it was in: what it sent before it knew is passed over.
        self._left: set[str] | None = None
        self._reader: PacketReader | None = None
        # Until when it is to be in a namespace, and until when its attachments are to be there.
        self._timer: Timer | None = None
        self._late: Timer | None = None

    def opened(self) -> None:
        """See :class:`Peer`: a CONNECT is due."""
        self._timer = self._deadline("Connect to a namespace first.")

    def entered(self) -> None:
        """It is in a namespace."""
        self._timer = _cancelled(self._timer)

    def _deadline(self, late: str) -> Timer:
        """Close the session with ``late`` unless what this returns is cancelled in time."""
        return self._door.timers.after(
            self._door.settings.connect_within_seconds,
            lambda: self.session.close("forced close", CloseCode.POLICY_VIOLATION, late),
        )

    def _await_attachments(self) -> None:
        self._late = self._door.timers.after(self._door.settings.connect_within_seconds, self._too_late)

    def _too_late(self) -> None:
        if self.session.wire.held:
            # They cannot have come: nothing is read.
            self._await_attachments()
        else:
            self.session.close("forced close", CloseCode.POLICY_VIOLATION, "The attachments did not come.")

    # -- what comes

    def text(self, data: bytes) -> None:
        """See :class:`Peer`."""
        reader = self._reader or self._door.reader
        packet = reader.text(data)
        if packet is not None:
            self._take(packet)
        else:
            self._reader, self._door.reader = reader, self._door.make_reader()
            self._await_attachments()

    def binary(self, data: bytes) -> None:
        """See :class:`Peer`."""
        packet = (self._reader or self._door.reader).binary(data)
        if packet is not None:
            self._reader = None
            self._late = _cancelled(self._late)
            self._take(packet)

    def _take(self, packet: Packet) -> None:
        wire = self._wires.get(packet.namespace)
        if packet.kind is Kind.CONNECT:
            self._connect(packet, wire)
        elif wire is None:
            if self._left is None or packet.namespace not in self._left:
                raise ProtocolError(CloseCode.PROTOCOL_ERROR, "connect to a namespace before anything else")
        elif wire.connection is not None:
            self._hear(wire, wire.connection, packet)

    def _hear(self, wire: SocketWires, connection: Connection, packet: Packet) -> None:
        if packet.kind is Kind.EVENT:
            self._door.turns.take(connection, wire, read_command(packet))
        elif packet.kind is Kind.ACK:
            values = packet.values()
            answer = values[0] if len(values) == 1 else tuple(values) if values else None
            self._door.hub.acknowledged(connection, str(packet.id), answer)
        else:
            # The client has left the namespace.
            _explain(connection, "client namespace disconnect")
            self.forget(wire)
            self._door.hub.lifecycle.line_lost(wire, clean=True)

    def _connect(self, packet: Packet, wire: SocketWires | None) -> None:
        if wire is not None:
            raise ProtocolError(CloseCode.PROTOCOL_ERROR, "CONNECT came twice for one namespace")
        auth = packet.auth or {}
        codec = self._door.codec(packet.namespace, auth)
        if len(self._wires) >= self._door.settings.max_namespaces:
            self.session.write(codec.refused("Too many namespaces on one connection"))
            return
        if packet.auth is None:
            self.session.write(codec.refused(_TOO_MUCH))
            return
        own: SocketWires = self.session.wire
        if any(each is own for each in self._wires.values()):
            own = NamespaceWire(self, codec, load_of(own, self._door.hub.settings.backlog_bytes))
        own.codec = codec
        self._wires[packet.namespace] = own
        self._door.entry.begin(self, own, packet.namespace, auth)

    # -- ending

    def others_in(self, wire: SocketWires) -> bool:
        """Whether a namespace but that of ``wire`` has been let in."""
        others = (each.connection for each in self._wires.values() if each is not wire)
        return any(other is not None and other.stage is State.LIVE and other.hold is None for other in others)

    def forget(self, wire: SocketWires) -> None:
        """The namespace of ``wire`` is left; what still comes for it is passed over."""
        for namespace, each in tuple(self._wires.items()):
            if each is wire:
                del self._wires[namespace]
                self._left = self._left or set()
                if len(self._left) < self._door.settings.max_namespaces:
                    self._left.add(namespace)

    def closes(self, code: int, reason: str) -> None:
        """See :class:`Peer`."""
        self.close(self.session.wire, code, reason)

    def close(self, wire: SocketWires, code: int, reason: str) -> None:
        """The hub ends the connection of ``wire``.

        A verdict on it is told to its namespace; where it may come back, the session ends, so that its client does.
        """
        namespace = next((name for name, each in self._wires.items() if each is wire), None)
        if namespace is None:
            return
        if code == CloseCode.NORMAL or (4000 <= code < 4500 and code != CloseCode.REPLACED):
            self.forget(wire)
            self.session.write(self._door.codec(namespace).goodbye())
        else:
            stops = code == CloseCode.RESTART
            self.session.close("server shutting down" if stops else "transport error", code, reason)

    def disconnect(self) -> None:
        """End the connections of all namespaces, and the session."""
        for wire in tuple(self._wires.values()):
            if wire.connection is not None:
                self._door.hub.disconnect(wire.connection, CloseCode.DISCONNECTED, "")
        self.session.close("forced server close", heard=True)

    def ended(self, reason: str) -> None:
        """See :class:`Peer`."""
        self._timer, self._late = _cancelled(self._timer), _cancelled(self._late)
        wires, self._wires = self._wires, {}
        for wire in wires.values():
            _explain(wire.connection, reason)
            self._door.hub.lifecycle.line_lost(wire, clean=False)
            if isinstance(wire, NamespaceWire):
                wire.shut()


def _cancelled(timer: Timer | None) -> Timer | None:
    """What is kept of ``timer`` when it is not wanted any more: nothing."""
    if timer is not None:
        timer.cancel()
    return None


def _explain(connection: Connection | None, cause: str) -> None:
    if connection is not None and isinstance(connection.session, Handshake):
        connection.session.cause = cause
