"""A real server that is told to drain, by a signal or by the backend API, and what each kind of client makes of it."""

import asyncio
import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
from tests.cli.test_ending import until_not_ready, ws
from tests.clients import json_client, opened
from tests.http_doors.rig import Source
from tests.programs import CHAT, MOUNTED
from tests.server import PATIENCE, Process, openline
from tests.socketio_door.hands import Spoken

from openline import SettingsError
from openline.cli.serve import prepare

pytestmark = pytest.mark.server
KEY = "a-key-of-the-test"
STUBBORN = (
    CHAT
    + """
@line.on("stubborn")
async def stubborn(connection):
    while True:
        try:
            await asyncio.sleep(1000)
        except asyncio.CancelledError:
            pass

@line.on("slow")
async def slow(connection):
    # Runs until its client says so.
    return await connection.ask("go on", timeout=100)
"""
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "chat.py").write_text(STUBBORN)
    (tmp_path / "mounted.py").write_text(MOUNTED)
    return tmp_path


def drain(*arguments: str, key: str = KEY) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("openline")), "drain", "--api-key", key, *arguments]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=30)


def serve(folder: Path, *options: str, target: str = "chat:line") -> Process:
    return openline(folder, "serve", target, "--port", "0", *options, environment={"OPENLINE_API_KEYS": KEY})


@pytest.mark.parametrize("target", ["chat:line", "mounted:app"])
async def test_a_dry_run_says_what_it_would_come_to_and_the_drain_does_it(folder: Path, target: str) -> None:
    with serve(folder, target=target) as process:
        url, _ = process.address()
        async with json_client(ws(url)) as client, json_client(ws(url)) as other:
            await client.get("$connect")
            await other.get("$connect")
            await client.say(type="slow", id=9)
            asked = await client.push()
            said = await asyncio.to_thread(drain, "--url", url, "--dry-run")
            assert (said.returncode, said.stderr) == (0, "")
            assert said.stdout.splitlines() == [
                "2 connections would be told to come back, over 0.0 s.",
                "Newcomers would be refused at once.",
                "Running: slow. What has not ended within 10.002 s would be cancelled.",
            ]
            assert (await other.ask("$ping"))["type"] == "$pong"
            done = await asyncio.to_thread(drain, "--url", url)
            assert done.stdout.startswith("2 connections are told to come back")
            # What is under way is answered, then its client goes, too.
            assert await other.close_code() == 1012
            await client.say(type="$reply", id=asked["id"], payload="done")
            assert await client.close_code() == 1012
            assert [push["payload"] for push in client.pushes if push["type"] == "$reply"] == ["done"]
            assert await asyncio.to_thread(process.wait) == 0


def test_drain_says_in_one_line_what_is_wrong(folder: Path) -> None:
    with serve(folder) as process:
        url, port = process.address()
        assert "none of this server's" in drain("--url", url, key="another-key-of-16").stderr
        assert "write it as http" in drain("--url", f"127.0.0.1:{port}").stderr
        assert process.end() == 0
        gone = drain("--url", url)
        assert (gone.returncode, len(gone.stderr.splitlines())) == (1, 1)
        assert "There is no server at" in gone.stderr


async def test_in_the_grace_a_balancer_hears_no_and_newcomers_are_served(folder: Path) -> None:
    with serve(folder, "--drain-grace", "1.5", "--drain-handlers", "0.2") as process:
        url, _ = process.address()
        process.child.send_signal(signal.SIGTERM)
        await until_not_ready(url)
        async with json_client(ws(url)) as client:
            assert await client.get("hello", payload="Ada") == "Hello, Ada!"
            assert await client.close_code() == 1012
        assert await asyncio.to_thread(process.wait) == 0


