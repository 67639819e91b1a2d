"""The Python side: namespaces, sockets, rooms, handlers with any number of arguments."""

import asyncio
import json
import re
from typing import Any

import msgspec
import pytest
from pydantic import BaseModel

from openline import Connection, Openline, SettingsError, Socket
from tests.clients import json_client, opened
from tests.server import serving, until
from tests.socketio_door.hands import application, ask, polled, spoken

PLACE = '{"_placeholder":true,"num":0}'


# -- events


async def test_arguments_reach_handlers_as_their_annotations_say() -> None:
    line = application()

    class Point(msgspec.Struct):
        x: int
        y: int = 0

    class Named(BaseModel):
        name: str
        picture: bytes = b""

    space = line.of("/")
    space.on("sum")(lambda socket, a, b=10, *rest: [a, b, *rest])

    @space.on("point")
    def point(socket: Socket, point: Point, factor: int) -> int:
        return (point.x + point.y) * factor

    @space.on("named")
    def named(socket: Socket, named: Named, data: bytes) -> list[int]:
        return [len(named.picture), len(data)]

    @line.on("plain")
    def plain(connection: Connection, first: str, second: int | None = None, third: Any = None) -> list[Any]:
        return [first, second, third]

    async with serving(line) as served, spoken(served) as client:
        await client.enter()
        assert await ask(client, 1, "sum", 1) == [[1, 10]]
        assert await ask(client, 2, "sum", 1, 2, 3, 4) == [[1, 2, 3, 4]]
        assert await ask(client, 3, "sum") == [[None, 10]]
        assert await ask(client, 4, "point", {"x": 1, "y": 2}, 3) == [9]
        assert await ask(client, 5, "plain", "a", 2, {"b": 1}) == [["a", 2, {"b": 1}]]
        assert await ask(client, 6, "plain", "a") == [["a", None, None]]
        # What does not fit is not acknowledged.
        await client.say('427["point",{"x":"one"},3]')
        places = f'{{"name":"x","picture":{PLACE}}},{{"_placeholder":true,"num":1}}'
        await client.say(f'452-8["named",{places}]', b"123", b"12")
        assert await client.hear() == "438[[3,2]]"
        async with json_client(served.ws) as other:
            assert await other.get("plain", payload="a") == ["a", None, None]


async def test_what_a_handler_returns_acknowledges() -> None:
    line = application()
    space = line.of("/")
    answers = {"none": None, "zero": (), "one": 1, "two": (1, "b"), "false": False, "list": [1, 2], "empty": ""}
    for name, answer in answers.items():
        space.on(name)(lambda socket, answer=answer: answer)
    async with serving(line) as served, spoken(served) as client:
        await client.enter()
        await client.say('420["none"]')
        told = [await ask(client, n, name) for n, name in enumerate(list(answers)[1:], start=1)]
        assert told == [[], [1], [1, "b"], [False], [[1, 2]], [""]]


async def test_a_publish_that_is_returned_acknowledges_with_its_position() -> None:
    line = application()
    line.on("say")(lambda connection, text: line.publish("chat:1", "said", text))
    async with serving(line) as served, spoken(served) as client:
        await client.enter()
        assert re.fullmatch(r"[\w-]+\.\d+", (await ask(client, 1, "say", "x"))[0]["position"])


async def test_listeners_hear_every_event_and_a_star_takes_what_nobody_handles() -> None:
    line = application()
    space = line.of("/")
    heard: list[Any] = []
    space.on_any(lambda socket, type, *arguments: heard.append((type, arguments)))
    space.on("known")(lambda socket, n: n)
    space.on("*")(lambda socket, type, *arguments: [type, *arguments])
    async with serving(line) as served, spoken(served) as client:
        await client.enter()
        assert await ask(client, 1, "known", 7) == [7]
        assert await ask(client, 2, "other", 1, 2) == [["other", 1, 2]]
        async with json_client(served.ws) as json_one:
            assert await json_one.get("third", payload=3) == ["third", 3]
    assert heard == [("known", (7,)), ("other", (1, 2)), ("third", (3,))]


async def test_handlers_of_line_and_of_the_default_namespace_are_one_set() -> None:
    line = application()
    line.on("x")(lambda connection: 1)
    with pytest.raises(SettingsError):
        line.of("/").on("x")(lambda socket: 2)
    line.of("/").on("*")(lambda socket, type: 1)
    with pytest.raises(SettingsError):
        line.of("/").on("*")(lambda socket, type: 1)
    with pytest.raises(SettingsError):
        line.of("/").on("$x")(lambda socket: 1)


