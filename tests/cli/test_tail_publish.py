"""``openline tail`` and ``openline publish``, as processes against a real server: what they print, and how they end."""

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from tests.server import Process, openline, own_port

from openline.cli import main
from openline.cli.client import printable

APP = """
from openline import CommandError, Openline, User

line = Openline(anonymous=False)
line.channel("chat:*", history=100, presence=True, public=True)
line.channel("short:*", history=2, public=True)
line.channel("quiet:*", subscribe=lambda connection, channel: False, publish=True)


@line.authenticate
def who(token, request):
    if token == "bad":
        raise CommandError("unauthorized", "That one is \\x1b[31mbad.")
    return User(token) if token else None


@line.on("sum", channel="chat:handled")
def add(connection, payload: list[int]):
    return {"sum": sum(payload)}
"""
PROGRAM = str(Path(sys.executable).with_name("openline"))
PATIENCE = 60.0

pytestmark = pytest.mark.server


class Server:
    def __init__(self, folder: Path) -> None:
        (folder / "app.py").write_text(APP)
        self.port = own_port()
        self.folder = folder
        self.url = f"ws://127.0.0.1:{self.port}/openline"
        self.environment = {**os.environ, "OPENLINE_URL": self.url, "OPENLINE_TOKEN": "ada"}

    def start(self) -> Process:
        process = openline(self.folder, "serve", "app:line", "--port", str(self.port))
        process.address()
        return process

    def run(self, *arguments: str, typed: bytes = b"", **environment: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [PROGRAM, *arguments],
            input=typed,
            capture_output=True,
            timeout=PATIENCE,
            env={**self.environment, **environment},
            check=False,
        )

    def invoke(self, *arguments: str, **environment: str) -> Result:
        """The same in this process, which is quicker."""
        return CliRunner().invoke(main, arguments, env={**self.environment, **environment})

    def publish(self, *arguments: str) -> str:
        ended = self.invoke("publish", *arguments)
        assert (ended.exit_code, ended.stderr) == (0, "")
        return ended.stdout.strip()

    def tail(self, *arguments: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [PROGRAM, "tail", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=self.environment
        )


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("cli"))
    with server.start() as process:
        yield server
        process.end()


def ended(tail: subprocess.Popen[bytes]) -> tuple[int, str, str]:
    try:
        out, err = tail.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        tail.kill()
        raise
    return tail.returncode, out.decode(), err.decode()


def refused(result: Result | subprocess.CompletedProcess[bytes]) -> str:
    """The one line that says what is wrong."""
    if isinstance(result, Result):
        code, out, err = result.exit_code, result.stdout, result.stderr
    else:
        code, out, err = result.returncode, result.stdout.decode(), result.stderr.decode()
    assert (code, out) == (1, "")
    assert err.startswith("Error: ")
    assert err.count("\n") == 1
    return err


def test_tail_prints_what_is_published_and_publish_where_it_stands(server: Server) -> None:
    with server.tail("chat:both", "--last", "9", "--count", "3") as tail:
        positions = [server.publish("chat:both", "hello"), server.publish("chat:both", "[1, 2]", "--json")]
        server.publish("chat:both", "x", "--type", "note")
        code, out, err = ended(tail)
    assert (code, err) == (0, "")
    said = [line.split(" ", 3) for line in out.splitlines()]
    assert [line[1:] for line in said] == [
        ["ada", "message", "hello"],
        ["ada", "message", "[1, 2]"],
        ["ada", "note", "x"],
    ]
    assert all(len(line[0].split(":")) == 3 for line in said)
    assert positions[0] < positions[1]


def test_tail_as_json_is_one_object_per_line_in_the_form_of_the_protocol(server: Server) -> None:
    position = server.publish("chat:json", '{"a": "Grüße\\u001b"}', "--json")
    server.publish("chat:json", "two")
    tail = server.run("tail", "chat:json", "--last", "2", "--count", "2", "--json")
    assert tail.returncode == 0
    first, second = map(json.loads, tail.stdout.splitlines())
    assert first.pop("from")["user"] == "ada"
    assert first == {
        "type": "message",
        "channel": "chat:json",
        "payload": {"a": "Grüße\x1b"},
        "position": position,
        "recovered": True,
    }
    since = server.run("tail", "chat:json", "--since", position, "--count", "1", "--json")
    assert json.loads(since.stdout) == second
    assert tail.stdout.isascii()


def test_what_others_wrote_moves_no_cursor(server: Server) -> None:
    server.publish("chat:evil", "a\x1b[2Jb\x9b31m\u202ec\r\nd 👩\u200d🚀 é")
    tail = server.run("tail", "chat:evil", "--last", "1", "--count", "1", PYTHONIOENCODING="utf-8")
    assert tail.stdout.decode().rstrip("\n").endswith("message a\\x1b[2Jb\\x9b31m\\u202ec\\r\\nd 👩\u200d🚀 é")


