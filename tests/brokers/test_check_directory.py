"""Every directory keeps the port's promises, and the suite notices one that does not."""

import asyncio
from collections.abc import Callable, Iterator

import pytest

from openline.brokers.memory_directory import Entries, MemoryDirectory
from openline.brokers.redis_directory import RedisDirectory
from openline.hub.outcome import Outcome
from openline.hub.ports import Directory
from openline.hub.record import Record
from openline.testing import FakeClock, check_directory
from tests.brokers.redis_links import linked
from tests.redis_servers import RedisServer, redis_server


async def check_memory(directory: type[MemoryDirectory]) -> None:
    clock = FakeClock(1000.0)

    async def make() -> Callable[[], Directory]:
        entries = Entries(clock.now)
        return lambda: directory(entries)

    async def pass_time(seconds: float) -> None:
        clock.advance(seconds)

    await check_directory(make, pass_time)


async def test_the_directory_in_memory_keeps_every_promise() -> None:
    await check_memory(MemoryDirectory)


async def test_a_directory_that_lets_anybody_end_a_connection_is_noticed() -> None:
    class Careless(MemoryDirectory):
        def end(self, connection_id: str, era: str | None = None) -> Outcome[bool]:
            super().end(connection_id, era)
            return Outcome.of(True)

    with pytest.raises(AssertionError, match="an end is one node s"):
        await check_memory(Careless)


async def test_a_directory_that_forgets_to_raise_the_fence_is_noticed() -> None:
    class Unfenced(MemoryDirectory):
        def claim(self, connection_id: str, secret: str) -> Outcome[Record | None]:
            claimed = super().claim(connection_id, secret).result()
            if claimed is not None:
                self._entries._records[connection_id] = claimed = Record(
                    claimed.id, claimed.namespace, secrets=claimed.secrets, owner=claimed.owner, fence=1
                )
            return Outcome.of(claimed)

    with pytest.raises(AssertionError, match="keeps the fence"):
        await check_memory(Unfenced)


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


@pytest.mark.redis
async def test_the_directory_in_redis_keeps_every_promise(server: RedisServer) -> None:
    # Leases are short, so that the test need not wait long for the engine's own clock. Nodes may share a link.
    async with linked(server.url) as link:

        async def make() -> Callable[[], Directory]:
            await link.call("FLUSHDB")
            return lambda: RedisDirectory(link, lease=0.6, silence=0.3)

        await check_directory(make, asyncio.sleep, lease_seconds=0.6, silence_seconds=0.3)
