"""One connection hops from line to line mid-stream and loses nothing."""

import asyncio
import random
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

from openline import Connection, History, Openline, Settings
from tests.clients import JsonClient
from tests.http_doors.lines import HttpClient, LineGoneError, PollClient, polled, socketed, streamed
from tests.http_doors.rig import HOSTINGS, Hosting, natively

hostings = pytest.mark.parametrize("hosting", HOSTINGS)
http = pytest.mark.parametrize("opened", [streamed, polled])
DOORS = [socketed, streamed, polled]


def application(**settings: Any) -> Openline:
    line = Openline(settings=Settings(**settings))
    line.channel("chat:*", history=History(count=100_000), presence=True, public=True)

    @line.on("hello")
    async def hello(connection: Connection, name: str) -> str:
        await asyncio.sleep(0)
        return f"Hello, {name}!"

    @line.on("ask me")
    async def ask_me(connection: Connection) -> Any:
        return await connection.ask("what?", 1)

    return line


class Hopper:
    """One client that takes its connection from line to line; what it got is in ``got``."""

    def __init__(self, served: Any, chance: random.Random) -> None:
        self._served = served
        self._chance = chance
        self._resume: str | None = None
        self._since: str | None = None
        self.got: list[Any] = []
        self.connections: set[str] = set()

    async def hop(self, count: int) -> None:
        """Hear about ``count`` events over some line, and leave it without a word."""
        opened = self._chance.choice(DOORS)
        try:
            async with opened(self._served) as client:
                await self._connect(client)
                for _ in range(count):
                    self._take(await client.push())
                if isinstance(client, JsonClient):
                    client.cut()
        except (LineGoneError, ConnectionClosed, TimeoutError):
            return

    async def _connect(self, client: JsonClient | HttpClient) -> None:
        fields = {} if self._resume is None else {"resume": self._resume, "since": self._since}
        told = await client.get("$connect", **fields)
        assert told["resumed"] is (self._resume is not None)
        assert told.get("recovered", True) is True
        self._resume, self._since = told["resume"], told["position"]
        self.connections.add(told["connection"])
        if not told["resumed"]:
            await client.get("$subscribe", channel="chat:1")
            await client.get("$subscribe", channel="chat:2")

    def _take(self, push: dict[str, Any]) -> None:
        self._since = push.get("position", self._since)
        if push["type"] == "n":
            self.got.append(push["payload"])


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("hosting", HOSTINGS[:2])
async def test_one_connection_hops_doors_mid_stream_and_loses_nothing(hosting: Hosting, seed: int) -> None:
    chance = random.Random(seed)
    line = application()
    async with hosting(line) as served:
        hopper = Hopper(served, chance)
        await hopper.hop(0)
        said = 0
        publishing = True

        async def publish() -> None:
            nonlocal said
            while publishing:
                for _ in range(chance.randrange(5)):
                    line.publish(f"chat:{1 + said % 2}", "n", said)
                    said += 1
                await asyncio.sleep(chance.random() / 100)

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(publish())
            for _ in range(20):
                await hopper.hop(chance.randrange(1, 20))
            publishing = False
        while len(hopper.got) < said:
            await hopper.hop(said - len(hopper.got))
        assert hopper.got == list(range(said))
        assert len(hopper.connections) == 1


async def test_a_poll_line_takes_over_from_a_stream_without_an_event_lost() -> None:
    line = application()
    async with natively(line) as served:
        async with streamed(served) as client:
            told = await client.get("$connect")
            await client.get("$subscribe", channel="chat:1")
            line.publish("chat:1", "n", 0)
            push = await client.push()
        line.publish("chat:1", "n", 1)
        async with polled(served) as client:
            assert isinstance(client, PollClient)
            await client.get("$connect", resume=told["resume"], since=push["position"])
            assert (await client.push())["payload"] == 1
