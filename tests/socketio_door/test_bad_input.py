"""What clients send that they should not: a defined answer each, at once, and nothing is left of it."""

import asyncio
import json
import random
import time
from contextlib import suppress
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

from openline import Connection
from tests.effort import times
from tests.server import serving, until
from tests.socketio_door.hands import application, polled, spoken

#: How long something takes is a question for a machine that does nothing else.
pytestmark = pytest.mark.alone

AT_ONCE = 0.25


async def test_attachments_that_never_come_end_the_session_after_a_while() -> None:
    async with serving(application(connect_within_seconds=0.3)) as served, spoken(served) as client:
        await client.enter()
        await asyncio.sleep(0.6)
        await client.say('451-["x",{"_placeholder":true,"num":0}]')
        assert await client.ended(2.0) == 1008


async def test_attachments_that_come_in_time_leave_no_deadline_behind() -> None:
    line = application(connect_within_seconds=0.3)
    line.on("x")(lambda connection, data: data.hex())
    async with serving(line) as served, spoken(served) as client:
        await client.enter()
        await client.say('451-7["x",{"_placeholder":true,"num":0}]', b"\x01")
        assert await client.past_pings() == '437["01"]'
        await asyncio.sleep(0.6)
        await client.say('451-8["x",{"_placeholder":true,"num":0}]', b"\x02")
        assert await client.past_pings() == '438["02"]'


@pytest.mark.parametrize("whole", [True, False])
async def test_attachments_do_not_shed_the_deadline_of_a_session_that_is_nowhere(whole: bool) -> None:
    line = application(connect_within_seconds=0.5)
    async with serving(line) as served, spoken(served) as client:
        await client.hear()
        await client.say("40/nowhere,")
        assert str(await client.past_pings()).startswith("44/nowhere,")
        begun = time.monotonic()
        while time.monotonic() - begun < 0.3:
            await client.say('451-/nowhere,["x",{"_placeholder":true,"num":0}]', b"x")
            await asyncio.sleep(0.02)
        if not whole:
            await client.say('451-/nowhere,["x",{"_placeholder":true,"num":0}]')
        # Not half a second from the last of them: from the beginning.
        assert await client.ended(0.5) == 1008
        assert time.monotonic() - begun < 0.75


async def test_attachments_of_a_client_that_is_somewhere_have_a_deadline_of_their_own_each() -> None:
    line = application(connect_within_seconds=0.4)
    line.on("x")(lambda connection, data: data.hex())
    async with serving(line) as served, spoken(served) as client:
        await client.hear()
        place = '["x",{"_placeholder":true,"num":0}]'
        for part in ("40", f"451-1{place}", b"\x01", f"451-2{place}", b"\x02"):
            await client.say(part)
            await asyncio.sleep(0.25)
        assert [str(await client.past_pings())[:2] for _ in range(3)] == ["40", "43", "43"]


async def test_attachments_are_bounded_all_together() -> None:
    async with serving(application(max_payload_bytes=2000)) as served, spoken(served) as client:
        await client.enter()
        await client.say('453-["x"]', b"x" * 1500, b"x" * 1500)
        assert await client.ended(AT_ONCE) == 1009


async def test_a_handler_sees_proto_as_the_plain_key_that_it_is() -> None:
    line = application()
    line.on("__proto__")(lambda connection, value: value)
    async with serving(line) as served, spoken(served) as client:
        await client.enter('40{"__proto__":{"admin":true}}')
        await client.say('427["__proto__",{"__proto__":{"p":1},"constructor":2}]')
        assert json.loads(str(await client.hear())[3:]) == [{"__proto__": {"p": 1}, "constructor": 2}]


async def test_words_of_the_json_protocol_are_plain_events_here() -> None:
    line = application()
    async with serving(line) as served, spoken(served) as client:
        await client.enter()
        for number, word in enumerate(("$subscribe", "$connect", "$reply", "$history", "$pong")):
            await client.say(f'42{number}["{word}",{{"channel":"chat:1"}}]')
        line.on("end")(lambda connection: "end")
        await client.say('429["end"]')
        assert await client.hear() == '439["end"]'
        assert [list(connection.channels) for connection in line.connections] == [[]]


async def test_acknowledgements_that_nobody_asked_for_are_passed_over() -> None:
    line = application()
    line.on("end")(lambda connection: "end")
    async with serving(line) as served, spoken(served) as client:
        await client.enter()
        await client.say("430[1]", "4399999[]", '461-7[{"_placeholder":true,"num":0}]', b"x", '429["end"]')
        assert await client.hear() == '439["end"]'


async def test_an_acknowledgement_counts_once() -> None:
    line = application()
    answers: list[Any] = []

    @line.on("ask me")
    async def ask(connection: Connection) -> None:
        answers.append(await connection.ask("question", timeout=2))

    async with serving(line) as served, spoken(served) as client:
        await client.enter()
        await client.say('42["ask me"]')
        number = str(await client.hear())[2:].partition("[")[0]
        await client.say(f"43{number}[1]", f"43{number}[2]")
        await until(lambda: answers)
        assert answers == [1]


async def test_an_auth_that_is_too_large_is_refused_and_the_session_goes_on() -> None:
    line = application()
    line.of("/a").on("x")(lambda socket: 1)
    async with serving(line) as served, spoken(served) as client:
        await client.enter()
        for auth in ({"token": "x" * 20_000}, {"rights": [[]] * 1000}):
            await client.say(f"40/a,{json.dumps(auth)}")
            assert str(await client.hear()).startswith('44/a,{"message":"auth has more than 16384 bytes')
        await client.connect('40/a,{"token":"x"}')


