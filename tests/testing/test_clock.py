"""The clock that a test moves: calls come at their moment, in order, and only inside a move."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openline.testing.clock import FakeClock


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


def test_what_a_call_asks_for_comes_in_the_same_move_where_it_is_due() -> None:
    clock = FakeClock()
    called: list[float] = []

    def again() -> None:
        called.append(clock.now())
        clock.call_later(1.0, again)

    clock.call_later(1.0, again)
    clock.advance(3.5)
    assert called == [1.0, 2.0, 3.0]


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


def test_after_a_stall_everything_is_called_at_its_end_in_order() -> None:
    clock = FakeClock()
    called: list[tuple[float, int]] = []
    for seconds in (3, 1, 2, 9):
        clock.call_later(seconds, lambda seconds=seconds: called.append((clock.now(), seconds)))  # type: ignore[misc]
    clock.stall(5.0)
    assert called == [(5.0, 1), (5.0, 2), (5.0, 3)]
    clock.advance(5.0)
    assert called[3:] == [(9.0, 9)]


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
