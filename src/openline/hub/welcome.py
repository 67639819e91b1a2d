"""The moment between being let in and being told so: what is said to a connection meanwhile comes behind that."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from openline.errors import CloseCode
from openline.hub.connection import Connection
from openline.hub.recovery import Hold
from openline.model import Publication
from openline.protocol.channel_name import INTERNAL

if TYPE_CHECKING:
    from openline.hub.hub import Hub

__all__ = ["Welcome"]


class Welcome:
    """Holds what comes in for ``connection`` from now on, until :meth:`accept`.

    ``tell`` queues what says that it is in. A question to the client accepts it at once: the answer would never come.
    """

    def __init__(self, hub: "Hub", connection: Connection, tell: Callable[[], None]) -> None:
        self._hub = hub
        self._connection = connection
        self._tell = tell
        self._hold = _Hold(hub.settings.hold_bytes, self.accept)
        self.accepted = False
        connection.hold = self._hold

    def accept(self) -> None:
        """Tell it, then what was held, and go live; later calls change nothing."""
        connection, wire = self._connection, self._connection.wire
        if self.accepted or wire is None or connection.hold is not self._hold:
            return
        self.accepted = True
        if self._hold.overflowed:
            wire.close(CloseCode.SLOW, "Too much came in while this connection was let in.")
            return
        self._tell()
        for publication in self._hold.publications:
            if not connection.is_excluded(publication) and self._wanted(publication.channel):
                self._hub.tick.to_wire(wire, wire.codec.publication(publication))
        connection.hold = None
        for subscription in tuple(connection.subscriptions.values()):
            if subscription.hold is self._hold:
                self._hub.membership.seat(subscription)

    def _wanted(self, channel: str) -> bool:
        return channel.startswith(INTERNAL) or channel in self._connection.subscriptions


class _Hold(Hold):
    __slots__ = ("_accept",)

    def __init__(self, limit: int, accept: Callable[[], None]) -> None:
        super().__init__(limit)
        self._accept = accept

    def put(self, publication: Publication) -> None:
        super().put(publication)
        # Questions come to one connection alone, so nobody is going through a channel's members just now.
        if publication.ask is not None:
            self._accept()
