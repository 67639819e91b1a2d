"""One server of several worker processes: what a client keeps, whichever of them it comes to, and when one ends."""

import asyncio
import json
import os
import re
import signal
import sqlite3
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.clients import JsonClient, json_client
from tests.hosting.balancer import balancing
from tests.hosting.test_nodes import stock
from tests.programs import NODE
from tests.server import PATIENCE, openline

pytestmark = pytest.mark.server

KEY = "a-key-of-the-test"
PROGRAM = (
    NODE
    + """
from openline import CommandError

line.channel("room:*", history=1000, presence=Presence(grace_seconds=3), public=True)

@line.on("pid")
def pid(connection):
    return os.getpid()

@line.on("hang")
async def hang(connection):
    import asyncio
    await asyncio.sleep(1000)

@line.on_connect
def come(connection):
    if connection.user.id == "early" and not os.path.exists("open"):
        raise CommandError("unavailable", "It is too early.")
"""
)
ENDED = re.compile(r"worker \d has ended")


class Workers:
    """A server with workers, and who came to which of them."""

    def __init__(self, folder: Path, engine: str, *options: str) -> None:
        self.folder = folder
        (folder / "work.py").write_text(PROGRAM)
        command = ("serve", "work:line", "--port", "0", "--workers", "2", "--engine", engine, *options)
        self.process = openline(folder, *command, environment={"OPENLINE_API_KEYS": KEY})
        self.url, self.port = self.process.address()
        self.ws = self.url.replace("http", "ws", 1)

    @asynccontextmanager
    async def client(self, user: str, **fields: Any) -> AsyncIterator[tuple[JsonClient, dict[str, Any]]]:
        async with json_client(self.ws) as client:
            yield client, await client.get("$connect", token=user, **fields)

    @asynccontextmanager
    async def apart(self, room: str) -> AsyncIterator[list[tuple[JsonClient, dict[str, Any], int]]]:
        """Two clients in ``room``, at different workers: each with its greeting and its worker's process."""
        async with AsyncExitStack() as stack:
            found: dict[int, tuple[JsonClient, dict[str, Any], int]] = {}
            while len(found) < 2:
                client, greeting = await stack.enter_async_context(self.client(f"user-{len(found)}"))
                process = await client.get("pid")
                if process in found:
                    await client.socket.close(1000)
                    continue
                await client.get("$subscribe", channel=room, presence=True)
                found[process] = (client, greeting, process)
            yield list(found.values())

    @asynccontextmanager
    async def api(self) -> AsyncIterator[httpx.AsyncClient]:
        """Every request over a connection of its own, and so at any worker."""
        limits = httpx.Limits(max_keepalive_connections=0)
        headers = {"Authorization": f"Bearer {KEY}"}
        async with httpx.AsyncClient(base_url=self.url, headers=headers, limits=limits, timeout=40) as http:
            yield http


@pytest.fixture(scope="module")
def workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workers]:
    folder = tmp_path_factory.mktemp("workers")
    workers = Workers(folder, "sqlite:chat.db")
    try:
        yield workers
    finally:
        workers.process.end()
        workers.process.__exit__()


async def count_present(client: JsonClient, room: str) -> int:
    return int((await client.get("$presence", channel=room))["count"])


async def until_present(client: JsonClient, room: str, count: int) -> float:
    """How long it takes until so many are present."""
    begun = time.monotonic()
    async with asyncio.timeout(15):
        while await count_present(client, room) != count:
            await asyncio.sleep(0.05)
    return time.monotonic() - begun


async def said(client: JsonClient) -> Any:
    """The payload of the next publication."""
    while (push := await client.push())["type"] != "said":
        pass
    return push["payload"]


async def test_clients_at_different_workers_chat_and_see_each_other(workers: Workers) -> None:
    async with workers.apart("room:1") as [(ada, greeting, _), (bob, _, _)]:
        await until_present(ada, "room:1", 2)
        assert await count_present(bob, "room:1") == 2
        for number in range(20):
            await (ada, bob)[number % 2].get("said", channel="room:1", payload=number)
        assert [await said(ada) for _ in range(20)] == list(range(20))
        assert [await said(bob) for _ in range(20)] == list(range(20))
        async with workers.api() as http:
            answer = await http.post("/api/v1/disconnect-user", json={"user": greeting["user"]})
            assert answer.status_code == 200, answer.text
        await ada.close_code()
        await until_present(bob, "room:1", 1)
    assert "worker" not in workers.process.said.split("is ready")[0]


