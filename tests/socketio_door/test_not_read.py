"""A client that has said more than may wait is not read for a while: no one else suffers, it is pinged meanwhile."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from openline import Openline
from tests.server import serving, until
from tests.socketio_door.hands import application, ask, polled, spoken

#: More than may wait: the overhead of each is counted, too.
MANY = 600
BRIEF: dict[str, Any] = {"ping_interval_seconds": 0.1, "ping_timeout_seconds": 0.1}


class Slow:
    """An application whose events ``work`` of ``/a`` take until ``go`` is set, and nothing from then on."""

    def __init__(self, **socketio: Any) -> None:
        self.line: Openline = application(**socketio)
        self.go = asyncio.Event()
        self.done = 0
        self.line.of("/a").on("work")(self._work)
        self.line.of("/").on("echo")(lambda socket, value: value)

    async def _work(self, *_: Any) -> None:
        await self.go.wait()
        self.done += 1

    @property
    def waiting(self) -> int:
        return sum(connection.backlog_bytes for connection in self.line.connections)

    async def over(self) -> None:
        await until(lambda: self.waiting > self.line.running.hub.settings.backlog_bytes)


def thrown_out(line: Openline) -> None:
    for socket in line.of("/a").fetch_sockets():
        socket.disconnect()


async def test_a_namespace_that_is_left_with_too_much_waiting_lets_the_others_be_heard_once_that_is_done() -> None:
    slow = Slow()
    async with serving(slow.line) as served, spoken(served) as client:
        await client.enter()
        await client.connect("40/a,")
        await client.say(*['42/a,["work"]'] * MANY, "41/a,")
        await slow.over()
        slow.go.set()
        assert await ask(client, 1, "echo", 5) == [5]
        await until(lambda: slow.done == MANY)


async def test_a_namespace_that_the_server_ends_with_too_much_waiting_lets_the_others_be_heard_at_once() -> None:
    slow = Slow()
    async with serving(slow.line) as served, spoken(served) as client:
        await client.enter()
        await client.connect("40/a,")
        await client.say(*['42/a,["work"]'] * MANY)
        await slow.over()
        thrown_out(slow.line)
        await client.say('421["echo",5]')
        assert [await client.past_pings(), await client.past_pings()] == ["41/a,", "431[5]"]
        slow.go.set()


@pytest.mark.parametrize("end", [thrown_out, lambda line: None])
async def test_a_post_with_more_than_may_wait_is_answered_however_its_namespace_ends(
    end: Callable[[Openline], None],
) -> None:
    slow = Slow()
    async with serving(slow.line) as served, polled(served) as client:
        await client.enter()
        await client.say("40/a,")
        assert (await client.hear()).startswith("40/a,")
        async with asyncio.TaskGroup() as tasks:
            post = tasks.create_task(client.post("\x1e".join(['42/a,["work"]'] * MANY + ["41/a,"])))
            await slow.over()
            assert not post.done()
            end(slow.line)
            slow.go.set()
        assert (post.result().status_code, post.result().text) == (200, "ok")


async def test_what_is_done_in_one_namespace_lets_no_more_in_for_another() -> None:
    """Found: each command of ``/b`` had the line read again that ``/a`` needed to be held."""
    slow = Slow()
    heard: list[int] = []

    @slow.line.of("/b").on("work")
    async def quick(socket: Any, number: int) -> None:
        await asyncio.sleep(0.001)
        heard.append(number)

    limit = slow.line.settings.hub.backlog_bytes
    async with serving(slow.line) as served, spoken(served) as client:
        await client.enter()
        await client.connect("40/a,")
        await client.connect("40/b,")

        async def pump() -> None:
            for number in range(0, 200, 2):
                await client.say(
                    f'42/a,["work","{"x" * 60_000}"]', f'42/b,["work",{number}]', f'42/b,["work",{number + 1}]'
                )

        async with asyncio.TaskGroup() as tasks:
            pumped = tasks.create_task(pump())
            await slow.over()
            await asyncio.sleep(0.1)
            # One that was too many, and what came in the same read.
            assert slow.waiting < limit + 200_000
            slow.go.set()
            await pumped
        await until(lambda: heard == list(range(200)))


async def test_a_client_that_is_not_read_is_pinged_and_has_its_time_to_answer_afterwards() -> None:
    slow = Slow(**BRIEF)
    async with serving(slow.line) as served, spoken(served) as client:
        await client.enter()
        await client.connect("40/a,")
        await client.say(*['42/a,["work"]'] * MANY)
        await slow.over()
        for _ in range(5):
            assert await client.hear() == "2"
            await client.say("3")
        slow.go.set()
        await client.say('421["echo",5]')
        while (packet := await client.hear()) == "2":
            await client.say("3")
        assert packet == "431[5]"


async def test_a_client_that_goes_while_it_is_not_read_is_noticed() -> None:
    slow = Slow(**BRIEF)
    gone: list[str] = []
    slow.line.of("/").on_disconnect(lambda socket, reason: gone.append(reason))
    async with serving(slow.line) as served, spoken(served) as client:
        await client.enter()
        await client.connect("40/a,")
        await client.say(*['42/a,["work"]'] * MANY)
        await slow.over()
        client.cut()
        await until(lambda: gone and not slow.line.running.doors.socketio.engine.sessions)
        slow.go.set()


async def test_a_client_that_polls_no_more_while_it_is_not_read_is_noticed() -> None:
    slow = Slow(**BRIEF)
    async with serving(slow.line) as served, polled(served) as client:
        await client.enter()
        await client.say("40/a,")
        assert (await client.hear()).startswith("40/a,")
        async with asyncio.TaskGroup() as tasks:
            post = tasks.create_task(client.post("\x1e".join(['42/a,["work"]'] * MANY)))
            await slow.over()
            await until(lambda: not slow.line.running.doors.socketio.engine.sessions)
            slow.go.set()
        assert post.result().status_code == 200
