"""The law of the log: whatever is published, trimmed, expired, repeated or restarted, it is a list of which the newest
part is kept, and reading says exactly when something in front of it is missing."""

import asyncio
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from openline.brokers.memory import MemoryBroker
from openline.brokers.sqlite import SqliteBroker
from openline.hub.ports import Broker
from openline.hub.timers import Timers
from openline.model import Page, Position, Publication, Retention
from openline.testing.broker_bench import Bench, texts
from tests.brokers.stores import NOON, left_behind

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

    survives: ClassVar[bool]

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
            assert all(position.stamp > other.position.stamp for other in self.told[-1:]), "stamps grow"
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

    @rule(channel=channels, limit=limits, data=st.data())
    def recover(self, channel: str, limit: int, data: st.DataObject) -> None:
        positions = [known.position for known in self.told] or [self.bench.broker.position]
        after = data.draw(st.sampled_from(positions))
        page = self.read(channel, after=after, limit=limit)
        kept = self.model.kept(channel)
        lost = channel.startswith("$") and after.stamp < self.began_direct()
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
            ahead = [known for known in ahead if known.position.stamp < before.position.stamp]
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


class MemoryMachine(LogMachine):
    survives = False

    def make(self, timers: Timers) -> Broker:
        return MemoryBroker(timers)


class SqliteMachine(LogMachine):
    survives = True

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "log.db"
        self.begun = 0

    def make(self, timers: Timers) -> Broker:
        return SqliteBroker(str(self.path), loop=self.loop, timers=timers, wall=lambda: NOON + self.model.now)

    def forgettable(self, channel: str) -> bool:
        """Whether it is one of the server's own channels, to which nobody can come back any more."""
        log, keep = self.model.logs[channel], self.model.retention[channel]
        return channel == OWN and bool(log) and self.model.now - log[-1].at > keep.seconds + KEY_SECONDS

    def began_direct(self) -> int:
        return self.begun

    @rule()
    def sweep(self) -> None:
        broker = self.bench.broker
        assert isinstance(broker, SqliteBroker)
        broker.sweep()

    @precondition(lambda self: self.told)
    @rule(killed=st.booleans(), away=st.sampled_from([0, 5, 250]))
    def restart(self, killed: bool, away: int) -> None:
        copy = left_behind(self.path) if killed else self.path
        epoch = self.bench.broker.position.epoch
        self.close()
        self.path = copy
        self.model.now += away
        self.start()
        position = self.bench.broker.position
        assert position.epoch == epoch, "the epoch stays"
        assert position.stamp >= self.told[-1].position.stamp, "positions go on"
        # The server's own channels end with the process.
        self.begun = position.stamp
        self.model.logs.pop(OWN, None)
        self.model.gone.pop(OWN, None)

    def teardown(self) -> None:
        super().teardown()
        self.folder.cleanup()


@pytest.mark.parametrize(("machine", "examples"), [(MemoryMachine, 100), (SqliteMachine, 100)])
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
