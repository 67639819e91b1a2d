"""The application speaks first: asking a client, sending to some or all, and ending a connection."""

from typing import Any

from tests.clients import JsonClient, json_client
from tests.server import serving, until

from openline import CommandError, Connection, GoneError, HubSettings, Openline, Settings, User


async def asked(client: JsonClient) -> dict[str, Any]:
    push = await client.push()
    assert {"type", "payload", "id"} <= set(push)
    return push


async def test_a_handler_may_ask_its_own_client_and_use_the_answer() -> None:
    line = Openline()

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
    line = Openline()
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
