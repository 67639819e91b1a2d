"""Every case of the published Socket.IO 5 suite, against an application that answers as the suite asks.

What breaks the protocol ends the session within 250 ms. The cases of Engine.IO's part are in ``test_engineio_suite``.
"""

import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

from openline import LineSettings, Openline, Settings, Socket, SocketIoSettings
from tests.server import Served
from tests.socketio_door.hands import PATIENT, Spoken, polled, spoken
from tests.socketio_door.hosts import HOSTS

AT_ONCE = 0.25


def suite_line(socketio: SocketIoSettings = PATIENT) -> Openline:
    line = Openline(settings=Settings(socketio=socketio, line=LineSettings(close_within_seconds=0.5)))
    for space in (line.of("/"), line.of("/custom")):

        @space.on_connect
        def connected(socket: Socket) -> None:
            assert socket.handshake is not None
            socket.emit("auth", socket.handshake.auth)

        @space.on("message")
        def message(socket: Socket, *arguments: Any) -> None:
            socket.emit("message-back", *arguments)

        @space.on("message-with-ack")
        def message_with_ack(socket: Socket, *arguments: Any) -> Any:
            return arguments

    return line


@pytest.fixture(params=HOSTS)
async def served(request: pytest.FixtureRequest) -> AsyncIterator[Served]:
    async with HOSTS[request.param](suite_line()) as served:
        yield served


@asynccontextmanager
async def opened(served: Served) -> AsyncIterator[Spoken]:
    async with spoken(served) as client:
        assert str(await client.hear()).startswith("0")
        yield client


@asynccontextmanager
async def connected(served: Served) -> AsyncIterator[Spoken]:
    async with opened(served) as client:
        await client.connect()
        assert await client.past_pings() == '42["auth",{}]'
        yield client


@pytest.mark.parametrize(
    ("packet", "answer", "auth"),
    [
        ("40", "40", '42["auth",{}]'),
        ('40{"token":"123"}', "40", '42["auth",{"token":"123"}]'),
        ("40/custom,", "40/custom,", '42/custom,["auth",{}]'),
        ("40/custom", "40/custom,", '42/custom,["auth",{}]'),
        ('40/custom,{"token":"abc"}', "40/custom,", '42/custom,["auth",{"token":"abc"}]'),
    ],
)
async def test_connect_comes_before_what_the_connect_handler_emits(
    served: Served, packet: str, answer: str, auth: str
) -> None:
    async with opened(served) as client:
        await client.say(packet)
        told = str(await client.hear())
        assert told.startswith(answer)
        assert list(json.loads(told[len(answer) :])) == ["sid"]
        assert await client.hear() == auth


async def test_an_unknown_namespace_is_refused(served: Served) -> None:
    async with opened(served) as client:
        await client.say("40/random")
        assert await client.hear() == '44/random,{"message":"Invalid namespace"}'


#: What is no good CONNECT.
NO_CONNECT = ("4abc", "42", '42["message"]', "41", '430["x"]', "40[]", "400", "44{}")


@pytest.mark.alone
async def test_anything_but_a_good_connect_ends_a_session_that_is_nowhere_at_once(served: Served) -> None:
    for packet in NO_CONNECT:
        async with opened(served) as client:
            await client.say(packet)
            assert await client.ended(AT_ONCE) == 1002, packet


@pytest.mark.parametrize("host", HOSTS)
async def test_a_session_that_connects_to_nothing_is_closed(host: str) -> None:
    settings = replace(PATIENT, connect_within_seconds=1.0)
    async with HOSTS[host](suite_line(settings)) as served, opened(served) as client:
        begun = time.monotonic()
        while (heard := await client.hear_or_end()) is not None:
            assert heard == "2"
            with suppress(ConnectionClosed):
                await client.say("3")
        assert 0.9 < time.monotonic() - begun < 5


async def test_leaving_the_default_namespace_does_not_close_the_line(served: Served) -> None:
    async with connected(served) as client:
        await client.say("41")
        assert await client.hear() == "2"


async def test_one_namespace_is_left_and_the_other_goes_on(served: Served) -> None:
    async with connected(served) as client:
        await client.connect("40/custom")
        assert await client.past_pings() == '42/custom,["auth",{}]'
        await client.say("41/custom", '42["message","message to main namespace"]')
        assert await client.past_pings() == '42["message-back","message to main namespace"]'


async def test_text_goes_there_and_back(served: Served) -> None:
    async with connected(served) as client:
        await client.say('42["message",1,"2",{"3":[true]}]')
        assert await client.past_pings() == '42["message-back",1,"2",{"3":[true]}]'
        await client.say('42456["message-with-ack",1,"2",{"3":[false]}]')
        assert await client.past_pings() == '43456[1,"2",{"3":[false]}]'


@pytest.mark.parametrize(("kind", "name"), [("2", "message-back"), ("3", None)])
async def test_bytes_go_there_and_back(served: Served, kind: str, name: str | None) -> None:
    places = '{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}'
    async with connected(served) as client:
        ask = "789" if name is None else ""
        event = "message-with-ack" if name is None else "message"
        await client.say(f'452-{ask}["{event}",{places}]', b"\x01\x02\x03", b"\x04\x05\x06")
        back = f'"{name}",' if name else ""
        assert await client.past_pings() == f"4{int(kind) + 3}2-{ask}[{back}{places}]"
        assert await client.past_pings() == b"\x01\x02\x03"
        assert await client.past_pings() == b"\x04\x05\x06"


MALFORMED = (
    "4abc",
    "42{}",
    '42abc["message-with-ack",1,"2",{"3":[false]}]',
    "40",
    "44{}",
    '42/never,["message"]',
    "42[1]",
    '42["disconnect"]',
    '452-["message"]\n',
    '4511-["message"]',
    '45999999999-["message"]',
    '450-["message",{"_placeholder":true,"num":0}]',
    b"\x00",
)


@pytest.mark.alone
async def test_a_malformed_packet_ends_the_session_at_once(served: Served) -> None:
    for packet in MALFORMED:
        async with connected(served) as client:
            await client.say(packet)
            if packet == '452-["message"]\n':
                await client.say("42[]")
            assert await client.ended(AT_ONCE) == 1002, packet


@pytest.mark.alone
async def test_a_malformed_packet_in_a_post_ends_the_session_at_once(served: Served) -> None:
    async with polled(served) as client:
        await client.enter()
        begun = time.monotonic()
        assert (await client.post("42{}")).json()["code"] == 3
        assert time.monotonic() - begun < AT_ONCE
        assert (await client.get()).json()["code"] == 1


async def test_the_suite_holds_for_a_polled_client_too(served: Served) -> None:
    async with polled(served) as client:
        assert list(await client.enter('40{"token":"123"}')) == ["sid"]
        assert await client.hear() == '42["auth",{"token":"123"}]'
        place = '{"_placeholder":true,"num":0}'
        await client.say('427["message-with-ack",1]', f'451-["message",{place}]', "bAQID")
        heard = [await client.hear() for _ in range(3)]
        assert heard == ["437[1]", f'451-["message-back",{place}]', "bAQID"]
