"""Requests made to hurt the doors over HTTP: each has a clear answer, nothing is left behind, the server lives on."""

import asyncio
import gc
import json
import logging
import random
from typing import Any
from urllib.parse import quote_from_bytes

import httpx
import pytest
from tests.clients import bare_socket, json_client
from tests.http_doors.rig import HOSTINGS, Hosting, natively, source, web
from tests.server import Served, until

from openline import Connection, HttpSettings, HubSettings, LineSettings, Openline, Settings
from openline.transports.stream import AsgiStream, NativeStream

hostings = pytest.mark.parametrize("hosting", HOSTINGS)
PATHS = ("/events", "/api/messages", "/ticket", "/openline", "/openline/events", "/openline/poll")
METHODS = ("GET", "GET", "GET", "HEAD", "POST", "POST", "PUT", "DELETE", "OPTIONS", "QUERY")
PIECES = (
    *(b"channel=chat:1", b"channel=", b"channel=$all", b"channel=closed:1", b"channel=\xff", b"channel=a\r\nx: y"),
    *(b"since=0", b"since=e.1", b"since=e.-1", b"since=\0", b"since=" + b"9" * 400, b"since=e.9007199254740992"),
    *(b"wait=0.01", b"wait=1e999", b"wait=-1", b"wait=NaN", b"limit=0", b"limit=-1", b"limit=9999999999999999999"),
    *(b"named=1", b"named=\n", b"ticket=x", b"ticket=\xed\xa0\x80", b"after=1", b"after=\xb2", b"after=" + b"9" * 99),
    *(b"&&&", b"=", b"%", b"%zz", b"channel[]=a", b"__proto__=1", b"x" * 3000),
)
HEADERS = (
    *(("last-event-id", value) for value in ("", "x", "e.1", "9" * 400, "e.1\tx", "\xff\xfe", '{"a":1}')),
    *(("openline-line", value) for value in ("", "x", "\xff", "a" * 4000)),
    *(("authorization", value) for value in ("", "Bearer", "Basic eDp5", "Bearer \xff")),
    *(("content-type", value) for value in ("application/json", "application/json; x=y", "text/plain", "\xff", "")),
    *(("idempotency-key", value) for value in ("", '"', "x" * 65, '"k"', "\xff")),
    *(("if-none-match", value) for value in ("*", '"', "W/", "\xff")),
    *(("origin", value) for value in ("null", "https://evil.example", "http://[", "\xff")),
    *(("accept", value) for value in ("text/event-stream", "*/*", "\xff")),
    *(("x-forwarded-for", value) for value in ("\xff", "1.2.3.4, x", ",,,")),
)
BODIES = (
    *(b"", b"{}", b"[]", b"null", b"\0", b"\xff", b"{" * 1000, b'{"type":"a","channel":"chat:1"}', b'"' + b"\\" * 999),
    *(b'{"type":"$connect"}', b'{"type":"a","channel":"chat:1","payload":' + b"[" * 500, b'{"__proto__":{}}'),
)


def application(**settings: Any) -> Openline:
    line = Openline(settings=Settings(**settings))
    line.channel("chat:*", history=10, public=True)
    line.channel("closed:*", history=10)
    return line


async def alive(served: Served) -> None:
    async with json_client(served.ws) as client:
        assert (await client.ask("$ping"))["type"] == "$pong"


def streams() -> list[Any]:
    gc.collect()
    return [each for each in gc.get_objects() if type(each) in (NativeStream, AsgiStream)]


def nothing_left(line: Openline) -> bool:
    hub = line.running.hub
    return not (hub.membership._channels or line.connections or line.running.doors.waiting or hub.tick._entries)


@hostings
@pytest.mark.parametrize("seed", range(2))
async def test_whatever_is_asked_has_a_clear_answer(
    hosting: Hosting, seed: int, caplog: pytest.LogCaptureFixture
) -> None:
    chance = random.Random(seed)
    line = application(
        hub=HubSettings(window_seconds=0.0), line=LineSettings(ping_every_seconds=0.2, pong_within_seconds=0.1)
    )
    async with hosting(line) as served:
        async with web(served) as client:
            for _ in range(300):
                pieces = b"&".join(chance.sample(PIECES, chance.randrange(4)))
                target = f"{chance.choice(PATHS)}?{quote_from_bytes(pieces, safe='&=$%[]:')}"
                headers = [(n.encode(), v.encode("latin-1")) for n, v in chance.sample(HEADERS, chance.randrange(4))]
                method = chance.choice(
                    ("GET", "GET", "GET", "HEAD", "POST", "POST", "PUT", "DELETE", "OPTIONS", "QUERY")
                )
                body = chance.choice(BODIES) if method in ("POST", "PUT") else None
                request = client.build_request(method, target, headers=headers, content=body)
                answer = await client.send(request, stream=True)
                try:
                    await _check(answer, method)
                finally:
                    await answer.aclose()
        await until(lambda: nothing_left(line))
        await alive(served)
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def _check(answer: httpx.Response, method: str) -> None:
    assert answer.status_code < 500
    kind = answer.headers.get("content-type", "")
    if kind.startswith("text/event-stream"):
        return
    body = await answer.aread()
    if answer.status_code < 400:
        assert method in ("HEAD", "OPTIONS") or answer.status_code in (204, 304) or json.loads(body) is not None
    elif kind == "application/problem+json" and method != "HEAD":
        assert json.loads(body)["code"]
    else:
        assert method == "HEAD" or answer.status_code == 426, (answer.status_code, body)


