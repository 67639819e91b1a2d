"""How a line is hosted in these tests: natively, and by plain ASGI alone."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from openline import Openline
from tests.server import Served, plainly_serving, serving


@asynccontextmanager
async def hidden(line: Openline) -> AsyncIterator[Served]:
    """uvicorn as it is, but not to be seen, so that nothing is taken from under it."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        async def receive_too() -> Any:
            return await receive()

        await line(scope, receive_too, send)

    async with plainly_serving(app) as served:
        yield served


HOSTS = {"native": serving, "plain uvicorn": plainly_serving, "asgi": hidden}
