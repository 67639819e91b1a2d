"""The raw door: bare data in and out of one channel, for the tiniest clients."""

import asyncio
import json

import pytest
from tests.clients import bare_line, json_client, opened
from tests.server import plainly_serving, serving
from websockets.exceptions import ConnectionClosed, InvalidStatus

from openline import Connection, LineSettings, Openline, Paths, Settings

hostings = pytest.mark.parametrize("hosting", [serving, plainly_serving])


def application(settings: Settings | None = None) -> Openline:
    line = Openline(settings=settings)
    line.channel("chat:*", history=10, public=True)
    line.channel("read", subscribe=True)
    line.channel("write", publish=True)
    line.channel("closed")
    return line


@hostings
async def test_text_and_bytes_reach_everybody_else_as_they_are(hosting) -> None:  # type: ignore[no-untyped-def]
    async with (
        hosting(application()) as served,
        opened(f"{served.ws}/raw/chat:1") as ada,
        opened(f"{served.ws}/raw/chat:1") as bob,
        opened(f"{served.ws}/raw/chat:2") as other,
    ):
        for data in (
            "hello",
            "",
            'a "quoted" \\ text\u2028\u0000\U0001f600',
            '{"a":1}',
            "123",
            b"",
            b"\x00\xff" * 1000,
        ):
            await ada.send(data)
            assert await bob.recv() == data
        await bob.send("end")
        # Nothing of its own came before it.
        assert await ada.recv() == "end"
        await other.send("x")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await other.recv()


@hostings
async def test_with_echo_the_sender_gets_its_own_too(hosting) -> None:  # type: ignore[no-untyped-def]
    async with hosting(application()) as served, opened(f"{served.ws}/raw/chat:1?echo=1") as socket:
        await socket.send("hello")
        assert await socket.recv() == "hello"
        await socket.send(b"\x01")
        assert await socket.recv() == b"\x01"


@pytest.mark.parametrize("query", ["", "?echo=0", "?echo=", "?echo=1&echo=0", "?noecho=1"])
async def test_without_echo_the_sender_gets_nothing_of_its_own(query: str) -> None:
    async with (
        serving(application()) as served,
        opened(f"{served.ws}/raw/chat:1{query}") as ada,
        opened(f"{served.ws}/raw/chat:1") as bob,
    ):
        await ada.send("mine")
        await bob.recv()
        await bob.send("end")
        assert await ada.recv() == "end"


@hostings
async def test_other_doors_see_a_message_with_a_string_or_bytes(hosting) -> None:  # type: ignore[no-untyped-def]
    async with (
        hosting(application()) as served,
        json_client(served.ws) as client,
        opened(f"{served.ws}/raw/chat:1") as raw,
    ):
        await client.get("$subscribe", channel="chat:1")
        await raw.send("hello")
        push = await client.push()
        assert (push["type"], push["payload"]) == ("message", "hello")
        assert "position" in push
        await raw.send(b"\x00\x01")
        push = await client.push()
        assert (push["type"], push["payload"], push["encoding"]) == ("message", "AAE=", "base64")
        for payload in ({"a": [1, None]}, [1], 5, None, True):
            await client.get("anything", channel="chat:1", payload=payload)
            assert json.loads(await raw.recv()) == payload
        await client.get("anything", channel="chat:1", payload="plain")
        assert await raw.recv() == "plain"
        await client.get("anything", channel="chat:1", payload="AAE=", encoding="base64")
        assert await raw.recv() == b"\x00\x01"


async def test_a_raw_client_gets_live_data_only() -> None:
    async with serving(application()) as served, json_client(served.ws) as client:
        await client.get("n", channel="chat:1", payload="old")
        async with opened(f"{served.ws}/raw/chat:1?echo=1") as raw:
            await raw.send("new")
            assert await raw.recv() == "new"


@hostings
async def test_what_may_not_be_done_closes_with_4403(hosting) -> None:  # type: ignore[no-untyped-def]
    async with hosting(application()) as served:
        for channel in ("closed", "unknown"):
            async with bare_line(served.port, f"/raw/{channel}") as socket:
                assert await socket.close_code() == 4403
        async with opened(f"{served.ws}/raw/read") as socket:
            await socket.send("x")
            with pytest.raises(ConnectionClosed):
                await socket.recv()
            assert socket.close_code == 4403


