"""Who may follow channels over an event stream, and what everybody else is told."""

import asyncio
from typing import Any

import pytest

from openline import CommandError, Connection, Openline, Paths, Settings, User
from tests.http_doors.rig import HOSTINGS, Hosting, natively, problem, source, web
from tests.server import until

hostings = pytest.mark.parametrize("hosting", HOSTINGS)


def application(**settings: Any) -> Openline:
    line = Openline(settings=Settings(**settings))
    line.channel("chat:*", history=1000, public=True)
    line.channel("price:*", last_value=True, public=True)
    line.channel("closed:*", history=10)
    return line


@hostings
@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("channel=closed:1", (403, "forbidden")),
        ("channel=chat:1&channel=closed:1", (403, "forbidden")),
        ("channel=nobody-knows", (403, "forbidden")),
        ("channel=", (400, "bad_channel")),
        ("channel=%24all", (400, "bad_channel")),
        ("channel=chat:1%0Adata:x", (400, "bad_channel")),
        ("channel=chat:1%00", (400, "bad_channel")),
        ("channel=%ff%fe", (400, "bad_channel")),
        ("channel=chat:1&since=yesterday", (400, "bad_position")),
        ("channel=chat:1&since=", (400, "bad_position")),
        ("channel=chat:1&since=e.99999999999999999999", (400, "bad_position")),
        ("&".join(f"channel=chat:{n}" for n in range(1001)), (429, "too_many")),
        ("&".join("x=y" for n in range(2001)), (429, "too_many")),
    ],
)
async def test_what_cannot_be_followed_is_refused_and_leaves_nothing(
    hosting: Hosting, query: str, expected: tuple[int, str]
) -> None:
    line = application()
    async with hosting(line) as served, web(served) as client:
        assert problem(await client.get(f"/events?{query}")) == expected
        assert line.connections == ()
        assert problem(await client.get(f"/events?{query}")) == expected, "the connection can be used again"


async def test_a_token_is_asked_for_where_one_is_needed_and_tells_who_it_is() -> None:
    line = application()
    seen: list[Any] = []

    @line.authenticate
    async def who(token: str | None, request: Any) -> User | None:
        await asyncio.sleep(0)
        if token == "broken":
            raise ValueError("secret internals")
        return User("ada") if token == "good" else None

    @line.on_connect
    def connected(connection: Connection) -> None:
        seen.append(connection.user)

    async with natively(line) as served:
        async with web(served) as client:
            for token, expected in (
                (None, (401, "unauthorized")),
                ("bad", (401, "unauthorized")),
                ("broken", (500, "failed")),
            ):
                headers = {} if token is None else {"authorization": f"Bearer {token}"}
                refused = await client.get("/events?channel=chat:1", headers=headers)
                assert problem(refused) == expected
                assert "secret" not in refused.text
                assert refused.headers.get("www-authenticate") == ("Bearer" if expected[0] == 401 else None)
        async with source(served, "channel=chat:1", authorization="Bearer good") as events:
            await events.until(lambda: events.reader.last_id)
            line.publish_to_user("ada", "mail", "for you")
            push = await events.push()
            assert (push["type"], push["payload"], "channel" in push) == ("mail", "for you", False)
            last = events.reader.last_id
        line.publish_to_user("ada", "mail", "meanwhile")
        async with source(served, "channel=chat:1", authorization="Bearer good", last_event_id=last) as events:
            assert await events.payloads(1) == ["meanwhile"]
    assert seen == [User("ada")] * 2


@hostings
async def test_handlers_of_connect_and_disconnect_are_called_and_may_turn_away(hosting: Hosting) -> None:
    line = application()
    seen: list[str] = []

    @line.on_connect
    async def connected(connection: Connection) -> None:
        if seen:
            raise CommandError("full", "Come back tomorrow.")
        seen.append("connect")
        await connection.subscribe("closed:1")
        connection.emit("hello", "you")

    @line.on_disconnect
    def gone(connection: Connection, reason: str) -> None:
        seen.append(reason)

    async with hosting(line) as served:
        async with source(served) as events:
            told = await events.push()
            assert (told["type"], told["channel"]) == ("$subscribed", "closed:1")
            assert await events.payloads(1) == ["you"]
            line.publish("closed:1", "n", 1)
            assert await events.payloads(1) == [1]
        await until(lambda: len(seen) == 2)
        async with web(served) as client:
            assert problem(await client.get("/events")) == (400, "full")
        assert seen == ["connect", "closed", "disconnected"]


