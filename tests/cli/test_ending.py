"""A server that is told to end: every line closes with 1012, and nothing keeps the process."""

import asyncio
import re
import signal
import time
from pathlib import Path

import httpx
import pytest
from tests.clients import bare_socket, json_client, opened, upgrade_head
from tests.programs import CHAT, IMPATIENT, MOUNTED
from tests.server import PATIENCE, openline, plain_uvicorn

pytestmark = pytest.mark.server


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "chat.py").write_text(CHAT)
    (tmp_path / "mounted.py").write_text(MOUNTED)
    return tmp_path


def ws(url: str) -> str:
    return url.replace("http", "ws", 1)


async def until_not_ready(url: str) -> None:
    async with httpx.AsyncClient(trust_env=False) as client, asyncio.timeout(PATIENCE):
        while (await client.get(f"{url}/readyz")).status_code != 503:
            await asyncio.sleep(0.01)


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
    with openline(folder, "serve", "chat:line", "--port", "0", "--drain-handlers", "0.3") as process:
        url, _ = process.address()
        async with json_client(ws(url)) as client:
            await client.say(type=event, id=1)
            await client.socket.ping()
            process.child.send_signal(signal.SIGTERM)
            assert await client.close_code() == 1012
            assert await asyncio.to_thread(process.wait) == 0
        assert f"1 handlers had to be cancelled: {event}" in process.said


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
            before = time.monotonic()
            process.child.send_signal(signal.SIGTERM)
            await until_not_ready(url)
            assert process.child.poll() is None
            process.child.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(process.wait, 5) == 0
            assert time.monotonic() - before < 5


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
