"""Coming back as the stock client does it: its secret, and the last string that it saw as a position."""

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest

from openline import CommandError, ConnectError, Openline, Socket, User
from openline.errors import CloseCode
from tests.server import serving, until
from tests.socketio_door.hands import Polled, Spoken, application, polled, spoken


def recovering(**more: Any) -> Openline:
    line = application(recovery=True, **more)
    space = line.of("/")
    space.on("join")(lambda socket, room: (socket.join(room), True)[1])
    space.on("ping")(lambda socket: "pong")
    return line


async def enter(client: Spoken | Polled, told: dict[str, Any] | None = None, offset: Any = None) -> dict[str, Any]:
    auth = {} if told is None else {"pid": told["pid"]} | ({} if offset is None else {"offset": offset})
    return await client.enter(f"40{json.dumps(auth) if auth else ''}")


async def join(client: Spoken, room: str) -> None:
    await client.say(f'421["join","{room}"]')
    assert await client.past_pings() == "431[true]"


def event(message: str | bytes) -> list[Any]:
    assert isinstance(message, str)
    assert message.startswith("42"), message
    parts: list[Any] = json.loads(message[2:])
    return parts


async def away(line: Openline, sid: str) -> None:
    await until(lambda: any(c.id == sid and c.wire is None for c in line.connections))


async def test_connect_brings_a_secret_and_every_event_a_position() -> None:
    line = recovering()
    async with serving(line) as served, spoken(served) as client:
        told = await enter(client)
        assert sorted(told) == ["pid", "sid"]
        await join(client, "chat:1")
        position = await line.publish("chat:1", "said", "x")
        assert event(await client.hear()) == ["said", "x", str(position)]
        line.of("/").volatile.emit("tick", "a string that is no position")
        assert event(await client.hear()) == ["tick", "a string that is no position", str(position)]
        line.publish("chat:1", "bare")
        assert event(await client.hear())[0] == "bare"


async def test_without_recovery_nothing_is_added() -> None:
    line = application()
    async with serving(line) as served, spoken(served) as client:
        assert list(await client.enter('40{"pid":"x","offset":"y"}')) == ["sid"]
        line.broadcast("said", 1)
        assert event(await client.hear()) == ["said", 1]


async def test_who_declines_it_gets_events_as_they_are_and_is_somebody_new_when_it_comes_back() -> None:
    line = recovering()
    async with serving(line) as served:
        async with spoken(served) as plain, spoken(served) as stock:
            told = await enter(stock)
            assert list(await plain.enter('40{"recovery":false}')) == ["sid"]
            for client in (plain, stock):
                await join(client, "chat:1")
            position = await line.publish("chat:1", "said", 1)
            assert event(await plain.hear()) == ["said", 1]
            assert event(await stock.hear()) == ["said", 1, str(position)]
            plain.cut()
            await until(lambda: len(line.connections) == 1)
            stock.cut()
        await away(line, told["sid"])
        async with spoken(served) as client:
            new = await client.enter(f'40{{"pid":"{told["pid"]}","recovery":false}}')
            assert list(new) == ["sid"]
            assert new["sid"] != told["sid"]


@pytest.mark.parametrize("received", [False, True])
async def test_who_comes_back_gets_what_it_missed_in_its_rooms_and_for_itself(received: bool) -> None:
    line = recovering()
    async with serving(line) as served:
        async with spoken(served) as client:
            told = await enter(client)
            await join(client, "chat:1")
            await join(client, "nobody has configured this")
            offset = None
            if received:
                line.broadcast("first")
                offset = event(await client.hear())[-1]
            client.cut()
        await away(line, told["sid"])
        line.publish("chat:1", "said", 1)
        line.connections[0].emit("said", 2)
        line.of("/").to("nobody has configured this").emit("said", 3)
        line.of("/").to("chat:1").except_(told["sid"]).emit("said", "not for it")
        line.of("/").to("chat:1").volatile.emit("said", "gone")
        async with spoken(served) as client:
            assert await enter(client, told, offset) == told
            assert [event(await client.hear())[1] for _ in range(3)] == [1, 2, 3]
            line.publish("chat:1", "said", 4)
            assert event(await client.hear())[1] == 4