@pytest.mark.parametrize(("query", "name"), [("", "message"), ("&named=1", "$closed")])
@hostings
async def test_who_is_sent_away_for_good_is_told_why_and_not_to_hurry_back(
    hosting: Hosting, query: str, name: str
) -> None:
    line = application()
    async with hosting(line) as served, source(served, f"channel=chat:1{query}") as events:
        await events.until(lambda: events.reader.last_id)
        line.publish("chat:1", "n", 1)
        [connection] = line.connections
        connection.disconnect("Enough.")
        told = await events.rest()
        assert [push["type"] for push in told] == ["n", "$closed"]
        assert told[1]["payload"] == {"code": 4410, "reason": "Enough."}
        assert events.reader.events[-1].type == name
        assert events.reader.reconnection_time == 3_600_000
        assert line.connections == ()


@hostings
async def test_head_is_answered_as_get_without_a_stream(hosting: Hosting) -> None:
    line = application()
    async with hosting(line) as served, web(served) as client:
        got = await client.head("/events?channel=chat:1")
        assert (got.status_code, got.content) == (200, b"")
        assert got.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert got.headers["x-accel-buffering"] == "no"
        assert (await client.head("/events?channel=closed:1")).status_code == 403
        assert (await client.head("/events?channel=chat:1&since=x")).status_code == 400
        assert line.connections == ()


@hostings
async def test_listed_origins_may_read_and_others_are_refused(hosting: Hosting) -> None:
    line = application()
    line.allow(origins=["https://app.example.com"])
    async with hosting(line) as served:
        async with source(served, "channel=chat:1", origin="https://app.example.com") as events:
            headers = events.response.headers
            assert headers["access-control-allow-origin"] == "https://app.example.com"
            assert headers["access-control-allow-credentials"] == "true"
            assert headers["vary"] == "Origin"
        async with source(served, "channel=chat:1", origin=served.http) as events:
            assert events.response.status_code == 200
            assert "access-control-allow-origin" not in events.response.headers
        async with web(served) as client:
            for origin in ("https://evil.example", "null", "https://app.example.com.evil.example"):
                refused = await client.get("/events?channel=chat:1", headers={"origin": origin})
                assert problem(refused) == (403, "forbidden")
                assert "access-control-allow-origin" not in refused.headers
            readable = await client.get("/events?channel=closed:1", headers={"origin": "https://app.example.com"})
            assert problem(readable) == (403, "forbidden")
            assert readable.headers["access-control-allow-origin"] == "https://app.example.com"


@hostings
async def test_a_preflight_is_answered_for_listed_origins(hosting: Hosting) -> None:
    line = application()
    line.allow(origins=["https://app.example.com"])
    async with hosting(line) as served, web(served) as client:
        asked = {"access-control-request-method": "GET", "access-control-request-headers": "authorization"}
        told = await client.options("/events", headers={"origin": "https://app.example.com", **asked})
        assert (told.status_code, told.content) == (204, b"")
        assert told.headers["access-control-allow-origin"] == "https://app.example.com"
        assert "GET" in told.headers["access-control-allow-methods"]
        assert "authorization" in told.headers["access-control-allow-headers"]
        assert "last-event-id" in told.headers["access-control-allow-headers"]
        refused = await client.options("/events", headers={"origin": "https://evil.example", **asked})
        assert problem(refused) == (403, "forbidden")


async def test_every_origin_may_read_where_all_are_let_in_but_without_credentials() -> None:
    line = application()
    line.allow(origins=["*"])
    async with natively(line) as served, source(served, "channel=chat:1", origin="https://any.example") as events:
        assert events.response.headers["access-control-allow-origin"] == "https://any.example"
        assert "access-control-allow-credentials" not in events.response.headers


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
async def test_other_methods_are_refused_with_those_that_are(method: str) -> None:
    async with natively(application()) as served, web(served) as client:
        refused = await client.request(method, "/events?channel=chat:1")
        assert problem(refused) == (405, "bad_method")
        assert refused.headers["allow"] == "GET, HEAD, OPTIONS"


@hostings
async def test_while_the_server_drains_the_answer_is_200_and_only_says_when_to_come_back(hosting: Hosting) -> None:
    line = application()
    async with hosting(line) as served:
        line.running.drain()
        async with source(served, "channel=chat:1") as events:
            assert events.response.status_code == 200
            assert events.response.headers["content-type"] == "text/event-stream; charset=utf-8"
            assert await events.rest() == []
            assert events.reader.reconnection_time is not None


async def test_without_a_channel_the_lobby_is_meant_where_there_is_one() -> None:
    line = application(paths=Paths(lobby="chat:lobby"))
    async with natively(line) as served, source(served) as events:
        await events.until(lambda: events.reader.last_id)
        line.publish("chat:lobby", "n", 1)
        assert await events.payloads(1) == [1]


async def test_the_path_is_a_setting() -> None:
    line = application(paths=Paths(events="/live/stream"))
    async with natively(line) as served, web(served) as client:
        assert (await client.head("/live/stream?channel=chat:1")).status_code == 200
        assert (await client.head("/events?channel=chat:1")).status_code == 404
