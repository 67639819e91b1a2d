"""Everything that leaves in one turn of the loop leaves in the order in which it was queued."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openline.hub.tick import Tick
from openline.testing import FakeClock, FakeWire
from openline.transports.group import DescriptorGroup
from tests.effort import times
from tests.rig import JSON

DOINGS = st.one_of(
    st.tuples(st.just("group"), st.integers(0, 1), st.sets(st.integers(0, 3), max_size=2)),
    st.tuples(st.just("wire"), st.integers(0, 3), st.just(frozenset[int]())),
    st.tuples(st.just("join"), st.integers(0, 7), st.just(frozenset[int]())),
    st.tuples(st.just("leave"), st.integers(0, 7), st.just(frozenset[int]())),
    st.tuples(st.just("flush"), st.just(0), st.just(frozenset[int]())),
)


@given(st.lists(DOINGS, min_size=10, max_size=60))
@settings(max_examples=times(100))
def test_every_wire_gets_what_was_queued_for_it_in_the_order_of_the_list(doings: list[tuple[str, int, Any]]) -> None:
    clock = FakeClock()
    tick = Tick(clock.call_soon, now=lambda: 0.0)
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


LIMIT = 1_048_576


WIRES = 5


GROUPS = 2


class Loop:
    """Remembers what is to be called soon."""

    def __init__(self) -> None:
        self.soon: list[Callable[[], None]] = []

    def call_soon(self, callback: Callable[[], None]) -> None:
        self.soon.append(callback)

    def run(self) -> None:
        soon, self.soon = self.soon, []
        for callback in soon:
            callback()


class Target:
    """A wire or a group that remembers each delivery, and may do more then."""

    def __init__(self, then: Callable[[], None] = lambda: None) -> None:
        self.deliveries: list[list[bytes]] = []
        self.mark = 0
        self.sparse = False
        self.compacted = 0
        self.then = then

    def deliver(self, frames: Sequence[bytes], mark: int = 0, skip: frozenset[Any] = frozenset()) -> None:
        self.deliveries.append(list(frames))
        self.then()

    def compact(self) -> None:
        self.compacted += 1
        self.sparse = False


def wire() -> FakeWire:
    return FakeWire(JSON)


def test_another_skip_or_another_mark_is_another_delivery() -> None:
    tick, group, one = Tick(lambda _: None), Target(), wire()
    tick.to_group(group, b"a")
    tick.to_group(group, b"b", frozenset({one}))
    tick.to_group(group, b"c", frozenset({one}))
    group.mark += 1
    tick.to_group(group, b"d", frozenset({one}))
    tick.flush()
    assert group.deliveries == [[b"a"], [b"b", b"c"], [b"d"]]


def test_the_loop_is_asked_once_for_each_turn_that_has_something() -> None:
    loop = Loop()
    tick, one = Tick(loop.call_soon), Target()
    tick.to_wire(one, b"")
    tick.to_group(one, b"")
    assert loop.soon == []
    for frame in (b"a", b"b", b"c"):
        tick.to_wire(one, frame)
    assert len(loop.soon) == 1
    loop.run()
    tick.to_wire(one, b"d")
    assert len(loop.soon) == 1
    loop.run()
    tick.flush()
    assert one.deliveries == [[b"a", b"b", b"c"], [b"d"]]


def test_beyond_its_limit_the_list_leaves_at_once() -> None:
    loop = Loop()
    tick, one = Tick(loop.call_soon), Target()
    half = b"x" * (LIMIT // 2)
    tick.to_wire(one, half)
    tick.to_wire(one, half)
    assert one.deliveries == []
    tick.to_wire(one, b"y")
    assert one.deliveries == [[half, half]]
    loop.run()
    assert one.deliveries[1:] == [[b"y"]]


def test_beyond_the_limit_within_a_flush_nothing_overtakes() -> None:
    tick, one = Tick(lambda _: None), Target()
    large = b"x" * LIMIT

    def more() -> None:
        if len(one.deliveries) == 1:
            for frame in (b"1", large, b"2", large, b"3"):
                tick.to_wire(one, frame)

    one.then = more
    tick.to_wire(one, b"0")
    tick.flush()
    assert [frame for frames in one.deliveries for frame in frames] == [b"0", b"1", large, b"2", large, b"3"]


def test_a_group_that_becomes_sparse_within_a_flush_is_compacted_behind_it() -> None:
    tick, group = Tick(lambda _: None), Target()
    outstanding: list[int] = []

    def leave() -> None:
        group.sparse = True
        tick.left(group)
        outstanding.append(group.compacted)

    group.then = leave
    tick.to_group(group, b"a")
    group.mark += 1
    # Its mark stands for places as they are now.
    tick.to_group(group, b"b")
    tick.flush()
    assert (outstanding, group.compacted) == ([0, 0], 1)


FRAME_SIZES = st.sampled_from([1, 1, 1, 1, 400_000])


WHO = st.integers(0, WIRES - 1)


WHICH = st.integers(0, GROUPS - 1)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("group"), WHICH, FRAME_SIZES, st.frozensets(WHO, max_size=2)),
        st.tuples(st.just("wire"), WHO, FRAME_SIZES),
        st.tuples(st.just("join"), WHICH, WHO),
        st.tuples(st.just("leave"), WHICH, WHO),
        st.tuples(st.just("churn"), WHICH, WHO),
        st.tuples(st.just("flush")),
    ),
    max_size=50,
)


class Model:
    """What each wire must get: who was in a group when a frame was queued and is still in when it leaves."""

    def __init__(self) -> None:
        self.got: list[list[bytes]] = [[] for _ in range(WIRES)]
        self.stays: list[dict[int, int]] = [{} for _ in range(GROUPS)]
        self.queued: list[tuple[int | None, dict[int, int], bytes]] = []
        self.count = 0

    def queue(self, group: int | None, stays: dict[int, int], frame: bytes) -> None:
        if sum(len(f) for *_, f in self.queued) + len(frame) > LIMIT:
            self.flush()
        self.queued.append((group, stays, frame))

    def join(self, group: int, who: int) -> None:
        self.count += 1
        self.stays[group][who] = self.count

    def flush(self) -> None:
        for group, stays, frame in self.queued:
            for who, stay in stays.items():
                if group is None or self.stays[group].get(who) == stay:
                    self.got[who].append(frame)
        self.queued.clear()


@given(STEPS)
def test_each_gets_what_was_queued_while_it_was_in_in_the_order_of_the_list(steps: list[tuple[Any, ...]]) -> None:
    loop, model = Loop(), Model()
    # No flush is interrupted, however busy the machine is.
    tick = Tick(loop.call_soon, now=lambda: 0.0)
    wires = [wire() for _ in range(WIRES)]
    groups = [DescriptorGroup() for _ in range(GROUPS)]

    def leave(group: int, who: int) -> None:
        groups[group].leave(wires[who])
        tick.left(groups[group])
        model.stays[group].pop(who, None)

    def join(group: int, who: int) -> None:
        groups[group].join(wires[who])
        model.join(group, who)

    for number, step in enumerate(steps):
        match step:
            case ("group", which, size, skip):
                frame = b"%d " % number + b"x" * size
                tick.to_group(groups[which], frame, frozenset(wires[who] for who in skip))
                model.queue(which, {w: s for w, s in model.stays[which].items() if w not in skip}, frame)
            case ("wire", who, size):
                frame = b"%d " % number + b"y" * size
                tick.to_wire(wires[who], frame)
                model.queue(None, {who: 0}, frame)
            case ("join", which, who) if who not in model.stays[which]:
                join(which, who)
            case ("leave", which, who):
                leave(which, who)
            case ("churn", which, who):
                for _ in range(40):
                    leave(which, who)
                    join(which, who)
            case ("flush",):
                loop.run()
                model.flush()
    loop.run()
    model.flush()
    assert [w.written for w in wires] == model.got
    assert [len(group) for group in groups] == [len(stays) for stays in model.stays]


def test_what_was_queued_while_a_delivery_failed_leaves_in_the_next_turn() -> None:
    turns: list[Callable[[], None]] = []
    tick, wire = Tick(turns.append), FakeWire(JSON)

    class Failing(CountingGroup):
        def deliver(self, frames: Sequence[bytes], mark: int, skip: frozenset[Any]) -> None:
            tick.to_wire(wire, b"queued meanwhile")
            raise RuntimeError("a fault of ours")

    tick.to_group(Failing(), b"first")
    with pytest.raises(RuntimeError):
        turns.pop()()
    # Nobody need queue anything for that.
    turns.pop()()
    assert (wire.written, turns) == ([b"queued meanwhile"], [])
    tick.to_wire(wire, b"later")
    turns.pop()()
    assert wire.written == [b"queued meanwhile", b"later"]
