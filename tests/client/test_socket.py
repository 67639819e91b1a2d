"""The WebSocket of a line, against real sockets: what goes wrong there is said in words."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from websockets.asyncio.server import ServerConnection, serve

from openline.client import Surroundings, connect
from openline.client.socket import address_of
from openline.errors import GoneError, SettingsError

OPEN = '{"type":"$reply","id":0,"payload":{"connection":"c","resume":"s","position":"e.1"}}'


@asynccontextmanager
async def answering(raw: bytes) -> AsyncIterator[str]:
    """A server that answers every request with these bytes; its URL."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(raw)
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"


@asynccontextmanager
async def talking(talk: Callable[[ServerConnection], Awaitable[None]]) -> AsyncIterator[str]:
    """A WebSocket server; its URL."""
    async with serve(talk, "127.0.0.1", 0, max_size=None) as server:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def why_not(url: str) -> str:
    with pytest.raises(GoneError) as gone:
        async with connect(url, patience=0):
            pass
    return str(gone.value)


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("ws://host", "ws://host/openline"),
        ("http://host:80/x?y=1#z", "ws://host:80/x?y=1"),
        ("https://[::1]:8000/", "wss://[::1]:8000/"),
    ],
)
def test_an_address_is_that_of_a_websocket(url: str, address: str) -> None:
    assert address_of(url) == address


def test_tls_options_are_for_tls() -> None:
    import ssl

    with pytest.raises(SettingsError, match="ssl"):
        connect("ws://host", ssl=ssl.create_default_context())


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 9\r\n\r\nnot here\n", "HTTP 404: not here"),
        (b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n", "HTTP 503"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "HTTP 200"),
        (b"SSH-2.0-OpenSSH_9\r\n\r\n", "no WebSocket server"),
        (b"", "no WebSocket server"),
    ],
)
async def test_what_is_no_server_of_ours_is_told_by_its_answer(raw: bytes, told: str) -> None:
    async with answering(raw) as url:
        assert told in await why_not(url)


async def test_where_nobody_listens_it_is_said() -> None:
    async with answering(b"") as url:
        pass
    assert "refused" in (await why_not(url)).lower()


async def test_a_host_that_there_is_not_is_said() -> None:
    assert "closed: " in await why_not("ws://nowhere.invalid/")
    assert "no connection can be made" in await why_not(f"ws://{'x' * 64}.invalid/")


async def test_a_proxy_is_not_asked_for_what_is_on_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    async with answering(b"HTTP/1.1 418 Teapot\r\nContent-Length: 0\r\n\r\n") as url:
        assert "HTTP 418" in await why_not(url)


async def test_the_close_code_and_the_reason_of_the_server_are_told() -> None:
    async def talk(socket: ServerConnection) -> None:
        await socket.recv()
        await socket.close(4410, "banned for a day")

    async with talking(talk) as url:
        assert "banned for a day" in await why_not(url)


async def test_a_binary_message_is_passed_over_and_a_long_one_is_not() -> None:
    async def talk(socket: ServerConnection) -> None:
        await socket.recv()
        await socket.send(b"\x00")
        await socket.send(OPEN)
        await socket.send('{"type":"note","payload":"%s"}' % ("x" * 3_000_000))
        await socket.wait_closed()

    async with talking(talk) as url, connect(url, inbox_bytes=4_000_000) as line:
        assert len((await anext(line)).payload) == 3_000_000


async def test_leaving_while_the_server_talks_without_end_is_a_clean_end() -> None:
    ended: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()

    async def talk(socket: ServerConnection) -> None:
        await socket.recv()
        await socket.send(OPEN)
        try:
            while True:
                await socket.send('{"type":"note","payload":"%s"}' % ("x" * 10_000))
        finally:
            await socket.wait_closed()
            ended.set_result(socket.close_code)

    async with talking(talk) as url:
        async with connect(url) as line:
            await anext(line)
        async with asyncio.timeout(30):
            assert await ended == 1000


async def test_a_line_that_is_given_up_is_no_clean_end() -> None:
    codes: asyncio.Queue[int | None] = asyncio.Queue()

    async def talk(socket: ServerConnection) -> None:
        await socket.recv()
        await socket.send(OPEN.replace('"c"', '"c","ping":-9.95'))
        await socket.wait_closed()
        codes.put_nowait(socket.close_code)

    async with talking(talk) as url, connect(url, surroundings=Surroundings(chance=lambda: 0.0)):
        async with asyncio.timeout(30):
            assert await codes.get() == 1006
