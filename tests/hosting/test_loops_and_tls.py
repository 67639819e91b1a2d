"""The same on every event loop, in the clear and through TLS, where bytes go through the transport."""

import asyncio
import json
import ssl
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
import uvloop
from tests.clients import JsonClient, bare_line, bare_socket, fetch, json_client, opened, upgrade_head
from tests.server import Served, make_certificate, plainly_serving, serving, until

from openline import History, LineSettings, Openline, Request, Settings
from openline.transports.websocket import WebSocketLine

Scenario = Callable[[Served, Openline, dict[str, Any]], Coroutine[Any, Any, None]]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return make_certificate(tmp_path_factory.mktemp("tls"))


def application() -> Openline:
    settings = LineSettings(ping_every_seconds=0.2, pong_within_seconds=0.2, outbox_bytes=262_144)
    line = Openline(settings=Settings(line=settings))
    line.channel("chat:*", history=History(count=100_000, size=1 << 30), public=True)
    return line


async def talk(served: Served, line: Openline, tls: dict[str, Any]) -> None:
    """Both doors, large messages, pings, a resume, and an end that says why."""
    async with json_client(served.ws, **tls) as ada, opened(f"{served.ws}/raw/chat:1", **tls) as raw:
        assert all(isinstance(c, WebSocketLine) for c in served.connections)
        told = await ada.get("$connect")
        await ada.get("$subscribe", channel="chat:1")
        await raw.send("x" * 60_000)
        assert len((await next_event(ada))["payload"]) == 60_000
        await ada.get("n", channel="chat:1", payload="back")
        assert await raw.recv() == "back"
        await ada.socket.ping()
        while (await ada.push())["type"] != "$ping":
            pass
        ada.cut()
        await until(lambda: any(c.wire is None for c in line.connections))
        await raw.send("missed")
        async with json_client(served.ws, **tls) as again:
            back = await again.get("$connect", resume=told["resume"], since=told["position"])
            assert (back["resumed"], back["recovered"]) == (True, True)
            while (await next_event(again))["payload"] != "missed":
                pass
            for connection in list(served.connections):
                connection.shutdown()
            assert await again.close_code() == 1012


async def next_event(client: JsonClient) -> dict[str, Any]:
    while (push := await client.push())["type"].startswith("$"):
        pass
    return push


async def refuse(served: Served, line: Openline, tls: dict[str, Any]) -> None:
    """What is refused, and what breaks the protocol."""
    options = {"ssl": tls["ssl"]} if tls else {}
    async with bare_socket(served.port, **options) as socket:
        socket.send(upgrade_head("/openline", "Origin: https://evil.example"))
        assert await socket.status() == 403
    async with bare_socket(served.port, **options) as socket:
        socket.send(upgrade_head())
        assert await socket.status() == 101
        socket.send(b"\x81\x05hello")
        assert await socket.close_code() == 1002
        await socket.rest()
    async with bare_socket(served.port, **options) as socket:
        socket.send(upgrade_head())
        assert await socket.status() == 101
        socket.send(b"\x82\xff" + (2**40).to_bytes(8) + b"mask" + b"x" * 100_000)
        assert await socket.close_code() == 1009
        await socket.rest()
    async with opened(f"{served.ws}/openline", **tls) as socket:
        await socket.send('{"type":"$ping"}')
        assert await socket.recv() == '{"type":"$pong"}'
    await until(lambda: not served.connections)


async def stall(served: Served, line: Openline, tls: dict[str, Any]) -> None:
    """A client that stops reading is closed, while another goes on."""
    options = {"ssl": tls["ssl"]} if tls else {}
    async with bare_socket(served.port, limit=1024, **options) as slow, json_client(served.ws, **tls) as other:
        slow.send(upgrade_head("/raw/chat:1"))
        assert await slow.status() == 101
        await other.get("$subscribe", channel="chat:1")
        n = 0
        while len(line.connections) > 1:
            line.publish("chat:1", "n", [n, "x" * 20_000])
            assert (await next_event(other))["payload"][0] == n
            n += 1
            assert n < 3_000
        got = []
        while (item := await slow.item())[0] != 8:
            if item[0] == 1:
                got.append(json.loads(item[1])[0])
        assert int.from_bytes(item[1][:2]) == 4500
        assert got == list(range(len(got)))


