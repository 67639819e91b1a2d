"""Clients in the same process: the real hub and the real Python client, without a network and without real time."""

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from openline import CommandError, Connection, GoneError, LineSettings, Request, User
from openline.errors import RequestRefused
from openline.testing import ClientChannel, FakeClock, client, settle, stage
from tests.testing.people import application, said, words


async def test_two_people_hear_each_other_in_order() -> None:
    line = application()
    async with client(line, user="ada") as ada, client(line, user=User("bob", {"name": "Bob"})) as bob:
        assert await ada.ask("hello", "you") == ["Hello, you!", "ada"]
        rooms = [await ada.subscribe("chat:1"), await bob.subscribe("chat:1")]
        for n in range(20):
            await (ada, bob)[n % 2].publish("chat:1", "n", n)
        for room in rooms:
            assert isinstance(room, ClientChannel)
            first = await room.next()
            assert (first.payload, first.sender and first.sender.user) == (0, "ada")
            assert (await room.next()).sender.data == {"name": "Bob"}  # type: ignore[union-attr]
            assert said(await room.heard()) == list(range(2, 20))
            assert await room.heard() == []
        assert (await ada.presence("chat:1")).count == 2
        assert [e.payload for e in (await bob.history("chat:1", limit=2)).publications] == [18, 19]
        line.broadcast("news", 7)
        assert [(await each.next()).payload for each in (ada, bob)] == [7, 7]


async def test_events_can_be_read_as_they_come() -> None:
    async with client(application()) as ada, client(application()) as stranger:
        room = await ada.subscribe("chat:1")
        got: list[Any] = []

        async def read() -> None:
            async for event in room:
                got.append(event.payload)

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(read())
            for n in range(3):
                await ada.publish("chat:1", "n", n)
                await stranger.publish("chat:1", "n", "of another application")
            await settle()
            assert got == [0, 1, 2]
            room.unsubscribe()


# -- who comes in


async def test_a_user_is_introduced_and_a_token_is_judged() -> None:
    line = application()
    asked: list[tuple[str | None, Request]] = []

    @line.authenticate
    async def authenticate(token: str | None, request: Request) -> str | None:
        asked.append((token, request))
        return "bob" if token == "good" else None

    async with client(line, user="ada") as ada:
        assert (ada.user, asked) == ("ada", [])
        async with client(line, token="good") as bob, client(line) as nobody:
            assert (bob.user, nobody.user) == ("bob", None)
            assert [token for token, _ in asked] == ["good", None]
        with pytest.raises(GoneError, match="The token is not good"):
            async with client(line, token="bad"):
                pass
        await ada.lose_line()
        assert (await ada.come_back()).resumed
        assert ada.user == "ada"
    with pytest.raises(ValueError, match="one of them"):
        async with client(line, user="ada", token="good"):
            pass


async def test_headers_pass_the_applications_own_gate() -> None:
    line = application()
    line.allow(origins=["https://app.example"])
    asked: list[Request] = []
    line.authenticate(lambda token, request: asked.append(request) or token)  # type: ignore[func-returns-value]
    async with client(line, headers={"Origin": "https://app.example", "Cookie": "a=1", "X-Mine": "x"}):
        assert (asked[-1].headers["cookie"], asked[-1].headers["x-mine"], asked[-1].client) == ("a=1", "x", "127.0.0.1")
    async with client(line, headers={"Cookie": "a=1", "Authorization": "Bearer ada"}) as ada:
        assert ada.user == "ada"
        assert "cookie" not in asked[-1].headers
    with pytest.raises(RequestRefused, match=r"--allow-origin https://evil\.example"):
        async with client(line, headers={"Origin": "https://evil.example"}):
            pass


async def test_who_is_turned_away_by_a_handler_is_gone() -> None:
    line = application()

    @line.on_connect
    def connect(connection: Connection) -> None:
        raise CommandError("full", "Come back tomorrow.")

    async with client(line) as ada:
        with pytest.raises(GoneError, match="Come back tomorrow"):
            await ada.subscribe("chat:1")


# -- a line that breaks


async def test_who_loses_the_line_and_comes_back_has_missed_nothing_and_was_never_away() -> None:
    line = application()
    async with client(line, user="ada") as ada, client(line, user="bob") as bob:
        watched, room = await ada.subscribe("chat:1", presence=True), await bob.subscribe("chat:1")
        before = bob.connection
        await bob.lose_line()
        assert bob.status == "waiting"
        for n in range(300):
            await ada.publish("chat:1", "n", n)
        change = await bob.come_back()
        assert (change.status, change.resumed, bob.connection) == ("open", True, before)
        assert said(await room.heard()) == list(range(300))
        assert words(await watched.heard()) == ["$presence", "$joined"]


async def test_who_stays_away_too_long_has_left_and_comes_back_as_another() -> None:
    line = application()
    ended: list[str] = []
    line.on_disconnect(lambda connection, reason: ended.append(reason))
    clock = FakeClock()
    async with client(line, user="ada", clock=clock) as ada, client(line, user="bob") as bob:
        watched, room = await ada.subscribe("chat:1", presence=True), await bob.subscribe("chat:1")
        before = bob.connection
        await bob.lose_line()
        await clock.pass_time(9)
        assert "$left" not in words(await watched.heard())
        await clock.pass_time(2)
        assert words(await watched.heard()) == ["$left"]
        assert ended == []
        await clock.pass_time(120)
        assert ended == ["lost"]
        await ada.publish("chat:1", "n", "meanwhile")
        change = await bob.come_back()
        assert not change.resumed
        assert bob.connection != before
        assert said(await room.heard()) == ["meanwhile"]


