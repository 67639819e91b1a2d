"""Who is sent away, or taken out of a channel, hears nothing more of it: whatever it had come over, or was to come."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from openline import Openline, User
from tests.clients import json_client
from tests.http_doors.lines import LineGoneError, PollClient, StreamClient, polled, streamed
from tests.http_doors.rig import Source, natively, problem, source, web
from tests.server import Served, until

KEY = "a-key-of-the-application"
ADA = {"authorization": "Bearer ada"}
BOB = {"authorization": "Bearer bob"}
CHAT = "/api/messages?channel=chat:1"

#: One way of sending ada away, or of taking her out of chat:1.
Order = Callable[[Openline, httpx.AsyncClient], Awaitable[object]]


async def _over_http(client: httpx.AsyncClient, name: str, **said: str) -> None:
    headers = {"authorization": f"Bearer {KEY}"}
    answer = await client.post(f"/api/v1/{name}", json={"user": "ada", **said}, headers=headers)
    assert answer.status_code == 200


async def by_a_backend(line: Openline, client: httpx.AsyncClient) -> None:
    await _over_http(client, "disconnect-user")


async def by_itself(line: Openline, client: httpx.AsyncClient) -> None:
    assert await line.disconnect_user("ada") >= 0


async def out_of_the_channel(line: Openline, client: httpx.AsyncClient) -> None:
    await _over_http(client, "unsubscribe-user", channel="chat:1")


async def out_of_another(line: Openline, client: httpx.AsyncClient) -> None:
    await _over_http(client, "unsubscribe-user", channel="chat:2")


orders = pytest.mark.parametrize("order", [by_a_backend, by_itself, out_of_the_channel])


class Application:
    """``revoked``: ada is let in no more; ``asked`` and ``pause``: authenticate is on its way, and waits."""

    def __init__(self) -> None:
        self.line = Openline(api_keys=[KEY], anonymous=True)
        self.line.channel("chat:*", history=100, public=True)
        self.line.channel("slow:*", history=100, subscribe=self._slowly, see_history=True)
        self.line.authenticate(self._who)
        self.revoked = False
        self.asked = asyncio.Event()
        self.pause = asyncio.Event()
        self.pause.set()

    async def _who(self, token: str | None, request: object) -> User | None:
        verdict = User(token) if token and not (self.revoked and token == "ada") else None
        self.asked.set()
        await self.pause.wait()
        return verdict

    async def _slowly(self, connection: object, name: str) -> bool:
        self.asked.set()
        await self.pause.wait()
        return True

    def hold(self) -> None:
        self.asked.clear()
        self.pause.clear()


async def ticket(client: httpx.AsyncClient, headers: dict[str, str] = ADA) -> str:
    return (await client.post("/ticket", headers=headers)).json()["ticket"]


async def opened(served: Served, text: str) -> int:
    async with source(served, f"channel=chat:1&ticket={text}") as events:
        return events.response.status_code


@asynccontextmanager
async def over_http(served: Served) -> AsyncIterator[tuple[Source, PollClient, StreamClient]]:
    """An event stream, and two lines over HTTP, of ada, in chat:1 and chat:2."""
    async with (
        source(served, "channel=chat:1&channel=chat:2", authorization="Bearer ada") as events,
        polled(served) as poll,
        streamed(served) as stream,
    ):
        for each in (poll, stream):
            await each.get("$connect", token="ada")
            for channel in ("chat:1", "chat:2"):
                await each.get("$subscribe", channel=channel)
        await events.until(lambda: events.reader.last_id)
        yield events, poll, stream


@orders
async def test_a_poll_that_waits_ends_at_once_and_the_next_is_judged_anew(order: Order) -> None:
    app = Application()
    line = app.line
    async with natively(line) as served, web(served) as client:
        line.publish("chat:1", "n", "before")
        since = (await client.get(CHAT, headers=ADA)).headers["openline-position"]
        async with asyncio.TaskGroup() as tasks:
            ada, bob, nobody = (
                tasks.create_task(client.get(f"{CHAT}&since={since}&wait=25", headers=headers))
                for headers in (ADA, BOB, {})
            )
            await until(lambda: len(line.running.doors.waiting) == 3)
            app.revoked = True
            await order(line, client)
            line.publish("chat:1", "n", "secret")
            answers = [await ada, await bob, await nobody]
        assert [[each["payload"] for each in answer.json()] for answer in answers] == [[], ["secret"], ["secret"]]
        assert answers[0].headers["openline-position"] == since
        assert (await client.get(f"{CHAT}&since={since}&wait=25", headers=ADA)).status_code == 401
        assert line.running.hub.revocations._watching == {}
        assert not line.running.doors.waiting
        assert line.running.hub.membership._channels == {}


async def test_a_poll_that_began_nowhere_begins_there_again() -> None:
    line = Application().line
    async with natively(line) as served, web(served) as client, asyncio.TaskGroup() as tasks:
        ada = tasks.create_task(client.get(f"{CHAT}&wait=25", headers=ADA))
        await until(lambda: line.running.doors.waiting)
        await line.disconnect_user("ada")
        line.publish("chat:1", "n", "secret")
        answer = await ada
        assert (answer.json(), answer.headers["openline-position"]) == ([], "0")


async def test_a_poll_elsewhere_goes_on_waiting() -> None:
    line = Application().line
    async with natively(line) as served, web(served) as client, asyncio.TaskGroup() as tasks:
        ada = tasks.create_task(client.get(f"{CHAT}&wait=25", headers=ADA))
        await until(lambda: line.running.doors.waiting)
        await out_of_another(line, client)
        line.publish("chat:1", "n", 1)
        assert [each["payload"] for each in (await ada).json()] == [1]


@orders
async def test_tickets_from_before_are_good_no_more(order: Order) -> None:
    line = Application().line
    async with natively(line) as served, web(served) as client:
        before, other = await ticket(client), await ticket(client, BOB)
        await order(line, client)
        behind = await ticket(client)
        assert [await opened(served, each) for each in (before, other, behind)] == [401, 200, 200]


async def test_who_is_sent_away_while_it_is_asked_for_does_not_come_in() -> None:
    app = Application()
    line = app.line
    connects: list[Any] = []
    line.on_connect(connects.append)
    line.on_disconnect(lambda connection, reason: connects.append(reason))
    async with natively(line) as served, web(served) as client, json_client(served.ws) as socket:
        app.hold()
        requests: list[Callable[[], Awaitable[Any]]] = [
            lambda: client.get(f"{CHAT}&wait=25", headers=ADA),
            lambda: client.post("/ticket", headers=ADA),
            lambda: client.get("/events?channel=chat:1", headers=ADA),
            lambda: client.get("/events?channel=slow:1", headers=ADA),
            lambda: socket.say(type="$connect", id=1, token="ada"),
        ]
        async with asyncio.TaskGroup() as tasks:
            going = []
            for request in requests:
                app.asked.clear()
                going.append(tasks.create_task(request()))
                await app.asked.wait()
            await line.disconnect_user("ada")
            line.publish("chat:1", "n", "secret")
            app.pause.set()
            poll, got, stream, slow = [await each for each in going[:4]]
        assert poll.json() == []
        assert problem(got) == (401, "unauthorized")
        assert problem(stream) == problem(slow) == (403, "forbidden")
        assert await socket.close_code() == 4410
        assert (connects, line.connections) == ([], ())


async def test_who_is_taken_out_while_a_rule_is_asked_does_not_come_into_the_channel() -> None:
    app = Application()
    line = app.line
    async with natively(line) as served, web(served) as client, json_client(served.ws) as socket:
        await socket.get("$connect", token="ada")
        app.hold()
        async with asyncio.TaskGroup() as tasks:
            joining = tasks.create_task(socket.ask("$subscribe", channel="slow:1"))
            await app.asked.wait()
            await _over_http(client, "unsubscribe-user", channel="slow:1")
            app.pause.set()
            assert (await joining)["code"] == "forbidden"
        assert await socket.get("$subscribe", channel="slow:1")


async def test_a_stream_begins_without_the_channels_that_its_user_is_taken_out_of_meanwhile() -> None:
    line = Application().line
    async with natively(line) as served, web(served) as client:

        @line.on_connect
        async def come(connection: object) -> None:
            await out_of_the_channel(line, client)

        async with source(served, "channel=chat:1&channel=chat:2", authorization="Bearer ada") as events:
            await events.until(lambda: events.reader.last_id)
            for channel in ("chat:1", "chat:2"):
                line.publish(channel, "n", channel)
            assert (await events.push())["channel"] == "chat:2"


@pytest.mark.parametrize("order", [by_a_backend, by_itself])
async def test_streams_and_lines_over_http_end_with_their_user(order: Order) -> None:
    line = Application().line
    async with natively(line) as served, web(served) as client, over_http(served) as (events, poll, stream):
        assert len(line.connections_of("ada")) == 3
        await order(line, client)
        line.publish("chat:1", "n", "secret")
        assert [push["type"] for push in await events.rest()] == ["$closed"]
        for each in (poll, stream):
            assert (await each.push())["payload"] == {"code": 4410, "reason": ""}
            with pytest.raises(LineGoneError):
                while True:
                    await each.listen()
            assert each.pushes == []
        assert line.connections == ()


async def test_streams_and_lines_over_http_are_taken_out_of_a_channel() -> None:
    line = Application().line
    async with natively(line) as served, web(served) as client, over_http(served) as (events, poll, stream):
        await out_of_the_channel(line, client)
        for channel in ("chat:1", "chat:2"):
            line.publish(channel, "n", channel)
        heard = [[await each.push() for _ in range(2)] for each in (poll, stream)]
        for pushes in heard:
            assert [push["type"] for push in pushes] == ["$unsubscribed", "n"]
            assert pushes[1]["channel"] == "chat:2"
        # An event stream is told nothing that it cannot use.
        first = await events.push()
        while first["type"] != "n":
            first = await events.push()
        assert first["channel"] == "chat:2"
