"""An event stream while its client is judged, and what happens meanwhile."""

import asyncio
from pathlib import Path

import pytest

from openline import Connection, Openline, User
from tests.clients import json_client
from tests.http_doors.rig import HOSTINGS, Hosting, problem, source, web
from tests.http_doors.test_event_streams import application
from tests.server import make_certificate, serving, until

hostings = pytest.mark.parametrize("hosting", HOSTINGS)


def judging(line: Openline) -> tuple[asyncio.Event, asyncio.Event]:
    """Have the second client that comes put into chat:room, while it is judged; set by it, and by who lets it go on."""
    asked, go_on = asyncio.Event(), asyncio.Event()

    @line.on_connect
    async def judge(connection: Connection) -> None:
        if len(line.connections) > 1 or asked.is_set():
            asked.set()
            await go_on.wait()
            await connection.subscribe("chat:room")
            line.publish("chat:room", "joined", 1)

    return asked, go_on


@hostings
async def test_what_is_told_while_a_client_is_judged_comes_behind_the_head(hosting: Hosting) -> None:
    line = application()
    asked, go_on = judging(line)
    async with hosting(line) as served, json_client(served.ws) as other, asyncio.TaskGroup() as tasks:
        await other.get("$subscribe", channel="chat:room")
        tasks.create_task(asked.wait()).add_done_callback(lambda _: go_on.set())
        async with source(served, "channel=chat:1") as events:
            assert events.response.status_code == 200
            assert [(await events.push())["type"] for _ in range(2)] == ["$subscribed", "joined"]


@hostings
async def test_nothing_is_written_to_the_number_of_a_client_that_goes_while_it_is_judged(hosting: Hosting) -> None:
    line = application()
    asked, go_on = judging(line)
    async with hosting(line) as served, json_client(served.ws) as other:
        await other.get("$subscribe", channel="chat:room")
        _, goes = await asyncio.open_connection(*served.http.removeprefix("http://").split(":"))
        goes.write(b"GET /events?channel=chat:1 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await asked.wait()
        known = len(served.connections)
        goes.transport.abort()
        await until(lambda: len(served.connections) < known)
        reader, newcomer = await asyncio.open_connection(*served.http.removeprefix("http://").split(":"))
        await until(lambda: len(served.connections) == known)
        go_on.set()
        assert (await other.push())["type"] == "joined"
        newcomer.write_eof()
        assert await reader.read() == b""
        newcomer.close()


@hostings
async def test_a_stream_that_is_ended_as_soon_as_it_was_judged_ends(hosting: Hosting) -> None:
    line = application()
    line.authenticate(lambda token, request: User("ada"))

    @line.on_connect
    async def come(connection: Connection) -> None:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(0)
        # In the turn behind the one in which this handler is done.
        loop.call_soon(loop.call_soon, line.disconnect_user, "ada")

    async with hosting(line) as served, web(served) as client, asyncio.timeout(20):
        answer = await client.get("/events?channel=chat:1", headers={"authorization": "Bearer ada"})
        assert answer.status_code in (200, 403)
        await until(lambda: not line.connections)


async def test_a_stream_that_is_refused_over_tls_is_told_so(tmp_path: Path) -> None:
    certificate, key = make_certificate(tmp_path)
    tls = {"ssl_certfile": str(certificate), "ssl_keyfile": str(key)}
    async with serving(application(), **tls) as served, web(served) as client, asyncio.timeout(20):
        assert problem(await client.get("/events?channel=closed:1")) == (403, "forbidden")
