"""Publishers on all doors that say a number at a time, each until it is answered, and write down what became of it."""

import asyncio
import json
import random
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, ClassVar

import httpx

from tests.chaos.cluster import Cluster
from tests.chaos.events import Acknowledged, Failed, History, Invoked, Place, Unanswered, Value
from tests.chaos.listeners import ANSWER_SECONDS, TROUBLES, Refused
from tests.clients import JsonClient, json_client, opened

__all__ = ["PUBLISHERS", "Post", "Publisher"]

#: How often a publisher takes another node, for no reason.
_LEAVES = 0.1


class Forbidden(Exception):  # noqa: N818  what happened
    """It was refused for good."""


class Publisher(ABC):
    """Publishes into ``channels``, at one node and another. Now and then it gives up where no answer came."""

    door: ClassVar[str]

    def __init__(
        self, name: str, channels: tuple[str, ...], cluster: Cluster, history: History, chance: random.Random
    ) -> None:
        self.name = name
        self.token = f"{channels[0].split('.')[0]}/{name}"
        self.headers = {"authorization": f"Bearer {self.token}"}
        self.number = 0
        self.padding = ""
        #: Seconds between two publications.
        self.every = 0.05
        #: The longest that an answer took, whatever it was.
        self.slowest = 0.0
        self._channels = channels
        self._cluster = cluster
        self._history = history
        self._chance = chance
        self._ending = False
        self._tries = 0

    async def run(self) -> None:
        """Until :meth:`finish`; what was begun is brought to an end."""
        while not self._ending:
            try:
                async with self.line(self._cluster.any(self._chance)) as line:
                    leaves = False
                    while not (self._ending or leaves):
                        await self.say(line, self._chance.choice(self._channels))
                        await asyncio.sleep(self._chance.uniform(0.2, 1.8) * self.every)
                        leaves = self._chance.random() < _LEAVES
            except TROUBLES:
                await asyncio.sleep(self._chance.uniform(0.05, 0.3))

    def finish(self) -> None:
        """Say nothing new."""
        self._ending = True

    async def say(self, line: Any, channel: str) -> Value:
        """Publish the next number, on as many lines as that takes; raises one of ``TROUBLES`` with the last line."""
        value = Value(self.name, self.number)
        self.number += 1
        payload = {"channel": channel, "publisher": value.publisher, "number": value.number}
        if self.padding:
            payload["padding"] = self.padding
        self._history.note(Invoked, channel=channel, value=value)
        give_up = self._chance.random() < 0.1
        try:
            place = await self._until_answered(line, channel, payload, f"{self.name}-{value.number}", give_up)
        except Forbidden:
            self._history.note(Failed, value=value)
        except TROUBLES:
            self._history.note(Unanswered, value=value)
            raise
        else:
            where = None if place is None else Place.parse(place)
            self._history.note(Acknowledged, channel=channel, value=value, place=where)
        return value

    async def _until_answered(self, line: Any, channel: str, payload: dict[str, Any], key: str, give_up: bool) -> Any:
        try:
            return await self._try(line, channel, payload, key)
        except TROUBLES:
            if give_up:
                raise
        for _ in range(200):
            await asyncio.sleep(self._chance.uniform(0.05, 0.3))
            try:
                async with self.line(self._cluster.any(self._chance)) as another:
                    place = await self._try(another, channel, payload, key)
            except TROUBLES:
                continue
            return place
        raise TimeoutError

    async def _try(self, line: Any, channel: str, payload: dict[str, Any], key: str) -> str | None:
        begun = time.monotonic()
        async with asyncio.timeout(ANSWER_SECONDS):
            try:
                place = await self.publish(line, channel, payload, key)
            except (Refused, Forbidden):
                self.slowest = max(self.slowest, time.monotonic() - begun)
                raise
        self.slowest = max(self.slowest, time.monotonic() - begun)
        return place

    @abstractmethod
    def line(self, node: Any) -> Any:
        """What carries publications to ``node``, as a context manager."""

    @abstractmethod
    async def publish(self, line: Any, channel: str, payload: dict[str, Any], key: str) -> str | None:
        """Publish once; the position. Raises one of ``TROUBLES`` where it is unknown, Forbidden where it is refused."""


