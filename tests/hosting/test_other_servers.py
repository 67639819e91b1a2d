"""hypercorn, granian and daphne serve the same hub by plain ASGI; what they tell less of is named, server by server."""

import asyncio
import json
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.clients import bare_line, fetch, json_client, opened
from tests.hosts import HOSTS, Hosted, hosted
from tests.socketio_door.hands import ask, polled, spoken
from websockets.exceptions import ConnectionClosed, InvalidStatus

pytestmark = pytest.mark.server

each_host = pytest.mark.parametrize("host", HOSTS)


@pytest.fixture(scope="module", params=HOSTS)
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosted]:
    """One process for all tests of the module; what it logged is looked at when all of them are through."""
    with hosted(request.param, tmp_path_factory.mktemp(request.param)) as served:
        yield served
        assert "Traceback" not in served.process.said, served.process.said


async def gone(served: Hosted, connection: str) -> str:
    """Why a connection ended, as soon as its handlers of disconnect have run."""
    found = await asyncio.to_thread(served.process.wait_for, re.compile(rf"gone {connection} (\w+)"))
    return found[1]


@pytest.mark.parametrize(
    ("request_line", "status", "words"),
    [
        ("GET /healthz", 200, b"ok"),
        ("GET /readyz", 200, b"ok"),
        ("GET /openline.js", 200, b"import"),
        ("HEAD /openline.js", 200, b""),
        ("GET /nothing", 404, b"There is nothing here."),
        ("POST /openline.js", 405, b"This is read with GET."),
        ("GET /openline", 426, b"This is a door for WebSockets"),
    ],
)
async def test_pages_are_served(served: Hosted, request_line: str, status: int, words: bytes) -> None:
    found, headers, body = await fetch(served.port, f"{request_line} HTTP/1.1")
    assert found == status
    assert words in body
    assert headers["x-content-type-options"] == "nosniff"


async def test_both_doors_lead_to_one_channel(served: Hosted) -> None:
    async with (
        json_client(served.ws, subprotocols=["openline.v1"]) as client,
        opened(f"{served.ws}/raw/chat:both") as raw,
    ):
        assert client.socket.subprotocol == "openline.v1"
        await client.get("$connect")
        await client.get("$subscribe", channel="chat:both")
        assert await client.get("hello", payload="Ada") == "Hello, Ada!"
        for data, payload in (("text", "text"), (b"\x00\xff", "AP8="), ("é" * 30_000, "é" * 30_000)):
            await raw.send(data)
            assert (await client.push())["payload"] == payload
        for value in ({"a": [1, None]}, "x" * 60_000):
            await client.get("n", channel="chat:both", payload=value)
            got = await raw.recv()
            assert got == value or json.loads(got) == value
        await client.socket.send(b"binary")
        assert [(await client.push()).get("code") for _ in range(3)] == [None, None, "bad_message"]


async def test_a_line_that_broke_is_resumed_without_a_hole(served: Hosted) -> None:
    async with json_client(served.ws) as other:
        async with json_client(served.ws) as client:
            told = await client.get("$connect")
            await client.get("$subscribe", channel="chat:resumed")
            client.cut()
        for n in range(300):
            await other.get("n", channel="chat:resumed", payload=n)
        async with json_client(served.ws) as again:
            back = await again.get("$connect", resume=told["resume"], since=told["position"])
            assert (back["resumed"], back["connection"]) == (True, told["connection"])
            assert back["subscriptions"] == [{"channel": "chat:resumed", "recovered": True}]
            assert [(await again.push())["payload"] for _ in range(300)] == list(range(300))
            await other.get("n", channel="chat:resumed", payload="live")
            assert (await again.push())["payload"] == "live"


@pytest.mark.parametrize(
    ("path", "origin", "status", "words"),
    [
        ("/openline", "https://evil.example", 403, b"--allow-origin https://evil.example"),
        ("/nowhere", None, 404, b"There is no door here."),
    ],
)
async def test_a_refusal_comes_before_the_upgrade(
    served: Hosted, path: str, origin: str | None, status: int, words: bytes
) -> None:
    with pytest.raises(InvalidStatus) as refused:
        async with opened(served.ws + path, origin=origin):
            pass
    response = refused.value.response
    # daphne has no words for it: its refusals are 403 without a body.
    assert response.status_code == (403 if served.host == "daphne" else status)
    assert served.host == "daphne" or words in bytes(response.body or b"")


async def test_every_end_is_a_close_with_its_code(served: Hosted) -> None:
    for path, code in (("/raw/closed", 4403), ("/raw/no%20name", 4404)):
        async with opened(served.ws + path) as raw:
            with pytest.raises(ConnectionClosed):
                await raw.recv()
            assert raw.close_code == code
    for reason in ("Enough.", "é" * 200):
        async with json_client(served.ws) as client:
            told = await client.get("$connect")
            await client.say(type="leave", payload=reason)
            assert await client.close_code() == 4410
            # daphne passes no reason on.
            assert client.socket.close_reason == ("" if served.host == "daphne" else reason[:61])
            assert await gone(served, told["connection"]) == "disconnected"
    async with json_client(served.ws) as client:
        await client.socket.send("x" * 65_537)
        # daphne takes only codes that are left to applications.
        assert await client.close_code() == (4009 if served.host == "daphne" else 1009)


