"""What waits to be carried out of all that came on one line: with too much of it, the line is not read."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from openline.hub.connection import Connection
    from openline.hub.ports import Wire

__all__ = ["Load", "drop_backlog", "load_of", "move_backlog"]


class Load:
    """The bytes of the commands that wait, whichever of the line's connections they are for.

    A connection that leaves the line weighs on it until what it had sent is carried out, or it ends: otherwise a client
    that comes and goes had as much waiting as it likes. ``limit``: beyond it ``wire`` is not read, until half of it is
    done.
    """

    __slots__ = ("_held", "_limit", "_wire", "waiting")

    def __init__(self, wire: "Wire", limit: int) -> None:
        self._wire = wire
        self._limit = limit
        self._held = False
        self.waiting = 0

    def add(self, size: int) -> None:
        """So much more waits."""
        self.waiting += size
        if self.waiting > self._limit and not self._held:
            self._held = True
            self._wire.hold_reading(held=True)

    def take(self, size: int) -> None:
        """So much of it waits no more."""
        self.waiting -= size
        if self._held and self.waiting <= self._limit // 2:
            self._held = False
            self._wire.hold_reading(held=False)


def load_of(wire: "Wire", limit: int) -> Load:
    """The load of the line that ``wire`` is of; wires of one line share it."""
    if wire.load is None:
        wire.load = Load(wire, limit)
    return wire.load


def move_backlog(connection: "Connection", newcomer: "Connection", wire: "Wire", limit: int) -> None:
    """``connection`` goes on on ``wire``, where ``newcomer`` was: what waits for both weighs on that line."""
    if connection.load is newcomer.load is None:
        return
    load = load_of(wire, limit)
    if connection.load is not None:
        connection.load.take(connection.backlog_bytes)
        load.add(connection.backlog_bytes)
        connection.load = load
    if newcomer.backlog is None:
        return
    if connection.backlog is None:
        connection.backlog, connection.load = newcomer.backlog, load
    else:
        connection.backlog.extend(newcomer.backlog)
    connection.backlog_bytes += newcomer.backlog_bytes
    newcomer.backlog, newcomer.load, newcomer.backlog_bytes = None, None, 0


def drop_backlog(connection: "Connection") -> None:
    """``connection`` has ended: nothing of it is carried out any more."""
    if connection.load is not None:
        connection.load.take(connection.backlog_bytes)
    connection.backlog, connection.load, connection.backlog_bytes = None, None, 0
