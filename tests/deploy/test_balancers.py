"""nginx and HAProxy in front of three nodes, with the very files of ``deploy/``: every door, over TLS."""

import asyncio
import signal
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.exceptions import InvalidStatus

from tests.clients import JsonClient, opened
from tests.deploy.haproxy import HaProxy
from tests.docs.nginx import Nginx
from tests.http_doors.rig import PATIENCE, Source, problem
from tests.server import Process, openline, own_port

pytestmark = [pytest.mark.server, pytest.mark.nginx, pytest.mark.haproxy]
DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
PAGE = {"host": "chat.example.com", "origin": "https://chat.example.com"}
PROGRAM = """
import os

from openline import Openline, User

line = Openline()
line.channel("chat:*", history=100, public=True)


@line.authenticate
def who(token, request):
    return User(f"{request.client} {request.scheme} {request.host}")


@line.on("node")
def node(connection):
    return int(os.environ["PORT"])


@line.on("hang")
async def hang(connection):
    await connection.ask("go on", timeout=100)
"""


class Nodes:
    """Three of them, each at its own port, behind both balancers."""

    def __init__(self, folder: Path) -> None:
        (folder / "program.py").write_text(PROGRAM)
        self.folder = folder
        self.ports = [own_port() for _ in range(3)]
        self.processes = [self.start(port) for port in self.ports]
        for process in self.processes:
            process.address()

    def start(self, port: int) -> Process:
        told = {
            "PORT": str(port),
            "OPENLINE_TRUST_PROXY": "127.0.0.1",
            "OPENLINE_ALLOW_HOST": "chat.example.com www.example.com",
        }
        return openline(self.folder, "serve", "program:line", environment=told)

    @property
    def places(self) -> dict[str, str]:
        return {f"127.0.0.1:800{n}": f"127.0.0.1:{port}" for n, port in enumerate(self.ports, start=1)}


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    nodes = Nodes(tmp_path_factory.mktemp("nodes"))
    yield nodes
    for process in nodes.processes:
        with process:
            pass


class Behind:
    """The nodes, as a page of chat.example.com reaches them."""

    def __init__(self, nodes: Nodes, balancer: Nginx | HaProxy) -> None:
        self.nodes = nodes
        self.port = balancer.port
        self.trust = ssl.create_default_context(cafile=str(balancer.certificate))

    def http(self, **headers: str) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            base_url=f"https://localhost:{self.port}",
            verify=self.trust,
            trust_env=False,
            timeout=PATIENCE,
            headers={**PAGE, **headers},
        )

    @asynccontextmanager
    async def line(self, origin: str = PAGE["origin"], host: str = PAGE["host"], **headers: str) -> AsyncIterator[Any]:
        there = {"host": "localhost", "port": self.port, "ssl": self.trust, "server_hostname": "localhost"}
        url = f"wss://{host}/openline"
        async with opened(url, origin=origin, additional_headers=headers, **there) as socket:
            yield JsonClient(socket)

    async def node(self) -> int:
        async with self.line() as client:
            return int(await client.get("node"))


@pytest.fixture(scope="module", params=["nginx", "haproxy"])
def behind(nodes: Nodes, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Behind]:
    folder = tmp_path_factory.mktemp(request.param)
    balancer: Nginx | HaProxy
    if request.param == "nginx":
        balancer = Nginx(folder, (DEPLOY / "nginx.conf").read_text(), nodes.places)
    else:
        balancer = HaProxy(folder, (DEPLOY / "haproxy.cfg").read_text(), nodes.places)
    with balancer:
        yield Behind(nodes, balancer)


async def test_pages_of_the_site_come_in_and_the_nodes_share_them(behind: Behind) -> None:
    found = [await behind.node() for _ in range(9)]
    assert set(found) == set(behind.nodes.ports)


