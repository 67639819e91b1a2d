"""``openline serve`` and ``openline demo`` as processes: where they listen, what they serve, reloading, logs."""

import asyncio
import re
import socket as sockets
import ssl
from collections.abc import Awaitable
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
from tests.clients import bare_socket, fetch, json_client, opened, upgrade_head
from tests.programs import CHAT, MOUNTED
from tests.server import PATIENCE, Process, make_certificate, openline, own_port

pytestmark = pytest.mark.server


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "chat.py").write_text(CHAT)
    (tmp_path / "mounted.py").write_text(MOUNTED)
    return tmp_path


def ws(url: str) -> str:
    return url.replace("http", "ws", 1)


async def test_it_says_when_and_where_it_is_ready_on_loopback_unless_told_otherwise(folder: Path) -> None:
    with openline(folder, "serve", "chat:line", "--port", "0") as process:
        url, port = process.address()
        assert url == f"http://127.0.0.1:{port}"
        async with json_client(ws(url)) as client:
            assert await client.get("hello", payload="Ada") == "Hello, Ada!"
        # Nobody else may reach it.
        with sockets.socket() as probe:
            probe.settimeout(0.5)
            address = sockets.gethostbyname(sockets.gethostname())
            if not address.startswith("127."):
                assert probe.connect_ex((address, port)) != 0
        assert process.end() == 0
        assert len(process.said.splitlines()) == 1


@pytest.mark.parametrize("target", ["chat:line", "chat:make", "mounted:app"])
async def test_an_openline_a_function_that_makes_one_and_an_application_around_one_are_served(
    folder: Path, target: str
) -> None:
    with openline(folder, "serve", target, "--port", "0") as process:
        url, _ = process.address()
        async with json_client(ws(url)) as client:
            assert await client.get("hello", payload="Ada") == "Hello, Ada!"
        assert process.end() == 0


@pytest.mark.parametrize("target", ["chat:line", "mounted:app"])
async def test_api_keys_come_from_the_environment_and_from_options(folder: Path, target: str) -> None:
    keys = {"OPENLINE_API_KEYS": "from-the-environment-1,from-the-environment-2"}
    options = ["--api-key", "from-an-option-on-the-line"] if target == "chat:line" else []
    with openline(folder, "serve", target, "--port", "0", *options, environment=keys) as process:
        _, port = process.address()
        for key in (*keys["OPENLINE_API_KEYS"].split(","), *options[1:], "another-key-altogether"):
            status, _, _ = await fetch(port, f"GET /api/v1/channels HTTP/1.1\r\nAuthorization: Bearer {key}")
            assert status == (401 if key.startswith("another") else 200)
        assert process.end() == 0
        assert "from-" not in process.said


async def test_host_and_port_come_from_the_environment_and_options_beat_it(folder: Path) -> None:
    port = own_port()
    with openline(folder, "serve", "chat:line", environment={"HOST": "localhost", "PORT": str(port)}) as process:
        assert process.address()[1] == port
        assert process.end() == 0
    with openline(folder, "serve", "chat:line", "--port", "0", environment={"PORT": str(port)}) as process:
        assert process.address()[1] != port


async def test_origins_hosts_and_proxies_are_options(folder: Path) -> None:
    options = ["--allow-origin", "https://a.example", "--allow-origin", "https://b.example"]
    options += ["--allow-host", "chat.example", "--trust-proxy", "127.0.0.1"]
    with openline(folder, "serve", "chat:line", "--port", "0", *options) as process:
        _, port = process.address()
        for lines, status in [
            (["Origin: https://a.example"], 101),
            (["Origin: https://b.example"], 101),
            (["Origin: https://c.example"], 403),
            (["X-Forwarded-Host: chat.example", "X-Forwarded-Proto: https", "Origin: https://chat.example"], 101),
            (["X-Forwarded-Host: other.example"], 403),
        ]:
            async with bare_socket(port) as socket:
                socket.send(upgrade_head("/openline", *lines))
                assert (lines, await socket.status()) == (lines, status)


async def test_with_certificate_and_key_it_is_https(folder: Path) -> None:
    make_certificate(folder)
    trusted = ssl.create_default_context(cafile=str(folder / "certificate.pem"))
    options = ["--port", "0", "--certificate", "certificate.pem", "--key", "key.pem"]
    for extra in ([], ["--reload"]):
        with openline(folder, "serve", "chat:line", *options, *extra) as process:
            url, _ = process.address()
            assert url.startswith("https://")
            async with json_client(ws(url), ssl=trusted) as client:
                assert await client.get("hello", payload="Ada") == "Hello, Ada!"
            assert process.end() == 0


