"""The client against real servers in processes of their own, and a network that breaks."""

import asyncio
import signal
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from openline.client import Channel, Event, Line, LineClosedError, StatusChange, Surroundings, connect
from openline.errors import CommandError, GoneError
from tests.browser.relay import Relay
from tests.server import Process, make_certificate, openline, own_port

APP = """
import asyncio
from openline import CommandError, History, Openline, User

line = Openline(anonymous=True)
line.channel("chat:*", history=History(count=10_000, size=1 << 26), presence=True, public=True)
line.channel("short:*", history=3, public=True)


@line.authenticate
def who(token, request):
    if token == "bad":
        raise CommandError("unauthorized", "That one is bad.")
    return User(token) if token else None


@line.on("add")
def add(connection, payload: dict[str, int]):
    return payload["a"] + payload["b"]


@line.on("quiz")
async def quiz(connection):
    return await connection.ask("pick", {"from": [1, 2, 3]})


@line.on("never")
async def never(connection):
    await asyncio.sleep(0.3)


@line.on("tell me")
def tell(connection, payload: str):
    connection.emit("told", payload)


@line.on("throw me out")
def out(connection):
    connection.disconnect("you asked for it")


@line.on("echo", channel="chat:handled")
def echo(connection, payload: dict[str, int]):
    return {"got": payload}
"""

pytestmark = pytest.mark.server
#: Short pauses: half a second at most.
QUICK = Surroundings(chance=lambda: 0.025)
PATIENCE = 15.0