async def test_the_application_sees_the_client_its_scheme_and_the_host_and_no_forged_ones(behind: Behind) -> None:
    forged = {"X-Forwarded-For": "6.6.6.6", "X-Forwarded-Proto": "http", "X-Forwarded-Host": "evil.example"}
    async with behind.line(**forged) as client:
        # 127.0.0.1 is both the balancer and the client here; so the hop before is taken, which the client has said.
        assert (await client.get("$connect"))["user"] == "6.6.6.6 https chat.example.com"
    async with behind.line() as client:
        assert (await client.get("$connect"))["user"] == "127.0.0.1 https chat.example.com"


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("https://evil.example", "chat.example.com"),
        ("http://chat.example.com", "chat.example.com"),
        ("https://chat.example.com", "www.example.com"),
        ("https://evil.example", "evil.example"),
    ],
)
async def test_pages_of_other_sites_and_names_that_are_not_ours_are_refused(
    behind: Behind, origin: str, host: str
) -> None:
    with pytest.raises(InvalidStatus, match="403"):
        async with behind.line(origin, host):
            pass
    async with behind.http(origin=origin, host=host) as client:
        assert problem(await client.get("/api/messages?channel=chat:1")) == (403, "forbidden")


async def test_an_event_stream_comes_at_once(behind: Behind) -> None:
    async with behind.http() as client, client.stream("GET", "/events?channel=chat:1") as response:
        assert response.status_code == 200
        events = Source(response)
        await events.until(lambda: events.reader.last_id)


async def test_a_poll_waits_and_is_answered(behind: Behind) -> None:
    async with behind.http() as client:
        polled = await client.get("/api/messages?channel=chat:9&wait=0.5")
        assert (polled.status_code, polled.json()) == (200, [])


async def test_a_node_that_drains_gets_nobody_and_nobody_notices(behind: Behind) -> None:
    nodes = behind.nodes
    async with behind.line() as busy:
        port = int(await busy.get("node"))
        await busy.say(type="hang", id=9)
        asked = await busy.push()
        place = nodes.ports.index(port)
        nodes.processes[place].child.send_signal(signal.SIGTERM)
        async with httpx.AsyncClient(trust_env=False) as client, asyncio.timeout(PATIENCE):
            while (await client.get(f"http://127.0.0.1:{port}/readyz")).status_code != 503:
                await asyncio.sleep(0.01)
        # It still runs, for the one handler; newcomers find the others at once.
        assert port not in [await behind.node() for _ in range(6)]
        await busy.say(type="$reply", id=asked["id"])
        assert await busy.close_code() == 1012
    assert await asyncio.to_thread(nodes.processes[place].wait) == 0
    assert port not in [await behind.node() for _ in range(6)]
    nodes.processes[place] = nodes.start(port)
    await asyncio.to_thread(nodes.processes[place].address)
    async with asyncio.timeout(20):
        while await behind.node() != port:
            await asyncio.sleep(0.1)


def assert_told_to_come_back(answer: httpx.Response, origin: str | None) -> None:
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers.get("access-control-allow-origin") == origin


async def test_where_no_node_is_there_an_event_stream_is_told_to_come_back(behind: Behind) -> None:
    nodes = behind.nodes
    for process in nodes.processes:
        assert await asyncio.to_thread(process.end) == 0
    try:
        async with behind.http() as client, asyncio.timeout(20):
            # Whoever asks before the balancer has noticed gets 200 as well, with an empty stream of its own words.
            while (answer := await client.get("/events?channel=chat:1")).text != "retry: 2000\n\n":
                assert "data" not in answer.text
                assert_told_to_come_back(answer, PAGE["origin"])
                await asyncio.sleep(0.1)
            assert_told_to_come_back(answer, PAGE["origin"])
            del client.headers["origin"]
            assert_told_to_come_back(await client.get("/events?channel=chat:1"), None)
            assert (await client.get("/api/messages?channel=chat:1")).status_code in (502, 503)
    finally:
        nodes.processes[:] = [nodes.start(port) for port in nodes.ports]
        for process in nodes.processes:
            await asyncio.to_thread(process.address)