async def test_the_demo_serves_the_chat_and_the_raw_lobby(folder: Path) -> None:
    with openline(folder, "demo", "--port", "0", "--engine", "memory") as process:
        url, port = process.address()
        status, headers, body = await fetch(port, "GET / HTTP/1.1")
        assert (status, headers["content-type"]) == (200, "text/html; charset=utf-8")
        assert b"<script" in body
        assert "default-src 'self'" in headers["content-security-policy"]
        async with opened(ws(url)) as raw, json_client(ws(url)) as client:
            assert (await client.get("$connect", token="ada"))["user"] == "ada"
            await client.get("$subscribe", channel="chat:lobby", presence=True)
            await raw.send("hello from a bare socket")
            while (push := await client.push())["type"] != "message":
                pass
            assert push["payload"] == "hello from a bare socket"
        # Without a channel, the doors over HTTP mean the lobby, and anybody may come in.
        async with httpx.AsyncClient(base_url=url, trust_env=False) as http, http.stream("GET", "/events") as events:
            lines = events.aiter_lines()
            said = {"type": "message", "payload": "by post"}
            assert (await http.post("/api/messages", json=said)).status_code == 200
            async with asyncio.timeout(PATIENCE):
                while '"payload":"by post"' not in (heard := await anext(lines)):
                    pass
            assert '"channel":"chat:lobby"' in heard
            told = (await http.get("/api/messages")).json()
        assert [each["payload"] for each in told] == ["hello from a bare socket", "by post"]
        assert process.end() == 0


# -- reload


async def saved(process: Process, file: Path, text: str) -> int:
    """Save ``text`` until the watcher notices; where the log stood before.

    A change that the watcher's first look finds made already is none. Once it has noticed, nothing is saved any more:
    that would start the server anew before it is there.
    """
    beyond = len(process.said)
    while True:
        file.write_text(text)
        with suppress(TimeoutError):
            async with asyncio.timeout(2):
                while "detected changes" not in process.said[beyond:]:
                    await asyncio.sleep(0.02)
                return beyond


async def test_with_reload_a_change_is_served_and_a_mistake_waits_for_the_next_change(folder: Path) -> None:
    file = folder / "chat.py"
    with openline(folder, "serve", "chat:line", "--port", "0", "--reload") as process:
        url, port = process.address()

        def said(words: str, beyond: int) -> Awaitable[object]:
            return asyncio.to_thread(process.wait_for, re.compile(words), beyond)

        async with json_client(ws(url)) as client:
            assert await client.get("hello", payload="Ada") == "Hello, Ada!"
            beyond = await saved(process, file, CHAT.replace("Hello", "Welcome"))
            assert await client.close_code() == 1012
        await said("ready on", beyond)
        async with json_client(ws(url)) as client:
            assert await client.get("hello", payload="Ada") == "Welcome, Ada!"
        await said("has no 'line'", await saved(process, file, "from openline import Openline\n"))
        await said("ready on", await saved(process, file, CHAT))
        async with json_client(ws(url)) as client:
            assert await client.get("hello", payload="Ada") == "Hello, Ada!"
        assert process.end() == 0
        assert "Traceback" not in process.said
    with sockets.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0


# -- logs


async def test_a_client_cannot_forge_a_line_of_the_log(folder: Path) -> None:
    with openline(folder, "serve", "chat:line", "--port", "0", "--log-level", "debug") as process:
        url, port = process.address()
        forged = "\n12:00:00 INFO    the admin logged in\r\x1b[2J\u202e\u2028 x"
        async with json_client(ws(url)) as client:
            await client.ask("fail", payload=forged)
            await client.ask("nobody" + "\u202e\u2028")
            await client.ask("$connect", token=forged)
        for line in ("Origin: http://x\x1b[2J", "X-Forwarded-For: x\x1b[31m"):
            async with bare_socket(port) as socket:
                socket.send(upgrade_head("/openline", line))
                await socket.head()
        async with bare_socket(port) as socket:
            socket.send(b"GET /\x1b[31m HTTP/1.1\r\n\r\n")
            await socket.rest()
        assert process.end() == 0
        said = process.said
    for line in said.splitlines():
        assert line.isprintable(), repr(line)
        assert not line.startswith("12:00:00")
    # It was logged all the same, once, with a traceback that is told apart.
    assert len(re.findall(r"^\S+ ERROR .*'fail'", said, re.MULTILINE)) == 1
    assert re.search(r"^ +ValueError: ", said, re.MULTILINE)


async def test_tokens_and_payloads_stay_out_of_the_log(folder: Path) -> None:
    with openline(folder, "serve", "chat:line", "--port", "0", "--log-level", "debug") as process:
        url, _ = process.address()
        headers = {"Authorization": "Bearer TOPSECRET1"}
        async with json_client(
            ws(url), additional_headers=headers, subprotocols=["openline.token.TOPSECRET2"]
        ) as client:
            await client.ask("$connect", token="TOPSECRET3", resume="TOPSECRET4")
            await client.ask("hello", payload={"x": "TOPSECRET5"})
            await client.socket.send("{TOPSECRET6")
            await client.ask("$ping")
        assert process.end() == 0
        assert "TOPSECRET" not in process.said
