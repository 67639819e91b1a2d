"""Polls that come once more, or seem to: marks that repeat, clients that had gone."""

import asyncio
from collections.abc import Callable

import pytest

from openline import Connection
from tests.server import serving, until
from tests.socketio_door.hands import application, polled
from tests.socketio_door.hosts import HOSTS

hosts = pytest.mark.parametrize("host", HOSTS)


@pytest.mark.parametrize("mark", [lambda n: str(1_764_459_467 + n // 5), lambda n: "1"], ids=["seconds", "constant"])
@hosts
async def test_whose_marks_repeat_loses_nothing(host: str, mark: Callable[[int], str]) -> None:
    """Ten events in two seconds by a clock that has seconds: the second five share a mark, and so do their polls."""
    line = application()
    heard: list[int] = []

    @line.on("n")
    def n(connection: Connection, number: int) -> int:
        heard.append(number)
        return number

    async with HOSTS[host](line) as served, polled(served) as client:
        client.query["t"] = mark(0)
        await client.enter()
        told: list[str] = []
        for number in range(10):
            client.query["t"] = mark(number)
            await client.say(f'42{number}["n",{number}]')
            told.append((await client.get()).text)
        # The very same bytes, in one second and out of two emits.
        await client.say('42["n",10]')
        await client.say('42["n",10]')
        await until(lambda: len(heard) == 12)
    assert heard == [*range(10), 10, 10]
    assert told == [f"43{number}[{number}]" for number in range(10)]


async def test_a_poll_that_comes_once_more_while_it_still_waits_takes_its_place() -> None:
    line = application()
    line.on("echo")(lambda connection, value: value)
    async with serving(line) as served, polled(served) as client:
        await client.enter()
        client.query["t"] = "a"
        async with asyncio.TaskGroup() as tasks:
            first = tasks.create_task(client.get())
            await asyncio.sleep(0.1)
            again = tasks.create_task(client.get())
            assert (await first).text == "6"
            await client.post('421["echo",1]')
            assert (await again).text == "431[1]"
        # The first one's connection breaks only now, which says nothing of the answer to the second.
        client.query["t"] = "b"
        await client.say('422["echo",2]')
        assert (await client.get()).text == "432[2]"


@pytest.mark.parametrize("mark", ["a", "b", ""])
async def test_an_answer_whose_client_had_gone_before_it_was_written_goes_to_who_polls_next(mark: str) -> None:
    line = application()
    async with serving(line) as served, polled(served) as client:
        await client.enter()
        (session,) = line.doors.socketio.engine.sessions.values()
        answer = session.poll("a")
        line.broadcast("n", 1)
        await answer
        # Its request is told of the end of its client in the same turn of the loop.
        session.poll_lost(answer)
        line.broadcast("n", 2)
        client.query["t"] = mark
        assert (await client.get()).text == '42["n",1]'
        assert (await client.get()).text == '42["n",2]'
