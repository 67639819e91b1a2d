"""Real nodes, processes on one Redis: what a client keeps when its node is killed, or told to stop."""

import asyncio
import json
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.clients import JsonClient, json_client
from tests.hosting.balancer import balancing
from tests.programs import NODE
from tests.redis_servers import RedisServer, redis_server
from tests.server import Process, openline

pytestmark = pytest.mark.redis

KEY = "a-key-of-the-test"


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


class Nodes:
    """Processes that are started, and ended by their ids."""

    def __init__(self, folder: Path, engine: str) -> None:
        self._folder = folder
        self._engine = engine
        self.processes: list[Process] = []

    def start(self) -> Process:
        port = ("--port", "0", "--engine", self._engine, "--cluster-key", "a secret that nodes share")
        process = openline(self._folder, "serve", "node:line", *port, environment={"OPENLINE_API_KEYS": KEY})
        self.processes.append(process)
        return process

    @property
    def gone(self) -> list[str]:
        """Who ended, by what all nodes have printed."""
        lines = [line for process in self.processes for line in process.said.splitlines()]
        return sorted(line.split(maxsplit=1)[1] for line in lines if line.startswith("gone "))


@pytest.fixture
def nodes(tmp_path: Path, server: RedisServer) -> Iterator[Nodes]:
    server.do("FLUSHALL")
    (tmp_path / "node.py").write_text(NODE)
    nodes = Nodes(tmp_path, server.url)
    try:
        yield nodes
    finally:
        for process in nodes.processes:
            process.__exit__()


async def ready(process: Process) -> str:
    """Where it listens, once the others know that it is there; several that start at once take their time."""
    for _ in range(4):
        with suppress(AssertionError):
            address = process.address()[0]
            break
    else:
        raise AssertionError(process.said)
    async with asyncio.timeout(30), httpx.AsyncClient(timeout=20) as http:
        while (await http.get(f"{address}/readyz")).status_code != 200:
            await asyncio.sleep(0.1)
    return address.replace("http", "ws", 1)


@asynccontextmanager
async def joined(process: Process, token: str = "ada") -> AsyncIterator[tuple[JsonClient, dict[str, Any]]]:
    async with json_client(await ready(process)) as client:
        greeting = await _connected(client, token=token)
        await client.get("$subscribe", channel="room", presence=True)
        yield client, greeting


async def _connected(client: JsonClient, **fields: Any) -> dict[str, Any]:
    greeting: dict[str, Any] = await client.get("$connect", **fields)
    return greeting


async def _present(client: JsonClient) -> int:
    return int((await client.get("$presence", channel="room"))["count"])


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
async def test_a_client_goes_on_at_another_node_when_its_own_ends(nodes: Nodes, end: signal.Signals) -> None:
    a, b = nodes.start(), nodes.start()
    async with joined(b, "bob") as (bob, _), joined(a) as (ada, greeting):
        assert await _present(bob) == 2
        a.end(end)
        await ada.close_code()
        await bob.get("said", channel="room", payload=1)
        async with json_client(await ready(b)) as again:
            # It has not received a single event: it knows the position of its greeting, and no other.
            reply = await _connected(again, token="ada", resume=greeting["resume"], since=greeting["position"])
            assert (reply["connection"], reply["resumed"], reply["recovered"]) == (greeting["connection"], True, True)
            assert reply["subscriptions"] == [{"channel": "room", "recovered": True}]
            assert (await again.push())["payload"] == 1
            assert await _present(bob) == 2
            assert nodes.gone == []
            await again.get("said", channel="room", payload=2)
            while (await bob.push())["type"] != "said":
                pass


async def test_a_user_is_sent_away_from_polls_and_tickets_of_every_node(nodes: Nodes) -> None:
    addresses = [(await ready(node)).replace("ws", "http", 1) for node in (nodes.start(), nodes.start())]
    auth = {"Authorization": "Bearer ada"}
    async with httpx.AsyncClient(timeout=40) as http:

        async def tickets() -> list[str]:
            return [(await http.post(f"{each}/ticket", headers=auth)).json()["ticket"] for each in addresses]

        async def opens(address: str, ticket: str) -> int:
            async with http.stream("GET", f"{address}/events?channel=room&ticket={ticket}") as stream:
                return stream.status_code

        for order in ({"user": "ada"}, {"user": "ada", "channel": "room"}):
            first = await http.get(f"{addresses[0]}/api/messages?channel=room", headers=auth)
            since = first.headers["openline-position"]
            url = f"{addresses[0]}/api/messages?channel=room&since={since}&wait=25"
            given = [*await tickets(), *await tickets()]
            async with asyncio.TaskGroup() as tasks:
                polling = tasks.create_task(http.get(url, headers=auth))
                name = "unsubscribe-user" if "channel" in order else "disconnect-user"
                backend = {"Authorization": f"Bearer {KEY}"}
                begun = time.monotonic()
                while not polling.done():
                    # Until it waits: nobody tells.
                    await asyncio.sleep(0.2)
                    ended = await http.post(f"{addresses[1]}/api/v1/{name}", json=order, headers=backend)
                    assert ended.json() == {"connections": 0}
            assert time.monotonic() - begun < 15
            answer = polling.result()
            assert (answer.json(), answer.headers["openline-position"]) == ([], since)
            assert [await opens(addresses[n % 2], each) for n, each in enumerate(given)] == [401] * 4
            for places in (addresses, addresses[::-1]):
                behind = zip(places, await tickets(), strict=True)
                assert [await opens(place, ticket) for place, ticket in behind] == [200, 200]


