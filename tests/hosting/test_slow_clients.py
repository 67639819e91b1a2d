"""A client that stops reading costs a bounded amount, nobody else notices, and it gets everything when it returns."""

import asyncio
import json
import socket as sockets

import pytest
from tests.clients import BareSocket, bare_line, json_client
from tests.server import Served, plainly_serving, serving, until

from openline import History, LineSettings, Openline, Settings
from openline.protocol.websocket import Opcode

COUNT = 1_500
SIZE = 10_000


def application(**line_settings: float) -> Openline:
    line = Openline(settings=Settings(line=LineSettings(**line_settings)))  # type: ignore[arg-type]
    line.channel("chat:*", history=History(count=100_000, size=1 << 30), public=True)
    return line


def shrink(served: Served) -> None:
    """Let the kernel keep little for those who do not read, so that what waits waits here."""
    for line in served.connections:
        raw = line._transport.get_extra_info("socket")
        raw.setsockopt(sockets.SOL_SOCKET, sockets.SO_SNDBUF, 16_384)


async def reply(socket: BareSocket) -> dict:  # type: ignore[type-arg]
    while True:
        frame = json.loads((await socket.item())[1])
        if frame["type"] == "$reply":
            return frame["payload"]


@pytest.mark.parametrize("hosting", [serving, plainly_serving])
async def test_a_client_that_stops_reading_is_closed_with_4500_and_resumes_without_a_hole(hosting) -> None:  # type: ignore[no-untyped-def]
    line = application(outbox_bytes=262_144)
    async with hosting(line) as served, json_client(served.ws) as other:
        await other.get("$subscribe", channel="chat:1")
        async with bare_line(served.port, limit=1024) as slow:
            shrink(served)
            slow.send_text('{"type":"$connect","id":1}')
            told = await reply(slow)
            slow.send_text('{"type":"$subscribe","channel":"chat:1","id":2}')
            await reply(slow)
            connection = next(c for c in line.connections if c.id == told["connection"])
            most = 0
            for n in range(COUNT):
                line.publish("chat:1", "n", [n, "x" * SIZE])
                assert (await other.push())["payload"][0] == n
                if connection.wire is not None:
                    most = max(most, connection.wire.waiting)  # type: ignore[attr-defined]
            assert connection.wire is None
            assert connection.alive
            assert 100_000 < most <= 262_144
            got = []
            while True:
                opcode, payload = await slow.item()
                if opcode is Opcode.CLOSE:
                    break
                if opcode is Opcode.TEXT:
                    got.append(json.loads(payload))
            assert int.from_bytes(payload[:2]) == 4500
        async with json_client(served.ws) as again:
            since = got[-1]["position"] if got else told["position"]
            back = await again.get("$connect", resume=told["resume"], since=since)
            assert (back["resumed"], back["recovered"]) == (True, True)
            numbers = [frame["payload"][0] for frame in got]
            while len(numbers) < COUNT:
                numbers.append((await again.push())["payload"][0])
            assert numbers == list(range(COUNT))


async def test_a_line_is_given_up_even_if_its_client_never_reads_the_close() -> None:
    line = application(outbox_bytes=262_144, close_within_seconds=0.1)
    async with serving(line) as served, bare_line(served.port, "/raw/chat:1", limit=1024) as slow:
        shrink(served)
        slow.reader._transport.pause_reading()  # type: ignore[attr-defined]
        while len(line.connections):
            line.publish("chat:1", "n", "x" * SIZE)
            await asyncio.sleep(0)
        await served.until(lambda: not served.connections)


@pytest.mark.parametrize("hosting", [serving, plainly_serving])
async def test_a_client_that_ends_its_side_and_reads_nothing_is_given_up(hosting) -> None:  # type: ignore[no-untyped-def]
    line = application(outbox_bytes=8_000_000, close_within_seconds=0.1)
    async with hosting(line) as served, bare_line(served.port, "/raw/chat:1", limit=1024) as slow:
        shrink(served)
        slow.reader._transport.pause_reading()  # type: ignore[attr-defined]
        (connection,) = line.connections
        while connection.wire.waiting < 4_000_000:  # type: ignore[union-attr]
            line.publish("chat:1", "n", "x" * SIZE)
            await asyncio.sleep(0)
        slow.writer.write_eof()
        await served.until(lambda: not served.connections)
        assert not connection.alive


