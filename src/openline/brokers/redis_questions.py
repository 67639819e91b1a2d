"""What a node asks Redis without changing anything: asked again after a break, answered or failed in time."""

from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

import hiredis

from openline.brokers.redis_connection import Argument, Reply
from openline.brokers.redis_link import Link, Script
from openline.errors import BrokerError
from openline.hub.outcome import Outcome
from openline.hub.timers import Timers

__all__ = ["Questions"]

#: Bytes of answers that may be under way together: Redis ends a connection to which it owes too much.
_MOST_UNDER_WAY: Final = 4 * 1024 * 1024
_MOST_WAITING: Final = 20_000
_LOOK_SECONDS: Final = 0.25


class _Question:
    __slots__ = ("arguments", "keys", "outcome", "script", "size", "until")

    def __init__(
        self, script: Script, keys: Sequence[Argument], arguments: Sequence[Argument], size: int, until: float
    ) -> None:
        self.script = script
        self.keys = keys
        self.arguments = arguments
        self.size = size
        self.until = until
        self.outcome: Outcome[Reply] = Outcome()


class Questions:
    """Asks in order, as long as the link is up; the rest waits, and fails when its time is over.

    The first key of each is the counter of the epoch of that moment, which ``stamps`` names.
    """

    def __init__(self, link: Link, timers: Timers, stamps: Callable[[], str]) -> None:
        self._link = link
        self._stamps = stamps
        self._timers = timers
        self._waiting: deque[_Question] = deque()
        self._under_way = 0
        self._looking = False
        self._closed = False

    def ask(
        self, script: Script, keys: Sequence[Argument], arguments: Sequence[Argument] = (), *, size: int = 64
    ) -> Outcome[Reply]:
        """What ``script`` returns, about ``size`` bytes; fails with :class:`BrokerError`."""
        if self._closed:
            return Outcome.failed(BrokerError("the engine is closed"))
        if len(self._waiting) >= _MOST_WAITING:
            return Outcome.failed(BrokerError("too many wait for the engine"))
        question = _Question(script, keys, arguments, size, self._timers.now + self._link.url.timeout)
        self._waiting.append(question)
        self.go_on()
        return question.outcome

    def go_on(self) -> None:
        """Ask what may be asked now."""
        while self._waiting and self._link.up and self._under_way <= _MOST_UNDER_WAY:
            question = self._waiting.popleft()
            self._under_way += question.size
            self._link.send(
                question.script.command((self._stamps(), *question.keys), question.arguments),
                partial(self._answered, question),
            )
        if self._waiting and not self._looking:
            self._looking = True
            self._timers.after(_LOOK_SECONDS, self._look)

    def _answered(self, question: _Question, reply: Reply) -> None:
        self._under_way -= question.size
        if not isinstance(reply, Exception):
            question.outcome.settle(reply)
        elif isinstance(reply, hiredis.ReplyError) and not str(reply).startswith(("NOSCRIPT", "LOST")):
            question.outcome.fail(BrokerError(f"the engine refuses: {reply}"))
        else:
            if isinstance(reply, hiredis.ReplyError):
                self._link.abort(str(reply))
            # The next connection is given the scripts, and a log.
            self._waiting.append(question)
        self.go_on()

    def _look(self) -> None:
        """Fail what has waited too long."""
        self._looking = False
        now = self._timers.now
        late = [question for question in self._waiting if question.until <= now]
        self._waiting = deque(question for question in self._waiting if question.until > now)
        for question in late:
            question.outcome.fail(BrokerError(f"the engine did not answer: {self._link.reason}"))
        self.go_on()

    def close(self) -> None:
        """Fail what waits."""
        self._closed = True
        waiting, self._waiting = self._waiting, deque()
        for question in waiting:
            question.outcome.fail(BrokerError("the engine is closed"))
