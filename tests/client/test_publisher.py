"""Publishers, sync and async, against a real server that restarts, breaks lines and answers late."""

import asyncio
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from openline import (
    AsyncPublisher,
    CommandError,
    ErrorCode,
    Openline,
    Publisher,
    SettingsError,
    UnansweredError,
    User,
)
from openline.app.server import configure
from openline.client.calls import ChannelState
from tests.client.faulty_relay import Relay
from tests.clients import json_client
from tests.server import Served, make_certificate, running, serving, until

KEY = "a-key-for-the-backend-api"


def application() -> Openline:
    line = Openline(api_keys=[KEY], anonymous=True)
    line.channel("chat:*", history=100, presence=True, public=True)

    @line.authenticate
    def who(token: str | None, request: object) -> User | None:
        return User(token) if token else None

    return line


class Threaded:
    """A Publisher whose methods run in a thread: the server runs in this one."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self.publisher = Publisher(*arguments, **options)

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.publisher, name)

        async def call(*arguments: Any, **options: Any) -> Any:
            return await asyncio.to_thread(method, *arguments, **options)

        return call


Kind = Callable[..., Any]
kinds = pytest.mark.parametrize("kind", [Threaded, AsyncPublisher])


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chance always says: at once, or nearly so."""
    monkeypatch.setattr("openline.client.api_server.random.random", lambda: 0.05)


@asynccontextmanager
async def publishing(kind: Kind, url: str, **options: Any) -> AsyncIterator[Any]:
    publisher = kind(url, **{"key": KEY, **options})
    try:
        yield publisher
    finally:
        await publisher.close()


async def kept(line: Openline, channel: str) -> list[bytes]:
    return [p.payload for p in (await line.running.hub.broker.read(channel)).publications]


# -- what it can


@kinds
async def test_everything_that_a_backend_may_do(kind: Kind) -> None:
    async with (
        serving(application()) as served,
        publishing(kind, served.http) as publisher,
        json_client(served.ws) as ada,
    ):
        connection = (await ada.get("$connect", token="ada"))["connection"]
        await ada.get("$subscribe", channel="chat:1")
        positions = [await publisher.publish("chat:1", "n", payload) for payload in ({"a": [1]}, None, b"\0\xff")]
        assert await publisher.publish("chat:1", "n", 1, volatile=True) is None
        await publisher.publish_to_user("ada", "note", 2)
        await publisher.broadcast("note", 3, exclude=["somebody-else"])
        pushes = [await ada.push() for _ in range(6)]
        assert [push["payload"] for push in pushes] == [{"a": [1]}, None, "AP8=", 1, 2, 3]

        page = await publisher.history("chat:1", limit=2)
        assert [event.payload for event in page.publications] == [None, b"\0\xff"]
        assert ([event.position for event in page.publications], page.more) == (positions[1:], True)
        since = await publisher.history("chat:1", since=positions[0])
        assert (since.publications, since.recovered) == (page.publications, True)
        before = await publisher.history("chat:1", before=positions[1])
        assert [event.position for event in before.publications] == positions[:1]

        who = await publisher.presence("chat:1")
        assert (who.count, [(member.connection, member.user) for member in who.members]) == (1, [(connection, "ada")])
        listed = await publisher.channels("chat:*")
        assert (listed.channels, listed.next) == ([ChannelState("chat:1", 1, 1)], None)

        assert await publisher.unsubscribe_user("ada", "chat:1") == 1
        assert await publisher.unsubscribe_connection(connection, "chat:1") == 0
        assert await publisher.disconnect_connection("nobody") == 0
        assert await publisher.disconnect_user("ada", "Enough.") == 1
        assert await ada.close_code() == 4410


@kinds
async def test_many_channels_are_told_one_by_one(kind: Kind) -> None:
    line = application()
    async with serving(line) as served, publishing(kind, served.http) as publisher:
        good, bad, volatile = await publisher.publish_many(["chat:1", "no name", "chat:2"], "n", "x")
        assert (good.channel, good.error, volatile.error) == ("chat:1", None, None)
        assert (bad.position, bad.error.code) == (None, ErrorCode.BAD_CHANNEL)
        assert good.position != volatile.position
        assert await kept(line, "chat:2") == [b'"x"']


