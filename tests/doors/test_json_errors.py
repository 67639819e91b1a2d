"""What is wrong with a command is answered with its code, over real sockets, and the connection stays."""

import asyncio
import json
from typing import Any

import pytest
from tests.clients import json_client, opened
from tests.server import plainly_serving, serving, until

from openline import Connection, History, Openline, Presence


def application() -> Openline:
    line = Openline()
    line.channel("chat:*", history=History(count=100), presence=Presence(), public=True)
    line.channel("quiet:*", public=True, see_history=False)
    line.channel("news", history=10, subscribe=True, see_history=True)
    line.channel("typing:*", volatile=True, public=True)
    line.channel("price", last_value=True, public=True)
    return line


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
    async with hosting(application()) as served, json_client(served.ws) as client:
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


async def test_what_is_no_command_is_told_so_behind_those_that_came_before() -> None:
    line, gate = application(), asyncio.Event()

    @line.on("wait")
    async def wait(connection: Connection, payload: int) -> int:
        await gate.wait()
        return payload

    async with serving(line) as served, opened(f"{served.ws}/openline") as socket:
        await socket.send('{"type":"wait","id":1,"payload":1}')
        await socket.send('{"type":1,"id":2}')
        await socket.send('[{"type":"$ping","id":3}, 4]')
        await until(lambda: line.connections and len(line.connections[0].backlog or ()) == 3)
        gate.set()
        told = [json.loads(await socket.recv()) for _ in range(4)]
    assert [(frame["type"], frame.get("id")) for frame in told] == [
        *[("$reply", 1), ("$error", 2), ("$pong", 3), ("$error", None)],
    ]
