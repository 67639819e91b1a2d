"""A balancer without stickiness: every request, even of one client, goes to another server than the one before."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from itertools import count


class Balancer:
    """``ports`` are those of the servers; who cannot be reached is passed over."""

    def __init__(self, ports: list[int]) -> None:
        self.ports = ports
        self.url = ""
        self.requests = 0
        self.serving: set[asyncio.Task[None]] = set()
        self._turn = count()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request of a client, or one WebSocket."""
        task = asyncio.current_task()
        assert task is not None
        self.serving.add(task)
        task.add_done_callback(self.serving.discard)
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            await self._pass_on(reader, writer)
        await _close(writer)

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        self.requests += 1
        upstream, downstream = await self._next()
        try:
            first, _, rest = head.partition(b"\r\n")
            if b"upgrade: websocket" not in head.lower():
                lines = [line for line in rest.split(b"\r\n") if not line.lower().startswith(b"connection:")]
                rest = b"connection: close\r\n" + b"\r\n".join(lines)
            downstream.write(first + b"\r\n" + rest)
            async with asyncio.TaskGroup() as tasks:
                up = tasks.create_task(_pump(reader, downstream))
                await _pump(upstream, writer)
                up.cancel()
        finally:
            await _close(downstream)

    async def _next(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        for _ in self.ports:
            with suppress(OSError):
                return await asyncio.open_connection("127.0.0.1", self.ports[next(self._turn) % len(self.ports)])
        raise ConnectionRefusedError


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    writer.close()


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(OSError, asyncio.CancelledError):
        await writer.wait_closed()


@asynccontextmanager
async def balancing(ports: list[int]) -> AsyncIterator[Balancer]:
    balancer = Balancer(ports)
    server = await asyncio.start_server(balancer.serve, "127.0.0.1", 0)
    balancer.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield balancer
    finally:
        server.close()
        serving = tuple(balancer.serving)
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)
