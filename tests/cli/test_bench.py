"""``openline bench`` against a real server, and against one that errs on purpose: what it counts, says, and refuses."""

import json
import os
import pty
import re
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from tests.server import Process, openline

from openline.cli import main

APP = """
from openline import CommandError, Openline, User

line = Openline(anonymous=False)
line.channel("chat:*", history=10, public=True)
line.channel("quiet:*", subscribe=True)


@line.authenticate
def who(token, request):
    return User(token) if token else None
"""
#: Speaks as much of the protocol as a run needs. Nothing is relayed to a line before it has answered two pings.
ERRING = """
import asyncio, json
from websockets.asyncio.server import serve

members = []
seen = []

def pushed(command):
    return json.dumps({"type": "bench", "channel": command["channel"], "payload": command["payload"]})

async def tell(texts):
    for member in list(members):
        for text in texts:
            await member.send(text)

async def relay(command, publisher):
    number = command["payload"]["n"]
    if number == 3:
        return
    if number == 5:
        await tell([pushed(command)] * 2)
    elif number == 7:
        seen.append(pushed(command))
    elif number == 8:
        await tell([pushed(command), seen.pop()])
    elif number == 9:
        await tell([json.dumps({"type": "$error", "code": "too_many", "message": "Nine is enough."})])
    elif number == 10:
        other = next(member for member in members if member is not publisher)
        members.remove(other)
        await other.close(4500, "too slow")
        await tell([pushed(command)])
    else:
        await tell([pushed(command), '{"type": "bench", "channel": "c:0", "payload": "of somebody else"}'])

async def talk(socket):
    try:
        await listen(socket)
    finally:
        if socket in members:
            members.remove(socket)

async def listen(socket):
    async for text in socket:
        command = json.loads(text)
        kind, number = command["type"], command.get("id")
        if kind == "$connect":
            payload = {"connection": "c", "resume": "r", "position": "e.0"}
        else:
            payload = {"position": "e.0"}
        if kind == "$subscribe":
            await (await socket.ping())
            await socket.send('{"type": "$ping"}')
        if kind == "$pong":
            members.append(socket)
        elif number is not None:
            await socket.send(json.dumps({"type": "$reply", "id": number, "payload": payload}))
        elif kind == "bench":
            await relay(command, socket)

async def main():
    async with serve(talk, "127.0.0.1", 0) as server:
        print(server.sockets[0].getsockname()[1], flush=True)
        await asyncio.sleep(60)

asyncio.run(main())
"""
#: Answers the first line, and reads nothing more from the second.
DEAF = """
import asyncio, json
from websockets.asyncio.server import serve

lines = []

async def talk(socket):
    lines.append(socket)
    async for text in socket:
        command = json.loads(text)
        payload = {"connection": "c", "resume": "r", "position": "e.0"}
        if "id" in command:
            await socket.send(json.dumps({"type": "$reply", "id": command["id"], "payload": payload}))
        if command["type"] == "$subscribe" and len(lines) > 1:
            await asyncio.sleep(60)

async def main():
    async with serve(talk, "127.0.0.1", 0) as server:
        print(server.sockets[0].getsockname()[1], flush=True)
        await asyncio.sleep(60)

asyncio.run(main())
"""
PROGRAM = str(Path(sys.executable).with_name("openline"))
PATIENCE = 60.0

pytestmark = pytest.mark.server


class Served:
    """A server, and the environment that leads to it."""

    def __init__(self, process: Process) -> None:
        self.process = process
        _, self.port = process.address()
        self.environment = {"OPENLINE_URL": f"ws://127.0.0.1:{self.port}/openline", "OPENLINE_TOKEN": "ada"}

    def run(self, *arguments: str, **environment: str) -> Result:
        return CliRunner().invoke(main, ["bench", *arguments], env={**self.environment, **environment})

    def report(self, *arguments: str) -> dict[str, Any]:
        ended = self.run("--json", *arguments)
        assert (ended.exit_code, ended.stderr) == (0, "")
        report: dict[str, Any] = json.loads(ended.stdout)
        return report


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("bench")
    (folder / "app.py").write_text(APP)
    with openline(folder, "serve", "app:line", "--port", "0") as process:
        yield Served(process)
        process.end()


def refused(result: Result) -> str:
    """The one line that says what is wrong."""
    assert (result.exit_code, result.stdout) == (1, ""), result.output
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1
    return result.stderr


