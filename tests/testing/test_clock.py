"""Time that a test moves."""

import asyncio
from collections.abc import Callable

import pytest
import uvloop
from hypothesis import given
from hypothesis import strategies as st

from openline.testing import FakeClock, settle


def test_calls_come_in_the_order_of_their_moments_and_of_the_asking() -> None:
    clock = FakeClock(100.0)
    order: list[tuple[str, float]] = []
    for name, seconds in (("late", 2.0), ("soon", 1.0), ("same", 1.0), ("at once", 0.0)):
        clock.call_later(seconds, lambda name=name: order.append((name, clock.now())))
    clock.advance(5)
    assert order == [("at once", 100.0), ("soon", 101.0), ("same", 101.0), ("late", 102.0)]
    assert clock.now() == 105.0


def test_a_call_may_ask_for_another_within_the_same_stretch() -> None:
    clock = FakeClock()
    seen: list[float] = []
    clock.call_later(1, lambda: clock.call_later(1, lambda: seen.append(clock.now())))
    clock.advance(2)
    assert seen == [2.0]


def test_after_a_stall_everything_that_was_due_comes_late_and_in_order() -> None:
    clock = FakeClock()
    seen: list[tuple[str, float]] = []
    clock.call_later(2, lambda: seen.append(("second", clock.now())))
    clock.call_later(1, lambda: seen.append(("first", clock.now())))
    clock.stall(10)
    assert seen == [("first", 10.0), ("second", 10.0)]


def test_nothing_is_called_before_time_is_let_go_on() -> None:
    clock = FakeClock()
    seen: list[str] = []
    handle = clock.call_soon(lambda: seen.append("cancelled"))
    clock.call_soon(lambda: seen.append("soon"))
    handle.cancel()
    assert not seen
    assert clock.waiting == 1
    clock.advance()
    assert seen == ["soon"]


@given(st.lists(st.floats(0.0, 10.0), max_size=20), st.floats(0.0, 12.0))
def test_calls_come_at_their_moment_the_earlier_first_and_equal_ones_in_the_order_of_asking(
    delays: list[float], seconds: float
) -> None:
    clock = FakeClock(100.0)
    called: list[tuple[float, int]] = []
    for number, delay in enumerate(delays):
        clock.call_later(delay, lambda number=number: called.append((clock.now(), number)))  # type: ignore[misc]
    clock.advance(seconds)
    asked = sorted((100.0 + delay, number) for number, delay in enumerate(delays))
    assert called == [call for call in asked if call[0] <= 100.0 + seconds]
    assert clock.now() == 100.0 + seconds


def test_soon_is_when_time_goes_on_be_it_by_nothing() -> None:
    clock = FakeClock()
    called: list[str] = []
    clock.call_soon(lambda: called.append("soon"))
    assert called == []
    clock.advance()
    assert called == ["soon"]


def test_a_cancelled_call_does_not_come_and_one_that_came_can_be_cancelled() -> None:
    clock = FakeClock()
    called: list[str] = []
    clock.call_later(1.0, lambda: called.append("dropped")).cancel()
    kept = clock.call_later(1.0, lambda: called.append("kept"))
    clock.advance(1.0)
    kept.cancel()
    clock.advance(1.0)
    assert called == ["kept"]


def test_a_delay_below_zero_is_now() -> None:
    clock = FakeClock(7.0)
    called: list[float] = []
    clock.call_later(-5.0, lambda: called.append(clock.now()))
    clock.advance(0.0)
    assert called == [7.0]


def test_what_a_call_raises_comes_out_of_the_move_and_the_rest_is_still_due() -> None:
    clock = FakeClock()
    called: list[str] = []

    def fail() -> None:
        raise RuntimeError("this one")

    clock.call_later(1.0, fail)
    clock.call_later(1.0, lambda: called.append("behind"))
    with pytest.raises(RuntimeError, match="this one"):
        clock.advance(2.0)
    clock.advance(1.0)
    assert called == ["behind"]


async def test_what_waits_for_its_turn_has_had_it_when_everything_has_settled() -> None:
    loop = asyncio.get_running_loop()
    seen: list[int] = []

    async def chain(left: int) -> None:
        if left:
            await loop.create_task(chain(left - 1))
        seen.append(left)

    first = loop.create_task(chain(200))
    waiting = loop.create_task(asyncio.Event().wait())
    await settle()
    assert seen == list(range(201))
    assert first.done()
    assert not waiting.done()
    waiting.cancel()


async def test_what_never_comes_to_rest_is_named() -> None:
    async def spin() -> None:
        while True:
            await asyncio.sleep(0)

    task = asyncio.get_running_loop().create_task(spin())
    with pytest.raises(RuntimeError, match="never comes to rest"):
        await settle()
    task.cancel()


@pytest.mark.parametrize("loop_factory", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_tasks_keep_up_with_the_time_that_passes(loop_factory: Callable[[], asyncio.AbstractEventLoop]) -> None:
    async def run() -> None:
        clock = FakeClock(100.0)
        woken: list[float] = []

        async def sleep(seconds: float) -> None:
            rung = asyncio.Event()
            clock.call_later(seconds, rung.set)
            await rung.wait()

        async def wake() -> None:
            while True:
                await sleep(0.1)
                woken.append(clock.now())

        task = asyncio.get_running_loop().create_task(wake())
        await clock.pass_time(10.05)
        assert len(woken) == 100
        assert clock.now() == 110.05
        task.cancel()

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(run())


async def test_what_a_call_raises_comes_out_of_the_time_that_passes() -> None:
    clock = FakeClock()
    clock.call_later(1.0, lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        await clock.pass_time(2.0)
    await clock.pass_time(2.0)
    assert clock.now() == 3.0
