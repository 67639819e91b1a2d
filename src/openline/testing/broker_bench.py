"""The bench on which an engine is checked: its listener, a clock that the check moves, and words to complain with."""

import asyncio
from collections.abc import Callable, Collection, Sequence
from typing import Any, Final, TypeVar

from openline.hub.outcome import Outcome
from openline.hub.ports import Broker
from openline.hub.timers import Timers
from openline.model import Page, Position, Publication, Retention
from openline.testing.clock import FakeClock

__all__ = ["KEPT", "Bench", "holds", "same", "texts"]

T = TypeVar("T")

#: For a check in which nothing is to be trimmed.
KEPT: Final = Retention(count=1000, seconds=3600.0, size=10_000_000)


class Bench:
    """One engine under test, with everything that it told its listener, and a clock that the check moves.

    ``heard_at`` holds the engine's own position at the moment when it told each.
    """

    def __init__(self, make_broker: Callable[[Timers], Broker], patience: float) -> None:
        self.clock = FakeClock(1000.0)
        self.broker = make_broker(Timers(self.clock))
        self.heard: list[Publication] = []
        self.heard_at: list[Position] = []
        self.breaks: list[Collection[str] | None] = []
        self.then: Callable[[Publication], None] = lambda _: None
        self._patience = patience

    def on_publication(self, publication: Publication) -> None:
        """See :class:`openline.hub.ports.BrokerListener`."""
        self.heard.append(publication)
        self.heard_at.append(self.broker.position)
        self.then(publication)

    def on_break(self, channels: Collection[str] | None) -> None:
        """See :class:`openline.hub.ports.BrokerListener`."""
        self.breaks.append(channels)

    async def of(self, outcome: Outcome[T], what: str) -> T:
        """What comes of it, in reasonable time."""
        try:
            async with asyncio.timeout(self._patience):
                return await outcome
        except TimeoutError:
            raise AssertionError(f"{what} did not settle within {self._patience:g} s") from None

    def send(self, channel: str, text: str, kept: Retention = KEPT, key: str | None = None) -> Outcome[Position]:
        """Publish without waiting."""
        return self.broker.publish(Publication(channel, "note", b'"%b"' % text.encode()), kept, key)

    async def publish(self, channel: str, text: str, kept: Retention = KEPT, key: str | None = None) -> Position:
        """Publish, and wait until it is in the store."""
        return await self.of(self.send(channel, text, kept, key), "publish")

    async def fill(self, channel: str, count: int, kept: Retention = KEPT) -> list[Position]:
        """Publish ``0``, ``1``, …"""
        return [await self.publish(channel, str(n), kept) for n in range(count)]

    async def read(self, channel: str, **options: Any) -> Page:
        """A page."""
        return await self.of(self.broker.read(channel, **options), "read")

    async def want(self, *channels: str) -> None:
        """Subscribe, and wait until it is confirmed."""
        for channel in channels:
            await self.of(self.broker.subscribe(channel), "subscribe")


def texts(publications: Sequence[Publication]) -> list[str]:
    """What :meth:`Bench.send` was given."""
    return [bytes(p.payload).decode().strip('"') for p in publications]


def same(found: object, expected: object, what: str) -> None:
    """Complain in one line."""
    if found != expected:
        raise AssertionError(f"{what}: expected {expected!r}, found {found!r}")


def holds(condition: object, what: str) -> None:
    """Complain where it does not hold."""
    if not condition:
        raise AssertionError(f"{what}: this does not hold")
