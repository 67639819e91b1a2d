"""Threads for handlers that block: results, failures, a bound, and an end that waits for nobody."""

import asyncio
import threading

import pytest

from openline.app.threads import Threads


async def test_what_a_function_returns_or_raises_comes_out() -> None:
    threads = Threads()
    assert await threads.call(lambda a, b: (a, b, threading.current_thread() is not threading.main_thread()), 1, 2) == (
        1,
        2,
        True,
    )
    with pytest.raises(ValueError, match="no"):
        await threads.call(lambda: int("no"))


@pytest.mark.parametrize("kind", [StopIteration, SystemExit, KeyboardInterrupt])
async def test_what_would_end_a_loop_or_a_thread_is_a_plain_error(kind: type[BaseException]) -> None:
    threads = Threads(most=1)

    def fail() -> None:
        raise kind("x")

    with pytest.raises(RuntimeError, match=kind.__name__):
        await threads.call(fail)
    assert await threads.call(lambda: 1) == 1


async def test_no_more_threads_are_made_than_are_allowed_and_all_calls_come_through() -> None:
    threads = Threads(most=3)
    names: set[str] = set()
    started = threading.Barrier(3)

    def work(number: int) -> int:
        names.add(threading.current_thread().name)
        if number < 3:
            started.wait(5)
        return number

    assert await asyncio.gather(*(threads.call(work, n) for n in range(50))) == list(range(50))
    assert len(names) == 3


async def test_a_thread_that_is_idle_is_used_again() -> None:
    threads = Threads()
    names = {await threads.call(lambda: threading.current_thread().name) for _ in range(20)}
    # The second call may come before the first thread is back.
    assert len(names) <= 2


async def test_a_call_that_is_cancelled_leaves_its_thread_to_itself() -> None:
    threads = Threads(most=1)
    go = threading.Event()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await threads.call(go.wait, 5)
    go.set()
    assert await threads.call(lambda: 1) == 1


def test_a_function_that_ends_after_its_loop_harms_nobody() -> None:
    threads = Threads(most=1)
    go, done = threading.Event(), threading.Event()

    def late() -> None:
        go.wait(5)
        done.set()

    async def begin() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await threads.call(late)

    asyncio.run(begin())
    go.set()
    assert done.wait(5)

    async def again() -> int:
        return int(await threads.call(lambda: 1))

    assert asyncio.run(again()) == 1
