"""What waits for a reader: bounded, in order, and whatever is dropped is counted and told."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openline.client import Event
from openline.client.inbox import Inbox

from .stage import heard, opened, said, settle, start


async def test_what_a_slow_reader_has_no_room_for_is_fetched_from_the_history_when_it_has() -> None:
    async with opened(inbox_bytes=4000) as stage:
        chat = await stage.join()
        stage.socket.push(*(said(10 + n, "x" * 400) for n in range(1, 9)))
        await settle()
        assert not stage.socket.sent
        assert [(await anext(chat)).position for _ in range(2)] == ["e.11", "e.12"]
        await settle()
        stage.socket.push(said(19))  # it will be in the history
        frame = stage.socket.reply(
            "$subscribe", {"position": "e.16", "publications": [said(14), said(15), said(16)], "more": True}
        )
        assert frame["since"] == "e.13"
        await settle()
        assert not stage.socket.sent  # the next page waits for room, too
        assert [event.position for event in await heard(chat)] == ["e.13", "e.14", "e.15", "e.16"]
        assert stage.socket.reply("$subscribe", {"position": "e.19", "publications": [said(19)]})["since"] == "e.16"
        stage.socket.push(said(20))
        assert [event.position for event in await heard(chat)] == ["e.19", "e.20"]


async def test_what_a_slow_reader_missed_and_the_history_does_not_know_is_told() -> None:
    async with opened(inbox_bytes=1500) as stage:
        chat = await stage.join()
        stage.socket.push(*(said(10 + n, "x" * 400) for n in range(1, 4)))
        assert [event.position for event in await heard(chat)] == ["e.11"]
        stage.socket.reply("$subscribe", {"position": "e.20", "publications": [], "recovered": False})
        assert [(event.type, event.position) for event in await heard(chat)] == [("$gap", "e.20")]


async def test_what_is_not_kept_anywhere_is_counted_and_told_where_it_was_left_out() -> None:
    async with opened(inbox_bytes=1500) as stage:
        chat = await stage.join()
        cursor = {"type": "cursor", "channel": "chat:lobby", "payload": 1}
        stage.socket.push(*[cursor] * 5)
        events = await heard(chat)
        assert [event.type for event in events] == ["cursor", "cursor", "$gap"]
        assert events[2].payload == {"position": None, "lost": 3}
        note = {"type": "note", "payload": 1}
        stage.socket.push(*({**note, "position": f"e.{n}"} for n in range(11, 16)))
        events = await heard(stage.line)
        assert [event.type for event in events] == ["note", "note", "$gap"]
        assert events[2].payload == {"position": "e.15", "lost": 3}


async def test_a_reader_that_is_behind_waits_for_its_room_also_after_a_reconnect() -> None:
    async with opened(inbox_bytes=1500) as stage:
        chat = await stage.join()
        stage.socket.push(said(11), said(12), said(13), {"type": "cursor", "channel": "chat:lobby"})
        await settle()
        await stage.again(resumed=True, position="e.30", subscriptions=[{"channel": "chat:lobby", "recovered": True}])
        stage.socket.push(said(14))
        await settle()
        assert not stage.socket.sent
        assert [event.position or event.payload for event in await heard(chat)] == [
            *("e.11", "e.12"),
            {"position": None, "lost": 1},
        ]
        assert stage.socket.take("$subscribe")["since"] == "e.12"


async def test_a_reader_that_is_behind_learns_that_the_server_ended_the_subscription() -> None:
    async with opened(inbox_bytes=1500) as stage:
        chat = await stage.join()
        stage.socket.push(said(11), said(12), said(13))
        stage.socket.push({"type": "$unsubscribed", "channel": "chat:lobby", "payload": {"reason": "moved"}})
        assert [event.type for event in await heard(chat)] == ["message", "message", "$gap", "$unsubscribed"]


async def test_one_event_that_is_longer_than_the_limit_is_kept() -> None:
    async with opened(inbox_bytes=1000) as stage:
        chat = await stage.join()
        stage.socket.push(said(11, "x" * 5000))
        assert [event.position for event in await heard(chat)] == ["e.11"]


async def test_an_inbox_has_one_reader() -> None:
    inbox = Inbox(1000)
    first = start(inbox.get())
    await settle()
    with pytest.raises(RuntimeError, match="one reader"):
        await inbox.get()
    inbox.put(Event("a"))
    assert (await first).type == "a"
    inbox.put(Event("b"))
    assert (await inbox.get()).type == "b"


async def test_a_reader_that_is_cancelled_loses_nothing() -> None:
    inbox = Inbox(1000)
    first = start(inbox.get())
    await settle()
    inbox.put(Event("a"))
    first.cancel()
    await asyncio.wait([first])
    assert (await inbox.get()).type == "a"


async def test_what_waits_is_read_before_the_end_and_the_end_stays() -> None:
    inbox = Inbox(1000)
    inbox.put(Event("a"))
    inbox.end(ValueError("over"))
    inbox.end()
    inbox.put(Event("b"))
    assert (await inbox.get()).type == "a"
    for _ in range(2):
        with pytest.raises(ValueError, match="over"):
            await inbox.get()


@given(st.integers(1000, 5000), st.lists(st.one_of(st.none(), st.integers(0, 3000))))
def test_for_any_sizes_it_stays_within_its_limit_and_what_is_read_and_what_is_left_out_is_all_there_was(
    limit: int, steps: list[int | None]
) -> None:
    async def check() -> None:
        inbox = Inbox(limit)
        said: list[str] = []
        known = 0

        async def read() -> None:
            nonlocal known
            event = await inbox.get()
            known += event.payload["lost"] if event.type == "$gap" else 1
            assert event.position == said[known - 1]

        for size in steps:
            if size is not None:
                said.append(f"e.{len(said)}")
                inbox.offer(Event("message", position=said[-1]), size)
                assert inbox.size <= max(limit, *(size or 0 for size in steps)) + 2 * 600
            elif known < len(said):
                await read()
        while known < len(said):
            await read()
        assert inbox.size == 0

    asyncio.run(check())
