"""Whatever happens to its line, a Socket.IO client gets everything of its rooms and of its own, once and in order."""

import asyncio
import json
import random
from contextlib import suppress
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

from openline import Openline
from tests.server import Served, serving, until
from tests.socketio_door.hands import application, polled, spoken

ROOMS = ("chat:a", "chat:b", "plain")


class Wanderer:
    """A client by hand that changes and loses its line at random, and keeps the position as the stock client does."""

    def __init__(self, served: Served, dice: random.Random) -> None:
        self._served = served
        self._dice = dice
        self.told: dict[str, Any] = {}
        self.offset: str | None = None
        self.got: list[Any] = []
        self.acked: list[int] = []
        self.asked = 0
        self.returns = 0

    def take(self, packet: str) -> None:
        if packet.startswith("42"):
            arguments = json.loads(packet[2:])
            self.offset = arguments[-1]
            self.got.append(arguments[1])
        elif packet.startswith("43"):
            number, _, _ = packet[2:].partition("[")
            self.acked.append(int(number))

    @property
    def connect(self) -> str:
        if not self.told:
            return "40"
        auth = {"pid": self.told["pid"]} | ({"offset": self.offset} if self.offset else {})
        return f"40{json.dumps(auth)}"

    def note(self, told: dict[str, Any]) -> None:
        self.returns += bool(self.told)
        assert not self.told or told == self.told, "not recovered"
        self.told = told

    async def ask(self, client: Any) -> None:
        self.asked += 1
        await client.say(f'42{self.asked}["echo"]')

    async def live(self, done: asyncio.Event) -> None:
        while not done.is_set():
            await self._dice.choice((self._over_websocket, self._polled, self._upgraded))(done)

    async def _over_websocket(self, done: asyncio.Event) -> None:
        async with spoken(self._served) as client:
            self.note(await client.enter(self.connect))
            await self._listen(client, done)

    async def _polled(self, done: asyncio.Event) -> None:
        async with polled(self._served) as client:
            self.note(await client.enter(self.connect))
            for _ in range(self._dice.randrange(6)):
                await self.ask(client)
                for packet in (*client.waiting, *(await client.get()).text.split("\x1e")):
                    self.take(packet)
                client.waiting = []
            await client.post("1")

    async def _upgraded(self, done: asyncio.Event) -> None:
        async with polled(self._served) as client:
            await client.open()
            await client.say(self.connect)
            async with spoken(self._served, f"EIO=4&transport=websocket&sid={client.sid}") as line:
                await line.say("2probe")
                packets = (await client.get()).text.split("\x1e")
                assert await line.hear() == "3probe"
                await line.say("5")
                while not packets[0].startswith("40"):
                    packets = [*packets[1:], str(await line.hear())]
                self.note(json.loads(packets[0][2:]))
                for packet in packets[1:]:
                    self.take(packet)
                await self._listen(line, done)

    async def _listen(self, client: Any, done: asyncio.Event) -> None:
        for _ in range(self._dice.randrange(1, 40)):
            if self._dice.random() < 0.3:
                await self.ask(client)
            try:
                async with asyncio.timeout(0.05):
                    self.take(str(await client.socket.recv()))
            except (TimeoutError, ConnectionClosed):
                break
        client.cut()


@pytest.mark.parametrize("seed", range(4))
async def test_everything_comes_once_and_in_order_through_upgrades_cuts_and_returns(seed: int) -> None:
    dice = random.Random(seed)
    line = recovering()
    async with serving(line) as served:
        wanderer, done = Wanderer(served, dice), asyncio.Event()
        said: list[Any] = []
        async with asyncio.TaskGroup() as tasks:
            life = tasks.create_task(wanderer.live(done))
            await until(lambda: line.connections)
            socket = line.of("/").fetch_sockets()[0]
            await socket.join(ROOMS)
            for n in range(150):
                where = dice.choice((*ROOMS, "own", "not for it"))
                if where == "own":
                    socket.emit("said", n)
                elif where == "not for it":
                    line.of("/").to(ROOMS[0]).except_(socket.id).emit("said", n)
                    continue
                else:
                    line.of("/").to(where).emit("said", n)
                said.append(n)
                if dice.random() < 0.5:
                    await asyncio.sleep(dice.random() * 0.01)
            with suppress(TimeoutError):
                await until(lambda: len(wanderer.got) >= len(said))
            done.set()
            await life
        assert wanderer.got == said
        assert wanderer.returns > 0
        # Of what it asked some answers were lost with a line; those that came stand in order, each once.
        assert wanderer.acked == sorted(set(wanderer.acked))


def recovering() -> Openline:
    line = application(recovery=True)
    line.on("echo")(lambda connection: 1)
    return line
