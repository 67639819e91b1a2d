"""Time that a test moves."""

from openline.testing import FakeClock


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
