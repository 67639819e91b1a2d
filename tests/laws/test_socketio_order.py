"""Whatever happens to its line, a Socket.IO client gets everything of its rooms and of its own, once and in order."""

import asyncio
import random
from contextlib import suppress
from typing import Any

import pytest

from openline import Openline, Socket
from tests.server import serving, until
from tests.socketio_door.hands import application
from tests.socketio_door.wanderer import Wanderer

ROOMS = ("chat:a", "chat:b", "plain")


@pytest.mark.parametrize("seed", range(4))
async def test_everything_comes_once_and_in_order_through_upgrades_cuts_and_returns(seed: int) -> None:
    dice = random.Random(seed)
    said: list[Any] = []
    line = recovering(said)
    async with serving(line) as served:
        wanderer, done = Wanderer(served, dice), asyncio.Event()

        async def wander() -> None:
            while not done.is_set():
                await wanderer.visit()

        async with asyncio.TaskGroup() as tasks:
            life = tasks.create_task(wander())
            await until(lambda: line.connections)
            socket = line.of("/").fetch_sockets()[0]
            await socket.join(ROOMS)
            for n in range(150):
                where = dice.choice((*ROOMS, "own", "not for it"))
                if where == "own":
                    socket.emit("said", n)
                elif where == "not for it":
                    line.of("/").to(ROOMS[0]).except_(socket.id).emit("said", n)
                    continue
                else:
                    line.of("/").to(where).emit("said", n)
                said.append(n)
                if dice.random() < 0.5:
                    await asyncio.sleep(dice.random() * 0.01)
            with suppress(TimeoutError):
                await until(lambda: len(wanderer.got) >= len(said))
            done.set()
            await life
        assert wanderer.got == said[: len(wanderer.got)]
        assert len(wanderer.got) >= len(said) - wanderer.asked
        assert wanderer.returns
        assert wanderer.acked
        # Of what it asked some answers were lost with a line; those that came stand in order, each once, and where
        # they were made: behind all that had been said by then, in whatever room, and ahead of the rest.
        assert [number for number, _, _ in wanderer.acked] == sorted({number for number, _, _ in wanderer.acked})
        for number, [by_then], heard in wanderer.acked:
            assert heard == by_then, number


def recovering(said: list[Any]) -> Openline:
    line = application(recovery=True)

    @line.of("/").on("echo")
    def echo(socket: Socket) -> int:
        socket.emit("said", f"echo {len(said)}")
        said.append(f"echo {len(said)}")
        return len(said)

    return line