async def test_who_may_not_come_back_just_now_keeps_its_place_and_comes_back_later() -> None:
    line = recovering()
    busy = False

    @line.of("/").use
    def guard(socket: Socket) -> None:
        if busy:
            raise CommandError("busy", "Not now.", retry=True)

    async with serving(line) as served:
        async with spoken(served) as client:
            told = await enter(client)
            await join(client, "chat:1")
            client.cut()
        await away(line, told["sid"])
        busy = True
        async with spoken(served) as client:
            await client.hear()
            await client.say(f"40{json.dumps({'pid': told['pid']})}")
            assert await client.ended() == CloseCode.TRY_LATER
        busy = False
        line.publish("chat:1", "said", 1)
        async with spoken(served) as client:
            assert await enter(client, told) == told
            assert event(await client.hear())[:2] == ["said", 1]


@pytest.mark.parametrize("received", [0, 1, 2])
async def test_who_is_cut_between_the_names_of_one_publication_gets_each_name_once(received: int) -> None:
    line = recovering()
    line.spell("chat:1", lambda type, payload: [("message", payload), ("chat message", payload)])
    line.spell("chat:2", lambda type, payload: [("message", payload), ("chat message", payload)])
    async with serving(line) as served:
        async with spoken(served) as client:
            told = await enter(client)
            await join(client, "chat:2")
            await join(client, "chat:1")
            line.publish("chat:1", "said", 1)
            events = [event(await client.hear()) for _ in range(2)][:received]
            client.cut()
        await away(line, told["sid"])
        line.publish("chat:1", "said", 2)
        async with spoken(served) as client:
            assert await enter(client, told, events[-1][-1] if events else None) == told
            events += [event(await client.hear()) for _ in range(4 - received)]
            names = ["message", "chat message"]
            assert [each[:2] for each in events] == [[name, number] for number in (1, 2) for name in names]


async def test_who_is_cut_between_the_names_of_one_that_is_gone_is_somebody_new() -> None:
    line = application(recovery=True)
    line.channel("news", history=1, public=True)
    line.spell("news", lambda type, payload: [("message", payload), ("chat message", payload)])
    line.of("/").on("join")(lambda socket, room: (socket.join(room), True)[1])
    async with serving(line) as served:
        async with spoken(served) as client:
            told = await enter(client)
            await join(client, "news")
            line.publish("news", "said", 1)
            first = event(await client.hear())
            client.cut()
        await away(line, told["sid"])
        line.publish("news", "said", 2)
        async with spoken(served) as client:
            assert (await enter(client, told, first[-1]))["sid"] != told["sid"]


async def test_being_put_into_a_room_once_more_loses_nothing_that_was_on_its_way() -> None:
    line = recovering()
    async with serving(line) as served:
        async with spoken(served) as client:
            told = await enter(client)
            await join(client, "chat:1")
            line.publish("chat:1", "said", 1)
            offset = event(await client.hear())[-1]
            line.publish("chat:1", "said", "on its way when the line broke")
            await line.connections[0].subscribe("chat:1")
            client.cut()
        await away(line, told["sid"])
        async with spoken(served) as client:
            assert await enter(client, told, offset) == told
            line.publish("chat:1", "said", "last")
            assert event(await client.hear())[1] == "on its way when the line broke"


async def test_who_is_cut_in_the_middle_of_what_it_missed_goes_on_there() -> None:
    line = recovering()
    async with serving(line) as served:
        async with spoken(served) as client:
            told = await enter(client)
            await join(client, "chat:1")
            client.cut()
        await away(line, told["sid"])
        for n in range(50):
            line.publish("chat:1", "said", n)
        got: list[int] = []
        offset = None
        for _ in range(4):
            async with spoken(served) as client:
                await enter(client, told, offset)
                for _ in range(10):
                    _, number, offset = event(await client.hear())
                    got.append(number)
                client.cut()
            await away(line, told["sid"])
        assert got == list(range(40))


