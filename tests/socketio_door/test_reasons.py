"""Why a socket has ended, as its handler is told: in Socket.IO's words."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from openline import LineSettings, Openline, Settings, Socket, SocketIoSettings
from tests.server import Served, serving, until
from tests.socketio_door.hands import polled, spoken


async def silence(served: Served) -> None:
    async with spoken(served) as client:
        await client.enter()
        await client.ended()


async def no_packet(served: Served) -> None:
    async with spoken(served) as client:
        await client.enter()
        await client.say("4abc")
        await client.ended()


async def cut(served: Served) -> None:
    async with spoken(served) as client:
        await client.enter()
        client.cut()


async def goodbye(served: Served) -> None:
    async with spoken(served) as client:
        await client.enter()
        await client.say("1")
        await client.ended()


async def leaves(served: Served) -> None:
    async with polled(served) as client:
        await client.enter()
        await client.say("41")


async def sent_away(served: Served) -> None:
    async with spoken(served) as client:
        await client.enter()
        await client.say('42["go"]')
        assert await client.past_pings() == "41"


async def polls_twice(served: Served) -> None:
    async with polled(served) as client:
        await client.enter()
        await asyncio.gather(client.get(), client.get())


async def attachments_are_missing(served: Served) -> None:
    async with polled(served) as client:
        await client.enter()
        await client.say('451-["x"]')
        for _ in range(2):
            # The first is a ping.
            await client.get()
            await client.post("3")


REASONS: dict[str, tuple[Callable[[Served], Awaitable[None]], ...]] = {
    "ping timeout": (silence,),
    "parse error": (no_packet,),
    "transport close": (cut, goodbye),
    "client namespace disconnect": (leaves,),
    "server namespace disconnect": (sent_away,),
    "transport error": (polls_twice,),
    "forced close": (attachments_are_missing,),
}


@pytest.mark.parametrize("reason", REASONS)
async def test_a_handler_is_told_in_socket_ios_words(reason: str) -> None:
    settings = SocketIoSettings(
        ping_interval_seconds=0.2,
        ping_timeout_seconds=0.2 if reason == "ping timeout" else 5.0,
        connect_within_seconds=0.4 if reason == "forced close" else 5.0,
    )
    line = Openline(settings=Settings(socketio=settings, line=LineSettings(close_within_seconds=0.5)))
    told: list[tuple[object, str]] = []
    line.of("/").on("go")(lambda socket: socket.disconnect())

    @line.of("/").on_connect
    def connected(socket: Socket) -> None:
        socket.data["mine"] = True

    @line.of("/").on_disconnect
    def disconnected(socket: Socket, reason: str) -> None:
        told.append((socket.data["mine"], reason))

    async with serving(line) as served:
        for happens in REASONS[reason]:
            await happens(served)
            await until(lambda: told)
            assert told == [(True, reason)]
            told.clear()
