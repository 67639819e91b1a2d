"""Two Openline servers on one Redis: what is said at one arrives at the other, or its client is told."""

import asyncio
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from itertools import count
from typing import Any

import httpx
import pytest

from openline import History, Openline
from openline.app.settings import Settings
from tests.brokers.redis_links import until
from tests.clients import json_client
from tests.redis_servers import RedisServer, redis_server
from tests.server import Served, serving

pytestmark = pytest.mark.redis
KEY = "a key that all nodes of a cluster share"
COUNT = 200
_prefixes = count()


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


@asynccontextmanager
async def openlines(server: RedisServer) -> AsyncIterator[list[tuple[Openline, Served]]]:
    """Two, as ``openline serve`` would run them."""
    url = f"{server.url}?prefix=lines{next(_prefixes)}&probe=0.5"
    lines = [Openline(settings=Settings(engine=url, cluster_key=KEY)) for _ in range(2)]
    for line in lines:
        line.channel("*", subscribe=True, see_history=True, history=History(count=10_000))
    async with serving(lines[0]) as one, serving(lines[1]) as other:
        await until(lambda: all(line.start().trouble is None for line in lines))
        yield [(lines[0], one), (lines[1], other)]


class Wanderer:
    """Listens at one server, is cut, and goes on at another from where it stood."""

    def __init__(self, servers: list[Served], chance: random.Random) -> None:
        self.got: list[int] = []
        self.wanting = True
        self._servers = servers
        self._chance = chance
        self._since: str | None = None

    async def run(self) -> None:
        while self.wanting:
            async with json_client(self._chance.choice(self._servers).ws) as client:
                since = {"since": self._since} if self._since else {}
                answer = await client.ask("$subscribe", channel="a", **since)
                if answer.get("retry"):
                    continue  # the engine was cut off at that moment
                reply = answer["payload"]
                assert reply.get("recovered", True), reply
                self._since = self._since or reply["position"]
                self._take(reply["publications"])
                end = asyncio.get_running_loop().time() + self._chance.uniform(0.05, 0.4)
                while self.wanting and asyncio.get_running_loop().time() < end:
                    if client.pushes:
                        self._take([client.pushes.pop(0)])
                        continue
                    try:
                        async with asyncio.timeout(0.05):
                            self._take([await client.push()])
                    except TimeoutError:
                        continue
                client.cut()

    def _take(self, pushes: list[dict[str, Any]]) -> None:
        for push in pushes:
            assert push["type"] == "said", push
            self.got.append(push["payload"])
            self._since = push["position"]


async def test_who_wanders_between_two_servers_hears_everything_once_and_in_order(server: RedisServer) -> None:
    chance = random.Random(11)
    async with openlines(server) as both:
        wanderers = [Wanderer([served for _, served in both], chance) for _ in range(6)]
        tasks = [asyncio.get_running_loop().create_task(wanderer.run()) for wanderer in wanderers]
        await until(lambda: all(wanderer._since for wanderer in wanderers))
        for number in range(COUNT):
            await both[number % 2][0].publish("a", "said", number)
            if number % 40 == 20:
                server.do("CLIENT", "KILL", "TYPE", "pubsub")
            await asyncio.sleep(0.005)
        try:
            await until(lambda: all(len(w.got) >= COUNT for w in wanderers) or any(t.done() for t in tasks))
        finally:
            for wanderer in wanderers:
                wanderer.wanting = False
            await asyncio.gather(*tasks)
        assert [wanderer.got for wanderer in wanderers] == [list(range(COUNT))] * 6


async def test_a_flushed_server_is_told_to_every_client_of_every_node(server: RedisServer) -> None:
    async with openlines(server) as both, json_client(both[0][1].ws) as ada, json_client(both[1][1].ws) as eve:
        for client in (ada, eve):
            await client.get("$subscribe", channel="a")
        await both[0][0].publish("a", "said", 1)
        assert (await eve.push())["payload"] == (await ada.push())["payload"] == 1
        server.do("FLUSHALL")
        for client in (ada, eve):
            gaps = [await client.push(), await client.push()]
            assert {(gap["type"], gap.get("channel")) for gap in gaps} == {("$gap", "a"), ("$gap", None)}
        position = await both[1][0].publish("a", "said", 2)
        for client in (ada, eve):
            push = await client.push()
            assert (push["payload"], push["position"]) == (2, str(position))


async def test_a_node_whose_server_is_gone_is_not_ready_and_its_clients_reach_each_other_all_the_same() -> None:
    with redis_server() as own:
        async with openlines(own) as both, json_client(both[0][1].ws) as ada, httpx.AsyncClient() as http:
            await ada.get("$subscribe", channel="a")
            own.kill()
            await until(lambda: both[0][0].start().trouble)
            answer = await http.get(f"{both[0][1].http}/readyz")
            assert (answer.status_code, answer.text.startswith("the engine is not there")) == (503, True)
            assert (await http.get(f"{both[0][1].http}/healthz")).status_code == 200
            await both[0][0].publish("a", "said", 1, volatile=True)
            assert (await ada.push())["payload"] == 1
            own.start()
            await until(lambda: both[0][0].start().trouble is None)
            assert (await http.get(f"{both[0][1].http}/readyz")).status_code == 200
