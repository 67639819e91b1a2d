"""Handlers over real sockets: what they are given, what they answer, and what their failures are to a client."""

import asyncio
import logging
from dataclasses import dataclass

import msgspec
import pytest
from tests.clients import json_client
from tests.server import serving, until

from openline import CommandError, Connection, Openline, User


def application() -> Openline:
    line = Openline()
    line.channel("chat:*", history=100, public=True)
    return line


class Point(msgspec.Struct):
    x: int
    y: int = 0


@dataclass
class Person:
    name: str
    age: int
    friends: list["Person"] | None = None


async def test_a_payload_that_does_not_fit_names_the_field_and_never_reaches_the_handler() -> None:
    line = application()
    called: list[object] = []
    for name, kind in {
        "text": str,
        "number": int,
        "list": list[int],
        "point": Point,
        "person": Person,
        "maybe": int | None,
        "bytes": bytes,
    }.items():

        def handler(connection: Connection, payload) -> None:  # type: ignore[no-untyped-def]
            called.append(payload)

        handler.__annotations__["payload"] = kind
        line.on(name)(handler)
    async with serving(line) as served, json_client(served.ws) as client:
        for type_, payload, field in [
            ("text", 1, "payload"),
            ("text", None, "payload"),
            ("number", "1", "payload"),
            ("number", 1.5, "payload"),
            ("list", [1, "2"], "payload[1]"),
            ("point", {"y": 1}, "payload"),
            ("point", {"x": "1"}, "payload.x"),
            ("person", {"name": "ada", "age": "36"}, "payload.age"),
            ("person", {"name": "ada", "age": 36, "friends": [{"name": 1, "age": 1}]}, "payload.friends[0].name"),
            ("maybe", "x", "payload"),
            ("bytes", "x", "payload"),
        ]:
            answer = await client.ask(type_, payload=payload)
            assert (answer["code"], answer["field"]) == ("bad_payload", field), (type_, answer)
            assert answer["message"]
        assert called == []
        await client.get("point", payload={"x": 1, "more": 2})
        await client.get("person", payload={"name": "ada", "age": 36})
        await client.get("bytes", payload="AAE=", encoding="base64")
        await client.get("maybe")
    assert called == [Point(1), Person("ada", 36), b"\x00\x01", None]


async def test_what_a_handler_returns_is_the_answer_whatever_kind_of_function_it_is() -> None:
    line = application()

    @line.on("plain")
    def plain(connection: Connection, payload: int) -> int:
        return payload + 1

    @line.on("async")
    async def later(connection: Connection, payload: int) -> Point:
        return Point(payload)

    @line.on("thread", thread=True)
    def thread(connection: Connection, payload: int) -> dict[str, int]:
        return {"n": payload}

    @line.on("nothing")
    def nothing() -> None:
        return None

    async with serving(line) as served, json_client(served.ws) as client:
        assert await client.get("plain", payload=1) == 2
        assert await client.get("async", payload=1) == {"x": 1, "y": 0}
        assert await client.get("thread", payload=1) == {"n": 1}
        assert await client.get("nothing") is None