async def test_a_namespace_by_pattern_knows_its_own_name_and_one_of_its_own_goes_first() -> None:
    line = application()
    orgs = line.of("/org-*")
    orgs.on("name")(lambda socket: socket.nsp.name)
    line.of("/org-1").on("name")(lambda socket: "the first")
    line.of(re.compile(r"/n\d+")).on("name")(lambda socket: socket.nsp.name)
    async with serving(line) as served, spoken(served) as client:
        await client.hear()
        for name, answer in (("/org-1", "the first"), ("/org-7", "/org-7"), ("/n12", "/n12")):
            await client.connect(f"40{name},")
            await client.say(f'42{name},1["name"]')
            assert await client.hear() == f'43{name},1["{answer}"]'
        for name in ("/org-", "/org-1/2", "/n", "/nx", "/ORG-1"):
            await client.say(f"40{name},")
            assert await client.hear() == f'44{name},{{"message":"Invalid namespace"}}'
        line.of("/org-7").emit("only", 7)
        assert await client.hear() == '42/org-7,["only",7]'


# -- speaking


async def test_namespaces_do_not_hear_each_other_and_their_rooms_are_channels() -> None:
    line = application()
    admin = line.of("/admin")
    line.channel("admin~:*", public=True)
    admin.on("join")(lambda socket, room: (socket.join(room), sorted(socket.rooms - {socket.id}))[1])
    async with serving(line) as served, spoken(served) as client, json_client(served.ws) as other:
        await client.enter()
        await client.connect("40/admin,")
        await client.say('42/admin,1["join","news & more"]')
        assert await client.hear() == '43/admin,1[["news & more"]]'
        await other.get("$subscribe", channel="admin~:news~20~26~20more")
        admin.to("news & more").emit("said", 1, 2)
        assert await client.hear() == '42/admin,["said",1,2]'
        assert (await other.push())["payload"] == [1, 2]
        await other.get("said", channel="admin~:news~20~26~20more", payload=["a"])
        assert await client.hear() == '42/admin,["said",["a"]]'
        admin.emit("all", "admin")
        line.of("/").emit("all", "default")
        assert await client.hear() == '42/admin,["all","admin"]'
        assert await client.hear() == '42["all","default"]'
        assert [(await other.push())["payload"] for _ in range(2)] == [["a"], "default"]


async def test_other_doors_see_bytes_within_a_payload_as_base64() -> None:
    line = application()
    async with (
        serving(line) as served,
        spoken(served) as client,
        json_client(served.ws) as other,
        opened(f"{served.ws}/raw/chat:1") as raw,
    ):
        await client.enter()
        await other.get("$subscribe", channel="chat:1")
        for connection in line.connections:
            await connection.subscribe("chat:1")
        await line.publish("chat:1", "said", {"picture": b"\x01\x02", "name": "x"})
        assert await client.hear() == f'451-["said",{{"picture":{PLACE},"name":"x"}}]'
        assert await client.hear() == b"\x01\x02"
        shown = {"picture": {"$bytes": "AQI="}, "name": "x"}
        pushes = [push for push in [await other.push(), await other.push()] if push["type"] == "said"]
        assert [push["payload"] for push in pushes] == [shown]
        assert json.loads(await raw.recv()) == shown
        assert (await other.get("$history", channel="chat:1"))["publications"][0]["payload"] == shown
        await raw.send(b"\x07")
        assert await client.hear() == f'451-["message",{PLACE}]'
        assert await client.hear() == b"\x07"


async def test_sockets_are_found_and_moved_and_sent_away() -> None:
    line = application()
    space = line.of("/")
    async with serving(line) as served, spoken(served) as one, spoken(served) as two, spoken(served) as three:
        ids = [(await client.enter())["sid"] for client in (one, two, three)]
        space.to(ids[:2]).sockets_join("pair")
        await until(lambda: len(space.to("pair").fetch_sockets()) == 2)
        assert {socket.id for socket in space.fetch_sockets()} == set(ids)
        assert {socket.id for socket in space.except_("pair").fetch_sockets()} == {ids[2]}
        assert {socket.id for socket in space.to(["pair", ids[2]]).except_(ids[0]).fetch_sockets()} == set(ids[1:])
        space.to(["pair", ids[0], ids[2]]).emit("once", 1)
        for client in (one, two, three):
            assert await client.hear() == '42["once",1]'
        space.to("pair").sockets_leave("pair")
        assert space.to("pair").fetch_sockets() == []
        space.to(ids[0]).disconnect_sockets()
        assert await one.hear() == "41"
        space.to(ids[1]).disconnect_sockets(True)
        assert await two.hear() == "41"
        assert await two.ended() is not None
        await until(lambda: [socket.id for socket in space.fetch_sockets()] == [ids[2]])