async def test_socketio_s_clients_speak_poll_and_go_over_to_a_websocket(served: Hosted) -> None:
    async with spoken(served) as client:
        await client.enter()
        assert await ask(client, 1, "echo", "é", [1]) == ["é", [1]]
        await client.say('452-2["echo",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]', b"\x01", b"\x02")
        heard = [await client.past_pings() for _ in range(3)]
        assert heard == ['462-2[{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]', b"\x01", b"\x02"]
    async with polled(served) as client:
        await client.enter()
        await client.say('421["echo",1]')
        assert await client.hear() == "431[1]"
        async with spoken(served, f"EIO=4&transport=websocket&sid={client.sid}") as upgraded:
            await upgraded.say("2probe")
            assert await upgraded.hear() == "3probe"
            await upgraded.say("5")
            assert await ask(upgraded, 2, "echo", "x" * 60_000) == ["x" * 60_000]


#: What ends a session, with which code, and which one daphne says.
SESSION_ENDS = {
    "4abc": (1002, 4002),
    "42[1]": (1002, 4002),
    '42["bye"]': (1000, 1000),
    '42["echo","' + "x" * 1_000_000 + '"]': (1009, 4009),
}


async def test_every_end_of_a_session_is_a_close_with_its_code_at_once(served: Hosted) -> None:
    for packet, codes in SESSION_ENDS.items():
        async with spoken(served) as client:
            told = await client.enter()
            begun = time.monotonic()
            await client.say(packet)
            assert await client.ended(5) == codes[served.host == "daphne"], packet[:20]
            assert time.monotonic() - begun < 1
            assert await gone(served, told["sid"])
    async with polled(served) as client:
        await client.enter()
        async with spoken(served, f"EIO=4&transport=websocket&sid={client.sid}") as probing:
            await probing.say("nonsense")
            assert await probing.ended(5) == (4002 if served.host == "daphne" else 1002)
        await client.say('421["echo",1]')
        assert await client.hear() == "431[1]"


async def test_a_session_that_is_silent_or_nowhere_is_closed_with_a_code_too(served: Hosted) -> None:
    async with spoken(served) as silent, spoken(served) as nowhere:
        await silent.enter()
        assert await nowhere.ended(5) == (4008 if served.host == "daphne" else 1008)
        assert await silent.ended(8) == 4501


async def test_a_goodbye_ends_the_connection_at_once_where_the_server_tells_of_it(served: Hosted) -> None:
    async with json_client(served.ws) as client:
        told = await client.get("$connect")
    if served.host == "hypercorn":
        # It says of every client that it broke off: a goodbye counts as a lost line.
        async with json_client(served.ws) as again:
            assert (await again.get("$connect", resume=told["resume"], since=told["position"]))["resumed"]
    else:
        assert await gone(served, told["connection"]) == "closed"


async def test_a_client_that_stops_reading_is_cut_off_where_the_server_tells_how_far_it_is(
    served: Hosted,
) -> None:
    async with json_client(served.ws) as other, bare_line(served.port, "/raw/chat:flood", limit=1024) as slow:
        await other.get("$subscribe", channel="chat:flood")
        before = await other.get("lines")
        slow.reader._transport.pause_reading()  # type: ignore[attr-defined]
        cut = False
        for _ in range(400):
            await other.get("n", channel="chat:flood", payload="x" * 60_000)
            assert len((await other.push())["payload"]) == 60_000
            cut = cut or await other.get("lines") < before
        # daphne takes everything at once and keeps it for the client.
        assert cut == (served.host != "daphne")


async def test_a_client_that_goes_in_the_middle_of_a_burst_is_no_error(served: Hosted) -> None:
    async with json_client(served.ws) as other:
        for _ in range(3):
            async with json_client(served.ws) as client:
                await client.get("$subscribe", channel="chat:burst")
                for _ in range(10):
                    await other.get("n", channel="chat:burst", payload="x" * 10_000)
                client.cut()
                for _ in range(10):
                    await other.get("n", channel="chat:burst", payload="x" * 10_000)
        assert await other.get("hello", payload="still") == "Hello, still!"


@each_host
async def test_told_to_end_it_ends_cleanly_and_clients_come_back(host: str, tmp_path: Path) -> None:
    with hosted(host, tmp_path) as served:
        async with json_client(served.ws) as client, json_client(served.ws) as other:
            told = await client.get("$connect")
            await other.get("$connect")
            served.process.child.terminate()
            # Only hypercorn lets a last word out: when its graceful timeout (3 s) is over.
            assert await client.close_code() == (1012 if host == "hypercorn" else 1006)
        assert served.process.wait() == 0
        said = served.process.said
        # daphne ends without a word to its application (no lifespan).
        assert (f"gone {told['connection']} shutdown" in said) == (host != "daphne")
        assert "/openline/" not in said, said
