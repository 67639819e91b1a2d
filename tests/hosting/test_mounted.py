"""Openline in somebody else's application, under a plain ``uvicorn app:app``: natively, and beside what is theirs."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from fastapi import FastAPI, Request, WebSocket
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.types import ASGIApp, Receive, Scope, Send
from tests.clients import bare_socket, fetch, json_client, opened, upgrade_head
from tests.server import Served, plainly_serving, serving, until
from websockets.exceptions import ConnectionClosed

from openline import LineSettings, Openline
from openline.transports.websocket import WebSocketLine

hostings = pytest.mark.parametrize("hosting", [plainly_serving, serving])


def realtime() -> Openline:
    line = Openline()
    line.channel("chat:*", history=10, public=True)
    return line


def fastapi_app(line: Openline, where: str) -> FastAPI:
    app = FastAPI()

    @app.get("/mine")
    def mine() -> str:
        line.publish("chat:1", "mine", {"from": "a thread"})
        return "published"

    @app.get("/mine-async")
    async def mine_async() -> str:
        await line.publish("chat:1", "mine", {"from": "the loop"})
        return "published"

    @app.get("/bad")
    def bad() -> str:
        line.publish("no channel", "mine")
        return "published"

    @app.get("/worse")
    def worse() -> str:
        line.broadcast("mine", object())
        return "published"

    @app.websocket("/echo")
    async def echo(socket: WebSocket) -> None:
        await socket.accept()
        await socket.send_text("echo " + await socket.receive_text())
        await socket.close()

    app.mount(where, line)
    return app


def starlette_app(line: Openline, where: str) -> Starlette:
    async def echo(socket: WebSocket) -> None:
        await socket.accept()
        await socket.send_text("echo " + await socket.receive_text())
        await socket.close()

    async def mine(request: object) -> PlainTextResponse:
        await line.publish("chat:1", "mine", {"from": "the loop"})
        return PlainTextResponse("published")

    return Starlette(routes=[Route("/mine", mine), WebSocketRoute("/echo", echo), Mount(where, line)])


def lines_of(served: Served) -> list[WebSocketLine]:
    return [c for c in served.connections if isinstance(c, WebSocketLine)]


@hostings
@pytest.mark.parametrize("where", ["/", "/live"])
@pytest.mark.parametrize("make", [fastapi_app, starlette_app])
async def test_the_native_way_is_taken_beside_routes_and_websockets_of_the_application(
    hosting: Any, where: str, make: Any
) -> None:
    line = realtime()
    prefix = where.rstrip("/")
    async with hosting(make(line, where)) as served, json_client(served.ws + prefix) as client:
        await client.get("$subscribe", channel="chat:1")
        # uvicorn's own protocol objects have left; ours are there.
        assert len(lines_of(served)) == len(served.connections) == 1
        async with opened(f"{served.ws}{prefix}/raw/chat:1") as raw:
            await raw.send("hello")
            assert (await client.push())["payload"] == "hello"
            assert len(lines_of(served)) == 2
        async with opened(f"{served.ws}/echo") as theirs:
            await theirs.send("x")
            assert await theirs.recv() == "echo x"
        status, _, body = await fetch(served.port, "GET /mine HTTP/1.1")
        assert (status, b"published" in body) == (200, True)
        assert (await client.push())["type"] == "mine"
        assert (await fetch(served.port, f"GET {prefix}/healthz HTTP/1.1"))[0] == 200
        assert (await fetch(served.port, f"GET {prefix}/openline.js HTTP/1.1"))[0] == 200
        assert (await fetch(served.port, f"GET {prefix}/nothing HTTP/1.1"))[0] == 404
        await until(lambda: len(lines_of(served)) == 1)


@hostings
async def test_a_plain_endpoint_may_publish_before_anybody_has_connected(hosting: Any) -> None:
    for path in ("/mine", "/mine-async"):
        line = realtime()
        async with hosting(fastapi_app(line, "/")) as served:
            assert (await fetch(served.port, f"GET {path} HTTP/1.1"))[0] == 200
            async with json_client(served.ws) as client:
                got = await client.get("$subscribe", channel="chat:1", last=5)
                assert [p["type"] for p in got["publications"]] == ["mine"]


async def test_a_bad_channel_is_raised_in_the_thread_that_publishes(caplog: pytest.LogCaptureFixture) -> None:
    async with plainly_serving(fastapi_app(realtime(), "/")) as served:
        assert (await fetch(served.port, "GET /bad HTTP/1.1"))[0] == 500
        assert "ValueError: 'no channel'" in caplog.text


async def test_what_fails_on_the_loop_for_a_thread_does_not_fail_in_silence(caplog: pytest.LogCaptureFixture) -> None:
    async with plainly_serving(fastapi_app(realtime(), "/")) as served:
        await fetch(served.port, "GET /worse HTTP/1.1")
        await until(lambda: "Nobody looked at a failure: TypeError" in caplog.text)


def test_outside_of_any_server_publishing_says_so() -> None:
    from openline import OpenlineError

    with pytest.raises(OpenlineError, match="not running yet"):
        realtime().publish("chat:1", "x")


async def test_the_middleware_of_the_application_has_run_and_may_wrap_what_it_likes() -> None:
    line = realtime()
    log: list[str] = []

    class Logging:
        def __init__(self, app: ASGIApp, wrap: bool = False) -> None:
            self.app = app
            self.wrap = wrap

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "websocket":
                log.append(scope["path"])
            if not self.wrap:
                await self.app(scope, receive, send)
                return

            async def receive_too() -> Any:
                return await receive()

            await self.app(scope, receive_too, send)

    app = fastapi_app(line, "/")
    app.add_middleware(Logging)
    async with plainly_serving(app) as served, json_client(served.ws) as client:
        assert (await client.ask("$ping"))["type"] == "$pong"
        assert (log, len(lines_of(served))) == (["/openline"], 1)

    # A middleware that wraps `receive` hides the server: plain ASGI serves.
    app = fastapi_app(realtime(), "/")
    app.add_middleware(Logging, wrap=True)
    async with plainly_serving(app) as served, json_client(served.ws) as client:
        assert (await client.ask("$ping"))["type"] == "$pong"
        assert (len(served.connections), len(lines_of(served))) == (1, 0)


async def test_the_call_of_the_application_ends_with_the_line() -> None:
    line = realtime()
    ended: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await line(scope, receive, send)
        finally:
            ended.append(scope["type"])

    async with plainly_serving(app, lifespan="off") as served:
        async with json_client(served.ws) as client:
            await client.ask("$ping")
            assert ended == []
        await until(lambda: ended)
        async with json_client(served.ws) as client:
            await client.ask("$ping")
            client.cut()
        await until(lambda: len(ended) == 2)
        await until(lambda: not served.connections and not served.server.server_state.tasks)


@hostings
async def test_the_end_of_the_server_reaches_the_lines(hosting: Any) -> None:
    line = realtime()
    gone: list[str] = []

    @line.on_disconnect
    async def disconnected(connection: object, reason: str) -> None:
        await asyncio.sleep(0)
        gone.append(reason)

    async with hosting(fastapi_app(line, "/")) as served:
        async with json_client(served.ws) as client, opened(f"{served.ws}/raw/chat:1") as raw:
            await client.get("$connect")
            for connection in list(served.connections):
                connection.shutdown()
            assert await client.close_code() == 1012
            with pytest.raises(ConnectionClosed):
                await raw.recv()
            assert raw.close_code == 1012
        await until(lambda: len(gone) == 2)
        await until(lambda: not served.server.server_state.tasks)
    assert gone == ["shutdown", "shutdown"]


async def test_a_client_that_has_gone_before_it_is_answered_leaves_nothing_behind(
    caplog: pytest.LogCaptureFixture,
) -> None:
    line = realtime()
    reached = asyncio.Event()
    go = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        reached.set()
        await go.wait()
        await line(scope, receive, send)

    async with plainly_serving(app, lifespan="off") as served:
        async with bare_socket(served.port) as socket:
            socket.send(upgrade_head())
            await reached.wait()
            socket.writer.transport.abort()
        await until(lambda: not served.connections)
        go.set()
        await until(lambda: not served.server.server_state.tasks)
    assert not [r for r in caplog.records if r.levelno >= logging.ERROR]


async def test_messages_that_came_before_the_answer_are_not_lost() -> None:
    from openline.protocol.websocket import Opcode, encode_masked

    line = realtime()
    reached = asyncio.Event()
    go = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        reached.set()
        await go.wait()
        await line(scope, receive, send)

    async with plainly_serving(app, lifespan="off") as served, bare_socket(served.port) as socket:
        socket.send(upgrade_head())
        await reached.wait()
        socket.send(encode_masked(Opcode.TEXT, b'{"type":"$ping","id":1}', b"mask"))
        await asyncio.sleep(0.02)
        go.set()
        assert await socket.status() == 101
        assert (await socket.item())[1] == b'{"type":"$pong","id":1}'
        socket.send_text('{"type":"$ping","id":2}')
        assert (await socket.item())[1] == b'{"type":"$pong","id":2}'


async def test_a_refused_upgrade_leaves_no_error_in_the_log_of_the_server(caplog: pytest.LogCaptureFixture) -> None:
    app = Starlette(routes=[Mount("/live", realtime())])
    async with plainly_serving(app) as served:
        for path, line, status in (
            ("/live/openline", "Origin: https://evil.example", 403),
            ("/live/nowhere", "Accept: */*", 404),
        ):
            async with bare_socket(served.port) as socket:
                socket.send(upgrade_head(path, line))
                assert await socket.status() == status
                await socket.rest()
        await until(lambda: not served.connections)
        await until(lambda: not served.server.server_state.tasks)
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_a_root_path_before_the_application_changes_nothing() -> None:
    app = fastapi_app(realtime(), "/live")
    async with plainly_serving(app, root_path="/api") as served, json_client(f"{served.ws}/live") as client:
        assert (await client.ask("$ping"))["type"] == "$pong"


async def test_the_application_keeps_its_own_lifespan() -> None:
    line = realtime()
    log: list[str] = []

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        log.append("up")
        await line.publish("chat:1", "started")
        yield
        log.append("down")

    app = FastAPI(lifespan=lifespan)
    app.mount("/", line)
    async with plainly_serving(app) as served, json_client(served.ws) as client:
        got = await client.get("$subscribe", channel="chat:1", last=1)
        assert [p["type"] for p in got["publications"]] == ["started"]
    assert log == ["up", "down"]


def test_one_program_may_be_served_again_by_another_loop() -> None:
    # So do test clients, which make a loop for every socket.
    line = realtime()

    async def visit() -> str:
        async with plainly_serving(fastapi_app(line, "/")) as served, json_client(served.ws) as client:
            return str((await client.ask("$ping"))["type"])

    assert [asyncio.run(visit()) for _ in range(2)] == ["$pong", "$pong"]


@pytest.mark.filterwarnings("ignore:Using `httpx`")
def test_starlettes_test_client_works() -> None:
    from starlette.testclient import TestClient

    line = Openline(allow_hosts=["testserver"])
    line.channel("chat:*", public=True)
    for _ in range(2):
        client = TestClient(fastapi_app(line, "/"))
        with client.websocket_connect("/openline") as socket:
            socket.send_json({"type": "$ping", "id": 1})
            assert socket.receive_json() == {"type": "$pong", "id": 1}
        with client.websocket_connect("/raw/chat:1?echo=1") as socket:
            socket.send_text("hi")
            assert socket.receive_text() == "hi"
        assert client.get("/healthz").text == "ok\n"


async def test_under_openline_serve_routes_of_the_application_take_large_bodies_and_their_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("openline.transports.uvicorn_host._DEFAULT_LIMITS", LineSettings(head_within_seconds=0.05))
    app = FastAPI()

    @app.post("/size")
    async def size(request: Request) -> int:
        await asyncio.sleep(0.2)
        return len(await request.body())

    async with serving(app) as served, bare_socket(served.port) as socket:
        request = b"POST /size HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 1_000_000
        # The second one waits behind the first, and neither is a head that is late or too large.
        socket.send(request + request)
        for _ in range(2):
            assert await socket.status() == 200
            assert await socket.reader.readexactly(7) == b"1000000"
        assert b" 408 " in await socket.rest(within=2)