@pytest.mark.parametrize("event", ['42["x"%s]' % (",0" * 200_000), '451-["x",[0%s]]' % (",0" * 20_000)])
async def test_an_event_of_very_many_values_ends_the_session_unless_a_setting_allows_it(event: str) -> None:
    async with serving(application()) as served, spoken(served) as client:
        await client.enter()
        await client.say(event)
        assert await client.ended() == 1009
    line = application(max_values=500_000)
    line.on("x")(lambda connection, *values: len(values))
    async with serving(line) as served, spoken(served) as client:
        await client.enter()
        await client.say('421["x",[0%s]]' % (",0" * 200_000))
        assert await client.past_pings() == "431[1]"


async def test_two_connects_for_one_namespace_end_the_session_also_while_the_first_is_under_way() -> None:
    line = application()

    @line.of("/slow").use
    async def slow(socket: Any) -> None:
        await asyncio.sleep(0.5)

    async with serving(line) as served:
        async with spoken(served) as client:
            await client.enter()
            await client.say("40")
            assert await client.ended(AT_ONCE) == 1002
        async with spoken(served) as client:
            await client.hear()
            await client.say("40/slow,", "40/slow,")
            assert await client.ended(AT_ONCE) == 1002
        await until(lambda: not line.connections)


async def test_a_namespace_may_be_left_and_entered_again() -> None:
    line = application()
    line.on("end")(lambda connection: connection.id)
    async with serving(line) as served, spoken(served) as client:
        first = await client.enter()
        # What was on its way when it left is passed over.
        await client.say("41", '42["end"]', "41")
        second = await client.connect()
        assert first["sid"] != second["sid"]
        await client.say('421["end"]')
        assert await client.hear() == f'431["{second["sid"]}"]'


async def test_namespaces_on_one_session_are_limited() -> None:
    line = application(max_namespaces=3)
    line.of("/n*").on("x")(lambda socket: 1)
    async with serving(line) as served, spoken(served) as client:
        await client.hear()
        for n in range(3):
            await client.connect(f"40/n{n},")
        await client.say("40/n3,")
        assert await client.hear() == '44/n3,{"message":"Too many namespaces on one connection"}'


async def test_a_namespace_with_a_huge_name_ends_the_session() -> None:
    async with serving(application()) as served, spoken(served) as client:
        await client.hear()
        await client.say("40/" + "n" * 5000)
        assert await client.ended(AT_ONCE) == 1002


@pytest.mark.parametrize("auth", ['{"token":7}', '{"token":{"a":1}}', '{"pid":7}', '{"pid":"x","offset":{}}'])
async def test_auth_of_odd_types_is_what_the_application_makes_of_it(auth: str) -> None:
    async with serving(application(recovery=True)) as served, spoken(served) as client:
        assert "sid" in await client.enter(f"40{auth}")


async def test_events_that_fail_stay_unacknowledged_and_the_client_hears_nothing_of_why(
    caplog: pytest.LogCaptureFixture,
) -> None:
    line = application()

    @line.on("fail")
    def fail(connection: Connection, n: int) -> None:
        raise RuntimeError("a secret")

    line.on("end")(lambda connection: "end")
    async with serving(line) as served, spoken(served) as client:
        await client.enter()
        await client.say('421["fail",1]', '422["fail","no number"]', '423["unknown"]', '429["end"]')
        assert await client.hear() == '439["end"]'
    assert [record.getMessage().split(" for ")[0] for record in caplog.records] == ["The handler of 'fail' failed"]


async def test_clients_that_come_and_go_in_the_middle_of_everything_leave_nothing_behind() -> None:
    line = application(connect_within_seconds=0.5)

    @line.of("/slow").on_connect
    async def slow(socket: Any) -> None:
        await asyncio.sleep(0.05)

    line.on("work")(lambda connection: asyncio.sleep(0.02))
    async with serving(line) as served:
        for packets in (
            (),
            ("40",),
            ("40/slow,",),
            ("40", "40/slow,", '421["work"]'),
            ("40", '451-["x"]'),
            ("40", "41", "40", "40/slow,", "41/slow,"),
        ):
            async with spoken(served) as client:
                await client.say(*packets)
                await asyncio.sleep(0.01)
                client.cut()
            async with polled(served) as other:
                await other.open()
                for packet in packets:
                    await other.post(packet)
                await other.post("1")
        hub, engine = line.running.hub, line.doors.socketio.engine
        await until(lambda: not line.connections and not engine.sessions and not len(hub.tasks))
        assert len(hub.membership) == 0


async def test_mutated_packets_come_to_a_defined_end(caplog: pytest.LogCaptureFixture) -> None:
    dice = random.Random(5)
    line = application()
    line.of("/").on("*")(lambda socket, type, *arguments: arguments)
    good = [
        "40",
        '40/admin,{"token":"abc"}',
        "41",
        '427["x",1,{"a":[true]}]',
        "43456[1]",
        '452-7["x",{"_placeholder":true,"num":1},[{"_placeholder":true,"num":0}]]',
        "3",
        b"\x01\x02",
    ]
    pieces = ("", "9", "-", ",", "/", "[", "{", '"', "\\ud800", "_", "é", "1e999", "\x1e", "4", "b")
    async with serving(line) as served:
        engine = line.doors.socketio.engine
        for _ in range(times(30)):
            async with spoken(served) as client:
                await client.enter()
                for _ in range(6):
                    packet = dice.choice(good)
                    if isinstance(packet, str):
                        place = dice.randrange(len(packet) + 1)
                        packet = packet[:place] + dice.choice(pieces) + packet[place + dice.randrange(3) :]
                    with suppress(ConnectionClosed):
                        await client.say(packet)
        await until(lambda: not engine.sessions)
    assert not caplog.records
