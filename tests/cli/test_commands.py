"""The command line as a newcomer meets it: ready lines, mistakes in one line each, and an end in order."""

import asyncio
import re
import signal
import socket as sockets
import ssl
import subprocess
import time
from collections.abc import Awaitable
from pathlib import Path

import pytest
from clients import bare_socket, fetch, json_client, opened, upgrade_head
from click.testing import CliRunner
from server import openline, plain_uvicorn

from openline.cli import main
from openline.version import VERSION

pytestmark = pytest.mark.server

CHAT = """
import asyncio, time
from openline import Openline

line = Openline()
line.channel("chat:*", history=100, public=True)

@line.on("hello")
def hello(connection, name: str):
    return f"Hello, {name}!"

@line.on("hang")
async def hang(connection):
    await asyncio.sleep(1000)

@line.on("block", thread=True)
def block(connection):
    time.sleep(1000)

@line.on("fail")
def fail(connection, text: str):
    raise ValueError(text)

not_an_app = {}

def make():
    return line
"""
#: What keeps the tests of hanging handlers short.
IMPATIENT = "from openline.app import runtime\nruntime.PATIENCE_SECONDS = 0.3\n"
MOUNTED = """
from fastapi import FastAPI
from chat import line

app = FastAPI()
app.mount("/", line)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "chat.py").write_text(CHAT)
    (tmp_path / "mounted.py").write_text(MOUNTED)
    (tmp_path / "broken.py").write_text("import nothing_of_that_name\n")
    (tmp_path / "typo.py").write_text("from openline import Openline\nline = Openline()\nline.chanel('x')\n")
    (tmp_path / "wrong.py").write_text("from openline import Openline\nline = Openline()\nline.channel('b d')\n")
    (tmp_path / "failing.py").write_text(
        "from fastapi import FastAPI\n"
        "async def lifespan(app):\n    raise ValueError('no database')\n    yield\n"
        "from contextlib import asynccontextmanager\napp = FastAPI(lifespan=asynccontextmanager(lifespan))\n"
    )
    return tmp_path


def ws(url: str) -> str:
    return url.replace("http", "ws", 1)


# -- help


@pytest.mark.parametrize("arguments", [["--help"], ["-h"], ["serve", "--help"], ["serve", "-h"], ["demo", "--help"]])
def test_every_command_has_help_that_fits_a_terminal(arguments: list[str]) -> None:
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0
    assert max(map(len, result.output.splitlines())) <= 80
    assert "..." not in result.output.replace("[OPTIONS] COMMAND [ARGS]...", "")


def test_help_names_the_environment_and_the_defaults() -> None:
    said = " ".join(CliRunner().invoke(main, ["serve", "--help"]).output.split())
    for word in ("127.0.0.1", "8000", "env var: HOST", "env var: PORT", "--allow-origin", "--reload", "chat:line"):
        assert word in said


def test_the_version_is_told() -> None:
    assert CliRunner().invoke(main, ["--version"]).output == f"openline, version {VERSION}\n"


# -- mistakes


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["serve", "nowhere:line"], ["nowhere", "no module"]),
        (["serve", "chat:nothing"], ["chat", "nothing"]),
        (["serve", "chat"], ["module:object"]),
        (["serve", "chat.py:line"], ["chat.py"]),
        (["serve", ":line"], ["module:object"]),
        (["serve", "chat:not_an_app"], ["dict", "Openline"]),
        (["serve", "chat:line", "--engine", "redis"], ["redis", "memory"]),
        (["serve", "chat:line", "--allow-origin", "app.example.com"], ["https://app.example.com"]),
        (["serve", "chat:line", "--allow-host", "http://x"], ["allow_hosts"]),
        (["serve", "chat:line", "--trust-proxy", "nginx"], ["trusted_proxies", "nginx"]),
        (["serve", "mounted:app", "--allow-origin", "https://x.example"], ["mounted:app", "Openline(allow_origins"]),
        (["serve", "wrong:line"], ["b d"]),
        (["serve", "chat:line", "--port", "99999"], ["99999"]),
        (["serve", "chat:line", "--key", "chat.py"], ["certificate"]),
        (["serve", "chat:line", "--certificate", "chat.py"], ["certificate", "chat.py"]),
        (["serve", "chat:line", "--certificate", "none.pem"], ["none.pem"]),
        (["serve", "chat:line", "--host", "no.such.host.invalid"], ["no.such.host.invalid"]),
        (["serve", "chat:line", "--host", "192.0.2.1"], ["192.0.2.1", "cannot listen"]),
        (["demo", "--engine", "redis"], ["redis", "memory"]),
        (["serv"], ["serv"]),
    ],
)
def test_a_mistake_is_told_in_one_line_that_says_what_would_be_right(
    folder: Path, arguments: list[str], words: list[str]
) -> None:
    with openline(folder, *arguments) as process:
        assert process.wait() not in (0, None)
        last = process.said.strip().splitlines()[-1]
        assert last.startswith("Error: "), process.said
        for word in words:
            assert word in last
        assert "Traceback" not in process.said
        # click prints how it is used above its own errors, nothing else comes first.
        assert len([line for line in process.said.splitlines() if line and not line.startswith(("Usage", "Try"))]) == 1


@pytest.mark.parametrize(
    ("target", "words"), [("broken:line", "nothing_of_that_name"), ("typo:line", "chanel"), ("typo:line", "typo.py")]
)
def test_a_mistake_inside_the_program_is_shown_where_it_is(folder: Path, target: str, words: str) -> None:
    with openline(folder, "serve", target) as process:
        assert process.wait() != 0
        assert "Traceback" in process.said
        assert words in process.said


def test_a_port_that_is_taken_is_told_in_one_line(folder: Path) -> None:
    with sockets.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for extra in ([], ["--reload"]):
            with openline(folder, "serve", "chat:line", "--port", str(port), *extra) as process:
                assert process.wait() == 1
                said = process.said.strip().splitlines()
                assert len(said) == 1, process.said
                assert f"127.0.0.1:{port}" in said[0]
                assert "--port" in said[0]


def test_an_application_that_does_not_start_is_not_blamed_on_the_port(folder: Path) -> None:
    with openline(folder, "serve", "failing:app", "--port", "0") as process:
        assert process.wait() == 1
        assert "no database" in process.said
        assert "did not start" in process.said.splitlines()[-1]
        assert "listen" not in process.said


# -- serving


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


async def test_host_and_port_come_from_the_environment_and_options_beat_it(folder: Path) -> None:
    with sockets.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
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
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        + ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "1"]
        + ["-keyout", "key.pem", "-out", "certificate.pem"],
        check=True,
        capture_output=True,
        cwd=folder,
    )
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
    with openline(folder, "demo", "--port", "0") as process:
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
        assert process.end() == 0


# -- the end


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("target", ["chat:line", "mounted:app"])
async def test_a_signal_closes_every_line_with_1012_and_ends_with_0_quickly(
    folder: Path, end: signal.Signals, target: str
) -> None:
    with openline(folder, "serve", target, "--port", "0") as process:
        url, _ = process.address()
        async with json_client(ws(url)) as client, opened(f"{ws(url)}/raw/chat:1") as raw:
            await client.get("$connect")
            before = time.monotonic()
            process.child.send_signal(end)
            assert await client.close_code() == 1012
            await raw.wait_closed()
            assert raw.close_code == 1012
            assert await asyncio.to_thread(process.wait) == 0
            assert time.monotonic() - before < 3
        assert "Traceback" not in process.said


@pytest.mark.parametrize("event", ["hang", "block"])
async def test_a_handler_that_hangs_does_not_keep_the_process(folder: Path, event: str) -> None:
    (folder / "hanging.py").write_text(IMPATIENT + CHAT)
    with openline(folder, "serve", "hanging:line", "--port", "0") as process:
        url, _ = process.address()
        async with json_client(ws(url)) as client:
            await client.say(type=event, id=1)
            await client.socket.ping()
            process.child.send_signal(signal.SIGTERM)
            assert await client.close_code() == 1012
            assert await asyncio.to_thread(process.wait) == 0
        assert "1 handlers had to be cancelled" in process.said


async def test_a_client_that_never_answers_the_close_does_not_keep_the_process(folder: Path) -> None:
    (folder / "chat.py").write_text(
        "from openline import LineSettings, Openline, Settings\n"
        "line = Openline(settings=Settings(line=LineSettings(close_within_seconds=0.2)))\n"
    )
    with openline(folder, "serve", "chat:line", "--port", "0") as process:
        _, port = process.address()
        async with bare_socket(port) as socket:
            socket.send(upgrade_head())
            assert await socket.status() == 101
            process.child.send_signal(signal.SIGTERM)
            assert await socket.close_code() == 1012
            assert await asyncio.to_thread(process.wait) == 0


async def test_a_second_signal_does_not_wait(folder: Path) -> None:
    with openline(folder, "serve", "chat:line", "--port", "0") as process:
        url, _ = process.address()
        async with json_client(ws(url)) as client:
            await client.say(type="hang", id=1)
            await client.socket.ping()
            process.child.send_signal(signal.SIGINT)
            assert await client.close_code() == 1012
            process.child.send_signal(signal.SIGINT)
            assert await asyncio.to_thread(process.wait, 5) == 0


async def test_under_a_plain_uvicorn_the_mounted_lines_close_with_1012_too(folder: Path) -> None:
    (folder / "chat.py").write_text(IMPATIENT + CHAT)
    with plain_uvicorn(folder, "mounted:app", "--port", "0") as process:
        found = process.wait_for(re.compile(r"running on (http://127.0.0.1:\d+)"))
        async with json_client(ws(found[1])) as client, json_client(ws(found[1])) as busy:
            assert await client.get("hello", payload="Ada") == "Hello, Ada!"
            await busy.say(type="hang", id=1)
            await busy.socket.ping()
            process.child.send_signal(signal.SIGTERM)
            assert await client.close_code() == 1012
            assert await busy.close_code() == 1012
            await asyncio.to_thread(process.wait, 5)


# -- reload


async def saved(file: Path, text: str, seen: Awaitable[object]) -> object:
    """Save ``text`` until its effect is ``seen``: a change that the watcher's first look finds made already is none."""

    async def save() -> None:
        while True:
            file.write_text(text)
            await asyncio.sleep(0.4)

    async with asyncio.TaskGroup() as tasks:
        saving = tasks.create_task(save())
        result = await seen
        saving.cancel()
    return result


