"""The JSON protocol over real sockets: every command, every error, resuming, and what handlers answer."""

import json
import logging
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest
from clients import JsonClient, bare_line, json_client, opened
from server import plainly_serving, serving, until

from openline import (
    CommandError,
    Connection,
    GoneError,
    History,
    HubSettings,
    LineSettings,
    Openline,
    Presence,
    Settings,
    User,
)


def application(settings: Settings | None = None) -> Openline:
    line = Openline(settings=settings)
    line.channel("chat:*", history=History(count=100), presence=Presence(), public=True)
    line.channel("quiet:*", public=True, see_history=False)
    line.channel("news", history=10, subscribe=True, see_history=True)
    line.channel("typing:*", volatile=True, public=True)
    line.channel("price", last_value=True, public=True)
    return line


# -- opening


async def test_a_bare_websocket_may_send_an_event_right_after_it_opened() -> None:
    line = application()
    heard: list[str] = []

    @line.on("message")
    def message(connection: Connection, text: str) -> None:
        heard.append(text)

    async with serving(line) as served, opened(f"{served.ws}/openline") as socket:
        await socket.send('{"type":"message","payload":"hi"}')
        await until(lambda: heard)
    assert heard == ["hi"]


@pytest.mark.parametrize("hosting", [serving, plainly_serving])
async def test_our_subprotocol_is_echoed_where_it_is_offered_and_no_other_ever(hosting) -> None:  # type: ignore[no-untyped-def]
    async with hosting(application()) as served:
        async with opened(f"{served.ws}/openline", subprotocols=["other", "openline.v1"]) as socket:
            assert socket.subprotocol == "openline.v1"
        async with opened(f"{served.ws}/openline", subprotocols=["other"]) as socket:
            assert socket.subprotocol is None
        async with opened(f"{served.ws}/openline") as socket:
            assert socket.subprotocol is None


async def test_compression_is_not_negotiated() -> None:
    async with serving(application()) as served:
        async with opened(f"{served.ws}/openline", additional_headers=[]) as socket:
            assert socket.response is not None
            assert "sec-websocket-extensions" not in socket.response.headers


async def test_connect_tells_everything_that_the_protocol_promises() -> None:
    settings = Settings(hub=HubSettings(window_seconds=77))
    async with serving(application(settings)) as served, json_client(served.ws) as client:
        said = await client.get("$connect")
        assert set(said) == {"connection", "resume", "window", "position", "resumed", "ping", "limits"}
        assert (said["window"], said["resumed"], said["ping"]) == (77, False, 25)
        assert said["limits"] == {"message": 65_536}
        assert said["resume"] != said["connection"]


async def test_connect_is_the_first_command_and_comes_once() -> None:
    async with serving(application()) as served:
        async with json_client(served.ws) as client:
            await client.get("$connect")
            assert (await client.ask("$connect"))["code"] == "already_connected"
        async with json_client(served.ws) as client:
            await client.ask("$ping")
            assert (await client.ask("$connect"))["code"] == "already_connected"
            assert (await client.ask("$ping"))["type"] == "$pong"


# -- commands


async def test_subscribe_publish_and_receive() -> None:
    async with serving(application()) as served, json_client(served.ws) as ada, json_client(served.ws) as bob:
        ada_id = (await ada.get("$connect"))["connection"]
        assert (await bob.get("$subscribe", channel="chat:1"))["publications"] == []
        await ada.get("$subscribe", channel="chat:1")
        position = (await ada.get("text", channel="chat:1", payload={"a": [1, None, "ü"]}))["position"]
        for client in (ada, bob):
            assert await client.push() == {
                "type": "text",
                "channel": "chat:1",
                "payload": {"a": [1, None, "ü"]},
                "position": position,
                "from": {"connection": ada_id},
            }