async def test_a_key_is_one_publication_whichever_worker_is_asked(workers: Workers) -> None:
    async with workers.api() as http:
        body = {"channel": "room:2", "type": "said", "payload": "once", "key": "k-1"}
        answers = [await http.post("/api/v1/publish", json=body) for _ in range(8)]
        assert {answer.status_code for answer in answers} == {200}
        assert len({answer.json()["position"] for answer in answers}) == 1


async def test_polls_need_no_stickiness(workers: Workers) -> None:
    auth = {"Authorization": "Bearer ada"}
    async with workers.api() as http:
        here = {"channel": "room:3"}
        position = (await http.get("/api/messages", params=here, headers=auth)).headers["openline-position"]
        heard = []
        for number in range(8):
            asked = http.get("/api/messages", params={**here, "since": position, "wait": 20}, headers=auth)
            async with asyncio.TaskGroup() as tasks:
                waiting = tasks.create_task(asked)
                body = {**here, "type": "said", "payload": number}
                assert (await http.post("/api/v1/publish", json=body)).status_code == 200
            page = waiting.result()
            position = page.headers["openline-position"]
            heard += [each["payload"] for each in page.json()]
        assert heard == list(range(8))


async def test_a_ticket_is_good_at_every_worker_and_once(workers: Workers) -> None:
    async with workers.api() as http:
        for _ in range(6):
            got = await http.post("/ticket", headers={"Authorization": "Bearer ada"})
            url = f"/events?channel=room:9&ticket={got.json()['ticket']}"
            async with http.stream("GET", url) as stream:
                assert stream.status_code == 200
            assert (await http.get(url)).status_code == 401


async def test_a_ticket_comes_back_from_every_worker_where_the_stream_could_not_begin(workers: Workers) -> None:
    async with workers.api() as http:
        got = await http.post("/ticket", headers={"Authorization": "Bearer early"})
        url = f"/events?channel=room:9&ticket={got.json()['ticket']}"
        for _ in range(8):
            early = await http.get(url)
            assert (early.status_code, early.content[:6]) == (200, b"retry:")
            async with asyncio.timeout(PATIENCE):
                # What comes back from another worker is a moment on its way.
                while (await http.head(url)).status_code != 200:
                    await asyncio.sleep(0.02)
        (workers.folder / "open").touch()
        async with http.stream("GET", url) as stream:
            assert stream.status_code == 200
        assert (await http.get(url)).status_code == 401


async def test_a_head_uses_no_ticket_up_at_any_worker_and_a_user_who_is_sent_away_has_none(workers: Workers) -> None:
    async with workers.api() as http:
        urls = []
        for _ in range(6):
            got = await http.post("/ticket", headers={"Authorization": "Bearer eve"})
            urls.append(f"/events?channel=room:9&ticket={got.json()['ticket']}")
            assert [(await http.head(urls[-1])).status_code for _ in range(4)] == [200] * 4
        async with http.stream("GET", urls.pop()) as stream:
            assert stream.status_code == 200
        assert (await http.post("/api/v1/disconnect-user", json={"user": "eve"})).status_code == 200
        assert [(await http.get(url)).status_code for url in urls] == [401] * 5


@pytest.mark.parametrize("transports", ["polling", "polling,websocket"])
async def test_the_stock_socketio_client_needs_no_stickiness(workers: Workers, transports: str) -> None:
    async with balancing([workers.port]) as balancer, stock(balancer.url, transports) as me:
        await me.until("connect")
        if "websocket" in transports:
            while not any("upgraded" in each for each in me.seen):
                await me.until("upgraded")
        me.emit("join", "room")
        assert (await me.until("answer"))["answer"] == ["joined"]
        for number in range(6):
            me.emit("say", "room", number)
            await me.until("event")
        assert me.said == list(range(6))
        me.emit("whence")
        assert (await me.until("answer"))["answer"] == ["127.0.0.1"]
        assert balancer.requests >= 4


