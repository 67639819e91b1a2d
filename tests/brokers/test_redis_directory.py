"""The directory in Redis, where what it finds there is not what it wrote."""

from collections.abc import Iterator

import pytest

from openline.brokers.redis_directory import RedisDirectory
from openline.hub.record import Record, digest
from tests.brokers.redis_links import linked
from tests.redis_servers import RedisServer, redis_server

pytestmark = pytest.mark.redis


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


async def test_a_record_that_cannot_be_read_keeps_nobody_from_taking_up_the_others(server: RedisServer) -> None:
    server.do("FLUSHALL")
    async with linked(server.url) as link:
        one, other = RedisDirectory(link), RedisDirectory(link)
        await one.join("one", "http://one")
        await other.join("other", "http://other")
        for name in ("a", "b", "c"):
            assert await one.put(Record(name, "", secrets=(digest(name),)))
        server.do("HSET", "openline:connection:b", "r", "{")
        await one.leave()
        assert {record.id for record in await other.adopt("one", 100)} == {"a", "c"}


async def test_what_is_said_of_presence_behind_a_flush_is_newer_than_what_was_said_before(server: RedisServer) -> None:
    server.do("FLUSHALL")
    async with linked(server.url) as link:
        versions = []
        for _ in range(3):
            directory = RedisDirectory(link)
            await directory.join("one", "")
            await directory.put(Record("a", ""))
            for _ in range(5):
                entered = await directory.enter("room", "a", b"{}")
                left = await directory.exit("room", "a")
                assert entered is not None
                assert left is not None
                versions += [entered.version, left.version]
            server.do("FLUSHALL")
        assert versions == sorted(set(versions))
        assert versions[-1] < 2**53