@kinds
async def test_what_the_server_says_against_it_is_raised(kind: Kind) -> None:
    async with serving(application()) as served, publishing(kind, served.http) as publisher:
        for failing, code, field in [
            (lambda: publisher.publish("no name", "n"), "bad_channel", "channel"),
            (lambda: publisher.publish("chat:1", "$n"), "bad_field", "type"),
            (lambda: publisher.publish("chat:1", "n", float("nan")), "bad_payload", "payload"),
            (lambda: publisher.publish("chat:1", "n", object()), "bad_payload", "payload"),
            (lambda: publisher.publish("chat:1", "n", "x" * 300_000), "too_large", "payload"),
            (lambda: publisher.publish("chat:1", "n", "x" * 2_000_000), "too_large", None),
            (lambda: publisher.history("chat:1", since="yesterday"), "bad_position", "since"),
            (lambda: publisher.history("chat:1", limit=0), "bad_field", "limit"),
        ]:
            with pytest.raises(CommandError) as refused:
                await failing()
            assert (refused.value.code, refused.value.field) == (code, field)


@kinds
async def test_a_wrong_key_and_an_api_that_is_off_are_told(kind: Kind) -> None:
    async with serving(application()) as served, publishing(kind, served.http, key="wrong") as publisher:
        with pytest.raises(CommandError, match="unauthorized"):
            await publisher.publish("chat:1", "n")
    async with serving(Openline(api_keys=[])) as served, publishing(kind, served.http) as publisher:
        with pytest.raises(CommandError, match="OPENLINE_API_KEYS"):
            await publisher.channels()


# -- what may pass


@kinds
@pytest.mark.parametrize("faults", [["cut before"], ["cut after"], ["cut amid"], ["503", "502"], ["cut after", "429"]])
async def test_a_publication_happens_once_whatever_happens_to_its_line(kind: Kind, faults: list[str]) -> None:
    line = application()
    async with (
        serving(line) as served,
        Relay(served.port) as relay,
        publishing(kind, relay.url) as publisher,
    ):
        relay.faults = list(faults)
        position = await publisher.publish("chat:1", "n", 1)
        relay.faults = list(faults)
        await publisher.publish_many(["chat:1", "chat:2"], "n", 2)
        relay.faults = list(faults)
        await publisher.publish_to_user("ada", "n", 3)
        assert relay.requests == 3 * (len(faults) + 1)
        page = await publisher.history("chat:1")
        assert (page.publications[0].payload, page.publications[0].position) == (1, position)
        assert (await kept(line, "chat:1"), await kept(line, "chat:2")) == ([b"1", b"2"], [b"2"])
        assert await kept(line, "$user:ada") == [b"3"]


@kinds
async def test_a_volatile_publication_that_may_have_arrived_is_not_sent_again(kind: Kind) -> None:
    async with serving(application()) as served, Relay(served.port) as relay, publishing(kind, relay.url) as publisher:
        relay.faults = ["cut after"]
        with pytest.raises(UnansweredError, match="unknown"):
            await publisher.publish("chat:1", "n", 1, volatile=True)
        assert relay.requests == 1


@kinds
async def test_a_server_that_is_silent_is_given_up_and_asked_again(kind: Kind) -> None:
    line = application()
    async with (
        serving(line) as served,
        Relay(served.port) as relay,
        publishing(kind, relay.url, timeout=0.2) as publisher,
    ):
        relay.faults = ["silence"]
        await publisher.publish("chat:1", "n", 1)
        assert (relay.requests, await kept(line, "chat:1")) == (2, [b"1"])


@kinds
async def test_a_server_that_never_answers_is_given_up_with_a_clear_word(kind: Kind) -> None:
    async with serving(application()) as served, Relay(served.port) as relay:
        closed_port = relay.port
    async with publishing(kind, f"http://127.0.0.1:{closed_port}", patience=0.1) as publisher:
        with pytest.raises(UnansweredError, match="it was not carried out") as given_up:
            await publisher.publish("chat:1", "n", 1)
        assert not given_up.value.sent


@kinds
async def test_a_restart_of_the_server_is_waited_out(kind: Kind) -> None:
    async with serving(application()) as served:
        port = served.port
        publisher = kind(served.http, key=KEY)
        await publisher.publish("chat:1", "n", 1)
    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(publisher.publish("chat:1", "n", 2))
        line = application()
        async with serving_at(line, port):
            await waiting
            assert await kept(line, "chat:1") == [b"2"]
            await publisher.close()


@asynccontextmanager
async def serving_at(line: Openline, port: int) -> AsyncIterator[Served]:
    async with running(configure(line, host="127.0.0.1", port=port)) as served:
        yield served


