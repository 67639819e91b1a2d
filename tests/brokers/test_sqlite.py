"""The SQLite engine: what survives the process, what an outcome means, and what happens while the writer is busy."""

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest

from openline.brokers import sqlite as engine
from openline.brokers.sqlite import SqliteBroker
from openline.brokers.sqlite_writer import Writer
from openline.errors import BrokerError, CommandError
from openline.hub.timers import Timers
from openline.model import NOTHING_KEPT, Position, Publication, Retention
from openline.testing import FakeClock
from openline.testing.broker_bench import KEPT, texts
from tests.brokers.stores import NOON, left_behind, opened, rows, settled

HOUR = 3600.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "chat.db"


class Deaf:
    def on_publication(self, publication: Publication) -> None:
        pass


class Gate:
    """Holds the writer between batches, as a slow disk does."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._open = threading.Event()
        self._open.set()
        write = Writer.write

        def held(writer: Writer, batch: Any) -> Exception | None:
            self._open.wait(20)
            return write(writer, batch)

        monkeypatch.setattr(Writer, "write", held)

    def hold(self) -> None:
        self._open.clear()

    def let_go(self) -> None:
        self._open.set()


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Gate:
    return Gate(monkeypatch)


# -- what survives


@pytest.mark.parametrize("killed", [False, True])
async def test_history_and_positions_survive_the_process(path: Path, killed: bool) -> None:
    async with opened(path) as bench:
        positions = await bench.fill("a", 5)
        copy = left_behind(path)
    async with opened(copy if killed else path) as bench:
        page = await bench.read("a", after=positions[1])
        assert (texts(page.publications), page.complete) == (["2", "3", "4"], True)
        assert [p.position for p in page.publications] == positions[2:]
        later = await bench.publish("a", "5")
        assert (later.epoch, later.stamp > positions[4].stamp) == (positions[4].epoch, True)
        page = await bench.read("a", after=positions[4])
        assert (texts(page.publications), page.complete) == (["5"], True)
        assert page.publications[0].previous == positions[4].stamp


@pytest.mark.parametrize("killed", [False, True])
async def test_a_key_survives_the_process_for_its_five_minutes(path: Path, killed: bool) -> None:
    async with opened(path) as bench:
        first = await bench.publish("a", "first", key="k")
        copy = left_behind(path)
    async with opened(copy if killed else path, wall=NOON + 290) as bench:
        assert await bench.publish("a", "repeat", key="k") == first
        assert texts((await bench.read("a")).publications) == ["first"]
        bench.clock.advance(11)
        assert await bench.publish("a", "again", key="k") != first


async def test_a_clean_end_leaves_no_hole_in_the_stamps_and_one_file(path: Path) -> None:
    async with opened(path) as bench:
        last = (await bench.fill("a", 5))[-1]
    assert {file.name for file in path.parent.iterdir()} == {"chat.db", "chat.db-mark"}
    async with opened(path) as bench:
        assert bench.broker.position == last
        assert (await bench.publish("a", "next")).stamp == last.stamp + 1


async def test_what_was_stamped_and_never_stored_is_not_stamped_again(path: Path) -> None:
    async with opened(path) as bench:
        await bench.publish("a", "stored")
        direct = await bench.publish("$user:ada", "not stored")
        copy = left_behind(path)
    async with opened(copy) as bench:
        assert (await bench.publish("a", "next")).stamp > direct.stamp
        assert (await bench.read("a", after=direct)).complete


async def test_the_server_s_own_channels_end_with_the_process_and_say_so(path: Path) -> None:
    async with opened(path) as bench:
        position = await bench.publish("$user:ada", "before")
        await bench.publish("$user:ada", "missed")
    async with opened(path) as bench:
        page = await bench.read("$user:ada", after=position)
        assert (page.publications, page.complete) == ((), False)
        begun = bench.broker.position
        await bench.publish("$user:ada", "after")
        page = await bench.read("$user:ada", after=begun)
        assert (texts(page.publications), page.complete) == (["after"], True)
    assert rows(path, "SELECT name FROM channel") == []


async def test_what_grows_too_old_while_nothing_runs_is_not_seen(path: Path) -> None:
    async with opened(path) as bench:
        kept = Retention(count=100, seconds=HOUR, size=10**6)
        old = await bench.publish("a", "old", kept)
        bench.clock.advance(HOUR / 2)
        await bench.publish("a", "young", kept)
    async with opened(path, wall=NOON + HOUR) as bench:
        assert texts((await bench.read("a")).publications) == ["young"]
        assert (await bench.read("a", after=old)).complete
        assert not (await bench.read("a", after=Position(old.epoch, old.stamp - 1))).complete


@pytest.mark.parametrize("jump", [-10 * HOUR, 0.0])
async def test_a_clock_that_was_set_back_makes_nothing_older_or_younger(path: Path, jump: float) -> None:
    kept = Retention(count=100, seconds=HOUR, size=10**6)
    async with opened(path) as bench:
        await bench.publish("a", "old", kept, key="k")
        bench.clock.advance(200)
        await bench.publish("a", "young", kept)
    async with opened(path, wall=NOON + 200 + jump) as bench:
        bench.clock.advance(99)
        await bench.publish("a", "repeat", kept, key="k")
        bench.clock.advance(HOUR - 300)
        assert texts((await bench.read("a")).publications) == ["old", "young"]
        bench.clock.advance(2)
        assert texts((await bench.read("a")).publications) == ["young"]


async def test_close_commits_what_waits(path: Path, gate: Gate) -> None:
    async with opened(path) as bench:
        await bench.publish("a", "first")
        gate.hold()
        waiting = [bench.send("a", str(n)) for n in range(2000)]
        closed = bench.broker.close()
        assert not closed.done
        gate.let_go()
        await bench.of(closed, "close")
        assert all(outcome.done for outcome in waiting)
        assert bench.broker.close() is closed
        with pytest.raises(BrokerError, match="closed"):
            await bench.read("a")
        with pytest.raises(BrokerError, match="closed"):
            await bench.publish("a", "late")
        bench.broker.forget("a")
        await bench.want("b")
    async with opened(path) as bench:
        page = await bench.read("a", limit=1000, size=10**9)
        assert texts(page.publications) == [str(n) for n in range(1000, 2000)]


async def test_an_engine_that_never_began_can_be_closed(path: Path) -> None:
    broker = SqliteBroker(str(path), loop=asyncio.get_running_loop(), timers=Timers(FakeClock()))
    assert broker.close().done
    assert not path.exists()


def test_a_loop_that_ends_without_a_word_leaves_a_whole_file(path: Path, gate: Gate) -> None:
    async def run() -> None:
        broker = SqliteBroker(str(path), loop=asyncio.get_running_loop(), timers=Timers(FakeClock()))
        broker.start(Deaf())
        await broker.publish(Publication("a", "note", b'"0"'), KEPT)
        gate.hold()
        broker.publish(Publication("a", "note", b'"nobody waits for it"'), KEPT)

    async def look() -> None:
        async with opened(path) as bench:
            assert texts((await bench.read("a")).publications) == ["0", "nobody waits for it"]

    asyncio.run(run())
    gate.let_go()
    for thread in threading.enumerate():
        if thread.name.startswith("openline-sqlite"):
            thread.join(20)
    asyncio.run(look())


# -- while the writer is busy


async def test_nothing_is_told_or_answered_before_it_is_committed(path: Path, gate: Gate) -> None:
    async with opened(path) as bench:
        await bench.want("a")
        begun = bench.broker.position
        gate.hold()
        outcome = bench.send("a", "x")
        for _ in range(100):
            await asyncio.sleep(0)
        assert (outcome.done, bench.heard, bench.broker.position) == (False, [], begun)
        assert (await bench.read("a")).publications == ()
        gate.let_go()
        position = await bench.of(outcome, "publish")
        assert rows(path, "SELECT stamp FROM log") == [(position.stamp,)]


async def test_what_comes_in_meanwhile_is_one_batch(path: Path, monkeypatch: pytest.MonkeyPatch, gate: Gate) -> None:
    batches: list[int] = []
    checkpoint = Writer.checkpoint
    monkeypatch.setattr(Writer, "checkpoint", lambda w, batch: (batches.append(len(batch)), checkpoint(w, batch)))
    async with opened(path) as bench:
        gate.hold()
        sent = [bench.send("a", str(n)) for n in range(500)]
        gate.let_go()
        for outcome in sent:
            await bench.of(outcome, "publish")
    assert sum(batches) >= 500
    assert len(batches) <= 4


async def test_a_repeat_is_known_while_the_first_is_still_in_the_batch(path: Path, gate: Gate) -> None:
    async with opened(path) as bench:
        gate.hold()
        sent = [bench.send("a", str(n), key=f"k{n % 3}") for n in range(30)]
        gate.let_go()
        positions = [await bench.of(outcome, "publish") for outcome in sent]
        assert len(set(positions)) == 3
        assert texts((await bench.read("a")).publications) == ["0", "1", "2"]


async def test_a_key_of_the_server_s_own_channels_counts_too(path: Path) -> None:
    async with opened(path) as bench:
        first = await bench.publish("$user:ada", "first", key="k")
        assert await bench.publish("$user:ada", "repeat", key="k") == first
        assert texts(bench.heard) == ["first"]


async def test_more_than_may_wait_is_refused_at_once(path: Path, gate: Gate) -> None:
    async with opened(path, waiting_bytes=100_000) as bench:
        await bench.want("a")
        gate.hold()
        sent = [bench.send("a", "x" * 1000) for _ in range(100)]
        refused = [outcome for outcome in sent if outcome.done]
        assert 50 < len(refused) < 90
        for outcome in refused:
            with pytest.raises(BrokerError, match="does not keep up"):
                outcome.result()
        with pytest.raises(BrokerError, match="does not keep up"):
            bench.broker.scatter(Publication("a", "note", b"x" * 2000)).result()
        gate.let_go()
        taken = [await bench.of(outcome, "publish") for outcome in sent if outcome not in refused]
        assert [p.position for p in (await bench.read("a")).publications] == taken
        assert [p.position for p in bench.heard] == taken
        await bench.publish("a", "x" * 200_000)


async def test_a_publication_that_is_larger_than_all_that_may_wait_is_taken_when_nothing_waits(path: Path) -> None:
    async with opened(path, waiting_bytes=1000) as bench:
        await bench.publish("a", "x" * 100_000)
        assert len((await bench.read("a")).publications) == 1


async def test_direct_ones_are_told_at_once_unless_something_waits(path: Path, gate: Gate) -> None:
    async with opened(path) as bench:
        await bench.want("a")
        assert bench.send("$user:ada", "at once").done
        gate.hold()
        bench.send("a", "waits")
        behind = bench.send("$user:ada", "behind")
        volatile = bench.broker.scatter(Publication("a", "note", b'"volatile"'))
        assert not behind.done
        assert not volatile.done
        gate.let_go()
        await bench.of(volatile, "scatter")
        assert texts(bench.heard) == ["at once", "waits", "behind", "volatile"]
        stamps = [p.stamp for p in bench.heard[:3]]
        assert stamps == sorted(stamps)


async def test_direct_stamps_are_reserved_anew_before_they_run_out(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("sqlite_file", "sqlite_writer", "sqlite_thread"):
        monkeypatch.setattr(f"openline.brokers.{module}.RESERVE", 20)
    async with opened(path) as bench:
        for n in range(200):
            await bench.publish("$user:ada", str(n))
        assert rows(path, "SELECT reserved FROM state")[0][0] > bench.broker.position.stamp
        assert texts(bench.heard) == [str(n) for n in range(200)]


async def test_a_listener_that_fails_does_not_stop_the_rest(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with opened(path) as bench:
        await bench.want("a")

        def fail(publication: Publication) -> None:
            if publication.payload == b'"1"':
                raise RuntimeError("a bug above")

        bench.then = fail
        sent = [bench.send("a", str(n)) for n in range(3)]
        for outcome in sent:
            await bench.of(outcome, "publish")
        assert texts(bench.heard) == ["0", "1", "2"]
    assert "a bug above" in caplog.text


@pytest.mark.parametrize(
    ("publication", "key"), [(Publication("a", "\ud800", b"1"), None), (Publication("a", "note", b"1"), "\ud800")]
)
async def test_text_that_is_none_fails_alone(path: Path, publication: Publication, key: str | None) -> None:
    async with opened(path) as bench:
        before, bad, after = (
            bench.send("a", "before"),
            bench.broker.publish(publication, KEPT, key),
            bench.send("a", "after"),
        )
        with pytest.raises(CommandError, match="Unicode"):
            bad.result()
        for outcome in (before, after):
            await bench.of(outcome, "publish")


async def test_retentions_beyond_all_bounds_are_kept(path: Path) -> None:
    async with opened(path) as bench:
        await bench.fill("a", 3, Retention(count=10**40, seconds=float("inf"), size=10**40))
        assert len((await bench.read("a")).publications) == 3


async def test_too_many_readings_at_once_are_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("openline.brokers.sqlite_reader.MAX_WAITING", 0)
    async with opened(path) as bench:
        with pytest.raises(BrokerError, match="too many"):
            await bench.read("a")


# -- pruning


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
