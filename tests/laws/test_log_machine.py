"""The law of the log: whatever is published, trimmed, expired, repeated or restarted, it is a list of which the newest
part is kept, and reading says exactly when something in front of it is missing."""

import asyncio
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from openline.brokers.memory import MemoryBroker
from openline.brokers.sqlite import SqliteBroker
from openline.hub.ports import Broker
from openline.hub.timers import Timers
from openline.model import Page, Position, Publication, Retention
from openline.testing.broker_bench import Bench, texts
from tests.brokers.stores import NOON, left_behind
from tests.effort import times

#: Of the same length, so that all publications have the same size.
A, B, OWN = "room:aaaa", "room:bbbb", "$user:ada"
SIZE = Publication(A, "note", b'"0000"').size
KEY_SECONDS = FORGET_SECONDS = 300

channels = st.sampled_from([A, B, OWN])
retentions = st.builds(
    Retention,
    count=st.sampled_from([0, 1, 3, 3, 1000]),
    seconds=st.sampled_from([0.0, 20.0, 200.0, 200.0]),
    size=st.sampled_from([0, SIZE, 4 * SIZE, 1000 * SIZE]),
)
keys = st.none() | st.sampled_from(["k", "l"])
limits = st.sampled_from([1, 2, 3, 1000])


class Known(NamedTuple):
    position: Position
    text: str
    at: float


class Model:
    """A list per channel, and how much of its front is gone."""

    def __init__(self) -> None:
        self.now = 0.0
        self.logs: dict[str, list[Known]] = defaultdict(list)
        self.gone: dict[str, int] = defaultdict(int)
        self.retention: dict[str, Retention] = defaultdict(Retention)
        self.keys: dict[tuple[str, str], tuple[Position, float]] = {}

    def trim(self, channel: str) -> None:
        log, keep = self.logs[channel], self.retention[channel]
        for n in range(self.gone[channel], len(log)):
            rest = len(log) - n
            if rest <= keep.count and rest * SIZE <= keep.size and log[n].at + keep.seconds > self.now:
                return
            self.gone[channel] = n + 1

    def repeated(self, channel: str, key: str | None) -> Position | None:
        position, until = self.keys.get((channel, key or ""), (None, 0.0))
        return position if until > self.now else None

    def append(self, channel: str, known: Known, retention: Retention, key: str | None) -> None:
        self.trim(channel)
        self.logs[channel].append(known)
        self.retention[channel] = retention
        self.trim(channel)
        if key is not None:
            self.keys[channel, key] = (known.position, self.now + KEY_SECONDS)

    def newest_gone(self, channel: str) -> int:
        gone = self.gone[channel]
        return self.logs[channel][gone - 1].position.stamp if gone else 0

    def kept(self, channel: str) -> list[Known]:
        self.trim(channel)
        return self.logs[channel][self.gone[channel] :]