@pytest.mark.parametrize(
    ("connections", "channels", "deliveries"),
    [(8, 3, 10 * 8), (2, 5, 30), (1, 1, 30), (70, 1, 30 * 70)],
)
def test_everything_that_is_published_arrives_and_is_counted(
    served: Served, connections: int, channels: int, deliveries: int
) -> None:
    report = served.report(
        *("--connections", str(connections), "--channels", str(channels), "--rate", "100", "--duration", "0.3")
    )
    assert report["planned"] == report["published"] == 30
    assert report["expected"] == report["delivered"] == deliveries
    assert not any(report[name] for name in ("lost", "duplicated", "out_of_order", "closed", "refused"))
    latency = report["latency_ms"]
    assert 0 < latency["p50"] <= latency["p90"] <= latency["p99"] <= latency["p99.9"] <= latency["max"]
    assert "token" not in report["plan"]


def test_what_was_held_up_is_made_up_for(served: Served) -> None:
    report = served.report("--connections", "1", "--rate", "1000000", "--duration", "0.0002")
    assert report["planned"] == report["published"] == report["delivered"] == 200


@pytest.mark.parametrize("given", [False, True], ids=["found", "given"])
def test_the_server_of_this_machine_is_found_and_measured(served: Served, given: bool) -> None:
    pid = served.process.child.pid
    server = served.report("--duration", "0.2", "--rate", "50", *(("--pid", str(pid)) if given else ()))["server"]
    assert server["pids"] == [pid]
    assert server["rss_bytes"] > 10_000_000
    assert server["cpu_percent"] >= 0


def test_the_report_is_a_table_for_people(served: Served) -> None:
    ended = served.run("--connections", "5", "--rate", "200", "--duration", "0.2")
    assert (ended.exit_code, ended.stderr) == (0, "")
    rows = {row[:14].strip(): row[14:] for row in ended.stdout.splitlines()}
    assert rows["published"].startswith("40 of 40 (")
    assert rows["delivered"].startswith("200 of 200 (")
    assert [rows[name] for name in ("lost", "duplicated", "out of order", "lines closed", "refused")] == ["0"] * 5
    assert re.match(r"p50 [\d.]+ ms  p90 .* max [\d.]+ ms$", rows["latency"])
    assert f"(process {served.process.child.pid})" in rows["server"]


def against(program: str, *arguments: str) -> Result:
    """A run against a server that is a program."""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as stand_in:
        assert stand_in.stdout is not None
        try:
            url = f"ws://127.0.0.1:{int(stand_in.stdout.readline())}"
            return CliRunner().invoke(main, ["bench", "--url", url, "--prefix", "c:", *arguments])
        finally:
            stand_in.kill()


def test_what_a_server_is_too_slow_to_take_does_not_pile_up_here() -> None:
    ended = against(DEAF, "--connections", "1", "--rate", "1000", "--size", "60000", "--duration", "0.5", "--json")
    report = json.loads(ended.stdout)
    assert ended.exit_code == 1
    assert 0 < report["published"] < report["planned"] == 500
    assert report["delivered"] == 0
    assert report["lost"] == report["published"]
    assert "too slow for the rate" in ended.stderr
    assert report["latency_ms"]["p50"] is None


@pytest.mark.alone
def test_what_a_server_does_wrong_is_counted_and_told() -> None:
    ended = against(ERRING, "--connections", "3", "--rate", "100", "--duration", "0.12")
    rows = {row[:14].strip(): row[14:] for row in ended.stdout.splitlines()}
    assert ended.exit_code == 1
    assert rows["published"].startswith("12 of 12")
    # 0 to 11 to three members, less 3 and 9, and less 10 and 11 to the one that was thrown out.
    assert rows["delivered"].startswith("28 of 36")
    assert [rows[name] for name in ("lost", "duplicated", "out of order")] == ["8", "3", "3"]
    assert rows["lines closed"] == "1 (the first: too slow)"
    assert rows["refused"] == "3 (the first: too_many: Nine is enough.)"


@pytest.mark.parametrize(
    ("arguments", "environment", "words"),
    [
        ([], {"OPENLINE_URL": "ws://127.0.0.1:1"}, ["no line to ws://127.0.0.1:1", "refused", "--url"]),
        ([], {"OPENLINE_URL": "nowhere"}, ["nowhere", "ws://127.0.0.1:8000/openline"]),
        ([], {"OPENLINE_TOKEN": ""}, ["unauthorized", "--token"]),
        (["--prefix", "quiet:"], {}, ["refused quiet:0", "forbidden", "--prefix"]),
        (["--prefix", "no channel"], {}, ["bad_channel", "A-Z", "--prefix"]),
        (["--size", "70000"], {}, ["too_large"]),
        (["--connections", "1", "--channels", "1001"], {}, ["Connection 1 of 1", "too_many"]),
        (["--pid", "4194304"], {}, ["no process 4194304"]),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, list) else "",
)
def test_what_is_wrong_is_said_in_one_line(
    served: Served, arguments: list[str], environment: dict[str, str], words: list[str]
) -> None:
    text = refused(served.run(*arguments, **environment))
    for word in words:
        assert word in text


