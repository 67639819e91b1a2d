"""One channel, many doors: however they are cut, all who listen end with the same list."""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from openline import History, Openline, Settings, Socket, SocketIoSettings
from tests.clients import JsonClient, json_client, opened
from tests.http_doors.rig import HOSTINGS, Hosting, Source, web
from tests.server import Served
from tests.socketio_door.hands import spoken
from tests.socketio_door.wanderer import Wanderer

CHANNEL = "chat:1"
COUNT = 300


class Listener:
    """Hears through one door, again and again, and keeps what that door's clients keep."""

    def __init__(self, served: Served, chance: random.Random) -> None:
        self.served = served
        self.chance = chance
        self.got: list[int] = []
        self.ready = asyncio.Event()
        self.since: str | None = None

    @property
    def done(self) -> bool:
        return len(self.got) >= COUNT

    async def run(self) -> None:
        while not self.done:
            await self.listen(self.chance.randrange(1, 60))

    async def listen(self, count: int) -> None:
        """Hear about ``count`` events, then break off."""
        raise NotImplementedError


class Json(Listener):
    resume: str | None = None

    async def listen(self, count: int) -> None:
        async with json_client(self.served.ws) as client:
            fields = {} if self.resume is None else {"resume": self.resume, "since": self.since}
            told = await client.get("$connect", **fields)
            self.resume = told["resume"]
            if told["resumed"]:
                self.since = told["position"]
            else:
                await self._subscribe(client)
            self.ready.set()
            while count and not self.done:
                push = await client.push()
                self.got.append(push["payload"])
                self.since = push["position"]
                count -= 1
            client.cut()

    async def _subscribe(self, client: JsonClient) -> None:
        """Anew: some hosts take a line that broke for one that was closed."""
        fields = {} if self.since is None else {"since": self.since}
        joined = await client.get("$subscribe", channel=CHANNEL, **fields)
        assert joined.get("recovered", True)
        self.got += [publication["payload"] for publication in joined["publications"]]
        self.since = joined["position"]


class Raw(Listener):
    """Live only: it is never cut."""

    async def listen(self, count: int) -> None:
        async with opened(f"{self.served.ws}/raw/{CHANNEL}?echo=1") as socket:
            async with json_client(self.served.ws) as other:
                while (await other.get("$presence", channel=CHANNEL))["count"] == 0:
                    pass
            self.ready.set()
            while not self.done:
                self.got.append(int(await socket.recv()))


class Stream(Listener):
    async def listen(self, count: int) -> None:
        headers = {} if self.since is None else {"last-event-id": self.since}
        async with web(self.served) as client, client.stream("GET", f"/events?channel={CHANNEL}", headers=headers) as r:
            events = Source(r)
            await events.until(lambda: events.reader.last_id)
            self.ready.set()
            while count and not self.done:
                event = await events.event()
                self.got.append(json.loads(event.data)["payload"])
                self.since = event.id
                count -= 1


class Poll(Listener):
    wait = ""

    async def listen(self, count: int) -> None:
        async with web(self.served) as client:
            if self.since is None:
                self.since = (await client.get(f"/api/messages?channel={CHANNEL}")).headers["openline-position"]
                self.ready.set()
            for _ in range(3):
                await self._poll(client, count)

    async def _poll(self, client: httpx.AsyncClient, limit: int) -> None:
        query = f"channel={CHANNEL}&since={self.since}&limit={limit}{self.wait}"
        try:
            async with asyncio.timeout(self.chance.choice((0.001, 0.01, 5))):
                polled = await client.get(f"/api/messages?{query}")
        except TimeoutError:
            return
        assert polled.status_code == 200, polled.text
        self.got += [message["payload"] for message in polled.json()]
        self.since = polled.headers["openline-position"]


class LongPoll(Poll):
    wait = "&wait=1"


class SocketIo(Listener):
    """Polled, over WebSocket, upgrading from one to the other; it comes back as the stock client does."""

    def __init__(self, served: Served, chance: random.Random) -> None:
        super().__init__(served, chance)
        self.wanderer = Wanderer(served, chance)
        self.got = self.wanderer.got

    async def listen(self, count: int) -> None:
        await self.wanderer.visit()
        self.ready.set()


LISTENERS: list[type[Listener]] = [Json, Raw, SocketIo, Stream, Poll, LongPoll]


def all_doors() -> Openline:
    """A channel that clients join by themselves, where their door has a way to, and are put into, where it has none."""
    line = Openline(settings=Settings(socketio=SocketIoSettings(recovery=True)))
    line.channel("chat:*", history=History(count=100_000), presence=True, public=True)
    space = line.of("/")
    space.on("echo")(lambda socket: True)
    space.on("publish")(lambda socket, number: line.publish(CHANNEL, "n", number))

    @space.on_connect
    async def enter(socket: Socket) -> None:
        if socket.handshake is not None:
            await socket.join(CHANNEL)

    return line


@asynccontextmanager
async def speakers(served: Served) -> AsyncIterator[list[Callable[[int], Awaitable[Any]]]]:
    """Ways to publish a number."""
    async with (
        json_client(served.ws) as client,
        opened(f"{served.ws}/raw/{CHANNEL}") as raw,
        web(served) as poster,
        spoken(served) as stock,
    ):
        await stock.enter()

        async def post(number: int) -> None:
            said = {"channel": CHANNEL, "type": "n", "payload": number, "key": f"k{number}"}
            for _ in range(2):
                assert (await poster.post("/api/messages", json=said)).status_code == 200

        yield [
            lambda number: client.get("n", channel=CHANNEL, payload=number),
            lambda number: raw.send(str(number)),
            lambda number: stock.say(f'42["publish",{number}]'),
            post,
        ]


@pytest.mark.parametrize("hosting", HOSTINGS)
@pytest.mark.parametrize("seed", range(2))
async def test_all_end_with_the_same_list(hosting: Hosting, seed: int) -> None:
    chance = random.Random(seed)
    line = all_doors()
    async with hosting(line) as served, asyncio.timeout(60):
        listeners = [kind(served, random.Random(chance.random())) for kind in LISTENERS]
        async with asyncio.TaskGroup() as tasks, speakers(served) as ways:
            for listener in listeners:
                tasks.create_task(listener.run())
                await listener.ready.wait()
            for number in range(COUNT):
                await chance.choice(ways)(number)
                if chance.random() < 0.1:
                    await asyncio.sleep(chance.random() / 50)
        [expected] = [page.publications for page in [await line.running.hub.broker.read(CHANNEL)]]
    numbers = [int(json.loads(publication.payload)) for publication in expected]
    assert sorted(numbers) == list(range(COUNT))
    for listener in listeners:
        assert list(map(int, listener.got)) == numbers, type(listener).__name__
