"""A value or an error, now or later; steps that await nothing else need neither a task nor a loop."""

import asyncio
import gc
from typing import Any

import pytest

from openline.hub.outcome import Outcome, drive, step_all


def test_an_outcome_is_settled_once() -> None:
    outcome: Outcome[int] = Outcome()
    outcome.settle(1)
    outcome.settle(2)
    outcome.fail(ValueError())
    assert outcome.result() == 1


def test_asking_too_early_is_an_error() -> None:
    with pytest.raises(asyncio.InvalidStateError):
        Outcome().result()


def test_whoever_waits_is_called_in_order_and_whoever_comes_later_at_once() -> None:
    outcome: Outcome[str] = Outcome()
    called: list[str] = []
    outcome.then(lambda done: called.append(f"first {done.result()}"))
    outcome.then(lambda done: called.append("second"))
    outcome.settle("x")
    outcome.then(lambda done: called.append("late"))
    assert called == ["first x", "second", "late"]


async def doubled(*awaited: Outcome[int]) -> int:
    return sum([2 * await outcome.step() for outcome in awaited])


def test_steps_that_need_nothing_more_run_in_one_go() -> None:
    assert drive(doubled(*map(Outcome.of, range(5000)))).result() == 5000 * 4999


def test_steps_go_on_in_the_step_that_settles_what_they_wait_for() -> None:
    first, second = Outcome[int](), Outcome[int]()
    outcome = drive(doubled(first, second))
    second.settle(2)
    assert not outcome.done
    first.settle(1)
    assert outcome.result() == 6


def test_what_fails_comes_out_of_the_steps_that_waited() -> None:
    waiting: Outcome[int] = Outcome()
    outcome = drive(doubled(waiting))
    waiting.fail(KeyError("k"))
    with pytest.raises(KeyError):
        outcome.result()


def test_several_are_waited_for_together_whichever_comes_first() -> None:
    first, second = Outcome[int](), Outcome[int]()
    both = drive(step_all([first, second]))
    second.settle(2)
    assert not both.done
    first.settle(1)
    assert both.result() == [1, 2]


def test_the_first_failure_of_several_comes_out_and_no_other_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    outcomes = [Outcome[int]() for _ in range(3)]
    all_of_them = drive(step_all(outcomes))
    outcomes[0].fail(KeyError("first"))
    outcomes[1].settle(1)
    outcomes[2].fail(KeyError("late"))
    with pytest.raises(KeyError, match="first"):
        all_of_them.result()
    del outcomes, all_of_them
    gc.collect()
    assert not caplog.records


async def test_a_task_may_await_an_outcome_that_is_there_comes_later_or_fails() -> None:
    loop = asyncio.get_running_loop()
    later, failing = Outcome[int](), Outcome[int]()
    loop.call_soon(later.settle, 2)
    loop.call_soon(failing.fail, KeyError("k"))
    assert await Outcome.of(1) == 1
    assert await later == 2
    with pytest.raises(KeyError):
        await failing


async def test_a_task_that_is_cancelled_while_it_awaits_does_not_disturb_the_outcome() -> None:
    outcome: Outcome[int] = Outcome()

    async def wait() -> int:
        return await outcome

    task = asyncio.get_running_loop().create_task(wait())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    outcome.settle(1)
    assert outcome.result() == 1


def test_steps_that_look_at_a_cancelled_task_have_failed_and_are_not_cancelled() -> None:
    async def steps() -> None:
        raise asyncio.CancelledError

    outcome = drive(steps())
    with pytest.raises(RuntimeError, match="CancelledError"):
        outcome.result()


@pytest.mark.parametrize(("look", "logged"), [(False, 1), (True, 0)])
def test_a_failure_is_logged_where_nobody_looked_at_it(caplog: Any, look: bool, logged: int) -> None:
    outcome = Outcome.failed(KeyError("k"))
    if look:
        with pytest.raises(KeyError):
            outcome.result()
    del outcome
    gc.collect()
    assert len(caplog.records) == logged
