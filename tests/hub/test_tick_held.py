"""What may not leave yet waits in the tick, and is bounded."""

from openline.hub.tick import Tick
from openline.testing import FakeClock, FakeWire
from tests.rig import JSON


def test_what_is_held_back_is_bounded_and_who_held_it_is_told_once() -> None:
    clock = FakeClock()
    tick = Tick(clock.call_soon)
    wire = FakeWire(JSON)
    may, told = False, 0

    def overflow() -> None:
        nonlocal told
        told += 1
        tick.discard()

    tick.guard, tick.overflow = lambda: may, overflow
    for _ in range(40):
        tick.to_wire(wire, bytes(1_000_000))
        clock.advance()
        assert tick._bytes < 20_000_000
    assert (told, wire.written) == (2, [])
    may = True
    tick.flush()
    assert 0 < sum(map(len, wire.written)) < 20_000_000
    # Nothing is held any more: what is queued leaves as ever.
    for _ in range(40):
        tick.to_wire(wire, bytes(1_000_000))
    clock.advance()
    assert told == 2
