"""Clients for tests that say packets by hand: polled, and over a WebSocket."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from openline import LineSettings, Openline, Settings, SocketIoSettings
from tests.server import Served

PATIENCE = 60.0
#: An application for a process of its own.
PROGRAM = """
from openline import Openline

line = Openline()
line.of("/").on("echo")(lambda socket, *values: values)
"""
#: What the published suites are written for.
SUITE = SocketIoSettings(ping_interval_seconds=0.3, ping_timeout_seconds=0.2, connect_within_seconds=1.0)
#: The same for cases that are not about time, so that a machine with other things to do changes nothing.
PATIENT = SocketIoSettings(ping_interval_seconds=0.3, ping_timeout_seconds=5.0, connect_within_seconds=5.0)


def application(**socketio: Any) -> Openline:
    """A line with the given settings for Socket.IO, whose channels ``chat:*`` are open to all."""
    settings = Settings(socketio=SocketIoSettings(**socketio), line=LineSettings(close_within_seconds=0.5))
    line = Openline(settings=settings)
    line.channel("chat:*", history=100, public=True)
    return line


class Polled:
    """One session that is polled."""

    def __init__(self, http: httpx.AsyncClient, base: str, **query: str) -> None:
        self.http = http
        self.url = f"{base}/socket.io/"
        self.query = {"EIO": "4", "transport": "polling", **query}
        self.sid = ""
        self.waiting: list[str] = []

    async def open(self) -> dict[str, Any]:
        answer = await self.get()
        assert answer.status_code == 200, answer.text
        first, *self.waiting = answer.text.split("\x1e")
        assert first.startswith("0")
        told: dict[str, Any] = json.loads(first[1:])
        self.sid = self.query["sid"] = told["sid"]
        return told

    async def get(self, **options: Any) -> httpx.Response:
        return await self.http.get(self.url, params=self.query, **options)

    async def post(self, body: str | bytes, **options: Any) -> httpx.Response:
        return await self.http.post(self.url, params=self.query, content=body, **options)

    async def say(self, *packets: str) -> None:
        answer = await self.post("\x1e".join(packets))
        assert (answer.status_code, answer.text) == (200, "ok")

    async def hear(self) -> str:
        """The next packet."""
        while not self.waiting:
            answer = await self.get()
            assert answer.status_code == 200, answer.text
            self.waiting = answer.text.split("\x1e")
        return self.waiting.pop(0)

    async def enter(self, packet: str = "40") -> dict[str, Any]:
        """Open, and connect to a namespace; what CONNECT brings."""
        await self.open()
        await self.say(packet)
        answer = await self.hear()
        assert answer.startswith(packet.split("{", maxsplit=1)[0].removesuffix(",")), answer
        told: dict[str, Any] = json.loads(answer[answer.index("{") :])
        return told


@asynccontextmanager
async def polled(served: Served, **query: str) -> AsyncIterator[Polled]:
    async with httpx.AsyncClient(timeout=PATIENCE, trust_env=False) as http:
        yield Polled(http, served.http, **query)


class Spoken:
    """One WebSocket; messages as they are."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket

    async def say(self, *messages: str | bytes) -> None:
        for message in messages:
            await self.socket.send(message)

    async def hear(self) -> str | bytes:
        async with asyncio.timeout(PATIENCE):
            return await self.socket.recv()

    async def hear_or_end(self) -> str | bytes | None:
        try:
            return await self.hear()
        except ConnectionClosed:
            return None

    async def past_pings(self) -> str | bytes:
        while (message := await self.hear()) == "2":
            pass
        return message

    async def ended(self, within: float = PATIENCE) -> int | None:
        """Wait for the end; its code."""
        try:
            async with asyncio.timeout(within):
                while True:
                    await self.socket.recv()
        except ConnectionClosed:
            return self.socket.close_code

    async def enter(self, packet: str = "40") -> dict[str, Any]:
        """Hear the handshake, and connect to a namespace; what CONNECT brings."""
        assert str(await self.hear()).startswith("0")
        return await self.connect(packet)

    async def connect(self, packet: str = "40") -> dict[str, Any]:
        await self.say(packet)
        answer = str(await self.past_pings())
        assert answer.startswith(packet.split("{", maxsplit=1)[0].removesuffix(",")), answer
        told: dict[str, Any] = json.loads(answer[answer.index("{") :])
        return told

    def cut(self) -> None:
        self.socket.transport.abort()


@asynccontextmanager
async def spoken(served: Served, query: str = "EIO=4&transport=websocket", **options: Any) -> AsyncIterator[Spoken]:
    url = f"{served.ws}/socket.io/?{query}"
    async with connect(
        url, compression=None, proxy=None, open_timeout=PATIENCE, close_timeout=1, ping_interval=None, **options
    ) as socket:
        yield Spoken(socket)


async def ask(client: Spoken, number: int, *arguments: Any) -> list[Any]:
    """An event, and what acknowledges it."""
    await client.say(f"42{number}{json.dumps(arguments)}")
    answer = str(await client.past_pings())
    assert answer.startswith(f"43{number}["), answer
    parts: list[Any] = json.loads(answer[2 + len(str(number)) :])
    return parts
