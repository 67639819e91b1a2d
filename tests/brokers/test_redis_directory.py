"""The directory in Redis, where what it finds there is not what it wrote."""

from collections.abc import Iterator

import pytest

from openline.brokers.envelope import Seal
from openline.brokers.redis_directory import RedisDirectory
from openline.errors import BrokerError
from openline.hub.record import Place, Record, digest
from openline.model import Position, User
from tests.brokers.redis_links import linked, until
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


async def test_nothing_in_the_engine_is_believed_that_is_not_signed_with_the_key(server: RedisServer) -> None:
    server.do("FLUSHALL")
    seal, place = Seal("a secret that nodes share"), Place(Position("e", 1))
    async with linked(server.url) as link:
        one, other = RedisDirectory(link, seal=seal), RedisDirectory(link, seal=seal)
        await one.join("one", "http://one")
        await other.join("other", "http://other")
        for name in ("ada", "eve"):
            record = Record(name, "", User(name), secrets=(digest(name),), subscriptions={"news": place})
            assert await one.put(record)
            assert await one.enter("room", name, b'{"user":"%b"}' % name.encode())
        await one.subscribed("eve", "more", place)
        found = await other.find(digest("eve"))
        assert found is not None
        assert (found.user, dict(found.subscriptions)) == (User("eve"), {"news": place, "more": place})

        # Somebody who can write to the engine takes what is signed there elsewhere, or makes something up.
        ada, eve = "openline:connection:ada", "openline:connection:eve"
        server.do("HSET", "openline:addresses", "one", "http://evil")
        server.do("HSET", "openline:addresses", "other", server.do("HGET", "openline:addresses", "one"))
        assert (await other.beat()).nodes == {}
        server.do("SET", f"openline:secret:{digest('evil')}", "ada")
        assert await other.find(digest("evil")) is None
        assert await other.claim("ada", digest("evil")) is None
        server.do("HSET", ada, "k", digest("evil"))
        with pytest.raises(BrokerError, match="not those that were signed"):
            await other.find(digest("evil"))
        rest, subscription = server.do("HGET", eve, "r"), server.do("HGET", eve, "s:more")
        for field, forged in (("s:secret", subscription), ("s:secret", b"{}"), ("r", rest + b" "), ("r", b"{}")):
            server.do("HSET", eve, field, forged)
            with pytest.raises(BrokerError, match="cannot be read"):
                await other.find(digest("eve"))
            server.do("HSET", eve, "r", rest)
            server.do("HDEL", eve, "s:secret")
        assert await other.find(digest("eve")) == found
        server.do("HSET", "openline:present:room", "ada", server.do("HGET", "openline:present:room", "ada") + b",1")
        server.do("HSET", "openline:present:room", "x", "1")
        assert await other.present("room", 10, 0) == b'{"count":3,"members":[{"user":"eve"}]}'


async def test_a_beat_says_once_that_its_node_was_cut_off(server: RedisServer) -> None:
    async with linked(server.url) as link:
        directory = RedisDirectory(link)
        assert not (await directory.join("one", "")).cut
        server.do("CLIENT", "KILL", "TYPE", "pubsub")
        await until(lambda: not link.up)
        await until(lambda: link.up)
        assert (await directory.beat()).cut
        assert not (await directory.beat()).cut
