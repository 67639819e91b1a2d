"""How clients come in: what the connect handler and the guards say, and what they brought."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from openline import BrokerError, CommandError, ConnectError, GoneError, Socket
from openline.errors import CloseCode
from tests.clients import json_client
from tests.server import serving
from tests.socketio_door.hands import application, ask, polled, spoken


async def test_what_the_connect_handler_says_comes_behind_connect_also_when_it_takes_its_time() -> None:
    line = application()

    @line.of("/").on_connect
    async def connected(socket: Socket) -> None:
        socket.emit("one")
        await socket.join("chat:1")
        line.publish("chat:1", "two")
        await asyncio.sleep(0.02)
        line.broadcast("three")

    async with serving(line) as served, spoken(served) as client:
        await client.enter()
        assert [await client.hear() for _ in range(3)] == ['42["one"]', '42["two"]', '42["three"]']
        line.publish("chat:1", "live")
        assert await client.hear() == '42["live"]'


async def test_a_connect_handler_that_raises_is_a_connect_error_and_neither_connect_nor_disconnect() -> None:
    line = application()
    gone: list[str] = []

    @line.of("/").on_connect
    async def connected(socket: Socket) -> None:
        socket.emit("never seen")
        await asyncio.sleep(0)
        raise ConnectError("full", {"retry": 5})

    line.on_disconnect(lambda connection, reason: gone.append(reason))
    async with serving(line) as served, spoken(served) as client:
        await client.hear()
        await client.say("40")
        assert await client.hear() == '44{"message":"full","data":{"retry":5}}'
        assert not line.connections
        assert gone == []


async def test_a_connect_handler_may_ask_the_client_which_is_then_in() -> None:
    line = application()
    gone: list[str] = []
    line.on_disconnect(lambda connection, reason: gone.append(reason))

    @line.of("/").on_connect
    async def connected(socket: Socket) -> None:
        socket.emit("first")
        if await socket.emit_with_ack("password") != "sesame":
            raise ConnectError("no")

    async with serving(line) as served:
        for answer, end in (("sesame", "2"), ("wrong", "41")):
            async with spoken(served) as client:
                await client.enter()
                assert await client.hear() == '42["first"]'
                number = str(await client.hear())[2:].partition("[")[0]
                await client.say(f'43{number}["{answer}"]')
                if end == "41":
                    assert await client.hear() == "41"
                    # Its client knew that it was in.
                    assert gone[-1] == "disconnected"


async def test_a_guard_stands_before_every_door_of_the_default_namespace() -> None:
    line = application()

    @line.of("/").use
    def guard(socket: Socket) -> None:
        if socket.user is None:
            raise ConnectError("log in", {"at": "/login"})

    line.authenticate(lambda token, request: token)
    line._handlers.let_in(anonymous=True)
    async with serving(line) as served:
        async with spoken(served) as client:
            await client.hear()
            await client.say("40")
            assert await client.hear() == '44{"message":"log in","data":{"at":"/login"}}'
            await client.connect('40{"token":"ada"}')
        async with json_client(served.ws) as other:
            assert (await other.ask("$connect"))["code"] == "forbidden"
        async with json_client(served.ws) as other:
            assert (await other.get("$connect", token="ada"))["user"] == "ada"


@pytest.mark.parametrize("recovery", [False, True])
async def test_what_a_guard_says_to_its_client_comes_when_it_is_in_on_whatever_door(recovery: bool) -> None:
    line = application(recovery=recovery)
    space = line.of("/")

    @space.use
    async def guard(socket: Socket) -> None:
        socket.join("chat:1")
        socket.emit("from the guard", 1)
        await asyncio.sleep(0)
        await socket.emit("and more", 2)
        await space.to("chat:1").emit("to the room", 3)
        with pytest.raises(GoneError, match="not in yet"):
            await socket.emit_with_ack("who are you?")
        if socket.user is None:
            raise ConnectError("no")

    space.on_connect(lambda socket: (socket.emit("welcome"), None)[1])
    line.authenticate(lambda token, request: token)
    line._handlers.let_in(anonymous=True)
    names = ["from the guard", "and more", "welcome"]
    async with serving(line) as served:
        async with spoken(served) as client:
            await client.hear()
            await client.say("40")
            assert str(await client.hear()).startswith("44")
            await client.connect('40{"token":"ada"}')
            heard = [json.loads(str(await client.past_pings())[2:])[0] for _ in range(4)]
            assert [name for name in heard if name in names] == names
        async with json_client(served.ws) as other:
            await other.ask("$connect", token="ada")
            heard = []
            while "welcome" not in heard:
                heard.append((await other.push())["type"])
            assert [name for name in heard if name in names] == names
        assert not line.running.hub.early._said


async def test_a_refusal_with_a_code_says_the_code() -> None:
    line = application()

    @line.of("/").use
    def guard(socket: Socket) -> None:
        raise CommandError("muted", "Not today.")

    @line.of("/broken").use
    def broken(socket: Socket) -> None:
        raise RuntimeError("a secret")

    async with serving(line) as served, spoken(served) as client:
        await client.hear()
        await client.say("40")
        assert await client.hear() == '44{"message":"Not today.","data":{"code":"muted"}}'
        await client.say("40/broken,")
        assert "secret" not in str(await client.hear())


@pytest.mark.parametrize("trouble", [lambda: CommandError("busy", "Not now.", retry=True), BrokerError])
@pytest.mark.parametrize("asks", [False, True])
async def test_who_may_try_again_loses_its_session_for_a_connect_error_would_be_the_last_word(
    trouble: Callable[[], Exception], asks: bool
) -> None:
    line = application()
    gone: list[str] = []
    line.on_disconnect(lambda connection, reason: gone.append(reason))

    @line.of("/").on_connect
    async def connected(socket: Socket) -> None:
        if asks:
            await socket.emit_with_ack("ready?")
        raise trouble()

    async with serving(line) as served:
        async with spoken(served) as client:
            await client.hear()
            await client.say("40")
            if asks:
                assert str(await client.hear()).startswith("40")
                await client.say("43" + str(await client.hear())[2:].partition("[")[0] + "[]")
            assert await client.hear_or_end() is None
            assert client.socket.close_code == CloseCode.TRY_LATER
        if not asks:
            async with polled(served) as client:
                await client.open()
                await client.say("40")
                assert (await client.get()).status_code == 400
        await served.until(lambda: not line.connections)
    # Who had been told that it is in has left now.
    assert gone == (["disconnected"] if asks else [])


async def test_beside_a_namespace_that_is_in_who_may_try_again_is_told_so() -> None:
    line = application()

    @line.of("/busy").use
    def guard(socket: Socket) -> None:
        raise CommandError("busy", "Not now.", retry=True)

    line.of("/").on("echo")(lambda socket, value: value)
    async with serving(line) as served, spoken(served) as client:
        await client.enter()
        await client.say("40/busy,")
        assert await client.hear() == '44/busy,{"message":"Not now.","data":{"code":"busy","retry":true}}'
        assert await ask(client, 1, "echo", 7) == [7]


async def test_two_namespaces_that_may_try_again_are_not_in_for_each_other() -> None:
    line, gate = application(), asyncio.Event()
    came: list[str] = []

    async def connected(socket: Socket) -> None:
        came.append(socket.nsp.name)
        await gate.wait()
        raise CommandError("busy", "Not now.", retry=True)

    for name in ("/", "/other"):
        line.of(name).on_connect(connected)
    async with serving(line) as served, spoken(served) as client:
        await client.hear()
        await client.say("40")
        await client.say("40/other,")
        await served.until(lambda: len(came) == 2)
        gate.set()
        assert await client.hear_or_end() is None
        assert client.socket.close_code == CloseCode.TRY_LATER


async def test_the_handshake_is_there_as_long_as_the_socket() -> None:
    line = application()
    space = line.of("/")
    found: list[Any] = []

    @space.on("look")
    def look(socket: Socket) -> bool:
        h = socket.handshake
        assert h is not None
        found.append((h.auth, dict(h.query), h.headers["x-mine"], h.address, h.time > 1e9, h.url[:12]))
        return True

    async with (
        serving(line) as served,
        spoken(served, "EIO=4&transport=websocket&room=7", additional_headers={"x-mine": "yes"}) as client,
    ):
        await client.enter('40{"a":[1]}')
        await ask(client, 1, "look")
        query = {"EIO": "4", "transport": "websocket", "room": "7"}
        assert found == [({"a": [1]}, query, "yes", "127.0.0.1", True, "/socket.io/?")]
        async with json_client(served.ws) as other:
            await other.get("$connect")
            assert sorted(s.handshake is None for s in space.fetch_sockets()) == [False, True]
