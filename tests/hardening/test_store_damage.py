"""The SQLite engine over files that are not what was written: what it serves is right, or it says that it is not."""

import os
import random
from collections import Counter
from pathlib import Path

import pytest
from tests.brokers.stores import log_of, opened, rows
from tests.effort import seed, times

from openline.errors import BrokerError, SettingsError
from openline.model import Position
from openline.testing.broker_bench import Bench

#: How many bits are flipped, one at a time.
FLIPS = times(75)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "chat.db"


async def everything(bench: Bench) -> dict[str, list[tuple[bytes, int]]]:
    return {name: [(p.payload, p.stamp) for p in await log_of(bench, name)] for name in ("a", "b", "c")}


async def written(path: Path) -> dict[str, list[tuple[bytes, int]]]:
    async with opened(path) as bench:
        for n in range(120):
            await bench.publish("abc"[n % 3], f"{n}-" + "y" * (n * 53 % 400), key=str(n))
        return await everything(bench)


async def look_at_damaged(path: Path, truth: dict[str, list[tuple[bytes, int]]], epoch: str) -> str:
    """What is found at a store that may be damaged: refused, noticed, harmless; anything else is silent garbage."""
    try:
        async with opened(path) as bench:
            renewed = bench.broker.position.epoch != epoch
            noticed = False
            for name, log in truth.items():
                try:
                    newest = [(p.payload, p.stamp) for p in await log_of(bench, name)]
                    assert newest == log[len(log) - len(newest) :], "the newest are the newest, and as they were"
                    noticed |= len(newest) < len(log)
                    for n in range(0, len(log), 5):
                        page = await bench.read(name, after=Position(epoch, log[n][1]))
                        found = [(p.payload, p.stamp) for p in page.publications]
                        assert not page.complete or found == log[n + 1 :], "what is complete is complete"
                        noticed |= not page.complete
                except BrokerError:
                    noticed = True
            return "renewed" if renewed else "noticed" if noticed else "harmless"
    except SettingsError as error:
        named = str(path) in error.reason and "\n" not in error.reason
        named = named and any(word in error.reason for word in ("move it", "name another path"))
        return "refused" if named else f"refused without a word on what to do: {error.reason}"


async def test_a_flipped_bit_is_never_served_in_silence(path: Path) -> None:
    truth = await written(path)
    async with opened(path) as bench:
        epoch = bench.broker.position.epoch
    begun = seed()
    rng = random.Random(begun)
    whole, mark = path.read_bytes(), Path(f"{path}-mark").read_bytes()
    found: Counter[str] = Counter()
    for n in range(FLIPS):
        content = bytearray(whole)
        at = rng.randrange(len(content))
        content[at] ^= 1 << rng.randrange(8)
        copy = path.with_name(f"flipped-{n}.db")
        copy.write_bytes(content)
        Path(f"{copy}-mark").write_bytes(mark)
        try:
            found[await look_at_damaged(copy, truth, epoch)] += 1
        except AssertionError as error:
            raise AssertionError(f"byte {at} of {len(content)}, seed {begun}, flip {n}: {error}") from error
    print(f"\n{FLIPS} bits flipped (seed {begun}): {dict(found)}, silent garbage 0")
    assert found.keys() <= {"refused", "noticed", "renewed", "harmless"}
    assert found["refused"] > 0
    assert found["noticed"] > 0


@pytest.mark.parametrize("cut", ["a page", "half a page", "most of it", "a page of zeros", "the head"])
async def test_a_file_that_was_cut_is_refused_with_a_word_on_what_to_do(path: Path, cut: str) -> None:
    truth = await written(path)
    content = path.read_bytes()
    epoch = rows(path, "SELECT epoch FROM state")[0][0]
    path.write_bytes(
        {
            "a page": content[:-4096],
            "half a page": content[:-2048],
            "most of it": content[:8192],
            "a page of zeros": content[:16_384] + bytes(4096) + content[20_480:],
            "the head": bytes(100) + content[100:],
        }[cut]
    )
    assert await look_at_damaged(path, truth, epoch) == "refused"


async def test_a_file_that_is_damaged_while_it_is_open_fails_and_the_rest_goes_on(path: Path) -> None:
    await written(path)
    async with opened(path) as bench:
        with path.open("r+b") as file:
            file.seek(4096)
            file.write(os.urandom(len(path.read_bytes()) - 4096))
        failures = 0
        for n in range(20):
            try:
                await bench.publish("fresh", str(n))
                assert (await bench.read("a")).publications is not None
            except BrokerError:
                failures += 1
        assert failures > 0
        assert (await bench.publish("$user:ada", "goes on")).stamp > 0
