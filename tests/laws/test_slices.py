"""A flush that is interrupted after every step delivers what a flush in one go does, over real sockets.

Whoever stays gets everything in the order of the list, once; who leaves in between, something of it; who comes in
between gets nothing from before, though the kernel gives out the numbers of descriptors again.
"""

import re
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from openline.hub.tick import Tick
from openline.transports import delivery as delivery_module
from openline.transports.delivery import in_slices
from openline.transports.group import DescriptorGroup
from tests.effort import times
from tests.hub.test_tick import Loop
from tests.transports.sockets import Line

WHICH = st.integers(0, 5)
GROUP = st.integers(0, 2)
FRAME = re.compile(rb"<(\d+):x*>")


class Seat:
    """A line; ``owed`` is what was queued for it: by number, whether it may be missing because it left."""

    def __init__(self, *, secure: bool) -> None:
        self.line = Line(outbox_bytes=40_000, secure=secure)
        self.groups: set[int] = set()
        self.owed: dict[int, bool] = {}
        #: What was queued for a group that it was in, and has perhaps not left yet.
        self.pending: list[tuple[int, int | None]] = []

    def give_up(self, group: int | None) -> None:
        for number, where in self.pending:
            if group is None or where == group:
                self.owed[number] = True


class Slices(RuleBasedStateMachine):
    @initialize()
    def begin(self) -> None:
        self.loop = Loop()
        self.tick = Tick(self.loop.call_soon, in_slices, hold_seconds=0.0, now=lambda: 0.0)
        self.groups = [DescriptorGroup() for _ in range(3)]
        self.seats: list[Seat] = []
        self.ended: list[Seat] = []
        self.number = 0
        self.slice = delivery_module.SLICE
        delivery_module.SLICE = 2

    def teardown(self) -> None:
        if not hasattr(self, "seats"):
            return
        try:
            self.flush()
            for seat in self.seats:
                self._check(seat, finished=not seat.line.slow)
        finally:
            delivery_module.SLICE = self.slice
            for seat in self.seats + self.ended:
                seat.line.discard()

    def _seat(self, which: int) -> Seat | None:
        return self.seats[which % len(self.seats)] if self.seats else None

    # -- lines come and go

    @rule(secure=st.booleans(), into=st.sets(GROUP))
    def open(self, secure: bool, into: set[int]) -> None:
        if len(self.seats) < 6:
            self.seats.append(Seat(secure=secure))
            for index in into:
                self.join(len(self.seats) - 1, index)

    @rule(which=WHICH, index=GROUP)
    def join(self, which: int, index: int) -> None:
        seat = self._seat(which)
        if seat is not None and index not in seat.groups and not seat.line.slow:
            self.groups[index].join(seat.line.wire)
            seat.groups.add(index)

    @rule(which=WHICH, index=GROUP)
    def leave(self, which: int, index: int) -> None:
        seat = self._seat(which)
        if seat is not None and index in seat.groups:
            self.groups[index].leave(seat.line.wire)
            seat.groups.discard(index)
            seat.give_up(index)
            self.tick.left(self.groups[index])

    @rule(which=WHICH)
    def close_and_reopen(self, which: int) -> None:
        """The kernel gives out the lowest free number: this very one."""
        seat = self._seat(which)
        if seat is not None:
            seat.line.read()
            seat.line.close()
            seat.give_up(None)
            self._check(seat, finished=False)
            self.seats.remove(seat)
            self.ended.append(seat)
            for group in self.groups:
                self.tick.left(group)
            self.open(False, {0, 1, 2})

    # -- things are said

    @rule(index=GROUP, size=st.sampled_from([1, 3000, 9000]), skipped=st.sets(WHICH, max_size=2))
    def publish(self, index: int, size: int, skipped: set[int]) -> None:
        skip = {seat for which in skipped if (seat := self._seat(which)) is not None}
        for seat in self.seats:
            if index in seat.groups and seat not in skip:
                self._owe(seat, index)
        self.tick.to_group(self.groups[index], self._frame(size), frozenset(seat.line.wire for seat in skip))

    @rule(which=WHICH, size=st.sampled_from([1, 9000]))
    def tell(self, which: int, size: int) -> None:
        seat = self._seat(which)
        if seat is not None:
            self._owe(seat, None)
            self.tick.to_wire(seat.line.wire, self._frame(size))

    def _owe(self, seat: Seat, group: int | None) -> None:
        seat.owed[self.number] = False
        seat.pending.append((self.number, group))

    def _frame(self, size: int) -> bytes:
        self.number += 1
        return b"<%d:%s>" % (self.number - 1, b"x" * size)

    @rule()
    def turn(self) -> None:
        self.loop.run()

    @rule()
    def flush(self) -> None:
        self.tick.flush()
        for seat in self.seats:
            seat.pending.clear()

    # -- and read

    @rule(which=WHICH)
    def read(self, which: int) -> None:
        seat = self._seat(which)
        if seat is not None:
            seat.line.read()

    @rule(which=WHICH)
    def read_a_little(self, which: int) -> None:
        seat = self._seat(which)
        if seat is not None:
            seat.line.read_some(700)

    def _check(self, seat: Seat, *, finished: bool) -> None:
        heard = seat.line.read()
        numbers = [int(number) for number in FRAME.findall(heard)]
        assert numbers == sorted(set(numbers)), "in the order of the list, each once"
        assert set(numbers) <= seat.owed.keys(), "nothing that was not for it"
        if finished:
            assert FRAME.sub(b"", heard) == b""
            assert {number for number, optional in seat.owed.items() if not optional} <= set(numbers)


TestSlices: Any = Slices.TestCase
TestSlices.settings = settings(max_examples=times(60), stateful_step_count=60)
