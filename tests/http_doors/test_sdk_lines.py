"""The browser SDK, in Node, against a real server through networks that let some ways through and some not."""

import asyncio
import itertools
import json
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from openline import Connection, History, Openline
from tests.hostile import Hostile
from tests.http_doors.rig import HOSTINGS, Hosting, natively

pytestmark = pytest.mark.server
PATIENCE = 30.0
SCRIPT = Path(__file__).with_name("sdk_line.mjs")


class Sdk:
    """What the SDK in its process has told so far."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.said: list[dict[str, Any]] = []

    async def read(self) -> None:
        assert self._process.stdout is not None
        async for text in self._process.stdout:
            self.said.append(json.loads(text))

    def word(self, word: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{word}\n".encode())

    def all(self, name: str) -> list[Any]:
        return [said[name] for said in self.said if name in said]

    @property
    def transport(self) -> Any:
        return (self.all("transport") or [None])[-1]

    async def until(self, true: Callable[[], object]) -> None:
        try:
            async with asyncio.timeout(PATIENCE):
                while not true():
                    await asyncio.sleep(0.01)
        except TimeoutError:
            story = [said for said in self.said if not {"mine", "published", "counted"} & said.keys()]
            raise AssertionError(f"it did not come to that: {self.transport} {story[-80:]}") from None

    async def joined(self) -> None:
        """Wait until it hears everything that comes from here on."""
        await self.until(lambda: len(self.all("joined")) == 3)

    async def goes(self, way: str) -> None:
        """Wait until ``way`` carries it. A machine that is busy may first have taken it for blocked."""
        async with asyncio.timeout(PATIENCE):
            for turn in itertools.count():
                if self.transport == way:
                    return
                # An attempt that is under way begins anew at that word.
                if turn % 60 == 0:
                    self.word("online")
                await asyncio.sleep(0.05)


def application() -> tuple[Openline, list[int]]:
    """One, and the events that its handler was called with."""
    line = Openline()
    line.channel("chat:*", history=History(count=100_000), public=True)
    counted: list[int] = []

    @line.on("count")
    def count(connection: Connection, number: int) -> None:
        counted.append(number)

    return line, counted


@asynccontextmanager
async def sdk(port: int, *ways: str) -> AsyncIterator[Sdk]:
    command = ("node", str(SCRIPT), f"ws://127.0.0.1:{port}/openline", *ways)
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    told = Sdk(process)
    try:
        async with asyncio.TaskGroup() as tasks:
            reading = tasks.create_task(told.read())
            yield told
            reading.cancel()
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def finish(told: Sdk, line: Openline, counted: list[int], said: int) -> None:
    """Both sides fall silent; then nothing was lost, nothing doubled, and nothing out of order."""
    told.word("quiet")
    await told.until(lambda: told.all("quiet"))
    mine = list(range(told.all("quiet")[0]))
    await told.until(lambda: len(told.all("published")) == len(mine) and len(told.all("n")) >= said)
    await told.until(lambda: len(told.all("mine")) >= len(mine))
    assert told.all("n") == list(range(said))
    assert told.all("mine") == mine
    assert told.all("published") == mine
    await told.until(lambda: len(told.all("counted")) == len(counted))
    assert counted == sorted(set(counted))
    assert told.all("counted") == counted
    assert not told.all("gap")
    assert not told.all("failed")
    assert not told.all("uncounted")
    assert len({said["connection"] for said in told.said if said.get("status") == "open"}) == 1


NETWORKS = {
    ("pass", "pass"): "websocket",
    ("refuse", "pass"): "stream",
    ("swallow", "pass"): "stream",
    ("cut", "pass"): "stream",
    ("mute", "pass"): "stream",
    ("refuse", "hold"): "poll",
    ("swallow", "head"): "poll",
}


async def test_the_line_goes_the_way_that_the_network_lets_through() -> None:
    async with asyncio.TaskGroup() as tasks:
        for network, way in NETWORKS.items():
            tasks.create_task(through(*network, way))


async def through(sockets: str, streams: str, way: str) -> None:
    line, counted = application()
    async with natively(line) as served:
        with Hostile(served.port, sockets=sockets, streams=streams) as hostile:
            async with sdk(hostile.port) as told:
                await told.joined()
                await told.goes(way)
                for n in range(50):
                    line.publish(f"chat:{1 + n % 2}", "n", n)
                    await asyncio.sleep(0)
                await finish(told, line, counted, 50)


@pytest.mark.parametrize(("hosting", "seed"), [(HOSTINGS[0], 0), (HOSTINGS[0], 1), (HOSTINGS[2], 2)])
async def test_the_sdk_hops_doors_mid_stream_under_cuts_and_loses_nothing(hosting: Hosting, seed: int) -> None:
    chance = random.Random(seed)
    line, counted = application()
    async with hosting(line) as served:
        with Hostile(served.port) as hostile:
            async with sdk(hostile.port) as told:
                await told.joined()
                said = await storm(line, hostile, told, chance)
                await finish(told, line, counted, said)


async def storm(line: Openline, hostile: Hostile, told: Sdk, chance: random.Random) -> int:
    """Publish at random while the network breaks and becomes another one; how many were said."""
    said = 0
    for (sockets, streams), way in chance.sample(sorted(NETWORKS.items()), 4):
        hostile.sockets, hostile.streams = sockets, streams
        hostile.cut()
        cuts = 3
        async with asyncio.TaskGroup() as tasks:
            moving = tasks.create_task(told.goes(way))
            while cuts or not moving.done():
                for _ in range(chance.randrange(5)):
                    line.publish(f"chat:{1 + said % 2}", "n", said)
                    said += 1
                if cuts and chance.random() < 0.3:
                    hostile.cut()
                    cuts -= 1
                await asyncio.sleep(chance.random() / 10)
    return said


async def test_the_line_moves_up_when_websockets_pass_again_and_nobody_notices() -> None:
    line, counted = application()
    async with natively(line) as served:
        with Hostile(served.port, sockets="refuse", streams="hold") as hostile:
            async with sdk(hostile.port) as told:
                await told.joined()
                await told.goes("poll")
                said = 0
                for sockets, streams, way in (("refuse", "pass", "stream"), ("pass", "pass", "websocket")):
                    hostile.sockets, hostile.streams = sockets, streams
                    told.word("online")
                    async with asyncio.TaskGroup() as tasks:
                        moving = tasks.create_task(told.goes(way))
                        while not moving.done():
                            line.publish(f"chat:{1 + said % 2}", "n", said)
                            said += 1
                            await asyncio.sleep(0.01)
                await finish(told, line, counted, said)
                assert told.all("status") == ["open"]
                assert told.all("transport") == ["poll", "stream", "websocket"]


@pytest.mark.parametrize("way", ["stream", "poll"])
async def test_a_line_that_is_closed_ends_its_connection_at_once(way: str) -> None:
    line, _ = application()
    gone: list[str] = []

    @line.on_disconnect
    def left(connection: Connection, reason: str) -> None:
        gone.append(reason)

    async with natively(line) as served, sdk(served.port, way) as told:
        await told.until(lambda: told.all("published"))
        told.word("close")
        await told.until(lambda: gone)
        assert gone == ["closed"]
