"""The SQLite engine while its writer is busy: what an outcome means, what is one batch, and what is refused."""

import asyncio
from pathlib import Path

import pytest

from openline.brokers.sqlite_writer import Writer
from openline.errors import BrokerError, CommandError
from openline.model import Publication, Retention
from openline.testing.broker_bench import KEPT, texts
from tests.brokers.stores import Gate, opened, rows


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
    write = Writer.write
    monkeypatch.setattr(Writer, "write", lambda w, batch: (batches.append(len(batch)), write(w, batch))[1])
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