class LogMachine(RuleBasedStateMachine):
    """Whatever is done to an engine is done to the model, too."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.model = Model()
        self.told: list[Known] = []
        self.count = 0
        #: One of the server's own channels that is idle for long is forgotten: nobody comes back to it from before.
        self.abandoned = 0

    def make(self, timers: Timers) -> Broker:
        raise NotImplementedError

    def wait(self, steps: Any) -> Any:
        return self.loop.run_until_complete(steps)

    @initialize()
    def begin(self) -> None:
        self.start()

    def start(self) -> None:
        async def start() -> None:
            self.bench = Bench(self.make, patience=20.0)
            await self.bench.of(self.bench.broker.start(self.bench), "start")
            await self.bench.want(A, B)

        self.wait(start())

    def close(self) -> None:
        self.wait(self.bench.of(self.bench.broker.close(), "close"))

    def teardown(self) -> None:
        if hasattr(self, "bench"):
            self.close()
        self.loop.close()

    # -- what is done

    @rule(channel=channels, retention=retentions, key=keys, burst=st.integers(1, 4))
    def publish(self, channel: str, retention: Retention, key: str | None, burst: int) -> None:
        # An engine need not notice that something is too old before somebody looks.
        self.read(channel)
        wanted = [f"{self.count + n:04}" for n in range(burst)]
        self.count += burst
        sent = [self.bench.send(channel, text, retention, key) for text in wanted]
        for text, outcome in zip(wanted, sent, strict=True):
            position = self.wait(self.bench.of(outcome, "publish"))
            first = self.model.repeated(channel, key)
            if first is not None:
                assert position == first, "a repeat has the position of the first"
                continue
            known = Known(position, text, self.model.now)
            newest = [other.position for other in self.told[-1:] if other.position.epoch == position.epoch]
            assert all(position.stamp > other.stamp for other in newest), "stamps grow"
            self.told.append(known)
            self.model.append(channel, known, retention, key)
        heard = self.bench.heard[-4:]
        assert texts(heard) == [known.text for known in self.told[len(self.told) - len(heard) :]], (
            "the listener hears each once"
        )

    @rule(seconds=st.sampled_from([1, 10, 19, 20, 100, 299, 300]))
    def wait_a_while(self, seconds: int) -> None:
        self.bench.clock.advance(seconds)
        self.model.now += seconds
        log, keep = self.model.logs[OWN], self.model.retention[OWN]
        if log and self.model.now - log[-1].at > keep.seconds + FORGET_SECONDS:
            self.abandoned = log[-1].position.stamp

    @rule(channel=channels, early=st.booleans())
    def grow_old(self, channel: str, early: bool) -> None:
        """Until the oldest of a log is too old, or a second before that."""
        for known in self.model.kept(channel)[:1]:
            due = int(known.at + self.model.retention[channel].seconds - self.model.now)
            self.wait_a_while(due - early)
            self.same(self.read(channel), self.model.kept(channel), more=False)

    @rule(channel=channels, limit=limits, data=st.data())
    def recover(self, channel: str, limit: int, data: st.DataObject) -> None:
        positions = [known.position for known in self.told] or [self.bench.broker.position]
        after = data.draw(st.sampled_from(positions))
        page = self.read(channel, after=after, limit=limit)
        kept = self.model.kept(channel)
        lost = after.epoch != self.bench.broker.position.epoch
        lost = lost or (channel.startswith("$") and after.stamp < self.began_direct())
        if channel != OWN or after.stamp >= self.abandoned:
            assert page.complete == (not lost and after.stamp >= self.model.newest_gone(channel))
        if page.complete:
            behind = [known for known in kept if known.position.stamp > after.stamp]
            self.same(page, behind[:limit], more=len(behind) > limit)

    @rule(channel=channels, limit=limits, data=st.data())
    def look_back(self, channel: str, limit: int, data: st.DataObject) -> None:
        before = data.draw(st.none() | st.sampled_from(self.told)) if self.told else None
        page = self.read(channel, before=None if before is None else before.position, limit=limit)
        ahead = self.model.kept(channel)
        if before is not None:
            here = before.position.epoch == self.bench.broker.position.epoch
            ahead = [known for known in ahead if here and known.position.stamp < before.position.stamp]
        self.same(page, ahead[-limit:], more=len(ahead) > limit)

    def read(self, channel: str, **options: Any) -> Page:
        page: Page = self.wait(self.bench.read(channel, **options))
        self.model.trim(channel)
        return page

    def same(self, page: Page, expected: list[Known], *, more: bool) -> None:
        found = [(p.position, text) for p, text in zip(page.publications, texts(page.publications), strict=True)]
        assert found == [(known.position, known.text) for known in expected]
        assert page.more == more

    def began_direct(self) -> int:
        return 0

    @rule(killed=st.booleans(), away=st.sampled_from([0, 5, 250]))
    def restart(self, killed: bool, away: int) -> None:
        self.end(killed=killed)
        self.model.now += away
        before = self.bench.broker.position
        self.start()
        self.went_on(before)

    def end(self, *, killed: bool) -> None:
        """The process ends."""
        raise NotImplementedError

    def went_on(self, before: Position) -> None:
        """Another one has begun; ``before`` is where the engine stood."""
        raise NotImplementedError


class MemoryMachine(LogMachine):
    def make(self, timers: Timers) -> Broker:
        return MemoryBroker(timers)

    def end(self, *, killed: bool) -> None:
        if not killed:
            self.close()

    def went_on(self, before: Position) -> None:
        assert self.bench.broker.position.epoch != before.epoch, "whoever comes back is told"
        now, self.model = self.model.now, Model()
        self.model.now = now
        self.abandoned = 0


class SqliteMachine(LogMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "log.db"
        self.begun = 0

    def make(self, timers: Timers) -> Broker:
        return SqliteBroker(str(self.path), loop=self.loop, timers=timers, wall=lambda: NOON + self.model.now)

    def began_direct(self) -> int:
        return self.begun

    @rule()
    def sweep(self) -> None:
        broker = self.bench.broker
        assert isinstance(broker, SqliteBroker)
        broker.sweep()

    def end(self, *, killed: bool) -> None:
        copy = left_behind(self.path) if killed else self.path
        self.close()
        self.path = copy

    def went_on(self, before: Position) -> None:
        position = self.bench.broker.position
        assert position.epoch == before.epoch, "the epoch stays"
        assert all(position.stamp >= known.position.stamp for known in self.told[-1:]), "positions go on"
        # The server's own channels end with the process.
        self.begun = position.stamp
        self.model.logs.pop(OWN, None)
        self.model.gone.pop(OWN, None)

    def teardown(self) -> None:
        super().teardown()
        self.folder.cleanup()


@pytest.mark.parametrize(("machine", "examples"), [(MemoryMachine, times(50)), (SqliteMachine, times(50))])
def test_the_log_is_a_list_of_which_the_newest_part_is_kept(machine: type[LogMachine], examples: int) -> None:
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
        ),
    )