async def test_echo_false_leaves_the_sender_out_live_and_later() -> None:
    async with serving(application()) as served, json_client(served.ws) as ada, json_client(served.ws) as bob:
        for client in (ada, bob):
            await client.get("$subscribe", channel="chat:1")
        await ada.get("text", channel="chat:1", payload=1, echo=False)
        await ada.get("text", channel="chat:1", payload=2)
        assert (await ada.push())["payload"] == 2
        assert [(await bob.push())["payload"] for _ in range(2)] == [1, 2]
        mine = await ada.get("$history", channel="chat:1")
        assert [p["payload"] for p in mine["publications"]] == [2]


async def test_bytes_travel_as_base64() -> None:
    async with serving(application()) as served, json_client(served.ws) as client:
        await client.get("$subscribe", channel="chat:1")
        await client.get("blob", channel="chat:1", payload="AAEC/w==", encoding="base64")
        push = await client.push()
        assert (push["payload"], push["encoding"]) == ("AAEC/w==", "base64")


async def test_volatile_publications_arrive_without_a_position_and_are_never_kept() -> None:
    async with serving(application()) as served, json_client(served.ws) as client:
        for channel, fields in (("chat:1", {"volatile": True}), ("typing:1", {})):
            await client.get("$subscribe", channel=channel)
            assert await client.get("t", channel=channel, payload=1, **fields) == {}
            assert "position" not in await client.push()
        assert (await client.get("$history", channel="chat:1"))["publications"] == []


async def test_the_same_key_is_one_publication_with_one_answer() -> None:
    async with serving(application()) as served, json_client(served.ws) as client:
        first = await client.get("text", channel="chat:1", payload=1, key="k")
        assert await client.get("text", channel="chat:1", payload=1, key="k") == first
        assert len((await client.get("$history", channel="chat:1"))["publications"]) == 1


async def test_history_pages_in_both_directions() -> None:
    async with serving(application()) as served, json_client(served.ws) as client:
        start = (await client.get("$connect"))["position"]
        at = [(await client.get("n", channel="chat:1", payload=n))["position"] for n in range(7)]

        async def page(**fields: Any) -> tuple[list[int], bool]:
            got = await client.get("$history", channel="chat:1", **fields)
            return [p["payload"] for p in got["publications"]], got["more"]

        assert await page() == ([0, 1, 2, 3, 4, 5, 6], False)
        assert await page(limit=3) == ([4, 5, 6], True)
        assert await page(since=start, limit=3) == ([0, 1, 2], True)
        assert await page(since=at[4], limit=3) == ([5, 6], False)
        assert await page(before=at[3], limit=2) == ([1, 2], True)
        assert await page(before=at[1], limit=2) == ([0], False)


async def test_a_subscription_since_a_position_brings_what_was_missed() -> None:
    async with serving(application()) as served, json_client(served.ws) as ada, json_client(served.ws) as bob:
        since = (await bob.get("$connect"))["position"]
        for n in range(5):
            await ada.get("n", channel="chat:1", payload=n)
        got = await bob.get("$subscribe", channel="chat:1", since=since)
        assert [p["payload"] for p in got["publications"]] == [0, 1, 2, 3, 4]
        assert got["recovered"] is True
        last = await ada.get("$subscribe", channel="chat:1", last=2)
        assert [p["payload"] for p in last["publications"]] == [3, 4]


async def test_without_the_right_to_history_a_subscriber_gets_none_and_is_told() -> None:
    async with serving(application()) as served, json_client(served.ws) as client:
        since = (await client.get("$connect"))["position"]
        await client.get("n", channel="quiet:1", payload=1)
        got = await client.get("$subscribe", channel="quiet:1", since=since)
        assert (got["publications"], got["recovered"]) == ([], False)
        assert (await client.get("$subscribe", channel="quiet:1", last=5))["publications"] == []


async def test_newcomers_get_the_last_value_of_a_channel_that_keeps_it() -> None:
    async with serving(application()) as served, json_client(served.ws) as client:
        await client.get("set", channel="price", payload=1)
        await client.get("set", channel="price", payload=2)
        got = await client.get("$subscribe", channel="price")
        assert [p["payload"] for p in got["publications"]] == [2]


