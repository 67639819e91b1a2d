"""Where slow clients lose publications instead of their line, they are told how many, whatever becomes of the line."""

import asyncio
import json
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest
from tests.clients import BareSocket, bare_line, json_client
from tests.server import plainly_serving, serving, until

from openline import Openline
from openline.hub.connection import Connection
from openline.protocol.websocket import Opcode

COUNT = 1000
SIZE = 20_000


def application() -> Openline:
    line = Openline()
    line.channel("price:*", when_slow="latest", public=True)
    line.channel("move:*", when_slow="drop", volatile=True, public=True)
    return line


@pytest.fixture(params=[serving, plainly_serving], ids=["served", "mounted"])
def hosting(request: pytest.FixtureRequest) -> Any:
    return request.param


async def stalled(line: Openline, slow: BareSocket, channel: str) -> tuple[dict[str, Any], Connection]:
    """A client that is in ``channel`` and reads nothing more: what it was told, and the server's end of it."""
    slow.send_text('{"type":"$connect","id":1}')
    told = json.loads((await slow.item())[1])["payload"]
    slow.send_text(json.dumps({"type": "$subscribe", "channel": channel, "id": 2}))
    await slow.item()
    (connection,) = line.connections
    return told, connection


async def publish(line: Openline, channel: str) -> None:
    for number in range(COUNT):
        line.publish(channel, "n", [number, "x" * SIZE], subject=str(number % 3))
        await asyncio.sleep(0)


@pytest.mark.parametrize("channel", ["price:1", "move:1"])
async def test_a_client_that_reads_on_is_told_behind_what_it_did_get(hosting: Any, channel: str) -> None:
    line = application()
    server: AbstractAsyncContextManager[Any] = hosting(line)
    async with server as served, bare_line(served.port, limit=1024) as slow:
        await stalled(line, slow, channel)
        await publish(line, channel)
        got, lost = 0, 0
        while got + lost < COUNT:
            opcode, payload = await slow.item()
            frame = json.loads(payload) if opcode is Opcode.TEXT else {}
            got += frame.get("type") == "n"
            if frame.get("type") == "$gap":
                assert frame["channel"] == channel
                lost += frame["payload"]["lost"]
        assert got + lost == COUNT
        assert lost > 0


@pytest.mark.parametrize("channel", ["price:1", "move:1"])
async def test_a_client_whose_line_breaks_before_that_is_told_when_it_comes_back(hosting: Any, channel: str) -> None:
    line = application()
    server: AbstractAsyncContextManager[Any] = hosting(line)
    async with server as served:
        async with bare_line(served.port, limit=1024) as slow:
            told, connection = await stalled(line, slow, channel)
            await publish(line, channel)
            slow.writer.transport.abort()
        await until(lambda: connection.wire is None)
        for expected in (True, False):
            async with json_client(served.ws) as again:
                told = await again.get("$connect", resume=told["resume"], since=told["position"])
                assert told["resumed"]
                await again.ask("$ping")
                gaps = [
                    push["payload"] for push in again.pushes if push["type"] == "$gap" and "lost" in push["payload"]
                ]
                assert [0 < gap["lost"] < COUNT for gap in gaps] == ([True] if expected else [])
                again.cut()
            await until(lambda: connection.wire is None)


async def test_a_client_that_comes_back_while_its_old_line_is_open_is_told_of_that_ones_losses(hosting: Any) -> None:
    line = application()
    server: AbstractAsyncContextManager[Any] = hosting(line)
    async with server as served, bare_line(served.port, limit=1024) as slow:
        told, _ = await stalled(line, slow, "price:1")
        await publish(line, "price:1")
        async with json_client(served.ws) as again:
            await again.get("$connect", resume=told["resume"], since=told["position"])
            await again.ask("$ping")
            assert [push["channel"] for push in again.pushes if "lost" in push["payload"]] == ["price:1"]