@pytest.mark.parametrize("kind", ["plain", "async", "thread"])
async def test_a_handler_that_raises_is_logged_once_and_the_client_learns_no_internals(
    kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    line = application()

    def fail(connection: Connection, payload: object) -> None:
        raise ValueError("the password is 12345")

    async def fail_later(connection: Connection, payload: object) -> None:
        raise ValueError("the password is 12345")

    line.on("boom", thread=kind == "thread")(fail_later if kind == "async" else fail)
    async with serving(line) as served, json_client(served.ws) as client:
        me = (await client.get("$connect"))["connection"]
        answer = await client.ask("boom", payload="user text")
        assert (answer["code"], "12345" in str(answer)) == ("failed", False)
        assert (await client.ask("$ping"))["type"] == "$pong"
    records = [r for r in caplog.records if r.levelno >= logging.ERROR]
    assert len(records) == 1
    assert me in records[0].getMessage()
    assert "boom" in records[0].getMessage()
    assert "user text" not in records[0].getMessage()


@pytest.mark.parametrize("result", [object(), 2**60, "\ud800", {1: 2, (3,): 4}, b"raw"])
async def test_a_result_that_json_cannot_hold_is_the_handlers_failure(
    result: object, caplog: pytest.LogCaptureFixture
) -> None:
    line = application()
    line.on("odd")(lambda: result)
    async with serving(line) as served, json_client(served.ws) as client:
        answer = await client.ask("odd")
        assert answer["code"] == "failed"
        assert [r for r in caplog.records if r.levelno >= logging.ERROR]
        assert (await client.ask("$ping"))["type"] == "$pong"


async def test_a_handler_may_refuse_in_its_own_words() -> None:
    line = application()

    @line.on("buy")
    def buy(connection: Connection, amount: int) -> None:
        raise CommandError("sold_out", "Nothing is left.", field="payload", retry=True)

    async with serving(line) as served, json_client(served.ws) as client:
        answer = await client.ask("buy", payload=1)
        del answer["id"]
        assert answer == {
            "type": "$error",
            "code": "sold_out",
            "message": "Nothing is left.",
            "field": "payload",
            "retry": True,
        }


async def test_a_handler_of_a_channel_decides_what_becomes_of_a_publication() -> None:
    line = application()

    @line.on("text", channel="chat:*")
    def text(connection: Connection, payload: str, channel: str) -> object:
        if "spam" in payload:
            raise CommandError("spam", "No spam.")
        return line.publish(channel, "text", payload.upper(), sender=connection)

    async with serving(line) as served, json_client(served.ws) as client:
        await client.get("$subscribe", channel="chat:1")
        assert "position" in await client.get("text", channel="chat:1", payload="hi")
        assert (await client.push())["payload"] == "HI"
        assert (await client.ask("text", channel="chat:1", payload="spam"))["code"] == "spam"
        assert (await client.ask("text", channel="secret", payload="hi"))["code"] == "forbidden"


async def test_a_repeated_event_with_the_same_key_gets_the_first_answer() -> None:
    line = application()
    calls: list[int] = []

    @line.on("count")
    def count() -> int:
        calls.append(1)
        return len(calls)

    async with serving(line) as served, json_client(served.ws) as client:
        assert [await client.get("count", key="k") for _ in range(3)] == [1, 1, 1]
        assert await client.get("count", key="other") == 2


async def test_handlers_of_one_connection_run_one_after_the_other() -> None:
    line = application()
    log: list[str] = []
    go = asyncio.Event()

    @line.on("slow")
    async def slow(connection: Connection) -> None:
        log.append("slow begins")
        await go.wait()
        log.append("slow ends")

    @line.on("fast")
    def fast(connection: Connection) -> None:
        log.append("fast")

    async with serving(line) as served, json_client(served.ws) as client, json_client(served.ws) as other:
        await client.say(type="slow", id=1)
        await client.say(type="fast", id=2)
        await until(lambda: log)
        await other.get("fast")
        go.set()
        assert [(await client.push())["id"] for _ in range(2)] == [1, 2]
    assert log == ["slow begins", "fast", "slow ends", "fast"]


async def test_an_answer_that_is_too_large_is_an_error_and_the_line_stays() -> None:
    line = application()
    line.on("huge")(lambda: "x" * 1_000_000)
    async with serving(line) as served, json_client(served.ws) as client:
        assert (await client.ask("huge"))["code"] == "too_large"
        assert (await client.ask("$ping"))["type"] == "$pong"


async def test_every_disconnect_handler_runs_though_one_fails(caplog: pytest.LogCaptureFixture) -> None:
    line, told = application(), []

    @line.on_disconnect
    def fails(connection: Connection, reason: str) -> None:
        raise RuntimeError("in the first")

    line.on_disconnect(lambda connection, reason: told.append(reason))
    async with serving(line) as served:
        async with json_client(served.ws) as client:
            me = (await client.get("$connect"))["connection"]
        await served.until(lambda: told == ["closed"])
    assert [me in record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == [True]


async def test_a_handler_that_raises_cancelled_error_fails_like_any_other() -> None:
    def cancelled() -> None:
        raise asyncio.CancelledError

    line = application()
    line.on("cancelled")(cancelled)
    async with serving(line) as served, json_client(served.ws) as client:
        assert (await client.ask("cancelled"))["code"] == "failed"
        assert (await client.ask("$ping"))["type"] == "$pong"


async def test_what_is_remembered_of_answers_is_bounded_in_bytes() -> None:
    line = application()
    line.on("large")(lambda: "x" * 100_000)
    async with serving(line) as served, json_client(served.ws) as client:
        for number in range(20):
            await client.get("large", key=f"k{number}")
        (connection,) = line.connections
        assert sum(len(answer) for answer in (connection.answered or {}).values()) < 600_000


async def test_a_user_with_new_data_takes_its_connection_up_again() -> None:
    line, seen = application(), iter(range(10))
    line.authenticate(lambda token, request: User("ada", {"seen": next(seen)}))
    async with serving(line) as served:
        async with json_client(served.ws) as client:
            first = await client.get("$connect", token="t")
            client.socket.transport.abort()
        async with json_client(served.ws) as client:
            again = await client.get("$connect", token="t", resume=first["resume"], since=first["position"])
        assert (again["resumed"], again["connection"]) == (True, first["connection"])


async def test_coming_and_going_leaves_no_timers_behind() -> None:
    line = Openline()
    line.channel("room:*", presence=True, public=True)
    async with serving(line) as served:
        async with json_client(served.ws) as client:
            told = await client.get("$connect")
            for number in range(50):
                await client.get("$subscribe", channel=f"room:{number}")
            client.socket.transport.abort()
        for _ in range(20):
            async with json_client(served.ws) as client:
                told = await client.get("$connect", resume=told["resume"], since=told["position"])
                assert told["resumed"]
                client.socket.transport.abort()
        (connection,) = line.connections
        assert len(connection.graces) <= 1