async def test_presence_tells_who_is_there_who_comes_and_who_goes_and_why() -> None:
    async with serving(application()) as served, json_client(served.ws) as ada:
        await ada.get("$connect")
        got = await ada.get("$subscribe", channel="chat:1", presence=True)
        assert got["presence"]["count"] == 1
        async with json_client(served.ws) as bob:
            bob_id = (await bob.get("$connect"))["connection"]
            await bob.get("$subscribe", channel="chat:1")
            joined = await ada.push()
            assert (joined["type"], joined["payload"]["member"]["connection"]) == ("$joined", bob_id)
            assert (await ada.get("$presence", channel="chat:1"))["count"] == 2
            await bob.get("$unsubscribe", channel="chat:1")
            assert (await ada.push())["payload"]["reason"] == "unsubscribed"
            await bob.get("$subscribe", channel="chat:1")
            await ada.push()
        left = await ada.push()
        assert (left["type"], left["payload"]["reason"], left["payload"]["count"]) == ("$left", "closed", 1)


async def test_ping_is_answered_with_and_without_an_id() -> None:
    async with serving(application()) as served, json_client(served.ws) as client:
        assert await client.ask("$ping") == {"type": "$pong", "id": 1}
        await client.say(type="$ping")
        assert await client.push() == {"type": "$pong"}


async def test_without_an_id_nothing_is_answered_but_errors() -> None:
    async with serving(application()) as served, json_client(served.ws) as client:
        await client.say(type="n", channel="chat:1", payload=1)
        await client.say(type="nothing")
        await client.ask("$ping")
        assert [p["code"] for p in client.pushes] == ["unknown_event"]
        assert "id" not in client.pushes[0]


@pytest.mark.parametrize("number", [0, 2**53 - 1, "x", "x" * 64])
async def test_every_kind_of_id_comes_back_as_it_was(number: object) -> None:
    async with serving(application()) as served, json_client(served.ws) as client:
        await client.say(type="$connect", id=number)
        assert (await client.push())["id"] == number


# -- errors


@pytest.mark.parametrize(
    ("command", "code", "field"),
    [
        ({"type": "$subscribe"}, "bad_field", "channel"),
        ({"type": "$subscribe", "channel": 1}, "bad_field", "channel"),
        ({"type": "$subscribe", "channel": "with space"}, "bad_channel", None),
        ({"type": "$subscribe", "channel": ""}, "bad_channel", None),
        ({"type": "$subscribe", "channel": "x" * 129}, "bad_channel", None),
        ({"type": "$subscribe", "channel": "$all"}, "bad_channel", None),
        ({"type": "$subscribe", "channel": "$user:ada"}, "bad_channel", None),
        ({"type": "$subscribe", "channel": "chat:*"}, "bad_channel", None),
        ({"type": "$subscribe", "channel": "chat:1\n"}, "bad_channel", None),
        ({"type": "$subscribe", "channel": "châte"}, "bad_channel", None),
        ({"type": "$subscribe", "channel": "chat:1", "since": "x"}, "bad_position", None),
        ({"type": "$subscribe", "channel": "chat:1", "since": "e.01"}, "bad_position", None),
        ({"type": "$subscribe", "channel": "chat:1", "since": f"e.{2**53}"}, "bad_position", None),
        ({"type": "$subscribe", "channel": "chat:1", "last": -1}, "bad_field", "last"),
        ({"type": "$subscribe", "channel": "chat:1", "last": "1"}, "bad_field", "last"),
        ({"type": "$subscribe", "channel": "secret"}, "forbidden", None),
        ({"type": "$history", "channel": "secret"}, "forbidden", None),
        ({"type": "$history", "channel": "quiet:1"}, "forbidden", None),
        ({"type": "$history", "channel": "chat:1", "limit": 1.5}, "bad_field", "limit"),
        ({"type": "$presence", "channel": "secret"}, "forbidden", None),
        ({"type": "n", "channel": "secret"}, "forbidden", None),
        ({"type": "n", "channel": "news"}, "forbidden", None),
        ({"type": "n", "channel": "chat:1", "key": ""}, "bad_field", "key"),
        ({"type": "n", "channel": "chat:1", "key": "k" * 65}, "bad_field", "key"),
        ({"type": "n", "channel": "chat:1", "payload": "!", "encoding": "base64"}, "bad_field", "payload"),
        ({"type": "n", "channel": "chat:1", "payload": "", "encoding": "hex"}, "bad_field", "encoding"),
        ({"type": "n", "channel": "chat:1", "payload": 2**53}, "bad_message", None),
        ({"type": "n", "channel": "chat:1", "payload": [[[]]] * 3, "echo": 1}, "bad_field", "echo"),
        ({"type": "$nonsense"}, "unknown_type", "type"),
        ({"type": "nobody"}, "unknown_event", "type"),
        ({"type": ""}, "bad_field", "type"),
        ({"type": "x" * 129}, "bad_field", "type"),
        ({"type": "a\nb"}, "bad_field", "type"),
        ({"type": 1}, "bad_field", "type"),
        ({}, "bad_field", "type"),
    ],
)
async def test_what_is_wrong_is_answered_with_its_code_and_the_connection_stays(
    command: dict[str, Any], code: str, field: str | None
) -> None:
    async with serving(application()) as served, json_client(served.ws) as client:
        await client.get("$connect")
        await client.say(**{"id": "q", **command})
        answer = await client.push()
        assert (answer["type"], answer["id"], answer["code"]) == ("$error", "q", code), answer
        assert field is None or answer["field"] == field
        assert answer["message"]
        assert (await client.ask("$ping"))["type"] == "$pong"


