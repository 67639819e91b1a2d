"""The order of what concerns one connection: a step runs when the one before is through, what comes meanwhile waits."""

from collections import deque
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Final

from openline.hub.connection import Connection, State
from openline.hub.hub import Hub
from openline.hub.load import load_of
from openline.hub.outcome import Outcome, drive
from openline.hub.ports import Wire
from openline.protocol.commands import Command

__all__ = ["Turns"]

Steps = Coroutine[Outcome[Any], None, None]
_ENDED: Final = State.ENDED


class Turns:
    """Has ``carry_out`` called for one command of a connection after the other."""

    def __init__(self, hub: Hub, carry_out: Callable[[Connection, Wire, Command], None]) -> None:
        """``carry_out`` begins with a command at once, and keeps its connection busy until it is through.

        It tells failures to the client itself: what it raises is a fault of ours.
        """
        self._hub = hub
        self._carry_out = carry_out

    def take(self, connection: Connection, wire: Wire, command: Command) -> None:
        """Carry out ``command``: now, or behind those that came before."""
        if connection.busy:
            self.wait(connection, wire, command)
        else:
            self._carry_out(connection, wire, command)

    def wait(self, connection: Connection, wire: Wire, command: Command) -> None:
        """Carry out ``command`` behind those that came before, for ``connection`` is busy.

        With too much that waits, the line is not read (see :class:`~openline.hub.load.Load`). Nothing waits for a
        connection that has ended.
        """
        if connection.stage is _ENDED:
            return
        if connection.backlog is None or connection.load is None:
            connection.backlog = deque()
            connection.load = load_of(wire, self._hub.settings.backlog_bytes)
        connection.backlog.append((wire, command))
        connection.backlog_bytes += command.size
        connection.load.add(command.size)

    def run(self, connection: Connection, steps: Steps) -> None:
        """Run ``steps`` for ``connection``, and behind them what waits by then."""
        connection.busy += 1
        outcome = drive(steps)
        if outcome.done:
            outcome.result()
            self.let_go(connection)
        else:
            outcome.then(partial(self._go_on_after, connection))

    def let_go(self, connection: Connection) -> None:
        """What made ``connection`` busy just now is through already, so nothing can wait behind it."""
        connection.busy -= 1
        if connection.farewell is not None:
            self.end_if_over(connection)

    def _go_on_after(self, connection: Connection, outcome: Outcome[None]) -> None:
        outcome.result()
        self.go_on(connection)

    def go_on(self, connection: Connection) -> None:
        """What kept ``connection`` busy is through: carry out the commands that waited behind it."""
        connection.busy -= 1
        while connection.backlog and not connection.busy:
            wire, command = connection.backlog.popleft()
            connection.backlog_bytes -= command.size
            if connection.load is not None:
                connection.load.take(command.size)
            if not connection.backlog:
                connection.backlog = connection.load = None
            self._carry_out(connection, wire, command)
        self.end_if_over(connection)

    def end_if_over(self, connection: Connection) -> None:
        """End a connection that has gone, once everything it had sent has been carried out."""
        if connection.farewell is not None and not connection.busy and not connection.backlog:
            self._hub.lifecycle.end(connection, connection.farewell)
