"""One wheel for every timer: never early, at most a turn late, whatever the loop or a callback does."""

import logging
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openline.hub.timers import Timers
from openline.testing import FakeClock
from openline.testing.clock import FakeHandle

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


#: Around the times that real loops and machines have run.
STARTS = st.sampled_from([0.0, 0.1, 1234.567, 9_876_543.21])


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


def test_a_finer_wheel_goes_by_the_same_clock_and_stops_with_its_own() -> None:
    clock = FakeClock()
    timers = Timers(clock, TURN)
    finer = timers.finer(0.01)
    rung: list[float] = []
    finer.after(0.1, lambda: rung.append(clock.now()))
    clock.advance(0.12)
    assert len(rung) == 1
    assert 0.1 <= rung[0] <= 0.111
    finer.after(0.1, lambda: rung.append(clock.now()))
    timers.stop()
    clock.advance(1.0)
    assert len(rung) == 1
