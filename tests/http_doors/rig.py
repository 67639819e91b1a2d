"""Clients of the doors over HTTP, and the ways in which a server may host them."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import httpx
from fastapi import FastAPI

from openline import Openline
from tests.protocol.test_sse import Event, Reader
from tests.server import Served, plainly_serving, serving

PATIENCE = 60.0

Hosting = Callable[[Openline], AbstractAsyncContextManager[Served]]


@asynccontextmanager
async def natively(line: Openline) -> AsyncIterator[Served]:
    """As ``openline serve`` does it."""
    async with serving(line) as served:
        yield served


@asynccontextmanager
async def mounted(line: Openline) -> AsyncIterator[Served]:
    """In somebody else's application, under a plain uvicorn."""
    app = FastAPI()
    app.mount("/", line)
    async with plainly_serving(app) as served:
        yield served


@asynccontextmanager
async def over_asgi(line: Openline) -> AsyncIterator[Served]:
    """Under a server that is not known: uvicorn, not to be seen."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        async def receive_too() -> Any:
            return await receive()

        await line(scope, receive_too, send)

    async with plainly_serving(app) as served:
        yield served


HOSTINGS: list[Hosting] = [natively, mounted, over_asgi]


class Source:
    """One event stream, read as EventSource reads it."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self.reader = Reader()
        self.ended = False
        self._chunks = response.aiter_raw()
        self._rest = b""
        self._taken = 0

    async def read(self) -> bool:
        """Take what comes next; False at the end."""
        try:
            async with asyncio.timeout(PATIENCE):
                self._rest += await anext(self._chunks)
        except (StopAsyncIteration, httpx.RemoteProtocolError, httpx.ReadError):
            self.ended = True
            return False
        whole, blank, self._rest = self._rest.rpartition(b"\n\n")
        self.reader.read(whole + blank)
        return True

    async def until(self, true: Callable[[], object]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not true():
                assert await self.read(), "the stream has ended"

    async def event(self) -> Event:
        """The next one."""
        await self.until(lambda: len(self.reader.events) > self._taken)
        self._taken += 1
        return self.reader.events[self._taken - 1]

    async def push(self) -> dict[str, Any]:
        return json.loads((await self.event()).data)

    async def payloads(self, count: int) -> list[Any]:
        return [(await self.push())["payload"] for _ in range(count)]

    async def rest(self) -> list[dict[str, Any]]:
        """Everything until the end."""
        while await self.read():
            pass
        events, self._taken = self.reader.events[self._taken :], len(self.reader.events)
        return [json.loads(event.data) for event in events]


@asynccontextmanager
async def web(served: Served, **options: Any) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(
        base_url=served.http, trust_env=False, timeout=PATIENCE, verify=False, **options
    ) as client:
        yield client


@asynccontextmanager
async def source(served: Served, query: str = "", *, path: str = "/events", **headers: str) -> AsyncIterator[Source]:
    """An event stream; header names with ``_`` for ``-``."""
    given = {"accept": "text/event-stream", **{name.replace("_", "-"): value for name, value in headers.items()}}
    async with web(served) as client, client.stream("GET", f"{path}?{query}", headers=given) as response:
        yield Source(response)


def problem(response: httpx.Response) -> tuple[int, str]:
    """Status and code of a refusal, whose form is checked."""
    assert response.headers["content-type"] == "application/problem+json"
    said = response.json()
    assert said["status"] == response.status_code
    assert said["type"] == "about:blank"
    assert said["detail"]
    return response.status_code, said["code"]