class JsonPublisher(Publisher):
    door = "json"

    @asynccontextmanager
    async def line(self, node: Any) -> AsyncIterator[JsonClient]:
        async with json_client(
            node.ws, within=ANSWER_SECONDS, additional_headers=self.headers, ping_interval=None
        ) as client:
            async with asyncio.timeout(ANSWER_SECONDS):
                greeting = await client.ask("$connect")
            if greeting["type"] != "$reply":
                raise Refused(greeting)
            yield client

    async def publish(self, line: JsonClient, channel: str, payload: dict[str, Any], key: str) -> str | None:
        answer = await line.ask("n", channel=channel, payload=payload, key=key)
        if answer["type"] == "$reply":
            position: str = answer["payload"]["position"]
            return position
        raise Refused(answer) if answer.get("retry") else Forbidden(answer)


class Post(Publisher):
    door = "post"

    @asynccontextmanager
    async def line(self, node: Any) -> AsyncIterator[httpx.AsyncClient]:
        async with httpx.AsyncClient(
            base_url=node.http, trust_env=False, verify=False, headers=self.headers, timeout=ANSWER_SECONDS
        ) as client:
            yield client

    async def publish(self, line: httpx.AsyncClient, channel: str, payload: dict[str, Any], key: str) -> str | None:
        said = {"type": "n", "channel": channel, "payload": payload}
        done = await line.post("/api/messages", json=said, headers={"idempotency-key": key})
        if done.status_code == 200:
            position: str = done.json()["position"]
            return position
        raise Refused(done.text) if done.status_code >= 500 else Forbidden(done.text)


class SocketIoPublisher(Publisher):
    door = "socketio"

    @asynccontextmanager
    async def line(self, node: Any) -> AsyncIterator[Any]:
        url = f"{node.ws}/socket.io/?EIO=4&transport=websocket"
        async with opened(url, within=ANSWER_SECONDS, ping_interval=None) as socket:
            await self._hear(socket, "0")
            await socket.send(f"40{json.dumps({'token': self.token})}")
            await self._hear(socket, "40")
            yield socket

    async def publish(self, line: Any, channel: str, payload: dict[str, Any], key: str) -> str | None:
        self._tries += 1
        await line.send(f"42{self._tries}{json.dumps(['say', channel, payload, key])}")
        answer = await self._hear(line, f"43{self._tries}")
        [position] = json.loads(answer.removeprefix(f"43{self._tries}"))
        if position is None:
            raise Forbidden(answer)
        if not isinstance(position, str):
            raise Refused(answer)
        return position

    async def _hear(self, socket: Any, beginning: str) -> str:
        async with asyncio.timeout(ANSWER_SECONDS):
            while not (packet := str(await socket.recv())).startswith(beginning):
                if packet == "2":
                    await socket.send("3")
        return packet


class RawPublisher(Publisher):
    """Nobody answers at the raw door: what it says may be there, once, or not."""

    door = "raw"

    @asynccontextmanager
    async def line(self, node: Any) -> AsyncIterator[Any]:
        [channel, *_] = self._channels
        async with opened(
            f"{node.ws}/raw/{channel}", within=ANSWER_SECONDS, additional_headers=self.headers, ping_interval=None
        ) as socket:
            yield socket

    async def say(self, line: Any, channel: str) -> Value:
        value = Value(self.name, self.number)
        self.number += 1
        home = self._channels[0]
        self._history.note(Invoked, channel=home, value=value)
        await line.send(json.dumps({"channel": home, "publisher": value.publisher, "number": value.number}))
        return value

    async def publish(self, line: Any, channel: str, payload: dict[str, Any], key: str) -> str | None:
        raise NotImplementedError


PUBLISHERS: tuple[type[Publisher], ...] = (JsonPublisher, Post, SocketIoPublisher, RawPublisher)