async def test_joining_a_channel_while_bytes_wait_keeps_every_frame_whole_and_in_order() -> None:
    line = application(outbox_bytes=2_000_000)
    async with serving(line) as served, bare_line(served.port, limit=1024) as slow:
        shrink(served)
        slow.send_text('{"type":"$subscribe","channel":"chat:1","id":1}')
        await reply(slow)
        (connection,) = line.connections
        wire = connection.wire
        n = 0
        while not wire.waiting:  # type: ignore[union-attr]
            line.publish("chat:1", "n", [n, "x" * SIZE])
            n += 1
            await asyncio.sleep(0)
        for _ in range(20):
            line.publish("chat:1", "n", [n, "x" * SIZE])
            n += 1
        slow.send_text('{"type":"$subscribe","channel":"chat:2","id":2}')
        await until(lambda: "chat:2" in connection.channels)
        for _ in range(20):
            line.publish("chat:2", "n", [n, "y" * SIZE])
            n += 1
            await asyncio.sleep(0)
        numbers = []
        while len(numbers) < n:
            frame = json.loads((await slow.item())[1])
            if frame["type"] == "n":
                numbers.append(frame["payload"][0])
        assert numbers == list(range(n))
        slow.send_text('{"type":"$ping","id":3}')
        assert json.loads((await slow.item())[1]) == {"type": "$pong", "id": 3}


async def test_a_channel_that_many_have_left_is_tidied_up_around_a_client_that_is_slow_just_then() -> None:
    line = application(outbox_bytes=2_000_000)
    async with serving(line) as served, bare_line(served.port, limit=1024) as slow:
        shrink(served)
        slow.send_text('{"type":"$subscribe","channel":"chat:1","id":1}')
        await reply(slow)
        (connection,) = line.connections
        async with asyncio.TaskGroup() as tasks:
            leave = asyncio.Event()
            here: list[int] = []

            async def visit() -> None:
                async with json_client(served.ws) as client:
                    await client.get("$subscribe", channel="chat:1")
                    here.append(1)
                    await leave.wait()
                    await client.get("$unsubscribe", channel="chat:1")

            for _ in range(80):
                tasks.create_task(visit())
            await until(lambda: len(here) == 80)
            n = 0
            while not connection.wire.waiting:  # type: ignore[union-attr]
                line.publish("chat:1", "n", [n, "x" * SIZE])
                n += 1
                await asyncio.sleep(0)
            leave.set()
        for _ in range(50):
            line.publish("chat:1", "n", [n, "x" * SIZE])
            n += 1
            await asyncio.sleep(0)
        numbers = []
        while len(numbers) < n:
            frame = json.loads((await slow.item())[1])
            if frame["type"] == "n":
                numbers.append(frame["payload"][0])
        assert numbers == list(range(n))


async def test_a_dead_handler_does_not_make_a_living_client_look_dead() -> None:
    settings = Settings(line=LineSettings(ping_every_seconds=0.05, pong_within_seconds=0.05))
    line = Openline(settings=settings)
    go = asyncio.Event()
    heard: list[int] = []

    @line.on("n")
    async def slow(connection: object, payload: list[int]) -> None:
        await go.wait()
        heard.append(payload[0])

    async with serving(line) as served, json_client(served.ws) as client:
        async with asyncio.TaskGroup() as tasks:
            for number in range(60):
                tasks.create_task(client.say(type="n", payload=[number] + [0] * 20_000))
            # Reading is held; several pings go unanswered because nobody reads the answers.
            await asyncio.sleep(1.2)
            go.set()
        await until(lambda: len(heard) == 60)
        assert heard == list(range(60))
