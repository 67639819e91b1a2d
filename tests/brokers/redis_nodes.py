"""Nodes on a real Redis, without a hub: what each was told, and what must hold of it whatever happened meanwhile."""

import asyncio
import json
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from openline.app.runtime import LoopClock
from openline.brokers.redis import RedisBroker
from openline.brokers.redis_url import parse_redis_url
from openline.errors import BrokerError
from openline.hub.timers import Timers
from openline.model import Position, Publication, Retention
from tests.brokers.redis_links import until

KEPT = Retention(count=100_000, seconds=3600.0, size=1 << 30)


class Node:
    """A listener of one broker."""

    def __init__(self, url: str, key: str = "") -> None:
        loop = asyncio.get_running_loop()
        self.timers = Timers(LoopClock(loop))
        self.broker = RedisBroker(parse_redis_url(url), loop=loop, timers=self.timers, cluster_key=key)
        self.heard: list[Publication] = []
        self.breaks: list[Collection[str] | None] = []

    def on_publication(self, publication: Publication) -> None:
        if publication.stamp:
            assert publication.stamp == self.broker.position.stamp
        self.heard.append(publication)

    def on_break(self, channels: Collection[str] | None) -> None:
        self.breaks.append(channels)

    def send(self, channel: str, text: Any, key: str | None = None, kept: Retention = KEPT) -> Any:
        return self.broker.publish(Publication(channel, "said", json.dumps(text).encode()), kept, key)

    async def want(self, *channels: str) -> None:
        for channel in channels:
            await self.broker.subscribe(channel)

    def texts(self, channel: str) -> list[Any]:
        return [json.loads(p.payload) for p in self.heard if p.channel == channel]

    async def log(self, channel: str) -> list[Publication]:
        """All of a channel's log."""
        found: list[Publication] = []
        before: Position | None = None
        while True:
            page = await self.broker.read(channel, before=before)
            found[:0] = page.publications
            if not page.more:
                return found
            before = found[0].position


@asynccontextmanager
async def nodes(url: str, count: int = 2, key: str = "") -> AsyncIterator[list[Node]]:
    """So many nodes, which have reached their Redis."""
    made = [Node(url, key) for _ in range(count)]
    try:
        for node in made:
            await node.broker.start(node)
        yield made
    finally:
        for node in made:
            await node.broker.close()
            node.timers.stop()


@dataclass
class Told:
    """What became of what one publisher published: in the store, or unknown."""

    positions: dict[int, Position] = field(default_factory=dict)
    unknown: list[int] = field(default_factory=list)
    slowest: float = 0.0


class Load:
    """Publishes numbers from one node to one channel, one every few milliseconds, until it is stopped."""

    def __init__(self, node: Node, channel: str, name: str, pause: float = 0.005) -> None:
        self.told = Told()
        self._node, self._channel, self._name, self._pause = node, channel, name, pause
        self._stopped = False
        self._waiting = 0
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        number = 0
        loop = asyncio.get_running_loop()
        while not self._stopped:
            begun = loop.time()
            self._waiting += 1
            self._node.send(self._channel, [self._name, number]).then(
                lambda outcome, number=number, begun=begun: self._settled(outcome, number, loop.time() - begun)
            )
            number += 1
            await asyncio.sleep(self._pause)

    def _settled(self, outcome: Any, number: int, seconds: float) -> None:
        self._waiting -= 1
        self.told.slowest = max(self.told.slowest, seconds)
        try:
            self.told.positions[number] = outcome.result()
        except BrokerError:
            self.told.unknown.append(number)

    async def stop(self) -> Told:
        """Stop, and wait for every answer."""
        self._stopped = True
        await self._task
        await until(lambda: not self._waiting)
        return self.told


async def check(channel: str, made: list[Node], told: dict[str, Told]) -> list[list[Any]]:
    """Contract B on every node, and C of what was published: each once, in order, and nothing acknowledged is lost.

    Returns what is in the log.
    """
    for node in made:
        await node.broker.subscribe(channel)
    log = await made[0].log(channel)
    kept = [json.loads(p.payload) for p in log]
    assert len({tuple(each) for each in kept}) == len(kept), "something is there twice"
    for name, each in told.items():
        numbers = [number for who, number in kept if who == name]
        assert numbers == sorted(numbers), "the order of one publisher's calls is lost"
        assert each.positions.keys() <= set(numbers), "something that was acknowledged is not there"
        assert set(numbers) <= each.positions.keys() | set(each.unknown)
        found = {tuple(json.loads(p.payload)): p.position for p in log}
        for number, position in each.positions.items():
            assert found[name, number] == position
    for node in made:
        assert [p for p in node.heard if p.channel == channel] == log, "a node heard something else than the log"
    return kept
