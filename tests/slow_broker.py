"""An engine at the end of a slow line: what the hub asks of it comes about, and is answered, when the test says so."""

from collections import deque
from collections.abc import Callable
from typing import Any

from openline.brokers.memory import MemoryBroker
from openline.errors import BrokerError
from openline.hub.outcome import Outcome
from openline.hub.ports import BrokerListener
from openline.model import Page, Position, Publication, Retention
from openline.protocol.channel_name import INTERNAL


def _end(answer: Any) -> int:
    """Up to where a page reaches; nowhere for other answers."""
    return answer.publications[-1].stamp if isinstance(answer, Page) and answer.publications else 0


class Pending:
    """One call: it takes effect in the engine first, and is answered later."""

    def __init__(self, kind: str, effect: Callable[[], Any]) -> None:
        self.kind = kind
        self.outcome: Outcome[Any] = Outcome()
        self._effect = effect
        self._answer: Any = None
        self.applied = False

    def apply(self) -> None:
        if not self.applied:
            self.applied = True
            self._answer = self._effect()

    def answer(self) -> Any:
        self.apply()
        return self._answer


class SlowBroker:
    """See :class:`openline.hub.ports.Broker`; what is promised there holds in whatever order the calls come about."""

    def __init__(self, memory: MemoryBroker) -> None:
        self._memory = memory
        self._listener: BrokerListener | None = None
        self._on_the_way: deque[Publication] = deque()
        self.pending: list[Pending] = []
        self.wanted: set[str] = set()
        self._confirmed: set[str] = set()

    # -- the port

    @property
    def position(self) -> Position:
        for publication in self._on_the_way:
            if publication.stamp:
                return Position(publication.epoch, publication.stamp - 1)
        return self._memory.position

    def start(self, listener: BrokerListener) -> Outcome[None]:
        self._listener = listener
        return self._memory.start(self)

    def close(self) -> Outcome[None]:
        return self._memory.close()

    def publish(self, publication: Publication, retention: Retention, key: str | None = None) -> Outcome[Position]:
        return self._later("publish", lambda: self._memory.publish(publication, retention, key).result())

    def scatter(self, publication: Publication) -> Outcome[None]:
        return self._later("publish", lambda: self._memory.scatter(publication).result())

    def read(self, channel: str, **bounds: Any) -> Outcome[Page]:
        return self._later("read", lambda: self._memory.read(channel, **bounds).result())

    def subscribe(self, channel: str) -> Outcome[None]:
        self.wanted.add(channel)
        if channel in self._confirmed or channel.startswith(INTERNAL):
            self._memory.subscribe(channel)
            return Outcome.of(None)
        return self._later("subscribe", lambda: self._confirm(channel))

    def _confirm(self, channel: str) -> int:
        if channel in self.wanted:
            self._confirmed.add(channel)
            self._memory.subscribe(channel)
        return self._memory.position.stamp

    def unsubscribe(self, channel: str) -> None:
        self.wanted.discard(channel)
        self._confirmed.discard(channel)
        self._memory.unsubscribe(channel)

    def forget(self, channel: str) -> None:
        self._memory.forget(channel)

    def on_publication(self, publication: Publication) -> None:
        """From the engine below."""
        self._on_the_way.append(publication)

    def _later(self, kind: str, effect: Callable[[], Any]) -> Outcome[Any]:
        pending = Pending(kind, effect)
        self.pending.append(pending)
        return pending.outcome

    # -- what a test does

    def apply(self, pending: Pending) -> None:
        """It takes effect; publications keep their order."""
        if pending.kind == "publish":
            for earlier in self.pending[: self.pending.index(pending)]:
                if earlier.kind == "publish":
                    earlier.apply()
        pending.apply()

    def settle(self, pending: Pending) -> None:
        """It is answered; a page when everything in it has come in."""
        self.apply(pending)
        self.pending.remove(pending)
        answer = pending.answer()
        # Both promise that the node has seen what came before.
        reached = answer if pending.kind == "subscribe" else _end(answer)
        while self._on_the_way and self.position.stamp < reached:
            self.deliver()
        pending.outcome.settle(None if pending.kind == "subscribe" else answer)

    def fail(self, pending: Pending) -> None:
        """The engine did not answer; whether it did what was asked is unknown."""
        self.pending.remove(pending)
        pending.outcome.fail(BrokerError("the engine did not answer"))

    def deliver(self) -> None:
        """One publication that was on the way comes in."""
        publication = self._on_the_way.popleft()
        assert self._listener is not None
        self._listener.on_publication(publication)

    @property
    def on_the_way(self) -> int:
        return len(self._on_the_way)

    def settle_all(self) -> None:
        while self.pending or self._on_the_way:
            while self._on_the_way:
                self.deliver()
            if self.pending:
                self.settle(self.pending[0])
