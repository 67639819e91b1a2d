"""The timer wheel: never early, at most one turn late, in order, and one timer of the loop for all."""

import logging
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openline.hub.timers import Timers
from openline.testing.clock import FakeClock, FakeHandle

TURN = 0.25
#: Around the times that real loops and machines have run.
STARTS = st.sampled_from([0.0, 0.1, 1234.567, 9_876_543.21])
SECONDS = st.floats(0.0, 40.0) | st.sampled_from([0.0, 0.25, 0.5, 1.0, 25.0])


class CountingClock(FakeClock):
    """Knows how many calls of the loop are outstanding."""

    def __init__(self, now: float = 0.0) -> None:
        super().__init__(now)
        self.asked = 0
        self.answered = 0

    def call_later(self, seconds: float, callback: Callable[[], None]) -> FakeHandle:
        self.asked += 1

        def answer() -> None:
            self.answered += 1
            callback()

        return super().call_later(seconds, answer)


@given(STARTS, st.lists(st.tuples(st.floats(0.0, 3.0), SECONDS), max_size=30))
def test_a_call_is_never_early_and_at_most_one_turn_late(start: float, asked: list[tuple[float, float]]) -> None:
    clock = FakeClock(start)
    timers = Timers(clock)
    late: list[float] = []
    for wait, seconds in asked:
        clock.advance(wait)
        due = clock.now() + seconds
        timers.after(seconds, lambda due=due: late.append(clock.now() - due))  # type: ignore[misc]
    clock.advance(100.0)
    assert len(late) == len(asked)
    # The clock itself counts in steps of a billionth of its time at worst.
    assert all(-1e-8 <= by <= TURN + 1e-8 for by in late)


@given(
    STARTS,
    st.lists(
        st.one_of(
            st.tuples(st.just("after"), st.floats(-1.0, 10.0)),
            st.tuples(st.just("cancel"), st.integers(0, 30)),
            st.tuples(st.just("advance"), st.floats(0.0, 3.0)),
            st.tuples(st.just("stall"), st.floats(0.0, 20.0)),
        ),
        max_size=40,
    ),
)
def test_through_stalls_each_is_called_once_in_the_order_of_their_turns(start: float, steps: list) -> None:
    clock = FakeClock(start)
    timers = Timers(clock)
    made: list = []
    cancelled: set[int] = set()
    called: list[tuple[int, float]] = []
    for step, value in steps:
        if step == "after":
            number, due = len(made), clock.now() + max(value, 0.0)

            def ring(number: int = number, due: float = due) -> None:
                called.append((number, due))
                assert clock.now() >= due - 1e-8

            made.append(timers.after(value, ring))
        elif step == "cancel":
            if value < len(made) and value not in {number for number, _ in called}:
                made[value].cancel()
                cancelled.add(value)
        else:
            before = len(called)
            getattr(clock, step)(value)
            dues = [due for _, due in called[before:]]
            assert all(one <= other + TURN + 1e-8 for one, other in zip(dues, dues[1:], strict=False))
    clock.advance(60.0)
    assert sorted(number for number, _ in called) == sorted(set(range(len(made))) - cancelled)


def test_after_a_stall_everything_that_was_due_comes_in_order_at_once() -> None:
    clock = FakeClock()
    timers = Timers(clock)
    called: list[int] = []
    for seconds in (9, 1, 7, 3, 5):
        timers.after(seconds, lambda seconds=seconds: called.append(seconds))  # type: ignore[misc]
    clock.stall(8.0)
    assert called == [1, 3, 5, 7]
    clock.advance(2.0)
    assert called == [1, 3, 5, 7, 9]


def test_a_timer_that_fails_is_logged_and_stops_nobody(caplog: pytest.LogCaptureFixture) -> None:
    clock = FakeClock()
    timers = Timers(clock)
    called: list[str] = []

    def fail() -> None:
        raise RuntimeError("this one")

    timers.after(1.0, lambda: called.append("before"))
    timers.after(1.0, fail)
    timers.after(1.0, lambda: called.append("behind"))
    timers.after(2.0, lambda: called.append("later"))
    with caplog.at_level(logging.ERROR, "openline"):
        clock.advance(5.0)
    assert called == ["before", "behind", "later"]
    assert [str(record.exc_info[1]) for record in caplog.records if record.exc_info] == ["this one"]


def test_a_cancelled_timer_is_not_called_and_cancelling_twice_or_too_late_is_nothing() -> None:
    clock = FakeClock()
    timers = Timers(clock)
    called: list[str] = []
    kept = timers.after(1.0, lambda: called.append("kept"))
    dropped = timers.after(1.0, lambda: called.append("dropped"))
    dropped.cancel()
    dropped.cancel()
    clock.advance(2.0)
    kept.cancel()
    clock.advance(2.0)
    assert called == ["kept"]


def test_a_timer_may_cancel_another_of_the_same_turn() -> None:
    clock = FakeClock()
    timers = Timers(clock)
    called: list[str] = []
    timers.after(1.0, lambda: other.cancel())
    other = timers.after(1.0, lambda: called.append("other"))
    clock.advance(2.0)
    assert called == []


def test_a_timer_that_asks_for_no_time_at_all_comes_in_the_next_turn_not_in_this_one() -> None:
    clock = FakeClock()
    timers = Timers(clock)
    called: list[float] = []

    def again() -> None:
        called.append(clock.now())
        timers.after(0.0, again)

    timers.after(0.0, again)
    clock.advance(1.1)
    assert called == [0.25, 0.5, 0.75, 1.0]


def test_a_delay_below_zero_that_a_timer_asks_for_after_a_stall_comes_in_the_next_turn() -> None:
    clock = FakeClock()
    timers = Timers(clock)
    called: list[str] = []
    for seconds in (1.0, 2.0, 30.0):
        timers.after(seconds, lambda: timers.after(-50.0, lambda: called.append("asked")))
    clock.stall(10.0)
    clock.advance(TURN)
    assert called == ["asked", "asked"]


def test_however_many_timers_wait_the_loop_has_one() -> None:
    clock = CountingClock()
    timers = Timers(clock)
    for number in range(10_000):
        timers.after(number % 100, lambda: None)
        assert clock.asked - clock.answered == 1
    clock.advance(50.0)
    assert clock.asked - clock.answered == 1
    clock.advance(60.0)
    # Nothing is due: the wheel stands still.
    assert clock.asked - clock.answered == 0
    turns = clock.asked
    clock.advance(1000.0)
    assert clock.asked == turns


def test_a_wheel_that_stood_still_for_long_starts_in_time() -> None:
    clock = FakeClock()
    timers = Timers(clock)
    called: list[float] = []
    timers.after(1.0, lambda: called.append(clock.now()))
    clock.advance(100_000.0)
    timers.after(1.0, lambda: called.append(clock.now()))
    clock.advance(2.0)
    assert called == [1.25, 100_001.25]


def test_stopping_drops_everything_also_what_is_due_in_the_turn_that_runs() -> None:
    clock = CountingClock()
    timers = Timers(clock)
    called: list[str] = []
    timers.after(1.0, timers.stop)
    timers.after(1.0, lambda: called.append("same turn"))
    timers.after(2.0, lambda: called.append("later"))
    clock.advance(10.0)
    assert called == []
    timers.after(1.0, lambda: called.append("new"))
    clock.advance(2.0)
    assert called == ["new"]


def test_the_time_of_the_wheel_is_the_clock_s() -> None:
    clock = FakeClock(5.0)
    timers = Timers(clock)
    clock.advance(1.5)
    assert timers.now == 6.5
