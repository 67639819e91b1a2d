"""A flush that takes long gives the event loop its turn, and goes on before anything else leaves."""

import pytest

from openline.hub.tick import Tick
from openline.testing import FakeWire
from tests.hub.test_tick import Loop, Target, wire


class Watch:
    """A clock that goes on a millisecond with every look at it."""

    def __init__(self) -> None:
        self.looks = 0

    def __call__(self) -> float:
        self.looks += 1
        return self.looks / 1000


def filled(tick: Tick, count: int) -> list[FakeWire]:
    wires = [wire() for _ in range(count)]
    for each in wires:
        tick.to_wire(each, b"x")
    return wires


def written(wires: list[FakeWire]) -> int:
    return sum(bool(each.written) for each in wires)


def test_a_flush_holds_the_loop_no_longer_than_it_may() -> None:
    loop, turns = Loop(), []
    tick = Tick(loop.call_soon, hold_seconds=0.005, now=Watch())
    wires = filled(tick, 12)
    while loop.soon:
        assert len(loop.soon) == 1
        loop.run()
        turns.append(written(wires))
    assert turns == [5, 10, 12]


def test_a_flush_that_goes_on_takes_as_long_as_the_loop_was_away_up_to_a_limit() -> None:
    loop, turns, watch = Loop(), [], Watch()
    tick = Tick(loop.call_soon, hold_seconds=0.005, now=watch)
    wires = filled(tick, 200)
    for away in (0, 20, 2, 1000):
        watch.looks += away
        loop.run()
        turns.append(written(wires) - sum(turns))
    assert turns == [5, 21, 5, 50]


def test_what_is_asked_to_be_written_at_once_is_written_to_the_end() -> None:
    loop = Loop()
    tick = Tick(loop.call_soon, hold_seconds=0.0, now=lambda: 0.0)
    wires = filled(tick, 3)
    loop.run()
    late = filled(tick, 2)
    tick.flush()
    assert (written(wires), written(late)) == (3, 2)
    loop.run()
    assert not loop.soon


def test_a_group_is_not_compacted_while_a_flush_is_half_done() -> None:
    loop, group = Loop(), Target()
    tick = Tick(loop.call_soon, hold_seconds=0.0, now=lambda: 0.0)
    filled(tick, 3)
    loop.run()
    group.sparse = True
    tick.left(group)  # type: ignore[arg-type]
    assert not group.compacted
    tick.flush()
    assert group.compacted == 1


def test_what_is_to_be_done_behind_everything_is_done_behind_what_is_half_done() -> None:
    loop, done = Loop(), []
    tick = Tick(loop.call_soon, hold_seconds=0.0, now=lambda: 0.0)
    wires = filled(tick, 3)
    loop.run()
    tick.behind(lambda: done.append(written(wires)))
    assert done == [3]


def test_a_failure_in_a_flush_does_not_keep_the_next_one_from_leaving() -> None:
    loop = Loop()
    tick = Tick(loop.call_soon)
    tick.to_wire(Target(then=lambda: 1 // 0), b"x")  # type: ignore[arg-type]
    tick.to_wire(Target(then=lambda: 1 // 0), b"x")  # type: ignore[arg-type]
    with pytest.raises(ZeroDivisionError):
        loop.run()
    (later,) = filled(tick, 1)
    loop.run()
    assert later.written == [b"x"]


def test_whoever_asks_for_a_turn_in_between_writes_no_longer_than_one_and_the_loop_is_asked_once() -> None:
    loop, turns = Loop(), []
    tick = Tick(loop.call_soon, hold_seconds=0.005, now=Watch())
    wires = filled(tick, 22)
    for _ in range(3):
        tick.turn()
        turns.append(written(wires))
        assert len(loop.soon) == 1
    while loop.soon:
        loop.run()
        turns.append(written(wires))
        assert len(loop.soon) <= 1
    assert turns == [5, 10, 15, 20, 22]
