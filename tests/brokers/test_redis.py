"""The Redis engine, against a real one: the suite that every engine passes."""

import asyncio
from collections.abc import Iterator
from itertools import count

import pytest
import uvloop

from openline.brokers.redis import RedisBroker
from openline.brokers.redis_url import parse_redis_url
from openline.hub.timers import Timers
from openline.testing.check_broker import check_broker
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
