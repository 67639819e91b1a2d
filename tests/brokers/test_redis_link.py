"""The link to Redis, against a real one: in order, up again after every fault, and never deaf without noticing."""

import asyncio
from collections.abc import Iterator

import pytest

from openline.brokers.redis_link import Refused, Script
from openline.errors import BrokerError
from tests.brokers.redis_links import Visitor, linked, until
from tests.redis_servers import RedisServer, redis_server

pytestmark = pytest.mark.redis


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


async def test_what_was_published_before_an_answer_was_made_is_heard_before_it(server: RedisServer) -> None:
    heard: list[bytes] = []
    async with linked(server.url) as link, linked(server.url) as other:
        link.listen("news", lambda _, data: heard.append(data))
        await link.call("PING")
        for n in range(50):
            await other.call("PUBLISH", "news", n)
            await link.call("PING")
            assert heard[-1] == b"%d" % n


async def test_what_is_asked_in_one_turn_leaves_together_and_is_answered_in_order(server: RedisServer) -> None:
    async with linked(server.url) as link:
        await link.call("DEL", "n")
        answers = [link.call("INCR", "n") for _ in range(500)]
        assert [await answer for answer in answers] == list(range(1, 501))


async def test_a_script_that_redis_has_forgotten_is_run_all_the_same(server: RedisServer) -> None:
    script = Script("return {KEYS[1], ARGV[1]}")
    async with linked(server.url, Visitor(script)) as link:
        assert await link.run(script, ("k",), ("1",)) == [b"k", b"1"]
        server.do("SCRIPT", "FLUSH")
        assert await link.run(script, ("k",), ("2",)) == [b"k", b"2"]
        assert await link.run(script, ("k",), ("3",)) == [b"k", b"3"]


async def test_an_error_of_redis_says_that_nothing_was_done(server: RedisServer) -> None:
    async with linked(server.url) as link:
        with pytest.raises(Refused, match="WRONGTYPE") as refused:
            await link.call("LPUSH", "n", 1)
            await link.call("GET", "n")
            await link.call("SET", "n", 1)
            await link.call("LPUSH", "n", 1)
        assert refused.value.kind == "WRONGTYPE"
        assert await link.call("PING") == b"PONG"


async def test_a_connection_that_was_cut_is_made_again_with_its_subscriptions(server: RedisServer) -> None:
    heard: list[bytes] = []
    guest = Visitor()
    async with linked(server.url, guest) as link:
        link.listen("news", lambda _, data: heard.append(data))
        link.listen("gone", lambda _, data: heard.append(data))
        link.leave("gone")
        await link.call("PING")
        server.do("CLIENT", "KILL", "TYPE", "pubsub", "SKIPME", "no")
        await until(lambda: guest.told[-1] == "down")
        with pytest.raises(BrokerError):
            await link.call("PING")
        await until(lambda: link.up)
        server.do("PUBLISH", "gone", "0")
        server.do("PUBLISH", "news", "1")
        await link.call("PING")
        assert heard == [b"1"]
    assert guest.told == ["greeted by True", "up", "down", "greeted by True", "up"]


@pytest.mark.alone
async def test_a_link_that_is_answered_but_hears_nothing_is_made_again(server: RedisServer) -> None:
    heard: list[bytes] = []
    guest = Visitor()
    async with linked(f"{server.url}?probe=0.5", guest) as link:
        link.listen("news", lambda _, data: heard.append(data))
        assert link._connection is not None
        link._connection.change("UNSUBSCRIBE", (link.ear.encode(), b"news"), lambda _: None)
        assert await until(lambda: guest.told[2:] == ["down", "greeted by True", "up"]) < 5.0
        server.do("PUBLISH", "news", "1")
        await until(lambda: heard)


@pytest.mark.alone
async def test_a_frozen_server_is_noticed_and_the_link_is_up_again_when_it_thaws(server: RedisServer) -> None:
    async with linked(server.url) as link:
        loop = asyncio.get_running_loop()
        server.freeze()
        try:
            begun = loop.time()
            late = link.call("PING")
            await until(lambda: link.stalled)
            assert loop.time() - begun < 2.0
            with pytest.raises(BrokerError, match="not answered"):
                await late
            assert loop.time() - begun < 4.5
            assert not link.up
        finally:
            server.thaw()
        assert await until(lambda: link.up) < 4.5


async def test_a_stall_of_our_own_is_not_taken_for_silence(server: RedisServer) -> None:
    guest = Visitor()
    async with linked(server.url, guest) as link:
        answer = link.call("PING")
        link._connection.flush()  # type: ignore[union-attr]
        link._connection.heard_at -= 60.0  # type: ignore[union-attr]
        link._look()
        assert await answer == b"PONG"
        assert guest.told == ["greeted by True", "up"]
