"""The conformance suite: our engines pass it, and every engine with a planted fault does not."""

import asyncio
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import msgspec
import pytest

from openline.brokers.memory import MemoryBroker
from openline.brokers.sqlite import SqliteBroker
from openline.hub.outcome import Outcome
from openline.hub.timers import Timers
from openline.model import NOTHING_KEPT, Page, Position, Publication, Retention
from openline.testing.check_broker import CHECKS, check_broker

GENEROUS = Retention(count=10_000, seconds=1e9, size=10**9)


async def test_the_memory_engine_keeps_its_promises() -> None:
    await check_broker(MemoryBroker)


@pytest.mark.parametrize("synced", [False, True])
async def test_the_sqlite_engine_keeps_its_promises(tmp_path: Path, synced: bool) -> None:
    names = count()

    def make(timers: Timers) -> SqliteBroker:
        path = str(tmp_path / f"{next(names)}.db")
        return SqliteBroker(path, loop=asyncio.get_running_loop(), timers=timers, synced=synced)

    await check_broker(make)


class ForgetsKeys(MemoryBroker):
    def publish(self, publication: Publication, retention: Retention, key: str | None = None) -> Outcome[Position]:
        return super().publish(publication, retention)


class SharesKeys(MemoryBroker):
    """A key counts in all channels."""

    def publish(self, publication: Publication, retention: Retention, key: str | None = None) -> Outcome[Position]:
        for channel, known in tuple(self._keys):
            if known == key:
                self._keys[publication.channel, key] = self._keys[channel, known]
        return super().publish(publication, retention, key)


class KeepsEverything(MemoryBroker):
    def publish(self, publication: Publication, retention: Retention, key: str | None = None) -> Outcome[Position]:
        return super().publish(publication, GENEROUS, key)


class KeepsTheFirstRetention(MemoryBroker):
    def __init__(self, timers: Timers) -> None:
        super().__init__(timers)
        self._first: dict[str, Retention] = {}

    def publish(self, publication: Publication, retention: Retention, key: str | None = None) -> Outcome[Position]:
        if retention.count:
            retention = self._first.setdefault(publication.channel, retention)
        return super().publish(publication, retention, key)


class IgnoresAge(MemoryBroker):
    def publish(self, publication: Publication, retention: Retention, key: str | None = None) -> Outcome[Position]:
        ageless = msgspec.structs.replace(retention, seconds=1e9 if retention.count else 0.0)
        return super().publish(publication, ageless, key)


class IgnoresSize(MemoryBroker):
    def publish(self, publication: Publication, retention: Retention, key: str | None = None) -> Outcome[Position]:
        return super().publish(publication, msgspec.structs.replace(retention, size=10**9), key)


class DropsFields(MemoryBroker):
    def publish(self, publication: Publication, retention: Retention, key: str | None = None) -> Outcome[Position]:
        return super().publish(msgspec.structs.replace(publication, exclude=frozenset()), retention, key)


class AlwaysComplete(MemoryBroker):
    def read(self, channel: str, **options: Any) -> Outcome[Page]:
        return Outcome.of(msgspec.structs.replace(super().read(channel, **options).result(), complete=True))


class NeverMore(MemoryBroker):
    def read(self, channel: str, **options: Any) -> Outcome[Page]:
        return Outcome.of(msgspec.structs.replace(super().read(channel, **options).result(), more=False))


class ReadsOneTooMany(MemoryBroker):
    def read(self, channel: str, *, limit: int = 1000, **options: Any) -> Outcome[Page]:
        return super().read(channel, limit=limit + 1, **options)


class IgnoresTheSizeOfAPage(MemoryBroker):
    def read(self, channel: str, *, size: int = 0, **options: Any) -> Outcome[Page]:
        return super().read(channel, **options)


class ReadsTheOldestInstead(MemoryBroker):
    def read(self, channel: str, *, after: Position | None = None, **options: Any) -> Outcome[Page]:
        if after is None and options.get("before") is None:
            after = Position(self.position.epoch, 0)
        return super().read(channel, after=after, **options)


class IncludesWhereItBegins(MemoryBroker):
    def read(self, channel: str, *, after: Position | None = None, **options: Any) -> Outcome[Page]:
        if after is not None and after.stamp > 1 and after.stamp <= self.position.stamp:
            after = Position(after.epoch, after.stamp - 1)
        return super().read(channel, after=after, **options)


class TrustsAnyEpoch(MemoryBroker):
    def read(self, channel: str, *, after: Position | None = None, **options: Any) -> Outcome[Page]:
        if after is not None:
            after = Position(self.position.epoch, min(after.stamp, self.position.stamp))
        return super().read(channel, after=after, **options)


