"""Lets everybody go before the server ends: who comes in no more, whose turn is when, and when it is over.

Clients do not come back all at once, because they do not leave all at once: each has its moment, out of the window over
which they are spread. Who has something under way is answered first.
"""

import random
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING, Final

from openline.errors import SettingsError
from openline.hub.connection import Connection
from openline.hub.outcome import Outcome
from openline.protocol.api import Plan
from openline.protocol.commands import Word

if TYPE_CHECKING:
    from openline.hub.hub import Hub

__all__ = ["Drain", "DrainSettings"]

_RESTARTS: Final = "The server restarts."
_TURN_SECONDS: Final = 0.125
#: Supervisors kill what has not ended 30 s after SIGTERM; what is left of it is for the end itself.
_MOST_SECONDS: Final = 22.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DrainSettings:
    """How the server lets go when it is told to end.

    ``grace_seconds``: how long newcomers are still let in, while ``/readyz`` says 503 already, so that a balancer
    notices. ``window_seconds``: clients are told to go over this time at most, ``per_second`` at a time where they are
    few. ``handlers_seconds``: how long what is under way may take beyond that, before it is cancelled; less where all
    of it would take more than 22 s, because supervisors wait for 30.
    """

    grace_seconds: float = 0.0
    window_seconds: float = 10.0
    per_second: float = 500.0
    handlers_seconds: float = 10.0

    def __post_init__(self) -> None:
        if min(self.grace_seconds, self.window_seconds, self.handlers_seconds) < 0 or self.per_second <= 0:
            raise SettingsError("drain", "grace, window and handlers have 0 seconds or more, per_second is more than 0")
        if self.grace_seconds + self.window_seconds >= _MOST_SECONDS:
            raise SettingsError("drain", f"grace and window have less than {_MOST_SECONDS:g} s together")

    def spread(self, clients: int) -> float:
        """Over how many seconds so many are told to go."""
        return min(self.window_seconds, (clients - 1) / self.per_second) if clients else 0.0

    def end(self, clients: int) -> float:
        """When what still runs is cancelled, in seconds from the signal."""
        return min(self.grace_seconds + self.spread(clients) + self.handlers_seconds, _MOST_SECONDS)


class Drain:
    """Begins once.

    ``waiting`` are requests that wait for something: each is answered when its outcome is settled. ``chance`` decides
    who goes first.
    """

    def __init__(
        self,
        hub: "Hub",
        settings: DrainSettings,
        waiting: AbstractSet[Outcome[None]] = frozenset(),
        chance: random.Random | None = None,
    ) -> None:
        self._hub = hub
        self._settings = settings
        self._chance = chance or random.Random()  # noqa: S311  an order, no secret
        self._waiting = waiting
        self._queue: list[Connection | Outcome[None]] = []
        #: Whose moment has come while something of theirs is under way.
        self._busy: list[Connection] = []
        self._count = 0
        self._closed_at = 0.0
        self._spread = 0.0
        self._timers = hub.timers
        #: Whether it has begun: a balancer is to send nobody any more.
        self.begun = False
        #: Settled when all have gone and nothing runs, or there is no more time.
        self.over: Outcome[None] = Outcome()

    def plan(self) -> Plan:
        """What it would do."""
        connections, waiting, settings = len(self._hub.lifecycle.connections), len(self._waiting), self._settings
        window = settings.spread(connections + waiting)
        return Plan(
            connections=connections,
            waiting=waiting,
            grace_seconds=settings.grace_seconds,
            window_seconds=window,
            handlers=list(self._hub.tasks.names),
            end_seconds=settings.end(connections + waiting),
        )

    def begin(self) -> None:
        """Later calls change nothing."""
        if not self.begun:
            self.begun = True
            if self._settings.grace_seconds:
                self._hub.timers.after(self._settings.grace_seconds, self._close_the_doors)
            else:
                self._close_the_doors()

    def hurry(self) -> None:
        """Do not wait any longer."""
        if not self.over.done:
            self.over.settle(None)

    def _close_the_doors(self) -> None:
        lifecycle = self._hub.lifecycle
        lifecycle.closing = True
        self._queue = [*lifecycle.connections.values(), *self._waiting]
        self._chance.shuffle(self._queue)
        self._spread = self._settings.spread(len(self._queue))
        self._count = len(self._queue)
        self._closed_at = self._hub.timers.now
        self._timers = self._hub.timers.finer(_TURN_SECONDS)
        self._turn()

    def _turn(self) -> None:
        """The next ones go, and those of before who are through by now."""
        if self.over.done:
            return
        passed = self._hub.timers.now - self._closed_at
        late = passed >= self._settings.end(self._count) - self._settings.grace_seconds
        busy, self._busy = self._busy, []
        # Those whose moment comes before the next turn.
        part = (passed + _TURN_SECONDS) / self._spread if self._spread else 1.0
        left = self._count - min(self._count, ceil(self._count * part))
        due, self._queue = self._queue[left:], self._queue[:left]
        for each in (*busy, *due):
            if isinstance(each, Outcome):
                each.settle(None)
            elif _is_busy(each) and not late:
                self._busy.append(each)
                _hear_no_more(each)
            else:
                self._let_go(each)
        if late or not (self._queue or self._busy or len(self._hub.tasks)):
            self.over.settle(None)
        else:
            self._timers.after(_TURN_SECONDS, self._turn)

    def _let_go(self, connection: Connection) -> None:
        """Tell it when to come back, and end it here.

        Whoever leaves at some point of the window comes back at the same point of the next one: not before the server
        has ended, and not all at once.
        """
        if not connection.alive:
            return
        wire = connection.wire
        if wire is not None and self._spread:
            away = wire.codec.notice(Word.AWAY, None, b'{"retry":%.3f}' % self._spread)
            if away:
                self._hub.tick.to_wire(wire, away)
        self._hub.lifecycle.send_away(connection)


def _is_busy(connection: Connection) -> bool:
    return connection.alive and connection.wire is not None and bool(connection.busy or connection.backlog)


def _hear_no_more(connection: Connection) -> None:
    # A handler that waits for an answer of its client needs to hear it.
    if connection.wire is not None and not connection.asks:
        connection.wire.hold_reading(held=True)
