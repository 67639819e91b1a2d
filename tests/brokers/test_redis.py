"""The Redis engine, against a real one: the suite that every engine passes."""

import asyncio
from collections.abc import Iterator
from functools import partial
from itertools import count

import pytest
import uvloop

from openline.brokers.redis import RedisBroker
from openline.brokers.redis_url import parse_redis_url
from openline.hub.timers import Timers
from openline.model import Publication
from openline.testing.check_broker import check_broker
from tests.brokers.redis_nodes import nodes
from tests.redis_servers import RedisServer, redis_server

pytestmark = pytest.mark.redis


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


@pytest.mark.parametrize("key", ["", "a key that all nodes of a cluster share"])
async def test_the_redis_engine_keeps_its_promises(server: RedisServer, key: str) -> None:
    await _check(server, key, "check")


def test_the_redis_engine_keeps_its_promises_in_the_loop_that_serves(server: RedisServer) -> None:
    uvloop.run(_check(server, "", "uvloop"))


async def _check(server: RedisServer, key: str, prefix: str) -> None:
    names = count()

    def make(timers: Timers) -> RedisBroker:
        url = parse_redis_url(f"{server.url}?prefix={prefix}{bool(key)}{next(names)}")
        return RedisBroker(url, loop=asyncio.get_running_loop(), timers=timers, cluster_key=key)

    await check_broker(make, timed=False)


async def test_an_answer_may_come_ahead_of_what_this_node_hears_of_its_own(server: RedisServer) -> None:
    """Redis 7.2 and Valkey write what a script publishes to its own caller behind the answer; Redis 7.0 ahead of it."""
    async with nodes(f"{server.url}?prefix=order", 1) as (node,):
        await node.want("a", "b")
        loop, broker = asyncio.get_running_loop(), node.broker
        for name in "ab":
            broker.link._ears[f"order:c:{name}".encode()] = partial(loop.call_soon, broker._on_message)
        outcomes = []
        for n in range(40):
            outcomes.append(node.send("ab"[n % 2], n))
            outcomes.append(broker.scatter(Publication("a", "note", b'"%d"' % n)))
        positions = [await outcome for outcome in outcomes][::2]
        await node.want("a")
        await asyncio.sleep(0)
        assert [p.position for p in node.heard if p.stamp] == positions
        assert [bytes(p.payload).strip(b'"') for p in node.heard] == [b"%d" % (n // 2) for n in range(80)]
        assert (node.breaks, broker.poison.count) == ([], 0)
