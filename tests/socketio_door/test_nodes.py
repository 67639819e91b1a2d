"""Two nodes on Redis: whom an event goes to, and whom not, whichever of them has them."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from openline import Openline, Settings, Socket, SocketIoSettings
from openline.app.audience import Audience
from openline.app.socketio import Namespace
from tests.redis_servers import redis_server
from tests.server import serving, until
from tests.socketio_door.hands import Spoken, ask, spoken

NODES = 2
#: A room that may be the id of a socket, as far as its letters tell.
LIKE_AN_ID = "conversation"


def make_line(engine: str) -> Openline:
    line = Openline(
        settings=Settings(
            engine=engine, cluster_key="a secret that nodes share", socketio=SocketIoSettings(recovery=True)
        )
    )

    @line.of("/").on("join")
    async def join(socket: Socket, *rooms: str) -> bool:
        for room in rooms:
            await socket.join(room)
        return True

    @line.of("/").on("say")
    async def say(socket: Socket, *rooms: str) -> bool:
        socket.to(rooms).emit("said", 1)
        return True

    return line


@dataclass
class Sitting:
    """A socket at one of the nodes."""

    client: Spoken
    id: str
    pid: str

    async def heard(self) -> list[str]:
        """The events up to the one that says that these are all."""
        names = []
        while (event := read_event(str(await self.client.past_pings())))[0] != "all":
            names.append(event[0])
        return names


def read_event(message: str) -> Any:
    return json.loads(message[message.index("[") :])


@dataclass
class Stage:
    spaces: list[Namespace]
    #: By node: one that is in "r" alone, one in "r" and "muted", one in no room.
    plain: list[Sitting]
    muted: list[Sitting]
    outside: list[Sitting]
    served: list[Any]

    async def heard(self, sittings: list[Sitting], space: Namespace) -> list[list[str]]:
        for each in sittings:
            space.to(each.id).emit("all")
        return [await each.heard() for each in sittings]


@asynccontextmanager
async def stage() -> AsyncIterator[Stage]:
    async with AsyncExitStack() as stack:
        server = stack.enter_context(redis_server())
        lines = [make_line(server.url) for _ in range(NODES)]
        served = [await stack.enter_async_context(serving(line)) for line in lines]
        for line, each in zip(lines, served, strict=True):
            line.listens(each.http)
        clusters = [line.running.hub.cluster for line in lines]
        await until(lambda: all(each is not None and len(each.nodes) == NODES for each in clusters))

        async def sit(node: int, *rooms: str) -> Sitting:
            client = await stack.enter_async_context(spoken(served[node]))
            told = await client.enter()
            assert await ask(client, 1, "join", *rooms) == [True]
            return Sitting(client, told["sid"], told["pid"])

        nodes = range(NODES)
        yield Stage(
            [line.of("/") for line in lines],
            [await sit(node, "r") for node in nodes],
            [await sit(node, "r", "muted", LIKE_AN_ID) for node in nodes],
            [await sit(node) for node in nodes],
            served,
        )


async def test_who_is_meant_hears_it_once_whichever_node_has_them() -> None:
    async with stage() as at:
        space = at.spaces[0]
        space.to("r").except_("muted").emit("unmuted")
        space.to(["r", "muted"]).emit("once")
        space.to(["muted", LIKE_AN_ID, "r"]).emit("thrice")
        space.except_("muted").emit("all but muted")
        space.except_([each.id for each in at.plain]).emit("all but plain")
        space.to("r").except_([each.id for each in at.muted]).emit("plain")
        space.to(LIKE_AN_ID).emit("like an id")
        space.to([*(each.id for each in at.outside), "muted"]).emit("to sockets")
        space.to([*(each.id for each in at.muted), "muted"]).emit("to the muted")
        space.volatile.to("r").except_("muted").emit("volatile")
        everyone = [*at.plain, *at.muted, *at.outside]
        plain = ["unmuted", "once", "thrice", "all but muted", "plain", "volatile"]
        muted = ["once", "thrice", "all but plain", "like an id", "to sockets", "to the muted"]
        outside = ["all but muted", "all but plain", "to sockets"]
        expected = [plain] * NODES + [muted] * NODES + [outside] * NODES
        assert [sorted(each) for each in await at.heard(everyone, space)] == [sorted(each) for each in expected]


async def test_what_one_node_says_keeps_its_order_for_every_socket() -> None:
    async with stage() as at:
        space = at.spaces[0]
        for number in range(20):
            audience: Audience = space.to("r").except_("muted") if number % 2 else space.except_("muted")
            audience.emit(f"event {number}")
        expected = [f"event {number}" for number in range(20)]
        assert await at.heard(at.plain, space) == [expected] * NODES


async def test_a_socket_speaks_to_all_but_itself_and_those_left_out_at_the_other_node() -> None:
    async with stage() as at:
        assert await ask(at.plain[0].client, 2, "say", "r", "muted") == [True]
        expected = [[], ["said"], ["said"], ["said"]]
        assert await at.heard([*at.plain, *at.muted], at.spaces[0]) == expected


async def test_everybody_who_is_meant_is_asked_whichever_node_has_them() -> None:
    async with stage() as at:
        space = at.spaces[0]

        async def answer(sitting: Sitting) -> None:
            asked = str(await sitting.client.past_pings())
            await sitting.client.say(f'43{asked[2 : asked.index("[")]}["{sitting.id}"]')

        async def asks(audience: Audience, sittings: list[Sitting]) -> set[Any]:
            async with asyncio.TaskGroup() as group:
                asking = group.create_task(audience.emit_with_ack("who"))
                for each in sittings:
                    await answer(each)
            found = asking.result()
            assert (found.missing, found.silent) == ((), ())
            return set(found.answered.values())

        one, other = at.outside
        assert await asks(space.to(other.id), [other]) == {other.id}
        assert await asks(space.to([one.id, other.id]), at.outside) == {one.id, other.id}
        mine, theirs = at.plain
        assert await asks(space.to("r").except_(["muted", theirs.id]), [mine]) == {mine.id}
        assert await asks(space.to("r").except_("muted"), at.plain) == {mine.id, theirs.id}


async def test_what_a_socket_was_left_out_of_does_not_come_after_a_cut_either() -> None:
    async with stage() as at:
        space, cut = at.spaces[0], at.muted[1]
        cut.client.cut()
        await until(lambda: any(each.connection.wire is None for each in at.spaces[1].fetch_sockets()))
        space.to("r").except_("muted").emit("unmuted")
        space.to("r").except_(cut.id).emit("not to it")
        space.except_("muted").emit("all but muted")
        space.to(["r", "muted"]).emit("once")
        space.to(["muted", cut.id]).emit("to it")
        space.to("r").emit("last")
        # At the other node than before.
        async with spoken(at.served[0]) as client:
            told = await client.enter(f'40{{"pid":"{cut.pid}"}}')
            assert told["sid"] == cut.id
            space.to(cut.id).emit("all")
            assert await Sitting(client, cut.id, cut.pid).heard() == ["once", "to it", "last"]
