"""One wheel for every timer: never early, at most a turn late, whatever the loop or a callback does."""

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openline.hub.timers import Timers
from openline.testing import FakeClock

TURN = 0.25
# Multiples of 1/1024 have no rounding: "never early" means never.
moments = st.integers(0, 40 * 1024).map(lambda ticks: ticks / 1024)


@given(start=moments, waits=st.lists(st.tuples(moments, moments), min_size=1, max_size=30))
def test_a_call_comes_never_early_and_at_most_a_turn_late(start: float, waits: list[tuple[float, float]]) -> None:
    clock = FakeClock(start)
    timers = Timers(clock, TURN)
    late: list[float] = []
    for pause, seconds in waits:
        due = clock.now() + seconds
        timers.after(seconds, lambda due=due: late.append(clock.now() - due))
        clock.advance(pause / 40)
    clock.advance(60)
    assert len(late) == len(waits)
    assert min(late) >= 0
    assert max(late) <= TURN


@given(waits=st.lists(moments, min_size=1, max_size=30), stall=moments)
def test_a_stall_makes_calls_late_but_loses_none_and_keeps_their_order(waits: list[float], stall: float) -> None:
    clock = FakeClock()
    timers = Timers(clock, TURN)
    rung: list[float] = []
    for seconds in waits:
        timers.after(seconds, lambda seconds=seconds: rung.append(seconds))
    clock.stall(stall)
    assert all(seconds in rung for seconds in waits if seconds + TURN <= stall)
    clock.advance(60)
    assert sorted(rung) == sorted(waits)
    turns = [int(seconds / TURN) for seconds in rung]
    assert turns == sorted(turns)


def test_a_stall_of_a_day_does_not_visit_every_turn_of_it() -> None:
    clock = FakeClock()
    timers = Timers(clock, TURN)
    rung: list[int] = []
    for wait in (1, 2, 3):
        timers.after(wait, lambda wait=wait: rung.append(wait))
    clock.stall(86_400.0)
    assert rung == [1, 2, 3]


def test_a_cancelled_timer_does_not_ring() -> None:
    clock = FakeClock()
    timers = Timers(clock)
    rung: list[str] = []
    timers.after(1, lambda: rung.append("no")).cancel()
    timers.after(1, lambda: rung.append("yes"))
    clock.advance(5)
    assert rung == ["yes"]


def test_a_timer_may_cancel_another_of_the_same_turn() -> None:
    clock = FakeClock()
    timers = Timers(clock)
    rung: list[str] = []
    timers.after(1.0, lambda: second.cancel())
    second = timers.after(1.0, lambda: rung.append("second"))
    clock.advance(5)
    assert rung == []


def test_a_callback_that_fails_is_logged_and_stops_no_other(caplog: pytest.LogCaptureFixture) -> None:
    clock = FakeClock()
    timers = Timers(clock)
    rung: list[str] = []
    timers.after(1, lambda: 1 // 0)
    timers.after(1, lambda: rung.append("same turn"))
    timers.after(2, lambda: rung.append("later"))
    with caplog.at_level(logging.ERROR, "openline"):
        clock.advance(5)
    assert rung == ["same turn", "later"]
    assert [record.message for record in caplog.records] == ["A timer failed"]


def test_a_timer_that_sets_itself_again_rings_again_after_its_time() -> None:
    clock = FakeClock()
    timers = Timers(clock, TURN)
    rung: list[float] = []

    def again() -> None:
        rung.append(clock.now())
        timers.after(1.0, again)

    timers.after(1.0, again)
    clock.advance(10)
    assert len(rung) in (8, 9, 10)
    assert all(later - earlier >= 1.0 for earlier, later in zip(rung, rung[1:], strict=False))


def test_a_wheel_where_nothing_waits_does_not_turn() -> None:
    clock = FakeClock()
    timers = Timers(clock)
    timers.after(1, lambda: None)
    clock.advance(2)
    assert not clock.waiting


def test_a_stopped_wheel_calls_nothing() -> None:
    clock = FakeClock()
    timers = Timers(clock)
    timers.after(1, lambda: pytest.fail("it was stopped"))
    timers.stop()
    clock.advance(5)
    assert not clock.waiting
