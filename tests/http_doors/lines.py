"""Clients of a whole connection, over each kind of line, that say and hear the same."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import httpx

from tests.clients import JsonClient, json_client
from tests.http_doors.rig import PATIENCE, Source, web
from tests.server import Served


class LineGoneError(Exception):
    """The line has ended; the close code, where one was told."""


class HttpClient:
    """Says commands in POSTs and hears what comes downstream, however that comes."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self.client = client
        self.token = ""
        self.pushes: list[dict[str, Any]] = []
        self._number = 0

    async def hear(self) -> list[dict[str, Any]]:
        """What comes next; empty where it took too long."""
        raise NotImplementedError

    async def post(self, content: bytes, **headers: str) -> httpx.Response:
        given = {"content-type": "application/json", "openline-line": self.token, **headers}
        return await self.client.post("/openline", content=content, headers=given)

    async def say(self, **command: Any) -> None:
        said = await self.post(json.dumps(command).encode())
        if said.status_code == 404:
            raise LineGoneError(said.json()["code"])
        assert said.status_code == 204, said.text

    async def ask(self, type: str, **fields: Any) -> dict[str, Any]:
        """The whole answer, a reply or an error."""
        self._number += 1
        number = self._number
        await self.say(type=type, id=number, **fields)
        async with asyncio.timeout(PATIENCE):
            while True:
                for place, frame in enumerate(self.pushes):
                    if frame.get("id") == number and frame["type"] in ("$reply", "$error", "$pong"):
                        return self.pushes.pop(place)
                await self.listen()

    async def get(self, type: str, **fields: Any) -> Any:
        """The payload of a reply; an error fails the test."""
        answer = await self.ask(type, **fields)
        assert answer["type"] == "$reply", answer
        return answer["payload"]

    async def listen(self) -> None:
        for frame in await self.hear():
            if frame["type"] == "$line":
                self.token = frame["token"]
            else:
                self.pushes.append(frame)

    async def push(self) -> dict[str, Any]:
        async with asyncio.timeout(PATIENCE):
            while not self.pushes:
                await self.listen()
        return self.pushes.pop(0)


class StreamClient(HttpClient):
    """Hears an event stream."""

    def __init__(self, client: httpx.AsyncClient, source: Source) -> None:
        super().__init__(client)
        self._source = source
        self._taken = 0

    async def hear(self) -> list[dict[str, Any]]:
        if not await self._source.read():
            raise LineGoneError
        events = self._source.reader.events[self._taken :]
        self._taken += len(events)
        return [json.loads(event.data) for event in events]


class PollClient(HttpClient):
    """Hears what polls are answered."""

    batch = 0

    async def hear(self) -> list[dict[str, Any]]:
        headers = {"openline-line": self.token} if self.token else {}
        polled = await self.client.get(f"/openline/poll?after={self.batch}", headers=headers)
        if polled.status_code == 404:
            raise LineGoneError(polled.json()["code"])
        assert polled.status_code == 200, polled.text
        self.batch = int(polled.headers["openline-batch"])
        return polled.json()


@asynccontextmanager
async def streamed(served: Served, **headers: str) -> AsyncIterator[StreamClient]:
    async with web(served) as client, client.stream("GET", "/openline/events", headers=headers) as response:
        assert response.status_code == 200
        line = StreamClient(client, Source(response))
        while not line.token:
            await line.listen()
        yield line


@asynccontextmanager
async def polled(served: Served, **headers: str) -> AsyncIterator[PollClient]:
    async with web(served, headers=headers) as client:
        line = PollClient(client)
        await line.listen()
        assert line.token
        yield line


@asynccontextmanager
async def socketed(served: Served, **headers: str) -> AsyncIterator[JsonClient]:
    with suppress(asyncio.CancelledError):
        async with json_client(served.ws, additional_headers=headers) as client:
            yield client
