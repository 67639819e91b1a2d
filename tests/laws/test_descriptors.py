"""No bytes for an old member reach a reused descriptor, over real sockets whose numbers the kernel gives out again."""

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from openline.hub.tick import Tick
from openline.testing import FakeClock
from openline.transports import group as group_module
from openline.transports.group import DescriptorGroup
from tests.effort import times
from tests.transports.sockets import Line

WHICH = st.integers(0, 3)


class Seat:
    """A line, and what it is to receive: all that is queued from its joins to its leaves, in order."""

    def __init__(self, *, secure: bool) -> None:
        self.line = Line(outbox_bytes=40_000, secure=secure)
        self.owed: list[bytes] = []
        self.groups: set[int] = set()
        self.cut = False


class Descriptors(RuleBasedStateMachine):
    @initialize()
    def begin(self) -> None:
        self.clock = FakeClock()
        self.tick = Tick(self.clock.call_soon)
        self.groups = [DescriptorGroup(), DescriptorGroup()]
        self.seats: list[Seat] = []
        self.ended: list[Seat] = []
        self.queued: list[tuple[Seat, int | None, bytes]] = []
        self.number = 0
        self.sparse_at = group_module._SPARSE_AT
        group_module._SPARSE_AT = 2

    def teardown(self) -> None:
        if not hasattr(self, "groups"):
            return
        try:
            self.flush()
            for seat in self.seats:
                self._check(seat, finished=not seat.line.slow)
        finally:
            group_module._SPARSE_AT = self.sparse_at
            for seat in self.seats + self.ended:
                seat.line.discard()

    def _seat(self, which: int) -> Seat | None:
        return self.seats[which % len(self.seats)] if self.seats else None

    def _frame(self, size: int) -> bytes:
        self.number += 1
        return b"<%d:%s>" % (self.number, b"x" * size)

    # -- lines come and go

    @rule(secure=st.booleans(), into=st.sets(st.integers(0, 1)))
    def open(self, secure: bool, into: set[int]) -> None:
        if len(self.seats) < 4:
            seat = Seat(secure=secure)
            self.seats.append(seat)
            for index in into:
                self.join(len(self.seats) - 1, index)

    @rule(which=WHICH, index=st.integers(0, 1))
    def join(self, which: int, index: int) -> None:
        seat = self._seat(which)
        if seat is not None and index not in seat.groups and not seat.line.slow:
            self.groups[index].join(seat.line.wire)
            seat.groups.add(index)

    @rule(which=WHICH, index=st.integers(0, 1))
    def leave(self, which: int, index: int) -> None:
        seat = self._seat(which)
        if seat is not None and index in seat.groups:
            self.groups[index].leave(seat.line.wire)
            seat.groups.discard(index)
            self.queued = [entry for entry in self.queued if entry[:2] != (seat, index)]
            self.tick.left(self.groups[index])

    @rule(which=WHICH)
    def close(self, which: int) -> None:
        seat = self._seat(which)
        if seat is not None:
            seat.line.read()
            seat.line.close()
            self.queued = [entry for entry in self.queued if entry[0] is not seat]
            for group in self.groups:
                self.tick.left(group)
            self._check(seat, finished=False)
            self.seats.remove(seat)
            self.ended.append(seat)

    @rule(which=WHICH)
    def close_and_reopen(self, which: int) -> None:
        """The kernel gives out the lowest free number: this very one."""
        seat = self._seat(which)
        if seat is not None:
            number = seat.line.number
            self.close(which)
            self.open(False, {0, 1})
            assert self.seats[-1].line.number <= number or len(self.seats) == 4

    # -- things are said

    @rule(
        index=st.integers(0, 1),
        size=st.sampled_from([1, 3000, 9000, 15_000]),
        skipped=st.sets(WHICH, max_size=2),
        now=st.booleans(),
    )
    def publish(self, index: int, size: int, skipped: set[int], now: bool) -> None:
        frame = self._frame(size)
        skip = {seat for which in skipped if (seat := self._seat(which)) is not None}
        self.tick.to_group(self.groups[index], frame, frozenset(seat.line.wire for seat in skip))
        self.queued += [(seat, index, frame) for seat in self.seats if index in seat.groups and seat not in skip]
        if now:
            self.flush()

    @rule(which=WHICH, size=st.sampled_from([1, 9000]), now=st.booleans())
    def tell(self, which: int, size: int, now: bool) -> None:
        seat = self._seat(which)
        if seat is not None:
            frame = self._frame(size)
            self.tick.to_wire(seat.line.wire, frame)
            self.queued.append((seat, None, frame))
            if now:
                self.flush()

    @rule()
    def flush(self) -> None:
        self.clock.advance()
        for seat, _, frame in self.queued:
            seat.owed.append(frame)
        self.queued.clear()

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

    @invariant()
    def nobody_waits_for_more_than_the_outbox_holds(self) -> None:
        for seat in getattr(self, "seats", ()):
            if seat.line.wire.open:
                assert seat.line.wire.waiting <= 40_000

    def _check(self, seat: Seat, *, finished: bool) -> None:
        heard, owed = seat.line.read(), b"".join(seat.owed)
        if finished:
            assert heard == owed
        else:
            assert owed.startswith(heard)


TestDescriptors: Any = Descriptors.TestCase
TestDescriptors.settings = settings(max_examples=times(60), stateful_step_count=60)