async def test_a_worker_that_is_killed_is_replaced_and_its_clients_go_on(workers: Workers) -> None:
    before = len(workers.process.said)
    async with workers.apart("room:5") as [(ada, greeting, killed), (bob, _, _)]:
        await until_present(bob, "room:5", 2)
        last = await ada.get("said", channel="room:5", payload="acknowledged")
        os.kill(killed, signal.SIGKILL)
        await ada.close_code()
        await bob.get("said", channel="room:5", payload="meanwhile")
        async with workers.client("user-0", resume=greeting["resume"], since=greeting["position"]) as (again, reply):
            assert reply["resumed"], (reply, workers.process.said)
            assert (reply["connection"], reply["recovered"]) == (greeting["connection"], True)
            got = [(await again.push()) for _ in range(2)]
            assert [each["payload"] for each in got] == ["acknowledged", "meanwhile"]
            assert got[0]["position"] == last["position"]
            assert await again.get("pid") != killed
            assert await count_present(bob, "room:5") == 2
            workers.process.wait_for(ENDED, before)
            # Whoever does not come back is missed as promised, and sooner than a lease takes.
            again.cut()
        while {await _pid(workers) for _ in range(8)} == {killed}:
            pass
    assert f"gone {greeting['connection']}" not in workers.process.said


async def _pid(workers: Workers) -> int:
    async with workers.client("nobody") as (client, _):
        process: int = await client.get("pid")
        await client.socket.close(1000)
        return process


async def test_nobody_of_a_killed_worker_is_present_for_longer_than_promised(workers: Workers) -> None:
    async with workers.apart("room:6") as [(_, _, killed), (bob, _, _)]:
        await until_present(bob, "room:6", 2)
        os.kill(killed, signal.SIGKILL)
        assert await until_present(bob, "room:6", 1) < 10


async def test_an_engine_process_that_is_killed_comes_back_with_what_was_acknowledged(workers: Workers) -> None:
    async with workers.apart("room:7") as [(ada, _, one), (bob, _, _)]:
        await until_present(bob, "room:7", 2)
        children = Path(f"/proc/{workers.process.child.pid}/task/{workers.process.child.pid}/children").read_text()
        (engine,) = [
            int(each) for each in children.split() if b"engine_process" in Path(f"/proc/{each}/cmdline").read_bytes()
        ]
        await ada.get("said", channel="room:7", payload="kept")
        assert await said(bob) == "kept"
        os.kill(engine, signal.SIGKILL)
        async with asyncio.timeout(20):
            while (answer := await ada.ask("said", channel="room:7", payload="behind it"))["type"] == "$error":
                assert "unavailable" in json.dumps(answer)
                await asyncio.sleep(0.05)
        while await said(bob) != "behind it":
            pass
        await until_present(bob, "room:7", 2)
        assert await ada.get("pid") == one
        page = await bob.get("$history", channel="room:7", limit=2)
        assert [each["payload"] for each in page["publications"]] == ["kept", "behind it"]
    assert "The engine process has ended (killed by SIGKILL)" in workers.process.said


async def test_workers_are_replaced_one_after_the_other_and_nobody_is_lost(workers: Workers) -> None:
    async with workers.apart("room:8") as [(ada, greeting, one), (bob, _, other)]:
        workers.process.child.send_signal(signal.SIGHUP)
        for client in (ada, bob):
            assert await client.close_code() == 1012
        async with workers.client("user-0", resume=greeting["resume"], since=greeting["position"]) as (again, reply):
            assert reply["resumed"], (reply, workers.process.said)
            assert (reply["connection"], reply["recovered"]) == (greeting["connection"], True)
            assert await again.get("pid") not in (one, other)


async def test_a_drain_lets_everybody_go_and_keeps_what_was_said(tmp_path: Path) -> None:
    workers = Workers(tmp_path, "sqlite:chat.db", "--drain-handlers", "1")
    with workers.process:
        async with workers.apart("room:9") as [(ada, _, _), (bob, _, _)], workers.api() as http:
            await ada.get("said", channel="room:9", payload="last")
            await ada.say(type="hang", id=99)
            plan = (await http.get("/api/v1/drain")).json()
            assert plan["connections"] == 2
            begun = time.monotonic()
            answer = await http.post("/api/v1/drain", json={})
            assert answer.status_code == 202
            assert await bob.close_code() == 1012
            assert await ada.close_code() == 1012
        assert workers.process.wait(30) == 0
        assert time.monotonic() - begun < 15
    with sqlite3.connect(tmp_path / "chat.db") as store:
        assert store.execute("PRAGMA integrity_check").fetchone() == ("ok",)


# -- mistakes
