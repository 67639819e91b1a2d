"""Where the native way is not to be had, plain ASGI serves every door: slower, with the same promises."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from tests.clients import bare_line, json_client, opened
from tests.server import Served, plainly_serving, until
from websockets.exceptions import ConnectionClosed, InvalidStatus

from openline import LineSettings, Openline, Settings
from openline.transports.websocket import WebSocketLine

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:The `websockets` implementation"),
]


def application(settings: Settings | None = None) -> Openline:
    line = Openline(settings=settings)
    line.channel("chat:*", history=1000, public=True)
    return line


@asynccontextmanager
async def hidden(line: Openline) -> AsyncIterator[Served]:
    """uvicorn as it is, but not to be seen."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        async def receive_too() -> Any:
            return await receive()

        await line(scope, receive_too, send)

    async with plainly_serving(app) as served:
        yield served


@asynccontextmanager
async def legacy(line: Openline) -> AsyncIterator[Served]:
    """uvicorn with the WebSocket implementation that it had for years."""
    async with plainly_serving(line, ws="websockets") as served:
        yield served


@pytest.fixture(params=[hidden, legacy])
def hosting(request: pytest.FixtureRequest) -> Any:
    return request.param


async def test_both_doors_work_and_no_line_is_native(hosting: Any) -> None:
    line = application()
    async with (
        hosting(line) as served,
        json_client(served.ws, subprotocols=["openline.v1"]) as client,
        opened(f"{served.ws}/raw/chat:1") as raw,
    ):
        assert client.socket.subprotocol == "openline.v1"
        assert not [c for c in served.connections if isinstance(c, WebSocketLine)]
        await client.get("$connect")
        await client.get("$subscribe", channel="chat:1")
        for data in ("text", b"\x00\xff"):
            await raw.send(data)
            push = await client.push()
            assert push["payload"] == ("text" if data == "text" else "AP8=")
        await client.get("n", channel="chat:1", payload={"a": 1})
        assert json.loads(await raw.recv()) == {"a": 1}
        await client.socket.send(b"binary")
        assert [(await client.push()).get("code") for _ in range(2)] == [None, "bad_message"]


async def test_a_refusal_comes_before_the_upgrade(hosting: Any) -> None:
    async with hosting(application()) as served:
        for path, origin, status in (("/openline", "https://evil.example", 403), ("/nowhere", None, 404)):
            with pytest.raises(InvalidStatus) as refused:
                async with opened(served.ws + path, origin=origin):
                    pass
            # A host without the extension for responses says 403 to everything.
            assert refused.value.response.status_code in (status, 403)


async def test_every_end_is_a_close_with_its_code(hosting: Any, caplog: pytest.LogCaptureFixture) -> None:
    line = application()
    line.channel("closed")
    async with hosting(line) as served:
        async with json_client(served.ws) as client:
            await client.get("$connect")
            line.connections[0].disconnect("Enough.")
            assert (await client.close_code(), client.socket.close_reason) == (4410, "Enough.")
        async with opened(f"{served.ws}/raw/closed") as raw:
            with pytest.raises(ConnectionClosed):
                await raw.recv()
            assert raw.close_code == 4403
        async with json_client(served.ws) as client:
            await client.socket.send("x" * 65_537)
            assert await client.close_code() == 1009
        await until(lambda: not served.server.server_state.tasks)
        assert line.connections == ()
    assert not [r for r in caplog.records if r.levelno >= logging.ERROR]


async def test_a_client_that_goes_without_a_word_or_in_the_middle_of_a_burst_is_no_error(
    hosting: Any, caplog: pytest.LogCaptureFixture
) -> None:
    line = application()
    async with hosting(line) as served:
        for _ in range(5):
            async with json_client(served.ws) as client:
                await client.get("$subscribe", channel="chat:1")
                for _ in range(50):
                    line.publish("chat:1", "n", "x" * 10_000)
                client.cut()
            for _ in range(50):
                line.publish("chat:1", "n", "x" * 10_000)
        await until(lambda: not served.server.server_state.tasks)
    assert not [r for r in caplog.records if r.levelno >= logging.ERROR], caplog.text


async def test_a_client_that_stops_reading_is_closed_and_what_waits_for_it_is_bounded(hosting: Any) -> None:
    settings = Settings(line=LineSettings(outbox_bytes=131_072, close_within_seconds=0.1))
    line = application(settings)
    async with hosting(line) as served, json_client(served.ws) as other:
        await other.get("$subscribe", channel="chat:1")
        async with bare_line(served.port, limit=1024) as slow:
            slow.send_text('{"type":"$subscribe","channel":"chat:1","id":1}')
            await slow.item()
            (connection,) = [c for c in line.connections if c.wire is not None and c.wire.codec is not None][1:]
            published = 0
            while connection.alive and published < 3_000:
                line.publish("chat:1", "n", "x" * 10_000)
                published += 1
                assert (await other.push())["type"] == "n"
            assert published < 3_000
            # The line ends though its client never takes the Close frame.
            await until(lambda: len(served.server.server_state.tasks) == 1)


async def test_scripts_are_pinged_here_too_because_a_silent_line_counts_as_dead(hosting: Any) -> None:
    settings = Settings(line=LineSettings(ping_every_seconds=0.05, pong_within_seconds=0.05))
    async with hosting(application(settings)) as served, json_client(served.ws) as client:
        await client.get("$connect")
        for _ in range(2):
            assert await client.push() == {"type": "$ping"}
            await client.say(type="$pong")
        assert await client.close_code() == 4501


async def test_a_slow_handler_holds_back_the_reader_and_nothing_is_lost(hosting: Any) -> None:
    line = application()
    go = asyncio.Event()
    heard: list[int] = []

    @line.on("n")
    async def n(connection: object, payload: list[int]) -> None:
        await go.wait()
        heard.append(payload[0])

    async with hosting(line) as served, json_client(served.ws) as client:
        async with asyncio.TaskGroup() as tasks:
            for number in range(60):
                tasks.create_task(client.say(type="n", payload=[number] + [0] * 20_000))
            await asyncio.sleep(0.05)
            go.set()
        await until(lambda: len(heard) == 60)
    assert heard == list(range(60))


async def test_the_end_of_the_server_closes_with_1012(hosting: Any) -> None:
    async with hosting(application()) as served, json_client(served.ws) as client:
        await client.get("$connect")
        for connection in list(served.connections):
            connection.shutdown()
        assert await client.close_code() == 1012
