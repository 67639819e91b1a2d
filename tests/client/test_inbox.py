"""What waits for a reader: bounded, in order, and whatever is dropped is counted and told."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openline.client import Event
from openline.client.inbox import Inbox

from .stage import heard, opened, said, settle, start


async def test_a_reader_that_is_too_slow_is_told_what_it_lost_and_goes_on_with_the_newest() -> None:
    async with opened(inbox_bytes=4000) as stage:
        chat = await stage.join()
        stage.socket.push(*(said(10 + n, "x" * 400) for n in range(10)))
        events = await heard(chat)
        assert events[0].type == "$gap"
        assert events[0].payload == {"position": "e.16", "lost": 7}
        assert [event.position for event in events[1:]] == ["e.17", "e.18", "e.19"]
        stage.socket.push(said(20))
        assert [event.position for event in await heard(chat)] == ["e.20"]


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
def test_for_any_sizes_it_stays_within_its_limit_and_what_is_read_and_what_is_lost_is_all_there_was(
    limit: int, steps: list[int | None]
) -> None:
    async def check() -> None:
        inbox = Inbox(limit)
        said: list[str] = []
        accounted: list[str] = []
        waiting = 0
        for size in steps:
            if size is not None:
                said.append(f"e.{len(said)}")
                inbox.put(Event("message", position=said[-1]), size)
                waiting = 1
                assert inbox.size <= max(limit, size + 600)
            elif waiting:
                event = await inbox.get()
                if event.type == "$gap":
                    lost = said[len(accounted) : len(accounted) + event.payload["lost"]]
                    assert lost[-1] == event.payload["position"]
                    accounted += lost
                else:
                    accounted.append(str(event.position))
                waiting = len(said) - len(accounted)
                assert accounted == said[: len(accounted)]

    asyncio.run(check())
