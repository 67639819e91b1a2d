"""What is queued leaves in as few system calls as there are members, and never holds the loop for long."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from openline.hub.tick import Entry, Tick, ToGroup
from openline.transports import delivery
from openline.transports import group as group_module
from openline.transports.delivery import in_slices
from openline.transports.fanout import Row
from openline.transports.group import DescriptorGroup
from tests.hub.test_tick import Loop
from tests.transports.pairs import PacketTransport, PairTransport


@pytest.fixture
def open_pair() -> Iterator[Callable[..., PairTransport]]:
    opened: list[PairTransport] = []

    def open_one(**options: object) -> PairTransport:
        opened.append(PairTransport(**options))  # type: ignore[arg-type]
        opened[-1].make_wire()
        return opened[-1]

    yield open_one
    for pair in opened:
        pair.close()


@pytest.fixture
def loop() -> Loop:
    return Loop()


@pytest.fixture
def tick(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> Tick:
    """Interrupted after every step, which writes to two members at most."""
    monkeypatch.setattr(delivery, "SLICE", 2)
    return Tick(loop.call_soon, in_slices, hold_seconds=0.0, now=lambda: 0.0)


def test_a_member_of_several_channels_gets_a_turn_of_them_in_one_system_call_in_order() -> None:
    loop = Loop()
    tick = Tick(loop.call_soon, in_slices)
    pairs = [PacketTransport() for _ in range(3)]
    wires = [pair.make_wire() for pair in pairs]
    groups = [DescriptorGroup() for _ in range(3)]
    for group in groups:
        for wire in wires[:2]:
            group.join(wire)
    for number, group in enumerate((*groups, *groups)):
        tick.to_group(group, b"%d" % number, frozenset({wires[1]}) if number == 4 else frozenset())
        if number == 2:
            tick.to_wire(wires[0], b"reply")
    tick.to_wire(wires[2], b"alone")
    loop.run()
    assert [pair.calls() for pair in pairs] == [[b"012reply345"], [b"01235"], [b"alone"]]
    for pair in pairs:
        pair.close()


def members(group: DescriptorGroup, count: int, open_pair: Callable[..., PairTransport]) -> list[PairTransport]:
    pairs = [open_pair() for _ in range(count)]
    for pair in pairs:
        group.join(pair.wire)
    return pairs


def test_a_large_group_is_written_to_slice_by_slice_and_the_loop_has_its_turn_in_between(tick, loop, open_pair) -> None:
    group = DescriptorGroup()
    pairs = members(group, 5, open_pair)
    tick.to_group(group, b"x")
    turns: list[int] = []
    while loop.soon:
        loop.run()
        turns.append(sum(pair.drain() == b"x" for pair in pairs))
    assert turns[:3] == [2, 4, 5]


def test_what_comes_later_does_not_overtake_what_is_half_done(tick, loop, open_pair) -> None:
    group, other = DescriptorGroup(), DescriptorGroup()
    pairs = members(group, 5, open_pair)
    other.join(pairs[4].wire)
    tick.to_group(group, b"first ")
    loop.run()
    tick.to_group(other, b"second ")
    tick.to_wire(pairs[4].wire, b"third")
    loop.run()
    assert pairs[4].drain() == b""
    tick.flush()
    assert pairs[4].drain() == b"first second third"
    assert all(pair.drain() == b"first " for pair in pairs[:4])


def test_who_leaves_between_two_slices_is_skipped_and_who_takes_its_number_gets_nothing(tick, loop, open_pair) -> None:
    group = DescriptorGroup()
    pairs = members(group, 5, open_pair)
    tick.to_group(group, b"x")
    loop.run()
    number = pairs[4].ours.fileno()
    pairs[4].wire.shut()
    pairs[4].ours.close()
    pairs[4].theirs.close()
    late = open_pair(number=number)
    group.join(late.wire)
    assert late.wire.descriptor == number
    tick.flush()
    assert (late.drain(), [pair.drain() for pair in pairs[:4]]) == (b"", [b"x"] * 4)


def test_who_stands_aside_and_is_back_between_two_slices_gets_it_once_and_in_order(tick, loop, open_pair) -> None:
    group = DescriptorGroup()
    pairs = members(group, 5, open_pair)
    for slow in (pairs[0], pairs[4]):
        filled = slow.fill()
        slow.wire.deliver([b"before "])
        assert slow.wire.descriptor < 0
        slow.filled = filled
    tick.to_group(group, b"x")
    loop.run()
    got = [slow.drain()[slow.filled :] for slow in (pairs[0], pairs[4])]
    assert all(slow.wire.descriptor >= 0 for slow in (pairs[0], pairs[4]))
    tick.flush()
    assert [got[0], pairs[4].drain()[pairs[4].filled :]] == [b"before x", b"before x"]


def test_large_groups_and_replies_that_take_turns_leave_in_one_system_call_per_member_in_order(tick, loop) -> None:
    pairs = [PacketTransport() for _ in range(7)]
    wires = [pair.make_wire() for pair in pairs]
    sockets, streams = DescriptorGroup(), DescriptorGroup()
    for wire in wires[:3]:
        sockets.join(wire)
    for wire in wires[3:6]:
        streams.join(wire)
    for number in range(3):
        tick.to_group(sockets, b"%d" % number)
        tick.to_wire(wires[0], b"reply %d " % number)
        tick.to_group(streams, b"data: %d " % number, frozenset({wires[4]}) if number == 1 else frozenset())
    tick.to_wire(wires[6], b"alone")
    turns = 0
    while loop.soon:
        loop.run()
        turns += 1
    heard = [pair.calls() for pair in pairs]
    for pair in pairs:
        pair.close()
    assert heard == [
        [b"0reply 0 1reply 1 2reply 2 "],
        [b"012"],
        [b"012"],
        [b"data: 0 data: 1 data: 2 "],
        [b"data: 0 data: 2 "],
        [b"data: 0 data: 1 data: 2 "],
        [b"alone"],
    ]
    assert turns >= 4, "two descriptors a turn"


def test_a_member_that_stands_aside_does_not_cost_the_others_their_one_call(tick, loop, open_pair) -> None:
    quick = [PacketTransport() for _ in range(3)]
    slow = open_pair()
    group, other = DescriptorGroup(), DescriptorGroup()
    for pair in (*quick, slow):
        wire = pair.wire or pair.make_wire()
        group.join(wire)
        other.join(wire)
    filled = slow.fill()
    slow.wire.deliver([b"before "])
    assert slow.wire.descriptor < 0
    for number in range(4):
        tick.to_group((group, other)[number % 2], b"%d" % number)
    loop.run()
    slow.drain()
    assert slow.wire.descriptor >= 0, "back in the middle of it"
    tick.flush()
    assert slow.drain()[filled:] == b"before 0123"
    assert [pair.calls() for pair in quick] == [[b"0123"]] * 3
    for pair in quick:
        pair.close()


def test_who_falls_short_in_the_middle_of_several_frames_gets_the_rest_later(loop, open_pair) -> None:
    tick = Tick(loop.call_soon, in_slices)
    groups = [DescriptorGroup(), DescriptorGroup()]
    slow, quick = open_pair(), open_pair()
    for group in groups:
        group.join(slow.wire)
        group.join(quick.wire)
    sent = b""
    for number in range(60):
        frame = b"<%d:%s>" % (number, b"x" * 500)
        tick.to_group(groups[number % 2], frame)
        sent += frame
    loop.run()
    assert slow.wire.descriptor < 0
    assert (slow.drain(), quick.drain()) == (sent, sent)


def test_who_is_gone_is_given_up_and_may_take_others_along(loop, open_pair) -> None:
    tick = Tick(loop.call_soon, in_slices)
    groups = [DescriptorGroup(), DescriptorGroup()]
    gone, also, here = open_pair(), open_pair(), open_pair()
    for group in groups:
        for pair in (gone, also, here):
            group.join(pair.wire)
    gone.theirs.close()
    also.theirs.close()
    gone.owner.too_slow = also.wire.shut  # type: ignore[method-assign,assignment]
    for group in groups:
        tick.to_group(group, b"x")
    loop.run()
    assert (gone.wire.open, also.wire.open, also.owner.given_up, here.drain()) == (False, False, 0, b"xx")


def parts_of_a_step(monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """What each call below hands to descriptors, as sizes; nothing is sent."""
    calls: list[list[int]] = []

    def many(descriptors: Any, start: int, stop: int, data: bytes) -> list[Any]:
        calls.append([len(data) for each in descriptors[start:stop] if each >= 0])
        return []

    def between(rows: list[Row], start: int, stop: int) -> tuple[list[Any], int]:
        numbers: dict[int, int] = {}
        following = -1
        for target, count, data in rows:
            for number in (target,) if isinstance(target, int) else target[:count]:
                if start <= number < stop:
                    numbers[number] = numbers.get(number, 0) + len(data)
                elif number >= stop:
                    following = number if following < 0 else min(following, number)
        calls.append(list(numbers.values()))
        return [], following

    monkeypatch.setattr(group_module, "send_many", many)
    monkeypatch.setattr(delivery, "send_rows", lambda rows: between(rows, 0, 1 << 30)[0])
    monkeypatch.setattr(delivery, "send_rows_between", between)
    return calls


@pytest.mark.parametrize("size", [1, 220, 5000, 65_536])
@pytest.mark.parametrize("others", [0, 1, 16])
def test_no_step_hands_more_to_the_kernel_than_takes_a_few_milliseconds(
    size: int, others: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "SLICE", 64)
    calls = parts_of_a_step(monkeypatch)
    numbers = iter(range(10, 5000))

    class Seat:
        def __init__(self) -> None:
            self.descriptor = next(numbers)
            self.places: dict[DescriptorGroup, int] = {}

        def deliver(self, frames: Sequence[bytes]) -> None:
            raise AssertionError("nobody stands aside")

        def fell_short(self, data: bytes, taken: int) -> None:
            raise AssertionError("everything is taken")

    groups = [DescriptorGroup(), DescriptorGroup()]
    for group in groups:
        for _ in range(100):
            group.join(Seat())
    small = DescriptorGroup()
    for _ in range(30):
        small.join(Seat())
    entries: list[Entry] = [ToGroup(groups[0], 100, frozenset(), b"x" * size)]
    for number in range(others):
        entries += [ToGroup(groups[number % 2], 100, frozenset(), b"x" * size), ToGroup(small, 30, frozenset(), b"y")]
    steps = 0
    for _ in in_slices(entries):
        steps += 1
    assert steps == len(calls)
    # A system call takes some 5 us, and 4 KiB no longer than that.
    assert max(sum(max(4096, each) for each in call) for call in calls) <= max(64 * 4096, (1 + others) * (size + 1))
    told = sum(map(sum, calls))
    assert told == size * 100 * (1 + others) + 30 * others