async def test_with_reload_a_change_is_served_and_a_mistake_waits_for_the_next_change(folder: Path) -> None:
    file = folder / "chat.py"
    with openline(folder, "serve", "chat:line", "--port", "0", "--reload") as process:
        url, port = process.address()

        def said(words: str, beyond: int) -> Awaitable[object]:
            return asyncio.to_thread(process.wait_for, re.compile(words), beyond)

        async with json_client(ws(url)) as client:
            assert await client.get("hello", payload="Ada") == "Hello, Ada!"
            beyond = len(process.said)
            assert await saved(file, CHAT.replace("Hello", "Welcome"), client.close_code()) == 1012
        await said("ready on", beyond)
        async with json_client(ws(url)) as client:
            assert await client.get("hello", payload="Ada") == "Welcome, Ada!"
        await saved(file, "from openline import Openline\n", said("has no 'line'", beyond))
        beyond = len(process.said)
        await saved(file, CHAT, said("ready on", beyond))
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
        async with json_client(ws(url), additional_headers=headers, subprotocols=["openline.token.TOPSECRET2"]) as client:
            await client.ask("$connect", token="TOPSECRET3", resume="TOPSECRET4")
            await client.ask("hello", payload={"x": "TOPSECRET5"})
            await client.socket.send("{TOPSECRET6")
            await client.ask("$ping")
        assert process.end() == 0
        assert "TOPSECRET" not in process.said


