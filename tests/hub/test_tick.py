"""Everything that leaves in one turn of the loop leaves in the order in which it was queued."""

from collections.abc import Sequence
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from openline.hub.tick import Tick
from openline.testing import FakeClock, FakeWire
from openline.transports.group import DescriptorGroup
from tests.rig import JSON

DOINGS = st.one_of(
    st.tuples(st.just("group"), st.integers(0, 1), st.sets(st.integers(0, 3), max_size=2)),
    st.tuples(st.just("wire"), st.integers(0, 3), st.just(frozenset[int]())),
    st.tuples(st.just("join"), st.integers(0, 7), st.just(frozenset[int]())),
    st.tuples(st.just("leave"), st.integers(0, 7), st.just(frozenset[int]())),
    st.tuples(st.just("flush"), st.just(0), st.just(frozenset[int]())),
)


@given(st.lists(DOINGS, min_size=10, max_size=60))
@settings(max_examples=200)
def test_every_wire_gets_what_was_queued_for_it_in_the_order_of_the_list(doings: list[tuple[str, int, Any]]) -> None:
    clock = FakeClock()
    tick = Tick(clock.call_soon)
    wires = [FakeWire(JSON) for _ in range(4)]
    groups = [DescriptorGroup(), DescriptorGroup()]
    members: list[set[int]] = [set(), set()]
    owed: list[list[bytes]] = [[] for _ in wires]
    queued: list[tuple[int, int | None, bytes]] = []
    for number, (doing, which, skipped) in enumerate(doings):
        frame = b"%d" % number
        group, wire = which % 2, which // 2
        if doing == "group":
            tick.to_group(groups[which], frame, frozenset(wires[n] for n in skipped))
            queued += [(n, which, frame) for n in members[which] - set(skipped)]
        elif doing == "wire":
            tick.to_wire(wires[which], frame)
            queued.append((which, None, frame))
        elif doing == "join" and wire not in members[group]:
            # It gets nothing from before.
            groups[group].join(wires[wire])
            members[group].add(wire)
        elif doing == "leave" and wire in members[group]:
            # What was queued for the group and has not left does not reach it.
            groups[group].leave(wires[wire])
            tick.left(groups[group])
            members[group].discard(wire)
            queued = [entry for entry in queued if entry[:2] != (wire, group)]
        elif doing == "flush":
            clock.advance()
            for n, _, waiting in queued:
                owed[n].append(waiting)
            queued.clear()
    clock.advance()
    for n, _, waiting in queued:
        owed[n].append(waiting)
    assert [wire.written for wire in wires] == owed


class CountingGroup:
    """Counts the calls; nobody is in it."""

    def __init__(self) -> None:
        self.calls: list[tuple[Sequence[bytes], int]] = []
        self.mark = 0
        self.sparse = False
        self.compacted = 0

    def __len__(self) -> int:
        return 0

    def join(self, wire: Any) -> None:
        self.mark += 1

    def leave(self, wire: Any) -> None:
        pass

    def deliver(self, frames: Sequence[bytes], mark: int, skip: frozenset[Any]) -> None:
        self.calls.append((list(frames), mark))

    def compact(self) -> None:
        self.compacted += 1


def test_a_burst_to_one_group_is_one_delivery() -> None:
    clock, group = FakeClock(), CountingGroup()
    tick = Tick(clock.call_soon)
    for frame in (b"1", b"2", b"3"):
        tick.to_group(group, frame)
    assert group.calls == []
    clock.advance()
    assert group.calls == [([b"1", b"2", b"3"], 0)]


def test_who_joins_between_two_frames_parts_them() -> None:
    clock, group = FakeClock(), CountingGroup()
    tick = Tick(clock.call_soon)
    tick.to_group(group, b"before")
    group.join(None)
    tick.to_group(group, b"after")
    clock.advance()
    assert group.calls == [([b"before"], 0), ([b"after"], 1)]


def test_nothing_is_queued_for_those_who_are_not_told() -> None:
    clock, group, wire = FakeClock(), CountingGroup(), FakeWire(JSON)
    tick = Tick(clock.call_soon)
    tick.to_group(group, b"")
    tick.to_wire(wire, b"")
    clock.advance()
    assert (group.calls, wire.written) == ([], [])


def test_what_a_delivery_queues_leaves_in_the_same_flush_behind_everything_else() -> None:
    clock = FakeClock()
    tick = Tick(clock.call_soon)
    wire = FakeWire(JSON)

    class Answering(CountingGroup):
        def deliver(self, frames: Sequence[bytes], mark: int, skip: frozenset[Any]) -> None:
            tick.to_wire(wire, b"answer")
            tick.flush()

    tick.to_group(Answering(), b"question")
    tick.to_wire(wire, b"queued before")
    tick.flush()
    assert wire.written == [b"queued before", b"answer"]


def test_a_group_is_compacted_only_when_nothing_refers_to_it() -> None:
    clock, group = FakeClock(), CountingGroup()
    tick = Tick(clock.call_soon)
    group.sparse = True
    tick.to_group(group, b"queued")
    tick.left(group)
    assert not group.compacted
    clock.advance()
    assert group.compacted == 1
    tick.left(group)
    assert group.compacted == 2


def test_a_turn_that_queues_more_than_a_megabyte_is_flushed_at_once() -> None:
    tick = Tick(FakeClock().call_soon)
    wire = FakeWire(JSON)
    for _ in range(20):
        tick.to_wire(wire, bytes(100_000))
    assert len(wire.written) >= 10
