"""What a client that stops reading costs a server: a bounded piece of memory, however much is said to it."""

from pathlib import Path

import pytest
from tests.clients import bare_line, json_client
from tests.memory import Memory
from tests.server import openline

pytestmark = pytest.mark.server

MESSAGES = 20_000
#: The other client is asked for each batch, so that it has read what came before.
BATCH = 500
MOST_GROWTH_KB = 4096
APP = """
import asyncio
from openline import Openline

line = Openline()
line.channel("brief:*", public=True)
line.channel("kept:*", history=100, public=True)
line.channel("latest:*", when_slow="latest", public=True)

@line.on("flood")
async def flood(connection, how: tuple[str, int, int]):
    channel, first, count = how
    for number in range(first, first + count):
        line.publish(channel, "n", [number, "x" * 1000])
        if number % 8 == 7:
            await asyncio.sleep(0)
"""


@pytest.mark.parametrize("channel", ["brief:1", "kept:1", "latest:1"])
async def test_memory_grows_by_4_mb_at_most_while_20_mb_are_said_to_a_client_that_does_not_read(
    tmp_path: Path, channel: str
) -> None:
    (tmp_path / "app.py").write_text(APP)
    with openline(tmp_path, "serve", "app:line", "--port", "0") as server:
        url, port = server.address()
        memory = Memory(server.child.pid)
        async with json_client(url.replace("http", "ws")) as other, bare_line(port, limit=1024) as slow:
            # What this much takes anyway, for code and arenas, is there already.
            await other.get("$subscribe", channel=channel)
            await other.get("flood", payload=[channel, 0, BATCH])
            slow.send_text(f'{{"type":"$subscribe","channel":"{channel}","id":1}}')
            await slow.item()
            slow.writer.transport.pause_reading()  # type: ignore[attr-defined]
            other.pushes.clear()
            before = memory.begin_peak()
            for first in range(0, MESSAGES, BATCH):
                await other.get("flood", payload=[channel, first, BATCH])
            assert memory.peak - before <= MOST_GROWTH_KB
            assert [push["payload"][0] for push in other.pushes] == list(range(MESSAGES))