async def test_asking_a_room_says_who_answered_and_who_did_not_on_whatever_door() -> None:
    line = application()
    space = line.of("/")
    async with (
        serving(line) as served,
        spoken(served) as one,
        polled(served) as two,
        spoken(served) as silent,
        json_client(served.ws) as other,
    ):
        # First, because who says nothing for a second is let in as nobody.
        last = (await other.get("$connect"))["connection"]
        ids = [(await client.enter())["sid"] for client in (one, two, silent)]

        async def answer() -> None:
            number = str(await one.hear())[2:].partition("[")[0]
            await one.say(f"43{number}[1]")
            number = (await two.hear())[2:].partition("[")[0]
            await two.say(f'43{number}["two",2]')
            push = await other.push()
            await other.say(type="$reply", id=push["id"], payload={"three": push["payload"]})

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(answer())
            found = await space.timeout(1.0).emit_with_ack("question", 3)
        assert {socket.id: value for socket, value in found.answered.items()} == {
            ids[0]: 1,
            ids[1]: ("two", 2),
            last: {"three": 3},
        }
        assert [socket.id for socket in found.missing] == [ids[2]]


async def test_what_is_volatile_is_for_who_is_there() -> None:
    line = application(recovery=True)
    space = line.of("/")
    async with serving(line) as served:
        async with spoken(served) as client:
            told = await client.enter()
            socket = space.fetch_sockets()[0]
            socket.volatile.emit("seen")
            assert str(await client.hear()).startswith('42["seen"')
            client.cut()
        await until(lambda: line.connections[0].wire is None)
        socket.volatile.emit("gone")
        socket.emit("kept")
        async with spoken(served) as client:
            await client.enter(f'40{{"pid":"{told["pid"]}"}}')
            assert str(await client.hear()).startswith('42["kept"')


async def test_what_a_socket_says_to_others_does_not_reach_itself_volatile_or_not() -> None:
    line = application()
    space = line.of("/")
    async with serving(line) as served, spoken(served) as first, spoken(served) as second:
        ids = [(await client.enter())["sid"] for client in (first, second)]
        mine, theirs = (next(s for s in space.fetch_sockets() if s.id == each) for each in ids)
        for socket in (mine, theirs):
            await socket.join("r")
        mine.volatile.to("r").emit("to")
        mine.volatile.in_("r").emit("in")
        mine.volatile.except_("nobody").emit("except")
        mine.volatile.broadcast.emit("broadcast")
        mine.volatile.timeout(1).to("r").emit("timed")
        mine.to("r").volatile.emit("volatile")
        mine.volatile.emit("alone")
        space.emit("end")
        assert [await first.hear() for _ in range(2)] == ['42["alone"]', '42["end"]']
        others = ["to", "in", "except", "broadcast", "timed", "volatile", "end"]
        assert [await second.hear() for _ in others] == [f'42["{name}"]' for name in others]


@pytest.mark.parametrize("name", ["", "$all", "x" * 129, "a\x00"])
async def test_an_event_that_cannot_be_named_so_is_refused_where_it_is_emitted(name: str) -> None:
    line = application()
    async with serving(line):
        with pytest.raises(ValueError, match="type"):
            line.of("/").to("room").emit(name)


async def test_more_attachments_than_stock_clients_take_are_refused_where_they_are_emitted_or_returned() -> None:
    line = application()
    space = line.of("/")
    space.on("tiles")(lambda socket, count: [b"x"] * count)
    async with serving(line) as served, spoken(served) as client:
        await client.enter()
        for speak in (space.emit, space.to("r").emit, space.fetch_sockets()[0].emit, line.broadcast):
            with pytest.raises(ValueError, match="10 attachments of bytes at most, this one has 11"):
                speak("tiles", [b"x"] * 11)
        await client.say('421["tiles",11]', '422["tiles",10]')
        assert str(await client.hear()).startswith("4610-2[")


async def test_a_name_for_each_channel_is_told_as_it_is_spelled() -> None:
    line = application()
    line.spell("chat:1", lambda type, payload: [("message", payload["text"]), ("chat message", payload["text"])])
    async with serving(line) as served, spoken(served) as client:
        await client.enter()
        await line.connections[0].subscribe("chat:1")
        line.publish("chat:1", "said", {"text": "hi"})
        assert [await client.hear(), await client.hear()] == ['42["message","hi"]', '42["chat message","hi"]']


def test_a_namespace_begins_with_a_slash_whether_one_says_so_or_not() -> None:
    assert Openline().of("admin").name == Openline().of("/admin").name == "/admin"
