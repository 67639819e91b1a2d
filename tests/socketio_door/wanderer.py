"""A client by hand that changes and loses its line at random, and keeps the position as the stock client does."""

import asyncio
import json
import random
from typing import Any

from websockets.exceptions import ConnectionClosed

from tests.server import Served
from tests.socketio_door.hands import polled, spoken


class Wanderer:
    """Comes and goes at random; ``got`` are the second arguments of the events that it heard."""

    def __init__(self, served: Served, dice: random.Random) -> None:
        self._served = served
        self._dice = dice
        self.told: dict[str, Any] = {}
        self.offset: str | None = None
        self.got: list[Any] = []
        #: What acknowledged which event, and how many events it had heard by then.
        self.acked: list[tuple[int, Any, int]] = []
        self.asked = 0
        self.returns = 0

    def take(self, packet: str) -> None:
        if packet.startswith("42"):
            arguments = json.loads(packet[2:])
            self.offset = arguments[-1]
            self.got.append(arguments[1])
        elif packet.startswith("43"):
            number, bracket, values = packet[2:].partition("[")
            self.acked.append((int(number), json.loads(bracket + values), len(self.got)))

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

    async def visit(self) -> None:
        """Come, by whatever way, hear something, and lose the line."""
        await self._dice.choice((self._over_websocket, self._polled, self._upgraded))()

    async def _over_websocket(self) -> None:
        async with spoken(self._served) as client:
            self.note(await client.enter(self.connect))
            await self._listen(client)

    async def _polled(self) -> None:
        async with polled(self._served) as client:
            self.note(await client.enter(self.connect))
            for _ in range(self._dice.randrange(6)):
                await self.ask(client)
                for packet in (*client.waiting, *(await client.get()).text.split("\x1e")):
                    self.take(packet)
                client.waiting = []
            await client.post("1")

    async def _upgraded(self) -> None:
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
                await self._listen(line)

    async def _listen(self, client: Any) -> None:
        for _ in range(self._dice.randrange(1, 40)):
            if self._dice.random() < 0.3:
                await self.ask(client)
            try:
                async with asyncio.timeout(0.05):
                    self.take(str(await client.socket.recv()))
            except (TimeoutError, ConnectionClosed):
                break
        client.cut()
