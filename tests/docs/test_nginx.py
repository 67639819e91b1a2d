"""Every door works behind nginx, configured as the page about serving says, and survives restarts of the server."""

import asyncio
import os
import signal
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.clients import JsonClient, opened
from tests.docs.nginx import Nginx
from tests.http_doors.lines import PollClient, StreamClient
from tests.http_doors.restarts import Publisher, Restarting
from tests.http_doors.rig import PATIENCE, Source, problem
from tests.http_doors.test_event_source_package import SCRIPT, numbers, said, wait

pytestmark = [pytest.mark.server, pytest.mark.nginx]
PAGE = {"host": "chat.example.com", "origin": "https://chat.example.com"}


class Behind:
    def __init__(self, server: Restarting, nginx: Nginx) -> None:
        self.server = server
        self.nginx = nginx
        self.url = f"https://localhost:{nginx.port}"
        self.trust = ssl.create_default_context(cafile=str(nginx.certificate))

    def client(self) -> httpx.AsyncClient:
        """A page of chat.example.com."""
        return httpx.AsyncClient(
            base_url=self.url, verify=self.trust, trust_env=False, timeout=PATIENCE, headers=PAGE, http1=True
        )


@pytest.fixture
def behind(tmp_path: Path) -> Iterator[Behind]:
    with (
        Restarting(tmp_path, "--trust-proxy", "127.0.0.1", "--allow-host", "chat.example.com") as server,
        Nginx.of_the_page(tmp_path, server.port) as nginx,
    ):
        yield Behind(server, nginx)


async def test_a_websocket_of_the_sites_own_page_passes(behind: Behind) -> None:
    there = {"host": "localhost", "port": behind.nginx.port, "ssl": behind.trust, "server_hostname": "localhost"}
    async with opened("wss://chat.example.com/openline", origin=PAGE["origin"], **there) as socket:
        client = JsonClient(socket)
        await client.get("$subscribe", channel="chat:1")
        await client.get("n", channel="chat:1", payload=1)
        assert (await client.push())["payload"] == 1


async def test_an_event_stream_comes_at_once_and_nothing_is_held_back(behind: Behind) -> None:
    async with behind.client() as client, client.stream("GET", "/events?channel=chat:1") as response:
        assert response.status_code == 200
        assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
        events = Source(response)
        await events.until(lambda: events.reader.last_id)
        for n in range(3):
            done = await client.post("/api/messages", json={"channel": "chat:1", "type": "n", "payload": n})
            assert done.status_code == 200
            assert await events.payloads(1) == [n]


async def test_pages_from_elsewhere_are_refused(behind: Behind) -> None:
    async with behind.client() as client:
        for path in ("/events?channel=chat:1", "/api/messages?channel=chat:1", "/openline/poll"):
            assert problem(await client.get(path, headers={"origin": "https://evil.example"})) == (403, "forbidden")


async def test_polls_short_and_long_pass(behind: Behind) -> None:
    async with behind.client() as client:
        url = "/api/messages?channel=chat:1"
        since = (await client.get(url)).headers["openline-position"]
        async with asyncio.TaskGroup() as tasks:
            waiting = tasks.create_task(client.get(f"{url}&since={since}&wait=4"))
            await client.post("/api/messages", json={"channel": "chat:1", "type": "n", "payload": 1})
        for polled in (waiting.result(), await client.get(f"{url}&since={since}")):
            assert [message["payload"] for message in polled.json()] == [1]
        etag = polled.headers["etag"]
        assert (await client.get(f"{url}&since={since}", headers={"if-none-match": etag})).status_code == 304


@pytest.mark.parametrize("kind", [StreamClient, PollClient])
async def test_a_whole_connection_over_http_passes(behind: Behind, kind: Any) -> None:
    async with behind.client() as client:
        if kind is PollClient:
            await talk(PollClient(client))
        else:
            async with client.stream("GET", "/openline/events") as response:
                await talk(StreamClient(client, Source(response)))


async def talk(line: StreamClient | PollClient) -> None:
    while not line.token:
        await line.listen()
    await line.get("$connect")
    await line.get("$subscribe", channel="chat:1")
    for n in range(3):
        await line.get("n", channel="chat:1", payload=n)
        assert (await line.push())["payload"] == n


def test_event_source_loses_nothing_while_the_server_is_restarted_behind_nginx(behind: Behind, tmp_path: Path) -> None:
    log = tmp_path / "events.txt"
    with log.open("wb") as output:
        node = subprocess.Popen(
            ["node", str(SCRIPT), f"{behind.url}/events?channel=chat:1"],
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "NODE_EXTRA_CA_CERTS": str(behind.nginx.certificate)},
        )
        try:
            deadline = time.monotonic() + 60
            while not said(log):
                assert time.monotonic() < deadline
                time.sleep(0.01)
            with Publisher(behind.server.url) as publisher:
                for how in (signal.SIGTERM, signal.SIGKILL):
                    wait(log, len(numbers(log)) + 20)
                    behind.server.restart(how)
                    publisher.until(publisher.count + 20)
            wait(log, publisher.count)
        finally:
            node.kill()
            node.wait()
    assert numbers(log) == list(range(publisher.count))
