"""What tests of the Redis engine share: a server for a module, and links to it that end with the test."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from openline.app.runtime import LoopClock
from openline.brokers.redis_link import Link, Script
from openline.brokers.redis_server import Server
from openline.brokers.redis_url import parse_redis_url
from openline.hub.timers import Timers


async def until(true: Callable[[], object], seconds: float = 15.0) -> float:
    """Wait until ``true()``; how long that took."""
    loop = asyncio.get_running_loop()
    begun = loop.time()
    async with asyncio.timeout(seconds):
        while not true():
            await asyncio.sleep(0.005)
    return loop.time() - begun


class Visitor:
    """A guest that takes down what happens to it."""

    def __init__(self, *scripts: Script) -> None:
        self.scripts = scripts
        self.told: list[str] = []

    async def greet(self, server: Server) -> None:
        self.told.append(f"greeted by {bool(server.run)}")

    def went_up(self) -> None:
        self.told.append("up")

    def went_down(self, reason: str) -> None:
        self.told.append("down")


@asynccontextmanager
async def linked(url: str, *guests: Visitor) -> AsyncIterator[Link]:
    """A link that is up."""
    loop = asyncio.get_running_loop()
    timers = Timers(LoopClock(loop))
    link = Link(parse_redis_url(url), loop=loop, timers=timers)
    for guest in guests:
        link.add(guest)
    link.start()
    try:
        await until(lambda: link.up)
        yield link
    finally:
        await link.close()
        timers.stop()