async def test_what_was_under_way_when_the_line_broke_is_applied_once() -> None:
    line = application()
    async with client(line) as ada, client(line) as bob, asyncio.TaskGroup() as tasks:
        room = await bob.subscribe("chat:1")
        await ada.stall()
        publishing = tasks.create_task(ada.publish("chat:1", "n", "once"))
        assert said(await room.heard()) == ["once"]
        await ada.lose_line()
        assert not publishing.done()
        await ada.come_back()
        await publishing
        assert said(await room.heard()) == []


async def test_coming_back_is_for_those_who_lost_their_line() -> None:
    line = application()
    refuse = False

    @line.authenticate
    def authenticate(token: str | None, request: Request) -> None:
        if refuse:
            raise CommandError("unauthorized", "Not any more.")

    async with client(line) as ada:
        with pytest.raises(RuntimeError, match="the line is open"):
            await ada.come_back()
        await ada.lose_line()
        refuse = True
        with pytest.raises(GoneError, match="Not any more"):
            await ada.come_back()
        with pytest.raises(RuntimeError, match="the line is closed"):
            await ada.come_back()


async def test_a_disconnect_by_the_application_is_final() -> None:
    line = application()
    async with client(line, user="ada") as ada:
        room = await ada.subscribe("chat:1")
        line.disconnect_user("ada", "Enough.")
        await settle()
        assert ada.status == "closed"
        with pytest.raises(GoneError, match="Enough"):
            await room.next()


# -- slow clients


async def test_a_client_that_stops_reading_is_closed_and_has_missed_nothing_when_it_returns() -> None:
    line = application(line=LineSettings(outbox_bytes=131_072))
    async with client(line) as ada, client(line) as bob:
        slow, other = await ada.subscribe("chat:1"), await bob.subscribe("chat:1")
        before = ada.connection
        await ada.stall()
        for n in range(20):
            await bob.publish("chat:1", "n", [n, "x" * 10_000])
        assert ada.status == "open"
        assert len(await other.heard()) == 20
        await ada.drain()
        assert ada.status == "waiting"
        change = await ada.come_back()
        assert (change.resumed, ada.connection) == (True, before)
        assert [n for n, _ in said(await slow.heard())] == list(range(20))


async def test_a_client_that_stops_reading_for_long_is_taken_for_dead() -> None:
    line = application()
    async with stage(line) as clock, client(line) as ada, client(line) as bob:
        room = await ada.subscribe("chat:1", presence=True)
        await bob.subscribe("chat:1")
        await bob.stall()
        await clock.pass_time(60)
        assert words(await room.heard())[-1] == "$left"
        await bob.drain()
        await clock.pass_time(60)
        assert bob.status == "open"
        assert words(await room.heard())[-1] == "$joined"


@pytest.mark.parametrize("when_slow", ["drop", "latest"])
async def test_what_was_dropped_for_a_slow_client_is_counted_and_told_behind_what_was_not(when_slow: Any) -> None:
    line = application(line=LineSettings(outbox_bytes=131_072))
    line.channel("mouse", volatile=True, when_slow=when_slow, public=True)
    async with client(line) as ada:
        room = await ada.subscribe("mouse")
        await ada.stall()
        for n in range(40):
            line.publish("mouse", "at", [n, "x" * 10_000], subject="bob")
            await settle()
        await ada.drain()
        assert ada.status == "open"
        events = await room.heard()
        kept = [n for n, _ in said(events)]
        assert kept[0] == 0
        assert kept[-1] == 39
        assert kept == sorted(kept)
        assert (events[-1].type, events[-1].payload["lost"]) == ("$gap", 40 - len(kept))
        line.publish("mouse", "at", "again")
        assert said(await room.heard()) == ["again"]


# -- what a test is told


async def test_waiting_for_what_does_not_come_fails_in_words() -> None:
    async with client(application()) as ada:
        room = await ada.subscribe("chat:1")
        with pytest.raises(AssertionError, match="nothing has come in chat:1"):
            await room.next(patience=0.01)
        with pytest.raises(AssertionError, match="nothing has come beside the channels"):
            await ada.next(patience=0.01)
        room.unsubscribe()
        with pytest.raises(AssertionError, match="nothing more comes in chat:1"):
            await room.next()


async def test_what_handlers_do_in_threads_is_waited_for(tmp_path: Path) -> None:
    line = application(engine=f"sqlite:{tmp_path / 'log.db'}")

    @line.on("slow", thread=True)
    def slow(connection: Connection, text: str) -> None:
        time.sleep(0.05)
        line.publish("chat:1", "n", text)

    async with client(line) as ada, client(line) as bob:
        room = await ada.subscribe("chat:1")
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(bob.emit("slow", "done"))
            assert (await room.next()).payload == "done"
    async with client(line) as again:
        assert [e.payload for e in (await again.history("chat:1")).publications] == ["done"]