class Server:
    """``openline serve`` on a port that stays the same."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "app.py").write_text(APP)
        self.port = own_port()
        self.url = f"ws://127.0.0.1:{self.port}/openline"
        self.process: Process | None = None

    def start(self) -> None:
        self.process = openline(self.folder, "serve", "app:line", "--port", str(self.port))
        self.process.address()

    def end(self, how: signal.Signals = signal.SIGTERM) -> None:
        assert self.process is not None
        self.process.end(how)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("server"))
    server.start()
    yield server
    server.end()


@pytest.fixture
def mortal(tmp_path: Path) -> Iterator[Server]:
    """A server that a test may end and start again."""
    server = Server(tmp_path)
    server.start()
    yield server
    server.end()


@pytest.fixture
def relay(server: Server) -> Iterator[Relay]:
    relay = Relay(server.port)
    yield relay
    relay.close()


@asynccontextmanager
async def within(url: str, **options: Any) -> AsyncIterator[Line]:
    async with asyncio.timeout(PATIENCE), connect(url, surroundings=QUICK, **options) as line:
        yield line


async def until(line: Line, status: str) -> StatusChange:
    """The next time that the line is so."""
    reached: asyncio.Future[StatusChange] = asyncio.get_running_loop().create_future()

    @line.on_status
    def note(change: StatusChange) -> None:
        if change.status == status and not reached.done():
            reached.set_result(change)

    return await reached


async def take(channel: Channel, count: int) -> list[Event]:
    """So many publications and gaps."""
    events: list[Event] = []
    async for event in channel:
        if event.type in ("message", "$gap"):
            events.append(event)
            if len(events) == count:
                break
    return events


async def test_all_that_a_line_can_do(server: Server) -> None:
    async with within(server.url, token="ada") as ada, within(server.url) as bob:

        @ada.answer("pick")
        async def pick(payload: Any) -> Any:
            return max(payload["from"])

        assert (ada.user, bob.user) == ("ada", None)
        chat = await ada.subscribe("chat:all", presence=True)
        others = await bob.subscribe("chat:all")
        first = await chat.publish("message", {"text": "Grüße 😀"})
        await others.publish("message", b"\x00\xff")
        assert [event.payload for event in await take(chat, 2)] == [{"text": "Grüße 😀"}, b"\x00\xff"]
        mine, his = await take(others, 2)
        assert (mine.position, mine.sender and mine.sender.user, mine.channel) == (first, "ada", "chat:all")
        assert his.sender is not None
        assert his.sender.connection == bob.connection
        assert (chat.count, set(chat.members)) == (2, {ada.connection, bob.connection})
        assert (await chat.presence()).count == 2
        page = await chat.history(since=first)
        assert ([event.payload for event in page.publications], page.recovered) == ([b"\x00\xff"], True)
        assert await ada.ask("add", {"a": 1, "b": 2}) == 3
        assert await ada.ask("quiz") == 3
        assert await chat.publish("again", 1, key="k") == await chat.publish("again", 2, key="k")
        assert await ada.publish("chat:handled", "echo", {"n": 1}) == {"got": {"n": 1}}
        await ada.emit("tell me", "a secret")
        assert (await anext(ada)).payload == "a secret"
        with pytest.raises(CommandError, match="unknown_event"):
            await ada.emit("nothing")
        with pytest.raises(CommandError, match="forbidden"):
            await ada.subscribe("secret:plans")
        with pytest.raises(CommandError, match="bad_channel"):
            await ada.subscribe("no channel")
        with pytest.raises(TimeoutError):
            await bob.ask("never", timeout=0.02)


async def test_a_token_that_is_refused_is_told_and_so_is_a_door_that_there_is_not(server: Server) -> None:
    with pytest.raises(LineClosedError, match="That one is bad") as refused:
        async with connect(server.url, token="bad"):
            pass
    assert refused.value.code == 4401
    with pytest.raises(GoneError, match="HTTP 404"):
        async with connect(server.url + "/nothing"):
            pass


async def test_who_is_thrown_out_stays_out_and_knows_why(server: Server) -> None:
    async with within(server.url) as line:
        chat = await line.subscribe("chat:all")
        with pytest.raises(GoneError, match="you asked for it"):
            await line.emit("throw me out")
        with pytest.raises(GoneError, match="you asked for it"):
            await take(chat, 1)


async def test_leaving_is_told_to_the_others_at_once(server: Server) -> None:
    async with within(server.url) as ada:
        chat = await ada.subscribe("chat:leaving", presence=True)
        async with within(server.url) as bob:
            await bob.subscribe("chat:leaving")
        async for event in chat:
            if event.type == "$left":
                assert event.payload["reason"] == "closed"
                break


async def test_a_network_that_breaks_again_and_again_loses_nothing_and_doubles_nothing(
    server: Server, relay: Relay
) -> None:
    """One writes through the network that breaks, one reads through it, and one beside it sees what is true."""
    url, many = f"ws://127.0.0.1:{relay.port}/openline", 300

    async def write(line: Line) -> None:
        for number in range(many):
            await line.publish("chat:cut", "message", number)
            if number % 50 == 25:
                relay.cut()
                asyncio.get_running_loop().call_later(0.05, relay.mend)

    async with within(url) as writer, within(url) as reader, within(server.url) as witness:
        chat, truth = await reader.subscribe("chat:cut"), await witness.subscribe("chat:cut")
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(write(writer))
            read, true = await take(chat, many), await take(truth, many)
        assert [event.payload for event in true] == list(range(many))
        assert [(event.payload, event.position) for event in read] == [(e.payload, e.position) for e in true]
        assert reader.connection is not None
        assert (await reader.presence("chat:cut")).count == 2


async def test_a_network_that_dies_without_a_word_is_noticed_by_who_speaks(server: Server, relay: Relay) -> None:
    async with within(f"ws://127.0.0.1:{relay.port}/openline") as line:
        chat = await line.subscribe("chat:silent")
        me = line.connection
        waiting = asyncio.get_running_loop().create_task(until(line, "open"))
        relay.cut()
        said = asyncio.get_running_loop().create_task(chat.publish("message", "into the dark"))
        relay.mend()
        assert (await waiting).resumed
        assert line.connection == me
        assert (await take(chat, 1))[0].position == await said


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
async def test_a_server_that_is_restarted_gets_what_was_said_meanwhile_and_the_gap_is_told(
    mortal: Server, how: signal.Signals
) -> None:
    async with within(mortal.url, token="ada") as line:
        chat = await line.subscribe("chat:lobby", presence=True)
        await chat.publish("message", "before")
        assert [event.payload for event in await take(chat, 1)] == ["before"]
        lost = asyncio.get_running_loop().create_task(until(line, "waiting"))
        back = asyncio.get_running_loop().create_task(until(line, "open"))
        await asyncio.to_thread(mortal.end, how)
        assert (await lost).code == (1012 if how is signal.SIGTERM else 1006)
        async with asyncio.TaskGroup() as tasks:
            said = [tasks.create_task(chat.publish("message", f"meanwhile {number}")) for number in range(3)]
            await asyncio.to_thread(mortal.start)
            change = await back
        assert (change.resumed, change.restarted) == (False, True)
        gap, *rest = await take(chat, 4)
        assert gap.type == "$gap"
        assert [event.payload for event in rest] == [f"meanwhile {number}" for number in range(3)]
        assert [event.position for event in rest] == [task.result() for task in said]
        assert list(chat.members) == [line.connection]


async def test_what_a_short_history_could_not_recover_is_told(server: Server, relay: Relay) -> None:
    async with within(f"ws://127.0.0.1:{relay.port}/openline") as line, within(server.url) as other:
        chat = await line.subscribe("short:news")
        await other.publish("short:news", "message", 0)
        await take(chat, 1)
        lost = asyncio.get_running_loop().create_task(until(line, "waiting"))
        relay.cut()
        await lost
        for number in range(1, 9):
            await other.publish("short:news", "message", number)
        back = asyncio.get_running_loop().create_task(until(line, "open"))
        relay.mend()
        assert (await back).resumed
        assert [event.type for event in await take(chat, 1)] == ["$gap"]
        await other.publish("short:news", "message", "live")
        assert (await take(chat, 1))[0].payload == "live"


async def test_a_long_history_comes_in_pages_and_whole(server: Server) -> None:
    async with within(server.url) as line:
        begun = await line.publish("chat:long", "message", -1)
        for begin in range(0, 400, 100):
            some = range(begin, begin + 100)
            await asyncio.gather(*(line.publish("chat:long", "message", [n, "x" * 5000]) for n in some))
        chat = await line.subscribe("chat:long", since=begun)
        events = await take(chat, 400)
        assert [event.payload[0] for event in events] == list(range(400))
        assert all(event.recovered for event in events)


async def test_a_reader_that_is_too_slow_gets_it_from_the_history_or_is_told(server: Server) -> None:
    async with within(server.url, inbox_bytes=50_000) as line:
        chat, short = await line.subscribe("chat:flood"), await line.subscribe("short:flood")
        for number in range(100):
            for channel in (chat, short):
                await channel.publish("message", [number, "x" * 1000])
        assert [event.payload[0] for event in await take(chat, 100)] == list(range(100))
        events = []
        async for event in short:
            events.append(event)
            if event.type == "$gap":
                break
        assert [event.payload[0] for event in events[:-1]] == list(range(len(events) - 1))
        assert len(events) > 20


async def test_it_speaks_tls(tmp_path: Path) -> None:
    certificate, key = make_certificate(tmp_path)
    server = Server(tmp_path)
    options = ("--port", str(server.port), "--certificate", str(certificate), "--key", str(key))
    trusting = ssl.create_default_context(cafile=str(certificate))
    with openline(tmp_path, "serve", "app:line", *options) as process:
        process.address()
        url = server.url.replace("ws:", "wss:")
        async with within(url, ssl=trusting) as line:
            assert await line.ask("add", {"a": 1, "b": 1}) == 2
        with pytest.raises(GoneError, match="TLS failed"):
            async with connect(url):
                pass