BAD_TEXTS = [
    "",
    " ",
    "hello",
    "[1]",
    "[[]]",
    '[{"type":"$ping"},',
    "null",
    '"x"',
    "1",
    "{",
    '{"type":"a"} {"type":"b"}',
    '{"type":"a",}',
    "{'type':'a'}",
    '{"type":"n","payload":NaN}',
    '{"type":"n","payload":Infinity}',
    '{"type":"n","payload":1e400}',
    '{"type":"n","payload":9007199254740992}',
    '{"type":"n","payload":-9007199254740992}',
    '{"type":"n","payload":' + "9" * 5_000 + "}",
    '{"type":"n","payload":"\\ud800"}',
    '{"type":"n","payload":{"\\udfff":1}}',
    '{"type":"n","payload":' + "[" * 65 + "]" * 65 + "}",
    '{"type":"n","payload":' + "[" * 30_000 + "]" * 30_000 + "}",
    '{"type":"n","payload":' + '{"a":' * 5_000 + "1" + "}" * 5_000 + "}",
    "[" * 60_000,
]


@pytest.mark.parametrize("text", BAD_TEXTS, ids=lambda text: text[:40])
async def test_what_not_every_json_parser_can_read_is_a_bad_message(text: str) -> None:
    async with serving(application()) as served, json_client(served.ws) as client:
        await client.socket.send(text)
        assert (await client.push())["code"] == "bad_message"
        assert (await client.ask("$ping"))["type"] == "$pong"


async def test_deep_and_wide_json_within_the_limits_passes_as_it_is() -> None:
    payloads: list[Any] = [[[]], {"": {"": 1}}, [1] * 10_000, {str(n): n for n in range(3_000)}, -(2**53) + 1]
    deep: Any = 1
    for _ in range(60):
        deep = [deep]
    async with serving(application()) as served, json_client(served.ws) as client:
        await client.get("$subscribe", channel="chat:1")
        for payload in [*payloads, deep, "\u2028\u0000\U0001f600", 1.5e300]:
            await client.get("n", channel="chat:1", payload=payload)
            assert (await client.push())["payload"] == payload


async def test_a_binary_frame_is_a_bad_message() -> None:
    async with serving(application()) as served, json_client(served.ws) as client:
        await client.socket.send(b'{"type":"$ping","id":1}')
        assert (await client.push())["code"] == "bad_message"
        assert (await client.ask("$ping"))["type"] == "$pong"