@kinds
async def test_an_idle_line_that_the_server_has_closed_is_no_failure(kind: Kind) -> None:
    line = application()
    async with serving(line, timeout_keep_alive=0) as served, publishing(kind, served.http) as publisher:
        for n in range(3):
            await publisher.publish("chat:1", "n", n)
            await until(lambda: not served.connections)
        assert await kept(line, "chat:1") == [b"0", b"1", b"2"]


# -- whose it is


async def test_threads_share_a_publisher() -> None:
    line = application()
    async with serving(line) as served, publishing(Threaded, served.http) as publisher:
        await asyncio.gather(*(publisher.publish("chat:1", "n", n) for n in range(50)))
        assert sorted(map(int, await kept(line, "chat:1"))) == list(range(50))
        assert len(served.connections) < 50


async def test_a_forked_process_does_not_write_into_its_parents_connections() -> None:
    script = (
        "import os, sys\nfrom openline import Publisher\n"
        f"publisher = Publisher(sys.argv[1], key={KEY!r})\n"
        "publisher.publish('chat:1', 'n', 'parent')\n"
        "child = os.fork()\n"
        "for n in range(20):\n    publisher.publish('chat:1', 'n', f'{bool(child)} {n}')\n"
        "if child:\n    assert os.waitpid(child, 0)[1] == 0\n"
    )
    line = application()
    async with serving(line) as served:
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", script, served.http)
        assert await process.wait() == 0
        assert sorted(await kept(line, "chat:1")) == sorted(
            [b'"parent"', *(f'"{side} {n}"'.encode() for side in (True, False) for n in range(20))]
        )


async def test_an_async_publisher_belongs_to_one_event_loop() -> None:
    async with serving(application()) as served, publishing(AsyncPublisher, served.http) as publisher:
        await publisher.publish("chat:1", "n", 1)
        with pytest.raises(RuntimeError, match="another event loop"):
            await asyncio.to_thread(asyncio.run, publisher.publish("chat:1", "n", 1))


async def test_what_is_closed_says_so() -> None:
    async with AsyncPublisher(key=KEY) as publisher:
        pass
    with pytest.raises(RuntimeError, match="closed"):
        await publisher.channels()
    with Publisher(key=KEY) as other:
        pass
    with pytest.raises(RuntimeError, match="closed"):
        other.channels()


@pytest.mark.parametrize("kind", [Publisher, AsyncPublisher])
@pytest.mark.parametrize(
    ("options", "setting"),
    [
        ({"url": "ws://127.0.0.1:8000"}, "url"),
        ({"url": "127.0.0.1:8000"}, "url"),
        ({"url": "http://ada:secret@127.0.0.1"}, "url"),
        ({"url": "http://127.0.0.1:x"}, "url"),
        ({"key": ""}, "key"),
        ({"key": "a b"}, "key"),
        ({"key": "a\r\nb"}, "key"),
        ({"timeout": 0}, "timeout"),
        ({"patience": -1}, "timeout"),
    ],
)
def test_what_cannot_work_is_refused_by_name(kind: Kind, options: dict[str, Any], setting: str) -> None:
    with pytest.raises(SettingsError) as refused:
        kind(**{"key": KEY, **options})
    assert refused.value.setting == setting


@pytest.mark.parametrize("kind", [Publisher, AsyncPublisher])
def test_a_publisher_does_not_show_its_key(kind: Kind) -> None:
    assert repr(kind(key=KEY)) == f"<{kind.__name__} http://127.0.0.1:8000/api/v1>"


def test_without_httpx_everything_but_publishers_is_there() -> None:
    script = (
        "import sys\nsys.modules['httpx'] = None\n"
        "from openline import *\nimport openline\nopenline.Openline()\n"
        "try:\n    openline.Publisher\nexcept ImportError as error:\n    print(error)\n"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ended.stdout == "Publisher needs httpx: pip install 'openline[publisher]'\n"


@kinds
async def test_over_tls_the_certificate_counts(kind: Kind, tmp_path: Any) -> None:
    certificate, key = make_certificate(tmp_path)
    line = application()
    async with serving(line, ssl_certfile=str(certificate), ssl_keyfile=str(key)) as served:
        context = ssl.create_default_context(cafile=str(certificate))
        async with publishing(kind, served.http, ssl=context) as publisher:
            await publisher.publish("chat:1", "n", 1)
        async with publishing(kind, served.http, patience=0) as publisher:
            with pytest.raises(UnansweredError, match="certificate"):
                await publisher.publish("chat:1", "n", 2)
        assert await kept(line, "chat:1") == [b"1"]