@pytest.mark.parametrize("scenario", [talk, refuse, stall])
@pytest.mark.parametrize("secure", [False, True], ids=["clear", "tls"])
@pytest.mark.parametrize("loop_factory", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
@pytest.mark.parametrize("hosting", [serving, plainly_serving])
def test_it_is_the_same_on_every_loop_in_the_clear_and_through_tls(
    hosting: Any, loop_factory: Any, secure: bool, scenario: Scenario, certificate: tuple[Path, Path]
) -> None:
    async def run() -> None:
        line = application()
        options: dict[str, Any] = {}
        tls: dict[str, Any] = {}
        if secure:
            options = {"ssl_certfile": str(certificate[0]), "ssl_keyfile": str(certificate[1])}
            tls = {"ssl": ssl.create_default_context(cafile=str(certificate[0]))}
        async with hosting(line, **options) as served:
            await scenario(served, line, tls)

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(run())


@pytest.mark.parametrize("loop_factory", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def test_a_channel_whose_members_come_in_the_clear_and_through_tls_keeps_its_order_for_all(
    loop_factory: Any, certificate: tuple[Path, Path]
) -> None:
    async def run() -> None:
        line = application()
        files = {"ssl_certfile": str(certificate[0]), "ssl_keyfile": str(certificate[1])}
        trusted = ssl.create_default_context(cafile=str(certificate[0]))
        async with (
            serving(line) as clear,
            serving(line, **files) as secure,
            json_client(clear.ws) as a,
            json_client(secure.ws, ssl=trusted) as b,
            opened(f"{clear.ws}/raw/chat:1") as c,
            opened(f"{secure.ws}/raw/chat:1", ssl=trusted) as d,
        ):
            for client in (a, b):
                await client.get("$subscribe", channel="chat:1")
            for n in range(300):
                line.publish("chat:1", "n", n)
                if n % 7 == 0:
                    line.publish("chat:1", "n", -1, volatile=True)
                if n % 50 == 0:
                    await asyncio.sleep(0)
            expected = [n for n in range(300) for n in ([n, -1] if n % 7 == 0 else [n])]
            assert [(await next_event(a))["payload"] for _ in expected] == expected
            assert [(await next_event(b))["payload"] for _ in expected] == expected
            assert [int(await c.recv()) for _ in expected] == expected
            assert [int(await d.recv()) for _ in expected] == expected

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(run())


async def test_pages_served_through_tls_are_of_an_https_origin(certificate: tuple[Path, Path]) -> None:
    line = application()
    seen: list[Request] = []
    line.authenticate(lambda token, request: seen.append(request) or "ada")
    trusted = ssl.create_default_context(cafile=str(certificate[0]))
    files = {"ssl_certfile": str(certificate[0]), "ssl_keyfile": str(certificate[1])}
    for hosting in (serving, plainly_serving):
        async with hosting(line, **files) as served:
            async with json_client(served.ws, ssl=trusted, origin=served.http) as client:
                await client.get("$connect")
            async with bare_socket(served.port, ssl=trusted) as socket:
                socket.send(upgrade_head("/openline", f"Origin: http://127.0.0.1:{served.port}"))
                assert await socket.status() == 403
    assert {r.scheme for r in seen} == {"https"}


async def test_plain_http_to_a_tls_port_ends_that_connection_alone(certificate: tuple[Path, Path]) -> None:
    files = {"ssl_certfile": str(certificate[0]), "ssl_keyfile": str(certificate[1])}
    trusted = ssl.create_default_context(cafile=str(certificate[0]))
    async with serving(application(), **files) as served:
        async with bare_socket(served.port) as socket:
            socket.send(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            await socket.rest()
        async with json_client(served.ws, ssl=trusted) as client:
            assert (await client.ask("$ping"))["type"] == "$pong"


async def test_an_empty_read_of_either_side_ends_the_line() -> None:
    line = application()
    async with serving(line) as served, bare_line(served.port) as socket:
        socket.send_text('{"type":"$connect","id":1}')
        await socket.item()
        socket.writer.write_eof()
        assert await socket.rest() == b""
        await served.until(lambda: not served.connections)
        assert (await fetch(served.port, "GET /healthz HTTP/1.1"))[0] == 200
        (connection,) = line.connections
        # Nobody said goodbye: it may come back.
        assert connection.alive


async def test_an_answer_to_an_upgrade_that_waits_in_tls_for_a_moment_asks_nothing_of_http_that_is_not_made() -> None:
    async with serving(Openline()) as served, bare_socket(served.port):
        await served.until(lambda: served.connections)
        (http,) = served.connections
        assert not http._is_http
        # As the transport of TLS does around the answer: how long it waits is a matter of luck.
        http.pause_writing()
        http.resume_writing()