async def test_who_may_only_write_writes_and_hears_nothing() -> None:
    line = application()
    heard: list[str] = []

    @line.on("message", channel="write")
    def message(connection: Connection, text: str) -> None:
        heard.append(text)

    async with serving(line) as served, opened(f"{served.ws}/raw/write?echo=1") as socket:
        await socket.send("x")
        await served.until(lambda: heard)
        line.publish("write", "n", "y")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await socket.recv()


@pytest.mark.parametrize(
    "name", ["a%20b", "a%2Fb", "%24all", "%24user:ada", "x" * 129, "chat:*", "%00", "a%0Ab", ":x", ""]
)
@hostings
async def test_what_is_no_channel_name_closes_with_4404(hosting, name: str) -> None:  # type: ignore[no-untyped-def]
    async with hosting(application()) as served, bare_line(served.port, f"/raw/{name}") as socket:
        assert await socket.close_code() == 4404


@hostings
async def test_where_there_is_no_door_the_upgrade_is_refused_with_404(hosting) -> None:  # type: ignore[no-untyped-def]
    async with hosting(application()) as served:
        for path in ("/", "/raw", "/openline/x", "/rawx/y", "/nowhere"):
            with pytest.raises(InvalidStatus) as refused:
                async with opened(served.ws + path):
                    pass
            assert refused.value.response.status_code == 404


@hostings
async def test_the_root_is_the_raw_lobby_where_there_is_one_and_doors_may_be_elsewhere(hosting) -> None:  # type: ignore[no-untyped-def]
    settings = Settings(paths=Paths(json="/rt", raw="/wire", lobby="chat:lobby"))
    async with (
        hosting(application(settings)) as served,
        opened(f"{served.ws}/?echo=1") as root,
        opened(f"{served.ws}/wire/chat:lobby") as other,
        opened(f"{served.ws}/rt") as json_socket,
    ):
        await json_socket.send('{"type":"$ping"}')
        assert await json_socket.recv() == '{"type":"$pong"}'
        await root.send("hi")
        assert await root.recv() == "hi"
        assert await other.recv() == "hi"


async def test_a_dead_raw_peer_is_ended_by_pings() -> None:
    settings = Settings(line=LineSettings(ping_every_seconds=0.05, pong_within_seconds=0.05))
    async with (
        serving(application(settings)) as served,
        bare_line(served.port, "/raw/chat:1") as dead,
        opened(f"{served.ws}/raw/chat:1") as living,
    ):
        assert (await dead.item())[0] == 9
        assert await dead.close_code() == 4501
        await served.until(lambda: len(served.connections) == 1)
        await living.send("still here")


@hostings
async def test_a_raw_message_of_more_than_64_kib_closes_with_1009(hosting) -> None:  # type: ignore[no-untyped-def]
    async with hosting(application()) as served, opened(f"{served.ws}/raw/chat:1?echo=1") as socket:
        await socket.send("x" * 65_536)
        assert len(await socket.recv()) == 65_536
        await socket.send("x" * 65_537)
        with pytest.raises(ConnectionClosed):
            await socket.recv()
        assert socket.close_code == 1009


async def test_a_rule_is_asked_with_the_connection_and_the_channel() -> None:
    line = Openline()
    line.channel("room:*", subscribe=lambda connection, channel: channel.endswith("1"), publish=True)
    async with serving(line) as served, opened(f"{served.ws}/raw/room:1?echo=1") as socket:
        await socket.send("x")
        assert await socket.recv() == "x"


async def test_what_a_client_said_before_its_goodbye_counts_also_when_a_rule_takes_its_time() -> None:
    let_in = asyncio.Event()

    async def in_a_while(connection: Connection, channel: str) -> bool:
        await let_in.wait()
        return True

    line = Openline()
    line.channel("slow:*", history=10, see_history=True, subscribe=in_a_while, publish=in_a_while)
    ended: list[str] = []
    line.on_disconnect(lambda connection, reason: ended.append(reason))
    async with serving(line) as served, json_client(served.ws) as reader:
        async with opened(f"{served.ws}/raw/slow:1") as hasty:
            await hasty.send("one")
            await hasty.send("two")
        await served.until(lambda: len(served.connections) == 1)
        assert ended == []
        let_in.set()
        await served.until(lambda: ended == ["closed"])
        history = await reader.get("$history", channel="slow:1")
        assert [publication["payload"] for publication in history["publications"]] == ["one", "two"]