async def test_a_killed_node_s_clients_are_missed_within_ten_seconds(nodes: Nodes) -> None:
    a, b = nodes.start(), nodes.start()
    async with joined(b, "bob") as (bob, _), joined(a):
        assert await _present(bob) == 2
        bob.pushes.clear()
        a.end(signal.SIGKILL)
        killed = time.monotonic()
        async with asyncio.timeout(10):
            while await _present(bob) == 2:
                await asyncio.sleep(0.1)
        assert time.monotonic() - killed < 10
        assert [push["type"] for push in bob.pushes] == ["$left"]


async def test_a_node_that_was_frozen_past_its_lease_closes_its_own_lines_and_serves_again(nodes: Nodes) -> None:
    a, b = nodes.start(), nodes.start()
    async with joined(b, "bob") as (bob, _), joined(a) as (ada, greeting):
        a.child.send_signal(signal.SIGSTOP)
        await asyncio.sleep(7.5)
        await bob.get("said", channel="room", payload=1)
        a.child.send_signal(signal.SIGCONT)
        assert await ada.close_code() == 1012
        assert [push for push in ada.pushes if push["type"] == "said"] == []
        async with json_client(await ready(a)) as again:
            reply = await _connected(again, token="ada", resume=greeting["resume"], since=greeting["position"])
            assert (reply["connection"], reply["recovered"]) == (greeting["connection"], True)
            assert (await again.push())["payload"] == 1
            # Before it goes itself, which is an end like any other.
            assert nodes.gone == []


# -- behind a balancer that knows no stickiness


class Stock:
    """The stock Socket.IO client, a program of its own."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.seen: list[dict[str, Any]] = []

    def emit(self, *values: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(values).encode() + b"\n")

    async def until(self, key: str) -> dict[str, Any]:
        """What it sees next under ``key``."""
        assert self._process.stdout is not None
        async with asyncio.timeout(30):
            while True:
                line = await self._process.stdout.readline()
                assert line, self.seen
                self.seen.append(json.loads(line))
                if key in self.seen[-1]:
                    return self.seen[-1]

    @property
    def said(self) -> list[int]:
        return [each["values"][0] for each in self.seen if each.get("event") == "said"]


@asynccontextmanager
async def stock(url: str, transports: str) -> AsyncIterator[Stock]:
    script = Path(__file__).with_name("nodes.mjs")
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec("node", str(script), url, transports, stdin=pipe, stdout=pipe)
    try:
        yield Stock(process)
    finally:
        process.kill()
        await process.communicate()


@pytest.mark.parametrize("transports", ["polling", "polling,websocket"])
async def test_the_stock_client_needs_no_stickiness_and_recovers_at_another_node(nodes: Nodes, transports: str) -> None:
    processes = [nodes.start(), nodes.start()]
    for each in processes:
        await ready(each)
    async with balancing([each.address()[1] for each in processes]) as balancer, stock(balancer.url, transports) as me:
        greeting = await me.until("connect")
        if "websocket" in transports:
            while not any("upgraded" in each for each in me.seen):
                await me.until("upgraded")
        me.emit("join", "room")
        assert (await me.until("answer"))["answer"] == ["joined"]
        for number in range(10):
            me.emit("say", "room", number)
            await me.until("event")
        assert me.said == list(range(10))
        me.emit("whence")
        assert (await me.until("answer"))["answer"] == ["127.0.0.1"]
        # Whichever node its session is at, it goes on at the other.
        me.emit("where")
        (pid,) = (await me.until("answer"))["answer"]
        owner = next(each for each in processes if each.child.pid == pid)
        other = processes[1 - processes.index(owner)]
        async with joined(other, "bob") as (bob, _):
            owner.end(signal.SIGKILL)
            await bob.get("said", channel="room", payload=10)
            back = await me.until("connect")
            assert back == {"connect": greeting["connect"], "recovered": True}
            await bob.get("said", channel="room", payload=11)
            while len(me.said) < 12:
                await me.until("event")
        assert me.said == list(range(12))
        assert not [who for who in nodes.gone if who.startswith(greeting["connect"])]
