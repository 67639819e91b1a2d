"""What nobody can see any more leaves the store: by itself, all of it, in small steps, and nobody is told a lie."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from openline.brokers import sqlite as engine
from openline.brokers import sqlite_pruning, sqlite_writer
from openline.brokers.sqlite_entry import Entry, Kind
from openline.brokers.sqlite_file import open_store
from openline.brokers.sqlite_rows import encode_body
from openline.brokers.sqlite_writer import Writer
from openline.model import NOTHING_KEPT, Publication, Retention
from openline.testing.broker_bench import texts
from tests.brokers.stores import HOUR, NOON, opened, rows, settled

HOUR_MS = int(HOUR * 1000)
AN_HOUR = Retention(count=10**6, seconds=HOUR, size=10**9)


class Store:
    """A writer without its thread: a step of a sweep is taken when a test says so."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.store = open_store(str(path), synced=False, wall=NOON)
        self.writer = Writer(self.store, {"wanted"})
        self.begun = self.store.state.at

    def publish(self, channel: str, count: int, *, at: int = 0, kept: Retention = AN_HOUR, keyed: bool = False) -> None:
        """``count`` publications at once; ``at`` is in milliseconds since the store was opened."""
        publication = Publication(channel, "note", b'"%b"' % (b"x" * 300))
        key = iter(range(count))
        batch = [
            Entry(
                Kind.APPEND,
                channel,
                self.begun + at,
                publication,
                kept,
                f"{at}-{next(key)}" if keyed else None,
                encode_body(publication),
            )
            for _ in range(count)
        ]
        assert self.writer.write(batch) is None

    def ask(self, at: int) -> None:
        self.writer.ask_sweep(self.begun + at)

    def steps(self, room: int = 256) -> Iterator[int]:
        """How many rows and keys are gone behind each step."""
        left = self.count()
        while self.writer.sweeping:
            self.writer.sweep(room)
            before, left = left, self.count()
            yield before - left

    def count(self) -> int:
        found: int = rows(self.path, "SELECT (SELECT count(*) FROM log) + (SELECT count(*) FROM keys)")[0][0]
        return found


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    store = Store(path)
    yield store
    store.writer.close()


def test_a_sweep_asked_for_while_one_is_under_way_looks_at_everything_once_more(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_pruning, "LOOKED_AT", 4)
    for n in range(12):
        store.publish(f"c{n}", 3, at=n)
    store.ask(at=HOUR_MS - 1)
    steps = store.steps()
    assert next(steps) == 0
    # It has passed the first channels, which now have something to drop.
    store.ask(at=HOUR_MS + 100)
    assert sum(steps) == 36


def test_a_sweep_that_failed_begins_anew_when_it_is_asked_for_again(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_pruning, "LOOKED_AT", 2)
    for n in range(10):
        store.publish(f"c{n}", 3)
    store.ask(at=HOUR_MS + 1)
    steps = store.steps(room=12)
    assert next(steps) == 6
    away = store.path.rename(store.path.with_name("away.db"))
    store.writer.sweep(12)
    assert not store.writer.sweeping, "it is not tried over and over"
    away.rename(store.path)
    store.publish("c0", 3)
    store.ask(at=HOUR_MS + 1)
    assert sum(store.steps()) == 27