async def test_where_something_is_lost_the_client_is_somebody_new() -> None:
    line = application(recovery=True)
    line.of("/").on("join")(lambda socket, room: (socket.join(room), True)[1])
    line.channel("short", history=2)
    gone: list[str] = []
    line.of("/").on_disconnect(lambda socket, reason: gone.append(reason))
    async with serving(line) as served:
        async with spoken(served) as client:
            told = await enter(client)
            await join(client, "short")
            client.cut()
        await away(line, told["sid"])
        for n in range(5):
            line.publish("short", "said", n)
        async with spoken(served) as client:
            new = await enter(client, told)
            assert new["sid"] != told["sid"]
            assert new["pid"] != told["pid"]
            assert gone == ["transport close"]
            line.broadcast("live")
            assert event(await client.hear())[0] == "live"


@pytest.mark.parametrize("offset", ["nonsense", "", "x.1", 7, [], "a.99999999999999999999"])
async def test_an_offset_that_cannot_be_ours_recovers_nothing_and_who_it_was_is_gone_at_once(offset: Any) -> None:
    line = recovering()
    gone: list[str] = []
    line.of("/").on_disconnect(lambda socket, reason: gone.append(socket.id))
    async with serving(line) as served:
        async with spoken(served) as client:
            told = await enter(client)
            client.cut()
        await away(line, told["sid"])
        async with spoken(served) as client:
            new = await enter(client, told, offset)
            assert (new["sid"] == told["sid"]) is (offset == "x.1")
            assert [each.id for each in line.of("/").fetch_sockets()] == [new["sid"]]
            assert gone == ([] if offset == "x.1" else [told["sid"]])


async def test_an_offset_from_the_future_recovers_nothing() -> None:
    line = recovering()
    async with serving(line) as served:
        async with spoken(served) as client:
            told = await enter(client)
            client.cut()
        await away(line, told["sid"])
        epoch = str(line.running.hub.broker.position).split(".")[0]
        async with spoken(served) as client:
            assert (await enter(client, told, f"{epoch}.9999"))["sid"] != told["sid"]


async def test_an_offset_of_an_earlier_connection_brings_nothing_from_before_this_one() -> None:
    line = recovering()
    line.authenticate(lambda token, request: User("ada"))
    async with serving(line) as served:
        line.publish_to_user("ada", "said", "long ago")
        old = str(line.running.hub.broker.position)
        line.publish_to_user("ada", "said", "before")
        async with spoken(served) as client:
            told = await enter(client)
            client.cut()
        await away(line, told["sid"])
        line.publish_to_user("ada", "said", "missed")
        async with spoken(served) as client:
            assert await enter(client, told, old) == told
            assert event(await client.hear())[1] == "missed"


async def test_a_secret_opens_its_own_namespace_and_no_other() -> None:
    line = recovering()
    line.of("/admin").on("x")(lambda socket: 1)
    async with serving(line) as served:
        async with spoken(served) as client:
            told = await enter(client)
            client.cut()
        await away(line, told["sid"])
        async with spoken(served) as client:
            new = await client.enter(f'40/admin,{{"pid":"{told["pid"]}"}}')
            assert new["sid"] != told["sid"]
        async with spoken(served) as client:
            assert await enter(client, told) == told


async def test_who_may_not_come_in_any_more_does_not_come_back() -> None:
    line = recovering()
    banned: set[str] = set()

    @line.of("/").use
    def guard(socket: Any) -> None:
        if socket.id in banned:
            raise ConnectError("banned", {"for": "good"})

    async with serving(line) as served:
        async with spoken(served) as client:
            told = await enter(client)
            client.cut()
        await away(line, told["sid"])
        banned.add(told["sid"])
        async with spoken(served) as client:
            await client.hear()
            await client.say(f'40{{"pid":"{told["pid"]}"}}')
            assert await client.hear() == '44{"message":"banned","data":{"for":"good"}}'
        await until(lambda: not line.connections)


