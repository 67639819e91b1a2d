"""A WebSocket that passes through a node: whoever stalls at one end of it does not hold it for ever."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from openline.app.runtime import LoopClock
from openline.hub.timers import Timers
from openline.protocol.engineio import Fault, fault
from openline.transports import pipe
from openline.transports.pipe import Pipe
from tests.server import until

LARGE = 16 * 1024 * 1024


class _Front(asyncio.Protocol):
    """What a node does with an upgrade: it becomes a pipe to ``address``."""

    def __init__(self, address: str, connections: set[Any], timers: Timers) -> None:
        self._given = address, connections, timers

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport

    def data_received(self, data: bytes) -> None:
        address, connections, timers = self._given
        opening = Pipe(self._transport, connections, timers).open(address, data, fault(Fault.SESSION))
        self.opening = asyncio.get_running_loop().create_task(opening)


@asynccontextmanager
async def passing(owner: Callable[[Any, Any], Any]) -> AsyncIterator[tuple[int, set[Any]]]:
    """The port of a node that passes everything on to ``owner``, and the pipes that it has."""
    loop = asyncio.get_running_loop()
    timers, connections = Timers(LoopClock(loop)), set[Any]()
    async with await asyncio.start_server(owner, "127.0.0.1", 0) as behind:
        address = f"http://127.0.0.1:{behind.sockets[0].getsockname()[1]}"
        async with await loop.create_server(lambda: _Front(address, connections, timers), "127.0.0.1", 0) as front:
            yield front.sockets[0].getsockname()[1], connections
    timers.stop()


async def pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1)
    writer.write(bytes(LARGE))
    writer.close()


async def test_what_a_node_said_last_reaches_a_client_that_reads() -> None:
    async with passing(pour) as (port, connections):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"x")
        assert len(await reader.read()) == LARGE
        writer.close()
        await until(lambda: not connections)


async def test_a_client_that_takes_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipe, "_STALLED_SECONDS", 0.3)
    async with passing(pour) as (port, connections):
        _, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(b"x")
        await until(lambda: connections)
        async with asyncio.timeout(10):
            await until(lambda: not connections)
        writer.transport.abort()
