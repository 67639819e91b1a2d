"""The one list of a turn: everything leaves in the order in which it was queued, once, to whom it was meant."""

from collections.abc import Callable, Sequence
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from openline.hub.tick import Tick
from openline.protocol.raw_codec import RawCodec
from openline.testing.wire import FakeWire
from openline.transports.group import DescriptorGroup

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
    return FakeWire(RawCodec())  # type: ignore[arg-type]


def test_neighbours_to_the_same_target_are_one_delivery() -> None:
    loop = Loop()
    tick, group, one = Tick(loop.call_soon), Target(), Target()
    for frame in (b"a", b"b"):
        tick.to_group(group, frame)
    for frame in (b"c", b"d"):
        tick.to_wire(one, frame)
    tick.to_group(group, b"e")
    loop.run()
    assert (group.deliveries, one.deliveries) == ([[b"a", b"b"], [b"e"]], [[b"c", b"d"]])


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


def test_what_is_queued_while_the_list_is_flushed_leaves_behind_it_in_the_same_flush() -> None:
    loop = Loop()
    tick, one, other = Tick(loop.call_soon), Target(), Target()
    order: list[str] = []
    other.then = lambda: order.append("other")

    def answer() -> None:
        order.append("one")
        if len(one.deliveries) == 1:
            tick.to_wire(one, b"answer")
            # Not out of turn, although asked for.
            tick.flush()

    one.then = answer
    tick.to_wire(one, b"a")
    tick.to_wire(other, b"b")
    loop.run()
    assert order == ["one", "other", "one"]
    assert (one.deliveries, loop.soon) == ([[b"a"], [b"answer"]], [])


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


def test_a_group_is_tidied_up_only_when_no_mark_is_outstanding() -> None:
    tick, group = Tick(lambda _: None), Target()
    tick.left(group)
    assert group.compacted == 0
    group.sparse = True
    tick.left(group)
    assert group.compacted == 1
    group.sparse = True
    tick.to_group(group, b"a")
    group.then = lambda: tick.left(group)
    tick.left(group)
    group.then()
    assert group.compacted == 1
    tick.flush()
    assert group.compacted == 2


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
    tick = Tick(loop.call_soon)
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
