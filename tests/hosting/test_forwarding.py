"""A request that lands on the wrong node: it is served by the right one, as if it had come there."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import httpx
import pytest
from tests.clients import opened
from tests.redis_servers import RedisServer, redis_server
from tests.server import Served, serving, until
from websockets.exceptions import InvalidStatus

from openline import Openline, Settings
from openline.transports.vouching import Vouched, Vouching

pytestmark = pytest.mark.redis

KEY = "a secret that nodes share"


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


class Pair(NamedTuple):
    """Two nodes in this loop, and a client of theirs."""

    line: Openline
    a: Served
    b: Served
    http: httpx.AsyncClient

    async def handshake(self) -> str:
        """A session at the first; the path and query that name it."""
        answer = await self.http.get(f"{self.a.http}/socket.io/?EIO=4&transport=polling")
        sid = json.loads(answer.text[1:])["sid"]
        assert sid.startswith(self.line.running.hub.mark)
        return f"/socket.io/?EIO=4&sid={sid}&transport="


def make(engine: str) -> Openline:
    line = Openline(settings=Settings(engine=engine, cluster_key=KEY))
    line.channel("room", history=100, public=True)
    line.of("/").on("echo")(lambda socket, value: value)
    return line


@asynccontextmanager
async def two_nodes(server: RedisServer) -> AsyncIterator[Pair]:
    server.do("FLUSHALL")
    first, second = make(server.url), make(server.url)
    async with (
        serving(first) as a,
        serving(second) as b,
        httpx.AsyncClient(timeout=30) as http,
    ):
        for line, served in ((first, a), (second, b)):
            line.listens(served.http)
        clusters = [line.running.hub.cluster for line in (first, second)]
        addresses = {a.http, b.http}
        await until(lambda: all(each is not None and set(each.nodes.values()) == addresses for each in clusters))
        yield Pair(first, a, b, http)


async def test_a_session_is_polled_and_posted_to_at_either_node(server: RedisServer) -> None:
    async with two_nodes(server) as pair:
        session = await pair.handshake()
        here, there = f"{pair.a.http}{session}polling", f"{pair.b.http}{session}polling"
        async with asyncio.TaskGroup() as tasks:
            waiting = tasks.create_task(pair.http.get(there))
            assert (await pair.http.post(there, content="40")).text == "ok"
        assert waiting.result().text.startswith('40{"sid":')
        await pair.http.post(here, content='421["echo","déjà"]')
        assert (await pair.http.get(there)).text == '431["déjà"]'
        assert (await pair.http.put(there)).status_code == 400
        # The node that has the session answers before it has read all, or any, of this.
        assert (await pair.http.post(there, content="4" + "x" * 2_000_000)).status_code in (400, 413)


@pytest.mark.parametrize("mark", ["1", ""])
async def test_whose_marks_repeat_loses_nothing_at_whatever_node(server: RedisServer, mark: str) -> None:
    async with two_nodes(server) as pair:
        session = await pair.handshake()
        here, there = (f"{node.http}{session}polling&t={mark}" for node in (pair.a, pair.b))
        await pair.http.post(there, content="40")
        await pair.http.get(there)
        told: list[str] = []
        for number, way in enumerate((there, there, here, there, here, here, there, there)):
            assert (await pair.http.post(way, content=f'42{number}["echo",1]')).text == "ok"
            told.append((await pair.http.get(way, timeout=5)).text)
        assert told == [f"43{number}[1]" for number in range(8)]


def passed_on(method: str, url: str, *, key: str = KEY) -> dict[str, str]:
    """The headers of a node that has passed the request on, and is no more."""
    asked = urlsplit(url)
    voucher = Vouching(key).write(method, asked.path, asked.query, Vouched("127.0.0.1", secure=False))
    return {"openline-forwarded": voucher, "openline-passage": "0badc0de.7"}


async def test_an_answer_that_a_node_had_when_it_was_killed_is_given_once_more_and_one_more_time_only(
    server: RedisServer,
) -> None:
    async with two_nodes(server) as pair:
        session = await pair.handshake()
        here, there = (f"{node.http}{session}polling&t=1" for node in (pair.a, pair.b))
        await pair.http.post(here, content="40")
        await pair.http.get(here)
        await pair.http.post(here, content='421["echo",1]')
        assert (await pair.http.get(here, headers=passed_on("GET", here))).text == "431[1]"
        await pair.http.post(here, content='422["echo",2]')
        # The balancer asks once more, at a node that lives.
        assert (await pair.http.get(there)).text == "431[1]"
        assert (await pair.http.get(there)).text == "432[2]"
        # What was posted is not taken twice; other bytes, or another mark, are something else.
        for content, mark, dead in (("3", 1, True), ("3", 1, False), ("4", 1, False), ("3", 2, True), ("3", 3, False)):
            way = f"{pair.a.http}{session}polling&t={mark}"
            headers = passed_on("POST", way) if dead else {}
            body = f'42{content}["echo",{mark}]'
            assert (await pair.http.post(way, content=body, headers=headers)).text == "ok"
        assert (await pair.http.get(here)).text.split("\x1e") == ["433[1]", "434[1]", "433[2]", "433[3]"]


async def test_who_only_says_that_a_node_has_passed_it_on_is_not_believed(server: RedisServer) -> None:
    async with two_nodes(server) as pair:
        session = await pair.handshake()
        here = f"{pair.a.http}{session}polling&t=1"
        await pair.http.post(here, content="40")
        await pair.http.get(here)
        forged = passed_on("GET", here, key="another key")
        for number in ("7", "9" * 40):
            forged["openline-passage"] = f"{pair.line.running.hub.mark}{number}"
            await pair.http.post(here, content=f'42{number[0]}["echo",{number[0]}]')
            assert (await pair.http.get(here, headers=forged)).text == f"43{number[0]}[{number[0]}]"


async def test_a_node_says_whether_an_answer_that_it_passed_on_got_to_its_client(server: RedisServer) -> None:
    async with two_nodes(server) as pair:
        await pair.handshake()
        forwarding, cluster = pair.line.doors.forwarding, pair.line.running.hub.cluster
        assert forwarding is not None
        assert cluster is not None
        passages = forwarding.passages
        through, lost = passages.begin(), passages.begin()
        passages.through(through)
        passages.end(through)
        passages.end(lost)
        for passage, expected in ((through, False), (lost, True)):
            assert await passages.got_lost(passages.header(passage).decode()) is expected
        for nonsense in ("", "7", ".7", f"{cluster.node}.x", f"{cluster.node}.-1"):
            assert not await passages.got_lost(nonsense)


async def test_a_session_is_upgraded_through_the_other_node(server: RedisServer) -> None:
    async with two_nodes(server) as pair:
        session = await pair.handshake()
        await pair.http.post(f"{pair.a.http}{session}polling", content="40")
        await pair.http.get(f"{pair.a.http}{session}polling")
        async with opened(f"{pair.b.ws}{session}websocket") as socket:
            await socket.send("2probe")
            assert await socket.recv() == "3probe"
            await socket.send("5")
            large = "x" * 200_000
            await socket.send(f'421["echo","{large}"]')
            assert await socket.recv() == f'431["{large}"]'
        await until(lambda: not pair.line.doors.socketio.engine.sessions)


async def test_a_line_over_http_is_polled_and_posted_to_at_either_node(server: RedisServer) -> None:
    async with two_nodes(server) as pair:
        opening = await pair.http.get(f"{pair.a.http}/openline/poll")
        headers = {"openline-line": opening.json()[0]["token"]}
        said = {"type": "$connect", "id": 1}
        assert (await pair.http.post(f"{pair.b.http}/openline", json=said, headers=headers)).status_code == 204
        answer = await pair.http.get(f"{pair.b.http}/openline/poll?after=1", headers=headers)
        assert (answer.json()[0]["id"], answer.headers["openline-batch"]) == (1, "2")
        assert (await pair.http.delete(f"{pair.b.http}/openline", headers=headers)).status_code == 204
        await until(lambda: not pair.line.connections)


async def test_a_poll_that_its_client_gives_up_is_given_up_at_the_other_node(server: RedisServer) -> None:
    async with two_nodes(server) as pair:
        session = await pair.handshake()
        with pytest.raises(httpx.ReadTimeout):
            await pair.http.get(f"{pair.b.http}{session}polling", timeout=0.5)
        await until(lambda: not pair.line.doors.socketio.engine.sessions)


async def test_the_session_of_a_node_that_is_no_more_is_unknown(server: RedisServer) -> None:
    async with two_nodes(server) as pair:
        session = await pair.handshake()
        gone = session.replace(pair.line.running.hub.mark, "0badc0de.")
        answer = await pair.http.get(f"{pair.b.http}{gone}polling")
        assert answer.json() == {"code": 1, "message": "Session ID unknown"}
        with pytest.raises(InvalidStatus):
            async with opened(f"{pair.b.ws}{gone}websocket"):
                pass


async def test_who_says_that_a_request_was_forwarded_is_not_believed_and_not_forwarded(server: RedisServer) -> None:
    async with two_nodes(server) as pair:
        session = await pair.handshake()
        forged: dict[str, Any] = {"openline-forwarded": "1000 plain 10.0.0.1 00"}
        answer = await pair.http.get(f"{pair.b.http}{session}polling", headers=forged)
        assert answer.json() == {"code": 1, "message": "Session ID unknown"}


#: What stands between the method and the body of a request for a session, by whether the node that has it is reached.
ODD = {
    "POST {} HTTP/1.1\r\nHost: 127.0.0.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n40": b" 200 ",
    "POST {} HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n40\r\n0\r\n\r\n": b" 200 ",
    "DELETE {} HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n40\r\n0\r\n\r\n": b" 400 ",
    "POST {} HTTP/1.0\r\nContent-Length: 2\r\n\r\n40": b" 403 ",
    "POST {} HTTP/1.1\r\nContent-Length: 2\r\n\r\n40": b" 403 ",
    "POST {} HTTP/1.1\r\nHost: 127.0.0.1\r\nHost: 127.0.0.1\r\nContent-Length: 2\r\n\r\n40": b" 400 ",
}


async def test_an_odd_request_is_answered_at_either_node_as_at_the_other(
    server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    async with two_nodes(server) as pair:
        for node in (pair.a, pair.b):
            for text, status in ODD.items():
                path = await pair.handshake()
                said = text.format(f"{path}polling").replace("\r\n", "\r\nConnection: close\r\n", 1)
                reader, writer = await asyncio.open_connection("127.0.0.1", node.port)
                writer.write(said.encode())
                answer = (await reader.read()).removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n")
                writer.close()
                assert status in answer[:14], (text, answer)
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


async def test_a_node_that_ends_in_the_middle_of_its_answer_ends_that_answer_and_nothing_else(
    server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n0123456789")
        await writer.drain()
        writer.close()

    async with two_nodes(server) as pair, await asyncio.start_server(answer, "127.0.0.1", 0) as dying:
        cluster = pair.line.running.hub.cluster
        assert cluster is not None
        address = f"http://127.0.0.1:{dying.sockets[0].getsockname()[1]}"
        cluster.nodes = {**cluster.nodes, "0badc0de": address}
        with pytest.raises(httpx.RemoteProtocolError):
            await pair.http.get(f"{pair.a.http}/socket.io/?EIO=4&sid=0badc0de.x&transport=polling")
    assert not any(record.exc_info for record in caplog.records)