@pytest.mark.parametrize("hosting", [serving, plainly_serving])
async def test_a_message_of_more_than_64_kib_closes_with_1009_and_one_of_64_kib_does_not(hosting) -> None:  # type: ignore[no-untyped-def]
    async with hosting(application()) as served:
        async with json_client(served.ws) as client:
            text = '{"type":"$ping","id":1,"payload":"' + "x" * 65_536
            await client.socket.send(text[: 65_536 - 2] + '"}')
            assert (await client.push())["type"] == "$pong"
            await client.socket.send(text[: 65_537 - 2] + '"}')
            assert await client.close_code() == 1009


async def test_answers_come_in_the_order_of_the_commands() -> None:
    async with serving(application()) as served, json_client(served.ws) as client:
        await client.get("$subscribe", channel="chat:1")
        for n in range(100):
            await client.say(type="n", id=n, channel="chat:1", payload=n)
        frames = [await client.push() for _ in range(200)]
        assert [f["id"] for f in frames if f["type"] == "$reply"] == list(range(100))
        assert [f["payload"] for f in frames if f["type"] == "n"] == list(range(100))


async def test_several_commands_in_one_message_are_carried_out_in_order_and_answered_one_by_one() -> None:
    async with serving(application()) as served, json_client(served.ws) as client:
        commands = [{"type": "$connect", "id": 0}, {"type": "nobody", "id": 1}, {"type": "x" * 200, "id": 2}]
        commands += [{"type": "n", "id": 3, "channel": "chat:1"}, {"type": "$ping", "id": 4}]
        await client.socket.send(json.dumps(commands))
        answers = [await client.push() for _ in commands]
        assert [(a["id"], a.get("code", a["type"])) for a in answers] == [
            (0, "$reply"),
            (1, "unknown_event"),
            (2, "bad_field"),
            (3, "$reply"),
            (4, "$pong"),
        ]


# -- handlers


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
        # Bytes have a form in JSON; what has none is logged.
        if isinstance(result, bytes):
            assert answer["type"] == "$reply"
        else:
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
    import asyncio

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


# -- asking a client


async def asked(client: JsonClient) -> dict[str, Any]:
    push = await client.push()
    assert {"type", "payload", "id"} <= set(push)
    return push


async def test_a_handler_may_ask_its_own_client_and_use_the_answer() -> None:
    line = application()

    @line.on("begin")
    async def begin(connection: Connection) -> str:
        return f"Hello, {await connection.ask('name?', {'polite': True})}!"

    async with serving(line) as served, json_client(served.ws) as client:
        await client.say(type="begin", id=1)
        question = await asked(client)
        assert (question["type"], question["payload"]) == ("name?", {"polite": True})
        await client.say(type="$reply", id=question["id"], payload="Ada")
        assert (await client.push())["payload"] == "Hello, Ada!"


async def test_an_ask_ends_with_the_clients_error_a_timeout_or_its_going() -> None:
    line = application()
    ended: list[BaseException] = []

    @line.on("begin")
    async def begin(connection: Connection, timeout: float) -> None:
        try:
            await connection.ask("?", timeout=timeout)
        except Exception as error:
            ended.append(error)

    async with serving(line) as served:
        async with json_client(served.ws) as client:
            await client.say(type="begin", payload=5)
            await client.say(type="$error", id=(await asked(client))["id"], code="busy", message="Later.")
            await until(lambda: len(ended) == 1)
            await client.say(type="begin", payload=0.01)
            question = await asked(client)
            await until(lambda: len(ended) == 2)
            await client.say(type="$reply", id=question["id"], payload="too late")
            await client.say(type="$reply", id="nobody asked", payload=1)
            assert (await client.ask("$ping"))["type"] == "$pong"
            await client.say(type="begin", payload=5)
            await asked(client)
        await until(lambda: len(ended) == 3)
    assert isinstance(ended[0], CommandError)
    assert (ended[0].code, ended[0].message) == ("busy", "Later.")
    assert isinstance(ended[1], TimeoutError)
    assert isinstance(ended[2], GoneError)


# -- speaking to clients


