"""The SQLite engine: what survives the process, and how it ends."""

import asyncio
import threading
from pathlib import Path

import pytest

from openline.brokers.sqlite import SqliteBroker
from openline.errors import BrokerError
from openline.hub.timers import Timers
from openline.model import Position, Publication, Retention
from openline.testing import FakeClock
from openline.testing.broker_bench import KEPT, texts
from tests.brokers.stores import HOUR, NOON, Gate, left_behind, opened, rows


class Deaf:
    def on_publication(self, publication: Publication) -> None:
        pass


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