async def test_who_left_a_namespace_cannot_come_back_to_it() -> None:
    line = recovering()
    async with serving(line) as served, spoken(served) as client:
        told = await enter(client)
        await client.say("41")
        assert (await client.connect(f'40{{"pid":"{told["pid"]}"}}'))["sid"] != told["sid"]


async def test_a_client_that_comes_back_before_its_old_line_is_known_to_be_dead_ends_that() -> None:
    line = recovering()
    async with serving(line) as served, spoken(served) as old, spoken(served) as new:
        told = await enter(old)
        await join(old, "chat:1")
        assert await enter(new, told) == told
        assert await old.ended(1.0) == 4409
        line.publish("chat:1", "said", 1)
        assert event(await new.hear())[1] == 1
        assert len(line.connections) == 1


async def test_what_was_asked_is_not_asked_again() -> None:
    line = recovering()
    async with serving(line) as served:
        async with spoken(served) as client:
            told = await enter(client)
            connection = line.connections[0]
            asked = asyncio.ensure_future(connection.ask("question", 1, timeout=0.5))  # noqa: TID251  a test's own
            assert str(await client.hear()).endswith('["question",1]')
            client.cut()
        await away(line, told["sid"])
        connection.emit("said", 1)
        async with spoken(served) as client:
            await enter(client, told)
            assert event(await client.hear())[0] == "said"
        with pytest.raises(TimeoutError):
            await asked


async def test_who_polled_comes_back_over_websocket_and_the_other_way_round() -> None:
    line = recovering()
    async with serving(line) as served:
        async with polled(served) as client:
            told = await enter(client)
            await client.post("1")
        await away(line, told["sid"])
        line.connections[0].emit("said", 1)
        async with spoken(served) as other:
            assert await enter(other, told) == told
            offset = event(await other.hear())[-1]
            other.cut()
        await away(line, told["sid"])
        line.connections[0].emit("said", 2)
        async with polled(served) as client:
            assert await enter(client, told, offset) == told
            assert event(await client.hear())[1] == 2


async def test_what_is_missed_comes_whole_when_the_client_upgrades_in_the_middle_of_it() -> None:
    line = recovering()
    async with serving(line) as served:
        async with spoken(served) as client:
            told = await enter(client)
            await join(client, "chat:1")
            client.cut()
        await away(line, told["sid"])
        for n in range(90):
            line.publish("chat:1", "said", [n, "x" * 5000])
        async with polled(served) as client:
            await client.open()
            async with spoken(served, f"EIO=4&transport=websocket&sid={client.sid}") as upgraded:
                await upgraded.say("2probe")
                assert await upgraded.hear() == "3probe"
                await client.say(f'40{{"pid":"{told["pid"]}"}}')
                first = (await client.get()).text.split("\x1e")
                await upgraded.say("5")
                got = [event(packet)[1][0] for packet in first if packet.startswith("42")]
                while len(got) < 90:
                    got.append(event(await upgraded.past_pings())[1][0])
                line.publish("chat:1", "said", [90])
                got.append(event(await upgraded.past_pings())[1][0])
        assert got == list(range(91))


async def test_the_window_ends_and_the_connection_with_it() -> None:
    line = recovering()
    line.configure(replace(line.settings, hub=replace(line.settings.hub, window_seconds=0.1)))
    gone: list[str] = []
    line.of("/").on_disconnect(lambda socket, reason: gone.append(reason))
    async with serving(line) as served:
        async with spoken(served) as client:
            told = await enter(client)
            client.cut()
        await until(lambda: gone)
        assert gone == ["transport close"]
        async with spoken(served) as client:
            assert (await enter(client, told))["sid"] != told["sid"]