@hostings
async def test_streams_and_polls_that_come_and_go_at_any_moment_leave_nothing(
    hosting: Hosting, caplog: pytest.LogCaptureFixture
) -> None:
    chance = random.Random(7)
    deadlines = LineSettings(pong_within_seconds=0.1, connect_within_seconds=0.2, silent_after_seconds=0.1)
    line = application(hub=HubSettings(window_seconds=0.0), line=deadlines)

    @line.on_connect
    async def connected(connection: Connection) -> None:
        await asyncio.sleep(chance.random() / 200)

    targets = (
        "/events?channel=chat:1&channel=chat:2",
        "/events?channel=chat:1&since=e.1",
        "/api/messages?channel=chat:1&wait=20&since=",
        "/openline/events",
        "/openline/poll",
    )
    async with hosting(line) as served:

        async def visit() -> None:
            async with bare_socket(served.port) as socket:
                since = str(line.running.hub.broker.position)
                target = chance.choice(targets)
                target += since if target.endswith("since=") else ""
                socket.send(f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
                await asyncio.sleep(chance.random() / 100)
                if chance.random() < 0.5:
                    socket.writer.transport.abort()

        for _ in range(20):
            async with asyncio.TaskGroup() as tasks:
                for _ in range(10):
                    tasks.create_task(visit())
                for n in range(5):
                    line.publish("chat:1", "n", n)
                    await asyncio.sleep(0.002)
        await until(lambda: nothing_left(line))
        await until(lambda: not served.connections)
        await alive(served)
        # Deadlines that are cancelled stay in the wheel until they would have been due.
        await until(lambda: not streams())
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


@pytest.mark.parametrize("payload", ["\n\ndata: forged", "\r\nid: e.7\r\n", "\0", "\u2028\u2029\x85"])
async def test_no_payload_or_name_forges_a_field(payload: str) -> None:
    async with natively(application()) as served, source(served, "channel=chat:1&named=1") as events, web(served) as c:
        await events.until(lambda: events.reader.last_id)
        for type in (payload, "said"):
            said = await c.post(
                "/api/messages", json={"channel": "chat:1", "type": type, "payload": {payload: payload}}
            )
            has_control = any(ord(c) < 32 or 127 <= ord(c) < 160 for c in type)
            assert said.status_code == (400 if has_control else 200)
        while (event := await events.event()).type != "said":
            assert event.type == payload
        assert json.loads(event.data)["payload"] == {payload: payload}
        assert event.id == json.loads(event.data)["position"]


async def test_bodies_that_trickle_are_not_waited_for_and_hold_nobody_up() -> None:
    line = application(http=HttpSettings(body_within_seconds=0.3))
    async with natively(line) as served:

        async def trickle() -> int:
            async with bare_socket(served.port) as socket:
                head = "POST /api/messages HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
                socket.send(f"{head}Content-Length: 1000\r\n\r\n".encode())
                status = asyncio.get_running_loop().create_task(socket.status())
                while not status.done():
                    socket.send(b" ")
                    await asyncio.sleep(0.02)
                return await status

        async with asyncio.TaskGroup() as tasks:
            slow = [tasks.create_task(trickle()) for _ in range(50)]
            async with web(served) as client:
                said = await client.post("/api/messages", json={"channel": "chat:1", "type": "a"})
                assert said.status_code == 200
        assert [each.result() for each in slow] == [408] * 50


async def test_what_a_stream_that_is_not_read_may_cost_is_bounded() -> None:
    line = application(line=LineSettings(outbox_bytes=262_144, close_within_seconds=0.1))
    async with natively(line) as served, bare_socket(served.port, limit=1024) as socket:
        socket.send(b"GET /events?channel=chat:1 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        await until(lambda: line.connections and line.connections[0].wire and not line.connections[0].hold)
        [connection] = line.connections
        wire: Any = connection.wire
        most = 0
        for _ in range(2000):
            line.publish("chat:1", "n", "x" * 10_000)
            await asyncio.sleep(0)
            if connection.wire is None:
                break
            most = max(most, wire.waiting)
        assert connection.wire is None
        assert 0 < most <= 262_144
        await until(lambda: not [c for c in served.connections if isinstance(c, NativeStream)])


async def test_a_foreign_host_is_refused_at_every_door_over_http() -> None:
    async with natively(application()) as served:
        for path in (*PATHS, "/openline/poll?after=1"):
            for method in ("GET", "POST", "OPTIONS"):
                async with bare_socket(served.port) as socket:
                    head = f"{method} {path} HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n"
                    socket.send(f"{head}Content-Length: 0\r\n\r\n".encode())
                    assert await socket.status() == (426 if (method, path) == ("GET", "/openline") else 403)