async def test_while_it_drains_each_door_answers_newcomers_in_its_own_way(folder: Path) -> None:
    with serve(folder) as process:
        url, _ = process.address()
        async with json_client(ws(url)) as busy, httpx.AsyncClient(base_url=url, trust_env=False) as client:
            await busy.say(type="slow", id=1)
            asked = await busy.push()
            process.child.send_signal(signal.SIGTERM)
            await until_not_ready(url)
            for path in ("/openline", "/raw/chat:1", "/socket.io/?EIO=4&transport=websocket"):
                with pytest.raises(Exception, match="503"):
                    async with opened(ws(url) + path):
                        pass
            stream = await client.get("/events?channel=chat:1")
            assert (stream.status_code, stream.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
            assert re.fullmatch(r"retry: \d+\n\n", stream.text)
            for path in ("/api/messages?channel=chat:1&wait=5", "/openline/poll"):
                polled = await client.get(path)
                assert (polled.status_code, polled.json()["code"], polled.headers["retry-after"]) == (
                    503,
                    "unavailable",
                    "1",
                )
            assert (await client.get("/api/messages?channel=chat:1")).status_code == 200
            assert (await client.get("/socket.io/?EIO=4&transport=polling")).status_code == 503
            assert (await client.get("/healthz")).text == "ok\n"
            await busy.say(type="$reply", id=asked["id"])
            assert await busy.close_code() == 1012
        assert await asyncio.to_thread(process.wait) == 0


async def test_every_kind_of_client_is_told_when_to_come_back(folder: Path) -> None:
    (folder / "window.py").write_text(
        "from openline import DrainSettings, Openline, Settings\n"
        "line = Openline(settings=Settings(drain=DrainSettings(window_seconds=0.8, per_second=0.5)))\n"
        'line.channel("chat:*", public=True)\n'
    )
    with serve(folder, target="window:line") as process:
        url, _ = process.address()
        async with (
            json_client(ws(url)) as client,
            opened(f"{ws(url)}/socket.io/?EIO=4&transport=websocket") as socket,
            httpx.AsyncClient(base_url=url, trust_env=False, timeout=3 * PATIENCE) as http,
            http.stream("GET", "/events?channel=chat:1") as stream,
        ):
            # Whoever says nothing for a second is in, too.
            connected = await client.ask("$connect")
            assert connected["type"] == "$reply" or connected["code"] == "already_connected"
            await Spoken(socket).enter()
            events = Source(stream)
            await events.until(lambda: events.reader.last_id)
            async with asyncio.TaskGroup() as tasks:
                polling = tasks.create_task(http.get("/api/messages?channel=chat:1&since=0&wait=20"))
                await asyncio.sleep(0.2)
                process.child.send_signal(signal.SIGTERM)
                assert await client.close_code() == 1012
            assert [push["payload"] for push in client.pushes] == [{"retry": 0.8}]
            assert (await Spoken(socket).ended()) == 1012
            await events.rest()
            assert events.reader.reconnection_time == 800
            assert (polling.result().status_code, polling.result().json()) == (200, [])
        assert await asyncio.to_thread(process.wait) == 0


async def test_what_does_not_let_itself_be_cancelled_does_not_keep_the_process_either(folder: Path) -> None:
    (folder / "short.py").write_text(
        "from openline.app import server\nserver.MOST_SECONDS = 4.0\nfrom chat import line\n"
    )
    with serve(folder, "--drain-handlers", "0.2", target="short:line") as process:
        url, _ = process.address()
        async with json_client(ws(url)) as client:
            await client.say(type="stubborn", id=1)
            await client.socket.ping()
            before = time.monotonic()
            process.child.send_signal(signal.SIGTERM)
            assert await client.close_code() == 1012
            assert await asyncio.to_thread(process.wait) == 1
            assert time.monotonic() - before < 8
        assert "1 handlers had to be cancelled: stubborn" in process.said
        assert "the process ends without it" in process.said


def test_a_program_that_goes_on_when_its_server_has_ended_is_left_alone(folder: Path) -> None:
    (folder / "program.py").write_text(
        "import time\nfrom openline.app import server\nfrom chat import line\nserver.MOST_SECONDS = 1.0\n"
        "server.serve(line, port=0)\ntime.sleep(1.5)\nprint('went on', flush=True)\n"
    )
    with Process([sys.executable, "program.py"], folder) as process:
        process.address()
        assert process.end() == 0
        assert "went on" in process.said


def test_what_was_not_said_of_a_mounted_application_need_not_be_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", [*sys.path])
    for nothing in ((), []):
        prepare("mounted:app", {"engine": None, "allow_host": nothing, "drain_grace": None})
    with pytest.raises(SettingsError, match="is no Openline object"):
        prepare("mounted:app", {"engine": None, "allow_host": (), "drain_grace": 0.0})
    for name in ("mounted", "chat"):
        del sys.modules[name]


def test_the_plan_over_http_wants_a_key(folder: Path) -> None:
    with serve(folder) as process:
        url, _ = process.address()
        with httpx.Client(base_url=url, trust_env=False) as client:
            assert client.get("/api/v1/drain").status_code == 401
            assert client.post("/api/v1/drain", json={}).status_code == 401
            headers = {"authorization": f"Bearer {KEY}"}
            assert client.post("/api/v1/drain", headers=headers, content="a=b").status_code == 415
            assert json.loads(client.get("/api/v1/drain", headers=headers).text)["connections"] == 0
        assert process.end() == 0
