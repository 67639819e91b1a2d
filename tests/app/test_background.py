"""The application's own tasks: from the server's start to its end, and whatever they do, nobody else is disturbed."""

import asyncio
import logging

import pytest

from openline import Openline, SettingsError
from openline.app import runtime
from openline.testing import client, settle


async def test_a_task_begins_with_the_server_and_may_publish_at_once() -> None:
    line = Openline()
    line.channel("price", last_value=True, subscribe=True)

    @line.task
    async def quote() -> None:
        line.publish("price", "price", 42)

    async with client(line) as ada:
        price = await ada.subscribe("price")
        assert (await price.next()).payload == 42


async def test_a_task_is_cancelled_at_the_end_and_its_last_words_are_waited_for() -> None:
    line, said = Openline(), []

    @line.task
    async def last() -> None:
        said.append("begun")
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            said.append("ended")

    for _ in range(2):  # a server that starts again starts it again
        line.start()
        await settle()
        assert said == ["begun"]
        await line.stop()
        assert said == ["begun", "ended"]
        said.clear()


async def test_when_the_lines_are_closed_tasks_end_without_waiting_for_handlers() -> None:
    line, ended = Openline(), asyncio.Event()

    @line.task
    async def last() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    running = line.start()
    await settle()
    running.drain()
    await asyncio.wait_for(ended.wait(), 1)
    await line.stop()


async def test_a_task_that_fails_is_logged_once_and_the_server_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    line = Openline()
    line.channel("chat:*", history=1, public=True)

    @line.task
    async def broken() -> None:
        raise ValueError("the feed is gone")

    with caplog.at_level(logging.INFO, "openline"):
        async with client(line) as ada:
            await settle()
            chat = await ada.subscribe("chat:lobby")
            assert (await chat.publish("message", "still here")) is not None
    [record] = caplog.records
    assert "broken" in record.getMessage()
    assert record.exc_info is not None
    assert "the feed is gone" in str(record.exc_info[1])


async def test_a_task_that_will_not_end_is_counted_and_left(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime, "PATIENCE_SECONDS", 0.05)
    line, enough = Openline(), asyncio.Event()

    @line.task
    async def stubborn() -> None:
        for _ in range(2):
            try:
                await enough.wait()
            except asyncio.CancelledError:
                continue

    line.start()
    await settle()
    with caplog.at_level(logging.WARNING, "openline"):
        await line.stop()
    assert "1 handlers had to be cancelled" in caplog.text


def test_what_cannot_be_a_task_is_refused_where_it_is_written() -> None:
    line = Openline()

    def plain() -> None: ...

    async def demanding(connection: object) -> None: ...

    with pytest.raises(SettingsError, match=r"plain.*async def"):
        line.task(plain)
    with pytest.raises(SettingsError, match=r"demanding.*without arguments"):
        line.task(demanding)
