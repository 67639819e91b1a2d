"""What is said to a connection before it is let in: it comes when it is in, or not at all."""

from collections import Counter
from typing import TYPE_CHECKING

from openline.hub.connection import Connection
from openline.hub.payload import Payload

if TYPE_CHECKING:
    from openline.hub.hub import Hub

__all__ = ["Early"]

#: For all that is said to one of them, about.
_MOST_BYTES = 1_048_576
_COST_BYTES = 200


class Early:
    """Keeps events for connections that nobody can reach yet, such as those that a guard says something to."""

    def __init__(self, hub: "Hub") -> None:
        self._hub = hub
        self._said: dict[Connection, list[tuple[str, Payload]]] = {}
        self._bytes: Counter[Connection] = Counter()

    def keep(self, connection: Connection, type: str, payload: Payload) -> None:
        """Say it when ``connection`` is in; raises :class:`ValueError` beyond 1 MiB."""
        size = self._bytes[connection] + _COST_BYTES + payload.size
        if size > _MOST_BYTES:
            raise ValueError(f"a connection is told {_MOST_BYTES} bytes at most before it is in")
        self._bytes[connection] = size
        self._said.setdefault(connection, []).append((type, payload))

    def say(self, connection: Connection) -> None:
        """``connection`` is in: say what was kept."""
        self._bytes.pop(connection, None)
        for type, payload in self._said.pop(connection, ()):
            self._hub.publish_directly(f"$connection:{connection.id}", type, payload)

    def drop(self, connection: Connection) -> None:
        """``connection`` does not come in."""
        self._bytes.pop(connection, None)
        self._said.pop(connection, None)