@pytest.mark.parametrize("channels", [1, 40, 700])
def test_no_step_drops_more_than_it_may_and_together_they_drop_everything(store: Store, channels: int) -> None:
    for n in range(channels):
        store.publish(f"c{n}", 2000 // channels, keyed=n % 2 == 0)
        store.publish(f"c{n}", 1, at=2 * HOUR_MS - 1)
    store.ask(at=2 * HOUR_MS)
    gone = list(store.steps(room=100))
    assert max(gone) <= 100
    assert store.count() == channels, "the young ones"


def test_a_step_walks_past_what_has_nothing_to_drop(store: Store) -> None:
    for n in range(600):
        store.publish(f"c{n}", 1, at=HOUR_MS)
    store.publish("last", 1)
    store.ask(at=HOUR_MS + 1)
    assert list(store.steps())[:3] == [0, 0, 1]


def test_a_channel_in_use_that_was_empty_for_long_is_not_forgotten(store: Store) -> None:
    for channel in ("idle", "used", "wanted"):
        store.publish(channel, 1, kept=NOTHING_KEPT)
    entries = [Entry(kind, "used", store.begun + HOUR_MS) for kind in (Kind.TOUCH, Kind.FORGET)]
    assert store.writer.write(entries) is None
    store.ask(at=HOUR_MS + 1)
    assert sum(store.steps()) == 0
    assert rows(store.path, "SELECT name FROM channel ORDER BY name") == [("used",), ("wanted",)]


def test_a_sweep_does_not_let_the_write_ahead_log_grow(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_writer, "CHECKPOINT_BYTES", 500_000)
    for n in range(10):
        store.publish(f"c{n}", 1000)
        store.writer.checkpoint()
    store.ask(at=HOUR_MS + 1)
    most = 0
    for _ in store.steps():
        most = max(most, store.store.log_bytes())
    assert store.count() == 0
    assert most < 1_500_000


async def test_a_full_channel_is_pruned_as_it_is_published_to(path: Path) -> None:
    kept = Retention(count=10, seconds=HOUR, size=10**6)
    async with opened(path) as bench:
        sent = [bench.send("a", str(n), kept) for n in range(3000)]
        for outcome in sent:
            await bench.of(outcome, "publish")
        assert len((await bench.read("a")).publications) == 10
        assert rows(path, "SELECT count(*) FROM log")[0][0] < 1500
        bench.broker.sweep()
        await settled(bench, path, "SELECT count(*) FROM log", [(10,)])
        assert texts((await bench.read("a")).publications) == [str(n) for n in range(2990, 3000)]


async def test_what_is_too_old_leaves_the_file_by_itself(path: Path) -> None:
    kept = Retention(count=1000, seconds=HOUR, size=10**6)
    async with opened(path) as bench:
        for n in range(40):
            await bench.fill(f"c{n}", 3, kept)
        await bench.publish("a", "x", key="k")
        bench.clock.advance(HOUR + 1)
        await bench.publish("young", "x")
        bench.clock.advance(engine.SWEEP_SECONDS + 1)
        await settled(bench, path, "SELECT count(*) FROM log", [(1,)])
        await settled(bench, path, "SELECT count(*) FROM keys", [(0,)])


async def test_what_is_still_to_be_seen_stays_in_the_file(path: Path) -> None:
    kept = Retention(count=3, seconds=HOUR, size=10**6)
    async with opened(path) as bench:
        await bench.fill("old", 3, kept)
        bench.clock.advance(1)
        for n in range(100):
            await bench.fill(f"c{n}", 4, kept)
        bench.clock.advance(HOUR - 0.5)
        bench.broker.sweep()
        await settled(bench, path, "SELECT count(*) FROM log", [(300,)])
        for n in range(100):
            assert texts((await bench.read(f"c{n}")).publications) == ["1", "2", "3"]


async def test_what_a_smaller_retention_hides_is_gone_at_once_and_leaves_the_file_in_small_steps(path: Path) -> None:
    async with opened(path) as bench:
        sent = [bench.send("a", str(n)) for n in range(900)]
        positions = [await bench.of(outcome, "publish") for outcome in sent]
        await bench.publish("a", "less", Retention(count=5, seconds=HOUR, size=10**6))
        assert len((await bench.read("a")).publications) == 5
        assert not (await bench.read("a", after=positions[100])).complete
        await bench.publish("a", "more again")
        assert texts((await bench.read("a")).publications) == ["896", "897", "898", "899", "less", "more again"]
        bench.broker.sweep()
        await settled(bench, path, "SELECT count(*) FROM log", [(6,)])


async def test_a_forgotten_log_is_gone_for_good_and_says_so(path: Path) -> None:
    async with opened(path) as bench:
        positions = await bench.fill("a", 5)
        bench.broker.forget("a")
        await bench.publish("b", "x")
        assert (await bench.read("a")).publications == ()
        assert not (await bench.read("a", after=positions[2])).complete
        bench.broker.sweep()
        await settled(bench, path, "SELECT count(*) FROM log", [(1,)])
    async with opened(path) as bench:
        assert not (await bench.read("a", after=positions[2])).complete
        assert (await bench.read("a", after=positions[4])).complete


async def test_the_row_of_a_channel_that_nobody_uses_goes_and_nobody_is_told_a_lie(path: Path) -> None:
    async with opened(path) as bench:
        await bench.want("watched")
        before = await bench.publish("busy", "x")
        gone = await bench.publish("a", "x", NOTHING_KEPT)
        bench.clock.advance(2 * HOUR)
        await bench.publish("busy", "y")
        await settled(bench, path, "SELECT name FROM channel ORDER BY name", [("busy",), ("watched",)])
        assert not (await bench.read("a", after=before)).complete
        assert (await bench.read("a", after=gone)).complete
        assert (await bench.read("watched", after=before)).complete
        assert (await bench.publish("a", "again")).stamp > gone.stamp
        assert not (await bench.read("a", after=before)).complete
        page = await bench.read("a", after=gone)
        assert (texts(page.publications), page.complete) == (["again"], True)


LEFT_OF_A = "SELECT count(*) FROM log JOIN channel ON channel.id = log.channel WHERE channel.name = 'a'"


async def test_publishing_goes_on_beside_a_sweep(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[str] = []
    sweep, write = Writer.sweep, Writer.write
    monkeypatch.setattr(Writer, "sweep", lambda w, now: (steps.append("sweep"), sweep(w, now))[1])
    monkeypatch.setattr(Writer, "write", lambda w, batch: (steps.append("write"), write(w, batch))[1])
    async with opened(path) as bench:
        sent = [bench.send("a", str(n)) for n in range(1000)]
        sent += [bench.send(f"c{n}", "x") for n in range(200)]
        for outcome in sent:
            await bench.of(outcome, "publish")
        await bench.publish("a", "none", NOTHING_KEPT)
        steps.clear()
        bench.broker.sweep()
        sent = [bench.send("b", str(n)) for n in range(10_000)]
        for outcome in sent:
            await bench.of(outcome, "publish")
        await settled(bench, path, LEFT_OF_A, [(0,)])
    # Between two steps of a sweep stands what was published meanwhile, while there is any.
    assert "sweep,write,sweep" in ",".join(steps)
