"""What an Engine.IO session needs: of the line that carries it, and of what speaks over it."""

from typing import TYPE_CHECKING, Protocol

from openline.hub.ports import Wire
from openline.transports.engineio_wire import EngineWire

if TYPE_CHECKING:
    from openline.transports.doors import Door

__all__ = ["Peer", "UpgradingLine"]


class UpgradingLine(Protocol):
    """A WebSocket that may become the line of a session."""

    door: "Door"

    @property
    def wire(self) -> Wire:
        """Its writing end."""
        ...

    def adopt(self, wire: EngineWire) -> None:
        """From now on ``wire`` writes here; what it had kept comes first."""
        ...

    def close(self, code: int, reason: str = "") -> None:
        """End it."""
        ...

    def too_slow(self) -> None:
        """Its client does not read: end it without waiting."""
        ...


class Peer(Protocol):
    """What speaks over a session: made with it, told of its end once."""

    def opened(self) -> None:
        """The session is there."""
        ...

    def text(self, data: bytes) -> None:
        """A text message has come (valid UTF-8); raises :class:`ProtocolError` where that ends the session."""
        ...

    def binary(self, data: bytes) -> None:
        """A binary message has come; raises :class:`ProtocolError` where that ends the session."""
        ...

    def closes(self, code: int, reason: str) -> None:
        """The hub ends the connection whose wire is the session's own."""
        ...

    def ended(self, reason: str) -> None:
        """The session is over; ``reason`` is in Socket.IO's words."""
        ...