class TellsEverything(MemoryBroker):
    def _tell(self, publication: Publication) -> None:
        if self._listener is not None:
            self._listener.on_publication(publication)


class TellsTwice(MemoryBroker):
    def _tell(self, publication: Publication) -> None:
        super()._tell(publication)
        if publication.stamp % 7 == 0:
            super()._tell(publication)


class TellsAfterClose(MemoryBroker):
    def close(self) -> Outcome[None]:
        return Outcome.of(None)


class TellsLate(MemoryBroker):
    """Settles a publish before the listener is told."""

    def _tell(self, publication: Publication) -> None:
        asyncio.get_running_loop().call_soon(super()._tell, publication)


class ScattersAhead(TellsLate):
    """What is volatile overtakes what waits."""

    def scatter(self, publication: Publication) -> Outcome[None]:
        MemoryBroker._tell(self, publication)
        return Outcome.of(None)


class LosesThePlaceOfTheVolatile(MemoryBroker):
    def scatter(self, publication: Publication) -> Outcome[None]:
        self.publish(publication, NOTHING_KEPT)
        return Outcome.of(None)


class NamesNoPrevious(MemoryBroker):
    def _tell(self, publication: Publication) -> None:
        super()._tell(msgspec.structs.replace(publication, previous=0))


class NeverForgets(MemoryBroker):
    def forget(self, channel: str) -> None:
        return


class NeverAnswers(MemoryBroker):
    def subscribe(self, channel: str) -> Outcome[None]:
        super().subscribe(channel)
        return Outcome()


class StampsFromTheEnd(MemoryBroker):
    """Answers with positions that fall."""

    def publish(self, publication: Publication, retention: Retention, key: str | None = None) -> Outcome[Position]:
        position = super().publish(publication, retention, key).result()
        return Outcome.of(Position(position.epoch, 10**6 - position.stamp))


class StandsStill(MemoryBroker):
    @property
    def position(self) -> Position:
        return Position(self._epoch, 0)


class KeepsNothingOfItsOwn(MemoryBroker):
    def publish(self, publication: Publication, retention: Retention, key: str | None = None) -> Outcome[Position]:
        own = publication.channel.startswith("$")
        return super().publish(publication, NOTHING_KEPT if own else retention, key)


#: Each fault, and a check that must find it.
FAULTS: dict[Callable[[Timers], MemoryBroker], str] = {
    ForgetsKeys: "a repeated key is one publication",
    SharesKeys: "a key counts within its channel",
    KeepsEverything: "no more than count is kept",
    KeepsTheFirstRetention: "the latest publication says how much is kept",
    IgnoresAge: "nothing older than its seconds is kept",
    IgnoresSize: "no more than size is kept",
    DropsFields: "`exclude` from the log",
    AlwaysComplete: "`complete` behind number 0",
    NeverMore: "reading after a position goes forward in pages",
    ReadsOneTooMany: "reading before a position goes backward in pages",
    IgnoresTheSizeOfAPage: "a page ends early when it is large enough",
    ReadsTheOldestInstead: "the newest 4",
    IncludesWhereItBegins: "reading after a position goes forward in pages",
    TrustsAnyEpoch: "behind elsewhere.1",
    TellsEverything: "only wanted channels are heard",
    TellsTwice: "publications keep the order of the calls",
    TellsAfterClose: "a closed engine says nothing more",
    TellsLate: "publications keep the order of the calls",
    ScattersAhead: "what is scattered keeps its place and is not kept",
    LosesThePlaceOfTheVolatile: "the stamps of what was scattered",
    NamesNoPrevious: "every publication names the one before it",
    NeverForgets: "a forgotten log is empty",
    NeverAnswers: "subscribe did not settle within",
    StampsFromTheEnd: "stamps grow with every call",
    StandsStill: "the position is where the listener stands",
    KeepsNothingOfItsOwn: "the server s own channels are kept like others",
}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
async def test_an_engine_with_a_planted_fault_is_found_out(fault: Callable[[Timers], MemoryBroker]) -> None:
    with pytest.raises(AssertionError) as failure:
        await check_broker(fault, patience_seconds=0.01)
    assert FAULTS[fault] in str(failure.value)


async def test_every_check_finds_some_planted_fault() -> None:
    found = ""
    for fault in FAULTS:
        with pytest.raises(AssertionError) as failure:
            await check_broker(fault, patience_seconds=0.01)
        found += str(failure.value)
    idle = [check.__name__ for check in CHECKS if check.__name__.replace("_", " ") not in found]
    assert idle == []


async def test_without_a_clock_to_move_what_takes_minutes_is_left_out() -> None:
    await check_broker(IgnoresAge, timed=False)
