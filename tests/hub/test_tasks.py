"""Every task that runs user code has an owner that knows it and waits for it."""

import asyncio

import pytest

from openline.errors import OpenlineError
from openline.hub.tasks import Tasks


async def test_what_a_task_returns_or_raises_comes_out() -> None:
    tasks = Tasks(asyncio.get_running_loop())

    async def answer() -> int:
        return 42

    async def fail() -> None:
        raise KeyError("k")

    assert await tasks.start(answer()) == 42
    with pytest.raises(KeyError):
        await tasks.start(fail())
    assert len(tasks) == 0


async def test_at_the_end_what_still_runs_is_waited_for_and_then_cancelled() -> None:
    tasks, done = Tasks(asyncio.get_running_loop()), asyncio.Event()
    soon = tasks.start(done.wait())
    never = tasks.start(asyncio.Event().wait())
    asyncio.get_running_loop().call_soon(done.set)
    assert await tasks.close(0.05) == ["Event.wait"]
    assert soon.result() is True
    with pytest.raises(OpenlineError):
        never.result()
    assert len(tasks) == 0


async def test_where_nothing_runs_the_end_comes_at_once() -> None:
    assert await Tasks(asyncio.get_running_loop()).close(60) == []
