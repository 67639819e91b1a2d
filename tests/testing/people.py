"""The application that the tests of clients and of the stage talk to, and what they make of events."""

import asyncio
from typing import Any

from openline import Connection, Openline, Presence, Settings
from openline.client import Event


def application(**settings: Any) -> Openline:
    line = Openline(settings=Settings(**settings), anonymous=True)
    line.channel("chat:*", history=1000, presence=Presence(grace_seconds=10), public=True)

    @line.on("hello")
    async def hello(connection: Connection, name: str) -> list[Any]:
        await asyncio.sleep(0)
        return [f"Hello, {name}!", None if connection.user is None else connection.user.id]

    return line


def said(events: list[Event]) -> list[Any]:
    return [event.payload for event in events if not event.type.startswith("$")]


def words(events: list[Event]) -> list[str]:
    return [event.type for event in events if event.type.startswith("$")]
