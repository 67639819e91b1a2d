"""The SQLite engine when things break: processes are killed, disks fill up, files are damaged, moved, or read-only."""

import asyncio
import random
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from tests.brokers.load import KEPT, channel, publication
from tests.brokers.stores import log_of, opened
from tests.disks import disk, fill, read_only
from tests.effort import seed, times

from openline.brokers.sqlite_writer import Writer
from openline.errors import BrokerError, SettingsError
from openline.model import Publication
from openline.testing.broker_bench import Bench, texts

#: How often a process is killed: ``OPENLINE_EFFORT=40`` for the figure of the docs.
KILLS = times(5)
ROOT = Path(__file__).parents[2]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "chat.db"


def loading(path: Path, seed: int, turn: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.brokers.load", str(path), str(seed), str(turn)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


# -- kill -9


def killed(path: Path, seed: int, turn: int) -> tuple[dict[int, int], int]:
    """What a process had acknowledged when it was killed, somewhere under load, and how many it had sent."""
    with loading(path, seed, turn) as process:
        assert process.stdout is not None
        acknowledged: dict[int, int] = {}
        sent = 0
        patience = random.Random(seed).uniform(0, 0.12)
        deadline = None
        for line in process.stdout:
            word, *numbers = line.split()
            if word == "sent":
                sent = int(numbers[0]) + 1
            else:
                acknowledged[int(numbers[0])] = int(numbers[1])
            deadline = deadline or time.monotonic() + patience
            if time.monotonic() > deadline:
                process.kill()
    return acknowledged, sent


async def test_whatever_was_acknowledged_when_the_process_was_killed_is_there_once(path: Path) -> None:
    begun = seed()
    count: Counter[str] = Counter()
    last, epoch = 0, ""
    for turn in range(KILLS):
        acknowledged, sent = killed(path, begun + turn, turn)
        async with opened(path, wall=time.time()) as bench:
            assert bench.broker.position.epoch == (epoch or bench.broker.position.epoch), "the epoch stays"
            epoch = bench.broker.position.epoch
            assert bench.broker.position.stamp >= max(acknowledged.values()), "positions go on"
            assert min(acknowledged.values()) > last, "positions go on"
            kept = {p.payload: p.stamp for p in await log_of(bench, f"all-{turn}")}
            for n, stamp in acknowledged.items():
                name = channel(turn, n)
                assert name[0] != "a" or kept[publication(name, n).payload] == stamp, (
                    f"{n} is in the log (seed {begun})"
                )
            newest = max((n for n in acknowledged if n % 3 == 1), default=None)
            if newest is not None:
                few = [p.stamp for p in await log_of(bench, f"few-{turn}")]
                assert max(few) >= acknowledged[newest]
            again = [
                bench.broker.publish(
                    publication(channel(turn, n), n), KEPT[channel(turn, n).partition("-")[0]], f"{turn}-{n}"
                )
                for n in range(sent)
            ]
            positions = [(await bench.of(outcome, "publish")).stamp for outcome in again]
            for n, stamp in acknowledged.items():
                assert positions[n] == stamp, f"{n} repeated has its position (seed {begun})"
            log = await log_of(bench, f"all-{turn}")
            bodies = [p.payload for p in log]
            assert Counter(bodies) == Counter(publication(f"all-{turn}", n).payload for n in range(0, sent, 3))
            assert [p.previous for p in log[1:]] == [p.stamp for p in log[:-1]]
            last = bench.broker.position.stamp
            count += Counter(sent=sent, acknowledged=len(acknowledged), unknown=sent - len(acknowledged))
    print(f"\n{KILLS} kills (seed {begun}): {dict(count)}, acknowledged and lost 0, twice 0")
    assert count["acknowledged"] > KILLS


def test_a_second_process_is_refused_until_the_first_has_gone(path: Path) -> None:
    async def look() -> None:
        async with opened(path, wall=time.time()):
            pass

    with loading(path, 1, 0) as process:
        assert process.stdout is not None
        process.stdout.readline()
        with pytest.raises(SettingsError, match=f"in use by process {process.pid}; one process at a time"):
            asyncio.run(look())
        process.kill()
    asyncio.run(look())


# -- disks


async def publish_until_full(bench: Bench, done: list[str]) -> None:
    for n in range(100_000):
        text = f"{len(done)}-{n}-" + "x" * 2000
        try:
            await bench.publish("a", text, key=text[:20])
        except BrokerError:
            return
        done.append(text)
    raise AssertionError("the disk was never full")


async def test_a_full_disk_fails_what_is_published_and_nothing_else_and_it_recovers_by_itself(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with disk(tmp_path / "disk", "4m") as folder:
        path = folder / "chat.db"
        done: list[str] = []
        async with opened(path) as bench:
            await bench.want("a")
            for _ in range(3):
                ballast = fill(folder)
                await publish_until_full(bench, done)
                refused = [bench.send("a", f"{len(done)}-refused-{n}", key=f"r{n}") for n in range(50)]
                direct = bench.send("$user:ada", "direct")
                volatile = bench.broker.scatter(Publication("a", "note", b'"volatile"'))
                for outcome in refused:
                    with pytest.raises(BrokerError, match="did not take it"):
                        await bench.of(outcome, "publish")
                assert (await bench.of(direct, "publish")).stamp > 0
                await bench.of(volatile, "scatter")
                assert texts(bench.heard[-2:]) == ["direct", "volatile"]
                bench.broker.sweep()
                assert texts(await log_of(bench, "a"))[-20:] == done[-20:]
                with pytest.raises(BrokerError, match="did not take it"):
                    await bench.publish("a", "still refused", key=f"still{len(done)}")
                ballast.unlink()
                freed = time.monotonic()
                await bench.publish("a", done_text := f"{len(done)}-after", key=f"after{len(done)}")
                assert time.monotonic() - freed < 10
                done.append(done_text)
            kept = texts(await log_of(bench, "a"))
            assert kept == done[-len(kept) :]
            assert [t for t in texts(bench.heard) if t not in {"direct", "volatile"}] == done
        async with opened(path) as bench:
            assert texts(await log_of(bench, "a")) == kept
    assert caplog.text.count("Publishing fails") == 3, "each time is told once"
    assert "has no room to grow: free some space" in caplog.text


async def test_a_disk_that_is_full_at_the_start_is_named(tmp_path: Path) -> None:
    with disk(tmp_path / "disk", "1m") as folder:
        path = folder / "chat.db"
        async with opened(path) as bench:
            await bench.fill("a", 3)
        ballast = fill(folder)
        with pytest.raises(SettingsError, match="free some space"):
            async with opened(path):
                pass
        with pytest.raises(SettingsError, match="free some space"):
            async with opened(folder / "new.db"):
                pass
        ballast.unlink()
        async with opened(path) as bench:
            assert texts((await bench.read("a")).publications) == ["0", "1", "2"]


async def test_a_disk_that_is_read_only_is_named(tmp_path: Path) -> None:
    with disk(tmp_path / "disk", "1m") as folder:
        async with opened(folder / "chat.db") as bench:
            await bench.fill("a", 3)
        subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
        with pytest.raises(SettingsError, match=r"cannot be written \(Read-only file system\)"):
            async with opened(folder / "chat.db"):
                pass


async def test_a_file_that_is_read_only_is_named(path: Path) -> None:
    async with opened(path) as bench:
        await bench.fill("a", 3)
    before = path.read_bytes()
    with read_only(path), pytest.raises(SettingsError, match=r"let this user (read and )?write the file"):
        async with opened(path):
            pass
    assert path.read_bytes() == before


async def test_a_file_that_was_moved_away_is_not_written_in_silence(path: Path) -> None:
    async with opened(path) as bench:
        await bench.fill("a", 3)
        away = path.rename(path.with_name("away.db"))
        with pytest.raises(BrokerError, match="No such file"):
            await bench.publish("a", "lost")
        path.write_bytes(b"")
        with pytest.raises(BrokerError, match="moved or deleted"):
            await bench.publish("a", "lost")
        away.rename(path)
        await bench.publish("a", "3")
        assert texts(await log_of(bench, "a")) == ["0", "1", "2", "3"]


# -- errors in the middle


class Failing:
    """A connection of which some statements fail, before they did what they should, or behind it."""

    def __init__(self, connection: sqlite3.Connection, rng: random.Random) -> None:
        self._connection = connection
        self._rng = rng
        self.rate = 0.0

    def execute(self, statement: str, *values: Any) -> sqlite3.Cursor:
        # One fault at a time: asking what became of a transaction works.
        if self._rng.random() < self.rate and not statement.startswith("SELECT stamp, reserved"):
            if statement == "COMMIT" and self._rng.random() < 0.5:
                self._connection.execute(statement, *values)
            raise sqlite3.OperationalError("disk I/O error")
        return self._connection.execute(statement, *values)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


@pytest.mark.parametrize("seed", range(5))
async def test_whatever_fails_inside_a_transaction_nobody_is_told_a_lie(
    path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    rng = random.Random(seed)
    failing: list[Failing] = []
    begin = Writer.__init__

    def wrapped(writer: Writer, store: Any, wanted: Any) -> None:
        failing.append(Failing(store.connection, rng))
        store.connection = failing[-1]
        begin(writer, store, wanted)

    monkeypatch.setattr(Writer, "__init__", wrapped)
    acknowledged: dict[str, int] = {}
    async with opened(path) as bench:
        await bench.want("a", "b")
        failing[-1].rate = 0.1
        for n in range(120):
            texts_of_batch = [f"{n}-{m}" for m in range(rng.randrange(1, 30))]
            sent = [(text, bench.send("ab"[len(text) % 2], text, key=text)) for text in texts_of_batch]
            for text, outcome in sent:
                try:
                    acknowledged[text] = (await bench.of(outcome, "publish")).stamp
                except BrokerError:
                    # Unknown: it is repeated with its key until it is known.
                    while text not in acknowledged:
                        try:
                            acknowledged[text] = (await bench.publish("ab"[len(text) % 2], text, key=text)).stamp
                        except BrokerError:
                            continue
            if n % 10 == 0:
                bench.broker.sweep()
        failing[-1].rate = 0.0
        for name in "ab":
            log = await log_of(bench, name)
            newest = {text: stamp for text, stamp in acknowledged.items() if "ab"[len(text) % 2] == name}
            assert dict(zip(texts(log), [p.stamp for p in log], strict=True)).items() <= newest.items()
            assert len(log) == min(1000, len(newest))
            heard = [p for p in bench.heard if p.channel == name]
            assert sorted(newest.values()) == [p.stamp for p in heard], "each is told once, in order"
            assert [p.previous for p in heard[1:]] == [p.stamp for p in heard[:-1]]
            assert len(heard) > 500