async def test_the_server_reaches_one_connection_one_user_everybody_and_all_but_some() -> None:
    line = Openline()
    line.authenticate(lambda token, request: User(str(token)))
    async with serving(line) as served, json_client(served.ws) as a1, json_client(served.ws) as a2:
        async with json_client(served.ws) as b:
            ids = {}
            for name, client, token in (("a1", a1, "ada"), ("a2", a2, "ada"), ("b", b, "bob")):
                ids[name] = (await client.get("$connect", token=token))["connection"]
            of = {c.id: c for c in line.connections}
            of[ids["a1"]].emit("one", 1)
            line.publish_to_user("ada", "user", 2)
            line.broadcast("all", 3)
            line.broadcast("but", 4, exclude=[of[ids["a1"]]])
            line.broadcast("end")

            async def heard(client: JsonClient) -> list[str]:
                types = [(await client.push())["type"]]
                while types[-1] != "end":
                    types.append((await client.push())["type"])
                return types

            assert await heard(a1) == ["one", "user", "all", "end"]
            assert await heard(a2) == ["user", "all", "but", "end"]
            assert await heard(b) == ["all", "but", "end"]
            assert {c.id for c in line.connections_of("ada")} == {ids["a1"], ids["a2"]}
        await until(lambda: len(line.connections) == 2)
        assert of[ids["b"]].emit("late") is not None  # sending to who is gone never raises


async def test_the_server_may_put_a_client_into_a_channel_take_it_out_and_end_it() -> None:
    line = Openline()
    line.channel("vip", history=5)
    async with serving(line) as served, json_client(served.ws) as client:
        await client.get("$connect")
        (connection,) = line.connections
        await connection.subscribe("vip")
        assert (await client.push())["type"] == "$subscribed"
        line.publish("vip", "n", 1)
        assert (await client.push())["payload"] == 1
        connection.unsubscribe("vip")
        assert (await client.push())["type"] == "$unsubscribed"
        connection.disconnect("You have been here long enough.")
        assert await client.close_code() == 4410
        assert client.socket.close_reason == "You have been here long enough."


async def test_a_disconnect_handler_runs_once_with_the_reason() -> None:
    line = Openline(settings=Settings(hub=HubSettings(window_seconds=0.1)))
    gone: list[tuple[str, str]] = []
    line.on_disconnect(lambda connection, reason: gone.append((connection.id, reason)))
    async with serving(line) as served:
        async with json_client(served.ws) as client:
            closed = (await client.get("$connect"))["connection"]
        await until(lambda: gone == [(closed, "closed")])
        async with json_client(served.ws) as client:
            lost = (await client.get("$connect"))["connection"]
            client.cut()
        await until(lambda: gone[1:] == [(lost, "lost")])
        async with json_client(served.ws) as client:
            ended = (await client.get("$connect"))["connection"]
            line.connections[0].disconnect()
            await client.close_code()
        assert gone[2:] == [(ended, "disconnected")]
        async with json_client(served.ws) as client:
            last = (await client.get("$connect"))["connection"]
            await served.stop()
            assert await client.close_code() == 1012
    assert gone[3:] == [(last, "shutdown")]


# -- liveness


@pytest.mark.parametrize("hosting", [serving, plainly_serving])
async def test_who_said_connect_is_pinged_in_json_and_whoever_answers_nothing_is_closed_with_4501(hosting) -> None:  # type: ignore[no-untyped-def]
    settings = Settings(line=LineSettings(ping_every_seconds=0.1, pong_within_seconds=0.1))
    async with hosting(application(settings)) as served, bare_line(served.port) as socket:
        socket.send_text('{"type":"$connect","id":1}')
        seen = []
        while not any(payload == b'{"type":"$ping"}' for _, payload in seen):
            seen.append(await socket.item())
        assert any(opcode == 9 for opcode, _ in seen)
        assert await socket.close_code() == 4501
        await served.until(lambda: not served.connections)


async def test_a_client_that_answers_pings_stays() -> None:
    settings = Settings(line=LineSettings(ping_every_seconds=0.05, pong_within_seconds=0.05))
    async with serving(application(settings)) as served, json_client(served.ws) as client:
        await client.get("$connect")
        for _ in range(3):
            assert (await client.push())["type"] == "$ping"
            await client.say(type="$pong")
        assert (await client.ask("$ping"))["type"] == "$pong"


