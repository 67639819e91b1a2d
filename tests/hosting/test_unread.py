"""A client that does not read what it was answered over HTTP is cut off, whatever answered; one that reads is not."""

import asyncio
import socket as sockets
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import uvloop
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route
from tests.clients import bare_socket
from tests.server import Served, make_certificate, serving, until

from openline import LineSettings, Openline
from openline.hub.timers import Timers
from openline.testing import FakeClock

LENGTH = 8_000_000
HEAD = b"GET / HTTP/1.1\r\nHost: localhost\r\n"


class Long(Openline):
    """One whose answers to plain requests are long; its time passes when the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = FakeClock()
        self.part = LENGTH

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            head = [(b"content-length", b"%d" % LENGTH)]
            await send({"type": "http.response.start", "status": 200, "headers": head})
            for rest in reversed(range(0, LENGTH, self.part)):
                await send({"type": "http.response.body", "body": b"x" * self.part, "more_body": rest > 0})
        else:
            await super().__call__(scope, receive, send)

    def pass_time(self, seconds: float) -> None:
        for _ in range(round(seconds * 10)):
            self.clock.advance(0.1)


@asynccontextmanager
async def serving_long(**options: Any) -> AsyncIterator[tuple[Long, Served]]:
    line = Long()
    line.start().doors.timers = Timers(line.clock)
    async with serving(line, **options) as served:
        yield line, served


def narrow() -> sockets.socket:
    """A socket whose system keeps little of what it does not read."""
    client = sockets.socket()
    client.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, 4096)
    client.setblocking(False)
    return client


async def waits(served: Served) -> None:
    """Much of an answer waits, and no system on the way takes any more of it."""
    seen: list[int] = [0]

    def at_rest() -> bool:
        seen.append(sum(each.transport.get_write_buffer_size() for each in served.connections))
        return seen[-1] > 10_000 and seen[-1:] * 10 == seen[-10:]

    await served.until(at_rest)


@asynccontextmanager
async def asked(served: Served, *lines: bytes) -> AsyncIterator[Any]:
    """A socket that has asked, and reads nothing by itself."""
    loop = asyncio.get_running_loop()
    with narrow() as client:
        await loop.sock_connect(client, ("127.0.0.1", served.port))
        await loop.sock_sendall(client, HEAD + b"".join(line + b"\r\n" for line in lines) + b"\r\n")
        yield client


async def take(client: sockets.socket, count: int) -> int:
    """Read ``count`` bytes at least."""
    taken = 0
    while taken < count:
        data = await asyncio.get_running_loop().sock_recv(client, 65_536)
        assert data, "it was cut off"
        taken += len(data)
    return taken


async def cut_off(line: Long, served: Served) -> None:
    """Time passes, and it happens; not before it has to."""
    await waits(served)
    line.pass_time(29)
    await asyncio.sleep(0.02)
    assert len(served.connections) == 1

    def gone() -> bool:
        # The client's system may still take a little, and then it is cut off that much later.
        line.pass_time(1)
        return not served.connections

    await served.until(gone)
    await until(lambda: not served.server.server_state.tasks)


@pytest.mark.parametrize("connection", [b"keep-alive", b"close"])
async def test_who_reads_nothing_of_an_answer_is_cut_off(connection: bytes) -> None:
    async with serving_long() as (line, served), asked(served, b"Connection: " + connection):
        await cut_off(line, served)


async def test_who_reads_nothing_when_the_server_closes_behind_the_answer_is_cut_off_all_the_same() -> None:
    async with serving_long() as (line, served), asked(served):
        await waits(served)
        (connection,) = served.connections
        connection.timeout_keep_alive_handler()
        assert connection.transport.is_closing()
        await cut_off(line, served)


async def test_who_reads_slowly_gets_everything_however_long_that_takes() -> None:
    async with serving_long() as (line, served), asked(served, b"Connection: close") as client:
        await waits(served)
        taken = 0
        # Much less than the system keeps, so that what waits in the server does not move at all.
        for _ in range(20):
            taken += await take(client, 16_384)
            line.pass_time(20)
        assert len(served.connections) == 1
        while data := await asyncio.get_running_loop().sock_recv(client, 1_000_000):
            taken += len(data)
        assert taken > LENGTH


async def test_whoever_has_read_it_all_is_not_waited_for() -> None:
    async with serving_long() as (_, served), asked(served) as client:
        await waits(served)
        (connection,) = served.connections
        assert connection._unread is not None
        await take(client, LENGTH)
        await served.until(lambda: connection._unread is None)


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_through_tls_too(run: Any, tmp_path: Path) -> None:
    certificate, key = make_certificate(tmp_path)
    trust = ssl.create_default_context(cafile=str(certificate))
    trust.check_hostname = False

    async def story() -> None:
        async with serving_long(ssl_certfile=str(certificate), ssl_keyfile=str(key)) as (line, served):
            for line.part in (LENGTH, 40_000):
                async with bare_socket(served.port, ssl=trust) as reader:
                    reader.send(HEAD + b"Connection: close\r\n\r\n")
                    await reader.head()
                    assert len(await reader.rest()) == LENGTH
            await served.until(lambda: not served.connections)
            with narrow() as end:
                await asyncio.get_running_loop().sock_connect(end, ("127.0.0.1", served.port))
                _, client = await asyncio.open_connection(sock=end, ssl=trust, server_hostname="localhost", limit=1024)
                # One long part would be what TLS has to send, of which it does not tell; it gives that up by itself.
                client.transport.pause_reading()  # type: ignore[attr-defined]
                client.write(HEAD + b"\r\n")
                await cut_off(line, served)
                client.transport.abort()

    run(story())


async def test_whatever_application_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("openline.transports.uvicorn_host._DEFAULT_LIMITS", LineSettings(stalled_after_seconds=0.2))
    app = Starlette(routes=[Route("/", lambda _: Response(b"x" * LENGTH))])
    async with serving(app) as served, asked(served):
        await served.until(lambda: served.connections)
        await served.until(lambda: not served.connections)