def test_a_terminal_that_cannot_write_it_gets_an_escape(server: Server) -> None:
    server.publish("chat:latin", "é €")
    tail = server.run("tail", "chat:latin", "--last", "1", "--count", "1", PYTHONIOENCODING="latin-1")
    assert tail.stdout.decode("latin-1").endswith("é \\u20ac\n")


@pytest.mark.parametrize("text", ["", "plain", "é 漢字 👩\u200d🚀"])
def test_what_prints_is_printed_as_it_is(text: str) -> None:
    assert printable(text) == text


def test_publish_reads_lines_and_prints_a_position_for_each(server: Server) -> None:
    positions = server.run("publish", "chat:lines", "-", typed=b"one\n\nthree \xc3\xa9\r\nlast").stdout.split()
    assert len(positions) == len(set(positions)) == 4
    tail = server.run("tail", "chat:lines", "--last", "9", "--count", "4", "--json")
    assert [json.loads(line)["payload"] for line in tail.stdout.splitlines()] == ["one", "", "three é", "last"]


def test_publish_prints_each_position_when_it_has_it(server: Server) -> None:
    with subprocess.Popen(
        [PROGRAM, "publish", "chat:pipe", "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=server.environment
    ) as publish:
        assert publish.stdin is not None
        assert publish.stdout is not None
        for number in range(3):
            publish.stdin.write(b"%d\n" % number)
            publish.stdin.flush()
            assert b"." in publish.stdout.readline()
        publish.stdin.close()
        assert publish.wait(PATIENCE) == 0


def test_publish_stops_at_the_line_that_is_refused_and_names_it(server: Server) -> None:
    result = server.run("publish", "chat:json-lines", "-", "--json", typed=b"1\n{\n3\n")
    assert result.returncode == 1
    assert result.stdout.count(b"\n") == 1
    assert result.stderr.startswith(b"Error: Line 2 cannot be published: ")
    result = server.run("publish", "chat:big-lines", "-", typed=b"x" * 70_000 + b"\n")
    assert refused(result).startswith("Error: The server refused line 1: too_large")
    result = server.run("publish", "chat:big-lines", "-", typed=b"\xff\n")
    assert "Line 1" in refused(result)


def test_the_same_key_is_the_same_publication(server: Server) -> None:
    assert server.publish("chat:key", "a", "--key", "k") == server.publish("chat:key", "b", "--key", "k")


def test_what_a_handler_returns_is_printed_as_json(server: Server) -> None:
    assert json.loads(server.publish("chat:handled", "[1, 2]", "--json", "--type", "sum")) == {"sum": 3}


@pytest.mark.parametrize(
    ("arguments", "environment", "words"),
    [
        (["tail", "chat:x"], {"OPENLINE_URL": "ws://127.0.0.1:1"}, ["no line to ws://127.0.0.1:1", "refused", "--url"]),
        (["publish", "chat:x", "y"], {"OPENLINE_URL": "nowhere"}, ["nowhere", "ws://127.0.0.1:8000/openline"]),
        (["tail", "chat:x"], {"OPENLINE_TOKEN": ""}, ["unauthorized", "--token"]),
        (["publish", "chat:x", "y"], {"OPENLINE_TOKEN": "bad"}, ["unauthorized: That one is \\x1b[31mbad", "--token"]),
        (["tail", "secret:x"], {}, ["forbidden"]),
        (["tail", "quiet:x"], {}, ["forbidden"]),
        (["publish", "secret:x", "y"], {}, ["forbidden"]),
        (["tail", "no channel"], {}, ["bad_channel", "A-Z"]),
        (["tail", "chat:x", "--since", "nonsense"], {}, ["bad_position"]),
        (["publish", "chat:x", "y", "--type", "$reply"], {}, ["bad_field", "$"]),
        (["publish", "chat:x", "y" * 70_000], {}, ["too_large"]),
        (["publish", "chat:handled", '"x"', "--json", "--type", "sum"], {}, ["bad_payload"]),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, list) else "",
)
def test_what_is_wrong_is_said_in_one_line(
    server: Server, arguments: list[str], environment: dict[str, str], words: list[str]
) -> None:
    text = refused(server.invoke(*arguments, **environment))
    for word in words:
        assert word in text


def test_a_path_without_a_server_behind_it_is_told(server: Server) -> None:
    assert "HTTP 404" in refused(server.invoke("tail", "chat:x", "--url", f"{server.url}/elsewhere"))


@pytest.mark.parametrize(
    "arguments",
    [
        ["publish", "chat:x", "{", "--json"],
        ["publish", "chat:x", "NaN", "--json"],
        ["publish", "chat:x", "-", "--key", "k"],
        ["publish", "chat:x"],
        ["tail"],
        ["tail", "chat:x", "--count", "0"],
        ["tail", "chat:x", "--last", "-1"],
    ],
    ids=" ".join,
)
def test_what_is_no_use_of_the_command_is_told_before_anything_is_done(arguments: list[str]) -> None:
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 2
    assert "Usage:" in result.output


def listening(server: Server, channel: str, *arguments: str) -> subprocess.Popen[bytes]:
    """A tail that has printed its first publication."""
    server.publish(channel, "first")
    tail = server.tail(channel, "--last", "1", *arguments)
    assert tail.stdout is not None
    assert tail.stdout.readline().endswith(b"first\n")
    return tail


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_tail_quietly_and_with_a_goodbye(server: Server, sent: signal.Signals, code: int) -> None:
    with listening(server, f"chat:{sent.name}:1") as tail, listening(server, f"chat:{sent.name}:2") as other:
        tail.send_signal(sent)
        assert ended(tail) == (code, "", "")
        other.send_signal(sent)
        assert ended(other) == (code, "", "")


def test_ctrl_c_ends_publish_that_waits_for_a_line_of_a_terminal(server: Server) -> None:
    ours, its = pty.openpty()
    with subprocess.Popen(
        [PROGRAM, "publish", "chat:tty", "-"],
        stdin=its,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=server.environment,
    ) as publish:
        os.write(ours, b"one\n")
        assert publish.stdout is not None
        assert b"." in publish.stdout.readline()
        publish.send_signal(signal.SIGINT)
        assert ended(publish) == (130, "", "")
    os.close(ours)
    os.close(its)


def test_tail_ends_quietly_when_nobody_reads_it_any_more(server: Server) -> None:
    with listening(server, "chat:pipe-end") as tail:
        assert tail.stdout is not None
        tail.stdout.close()
        server.publish("chat:pipe-end", "second")
        assert tail.wait(PATIENCE) != 0
        assert tail.stderr is not None
        assert tail.stderr.read() == b""


def test_what_was_lost_is_told_beside_the_output(server: Server) -> None:
    begun = server.publish("short:news", "0")
    for number in range(1, 4):
        server.publish("short:news", str(number))
    with server.tail("short:news", "--since", begun, "--last", "1", "--count", "1") as tail:
        code, out, err = ended(tail)
    assert (code, out.split()[-1]) == (0, "3")
    assert err.startswith("$gap: Publications were lost in front of ")
    assert err.count("\n") == 1


def test_tail_survives_its_server_and_says_so(tmp_path: Path) -> None:
    server = Server(tmp_path)
    with server.start() as first:
        tail = listening(server, "chat:lobby")
        first.end(signal.SIGKILL)
    with server.start() as second:
        # It comes back within a second or two; what is said before that waits in the history.
        server.publish("chat:lobby", "after")
        assert tail.stdout is not None
        line = tail.stdout.readline()
        tail.send_signal(signal.SIGINT)
        code, _, err = ended(tail)
        second.end()
    assert line.endswith(b"after\n")
    assert code == 130
    assert [text.split(" ")[0:3] for text in err.splitlines()] == [
        ["The", "line", "broke"],
        ["The", "line", "is"],
        ["$gap:", "Publications", "were"],
    ]


@pytest.fixture(scope="module")
def stand_in() -> Iterator[str]:
    """Where something listens that speaks as much of the protocol as it takes to refuse, and to throw somebody out."""
    script = """
import asyncio, json, sys
from websockets.asyncio.server import serve

async def talk(socket):
    hello = json.loads(await socket.recv())
    await socket.send(json.dumps({"type": "$reply", "id": hello["id"], "payload":
        {"connection": "c", "resume": "r", "position": "e.0"}}))
    asked = json.loads(await socket.recv())
    while asked["type"] == "busy":
        full = {"code": "unavailable", "message": "The disk is \\x1b[1m full.", "retry": True}
        await socket.send(json.dumps({"type": "$error", "id": asked["id"], **full}))
        asked = json.loads(await socket.recv()) | {"type": "not any more"}
    await socket.send(json.dumps({"type": "$reply", "id": asked["id"], "payload": {"position": "e.0"}}))
    if asked["channel"] == "chat:out":
        await socket.close(4410, "banned \\x1b[1m.")
    moved = {"type": "$unsubscribed", "channel": asked["channel"], "payload": {"reason": "moved"}}
    await socket.send(json.dumps(moved))
    await socket.wait_closed()

async def main():
    async with serve(talk, "127.0.0.1", 0) as server:
        print(server.sockets[0].getsockname()[1], flush=True)
        await asyncio.Future()

asyncio.run(main())
"""
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        yield f"ws://127.0.0.1:{int(process.stdout.readline())}"
        process.kill()


def test_a_server_that_ends_the_line_for_good_is_told_and_the_sentence_ends_once(server: Server, stand_in: str) -> None:
    told = refused(server.invoke("tail", "chat:out", "--url", stand_in))
    assert told == "Error: The line was closed: banned \\x1b[1m.\n"
    assert "ended the subscription: moved" in refused(server.invoke("tail", "chat:x", "--url", stand_in))


def test_publish_says_what_it_waits_for(server: Server, stand_in: str) -> None:
    done = server.invoke("publish", "chat:x", "y", "--type", "busy", "--url", stand_in)
    assert (done.exit_code, done.stdout) == (0, "e.0\n")
    told = "The server cannot take it now (unavailable: The disk is \\x1b[1m full)"
    assert done.stderr == f"{told}; trying again, for 4 minutes at most.\n"