@pytest.mark.parametrize("arguments", [["--size", "63"], ["--rate", "0"], ["--connections", "0"], ["--duration", "-1"]])
def test_what_makes_no_sense_is_told_before_anything_is_done(arguments: list[str]) -> None:
    result = CliRunner().invoke(main, ["bench", *arguments])
    assert result.exit_code == 2
    assert arguments[0] in result.stderr


def test_the_help_has_examples_and_fits_a_terminal() -> None:
    said = CliRunner().invoke(main, ["bench", "--help"]).output
    assert "openline bench --connections 2000" in said
    assert max(map(len, said.splitlines())) <= 80


def limited(files: str, *command: str) -> list[str]:
    """A command that may have so many files open."""
    return ["sh", "-c", f'ulimit {files}; exec "$@"', "sh", *command]


def test_the_soft_limit_of_descriptors_is_raised_and_the_hard_one_is_told(served: Served) -> None:
    run = [PROGRAM, "bench", "--connections", "150", "--duration", "0.1"]
    environment = {**os.environ, **served.environment}
    soft = subprocess.run(limited("-Sn 100", *run), env=environment, capture_output=True, timeout=PATIENCE, check=False)
    # A busy machine may be told of, and nothing else.
    assert soft.returncode == 0
    assert b"descriptors" not in soft.stderr
    hard = subprocess.run(
        limited("-n 200", *run), env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert hard.returncode == 1
    assert hard.stderr.startswith("Error: connections: 150 of them need 214 descriptors, and this process may have 200")
    assert hard.stderr.count("\n") == 1


def test_a_server_that_may_not_open_enough_is_told_before_anything_is_done(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(APP)
    with Process(limited("-n 64", PROGRAM, "serve", "app:line", "--port", "0"), tmp_path) as process:
        text = refused(Served(process).run("--connections", "100"))
        process.end()
    assert f"process {process.child.pid}) may open 64 files" in text
    assert "ulimit -n 1100" in text


def watched(arguments: list[str], environment: dict[str, str]) -> tuple[subprocess.Popen[bytes], int]:
    """A run whose standard error is a terminal; the terminal's other end."""
    ours, its = pty.openpty()
    run = subprocess.Popen([PROGRAM, "bench", *arguments], stdout=subprocess.PIPE, stderr=its, env=environment)
    os.close(its)
    return run, ours


def read_until(terminal: int, word: bytes) -> bytes:
    """What a terminal shows, up to a word or the end of the run."""
    shown = b""
    while word not in shown:
        try:
            shown += os.read(terminal, 4096)
        except OSError:
            break
    return shown


def test_progress_is_shown_on_a_terminal_beside_the_report(served: Served) -> None:
    run, terminal = watched(["--duration", "0.3", "--rate", "50", "--json"], {**os.environ, **served.environment})
    shown = read_until(terminal, b"never there")
    out, _ = run.communicate(timeout=PATIENCE)
    os.close(terminal)
    assert json.loads(out)["delivered"] == 15 * 100
    for label in (b"connecting", b"publishing"):
        assert label in shown
    assert b"100%" in shown


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_a_run_quietly(served: Served, sent: signal.Signals, code: int) -> None:
    run, terminal = watched(["--duration", "60"], {**os.environ, **served.environment})
    read_until(terminal, b"publishing")
    run.send_signal(sent)
    rest = read_until(terminal, b"never there")
    out, _ = run.communicate(timeout=PATIENCE)
    os.close(terminal)
    assert (run.returncode, out) == (code, b"")
    assert b"Traceback" not in rest


def test_a_server_that_is_no_websocket_server_is_told(served: Served) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        text = refused(served.run("--url", f"{served.environment['OPENLINE_URL']}/elsewhere"))
        assert "HTTP 404" in text
        silent.close()


PAGE = Path(__file__).resolve().parents[2] / "docs" / "bench.md"


@pytest.mark.parametrize("command", re.findall(r"^    openline bench(.*)$", PAGE.read_text(), re.M))
def test_the_commands_of_the_page_run(served: Served, command: str) -> None:
    small = ("--connections", "6", "--channels", "2", "--duration", "0.1", "--url", served.environment["OPENLINE_URL"])
    words = shlex.split(command.partition(">")[0].partition("|")[0])
    ended = served.run(*words, "--prefix", "chat:page-", *small)
    assert ended.exit_code == 0, ended.output
