"""The writing end of a socket: straight to the descriptor, aside while its transport is busy, bounded always."""

from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openline.hub.expendable import Expendable
from openline.protocol.json_codec import JsonCodec
from openline.transports.group import DescriptorGroup
from tests.transports.pairs import PairTransport

LIMIT = 10_000
Opener = Callable[..., PairTransport]


@pytest.fixture
def open_pair() -> Iterator[Opener]:
    opened: list[PairTransport] = []

    def open_one(limit: int = LIMIT, **options: bool) -> PairTransport:
        opened.append(PairTransport(**options))
        opened[-1].make_wire(limit)
        return opened[-1]

    yield open_one
    for pair in opened:
        pair.close()


def plain(frame: bytes) -> bytes:
    return frame


def test_frames_go_straight_to_the_descriptor_while_it_takes_them(open_pair: Opener) -> None:
    pair = open_pair()
    pair.wire.deliver([b"a"])
    pair.wire.deliver([b"b", b"c"])
    assert (pair.read(100), pair.wire.waiting, pair.wire.drained().done) == (b"abc", 0, True)


def test_a_stalled_wire_stands_aside_in_every_group_and_steps_back_once_it_has_drained(open_pair: Opener) -> None:
    pair, first, second = open_pair(), DescriptorGroup(), DescriptorGroup()
    descriptor = pair.wire.descriptor
    first.join(pair.wire)
    second.join(pair.wire)
    filled = pair.fill()
    first.deliver([b"a"], 1, frozenset())
    assert pair.wire.descriptor == -1
    assert (list(first._descriptors), list(second._descriptors)) == ([-1], [-1])
    second.deliver([b"b"], 1, frozenset())
    pair.wire.deliver([b"c"])
    assert pair.wire.waiting == 3
    assert pair.drain()[filled:] == b"abc"
    assert pair.wire.descriptor == descriptor
    assert (list(first._descriptors), list(second._descriptors)) == ([descriptor], [descriptor])
    assert (first._aside, second._aside) == ({}, {})


def test_who_joins_a_group_while_stalled_gets_its_bytes_behind_what_waits(open_pair: Opener) -> None:
    pair, group = open_pair(), DescriptorGroup()
    filled = pair.fill()
    pair.wire.deliver([b"a"])
    group.join(pair.wire)
    group.deliver([b"b"], group.mark, frozenset())
    pair.read(100_000)
    # There is room in the socket, but what waits goes first.
    group.deliver([b"c"], group.mark, frozenset())
    assert pair.drain()[filled:] == b"abc"
    group.deliver([b"d"], group.mark, frozenset())
    assert pair.drain()[filled:] == b"abcd"


def test_who_leaves_a_group_while_stalled_does_not_step_back_into_it(open_pair: Opener) -> None:
    pair, group = open_pair(), DescriptorGroup()
    group.join(pair.wire)
    pair.fill()
    pair.wire.deliver([b"a"])
    group.leave(pair.wire)
    assert group._aside == {}
    pair.drain()
    assert (list(group._descriptors), len(group)) == ([-1], 0)


def test_too_slow_is_told_once_and_nothing_is_written_afterwards(open_pair: Opener) -> None:
    pair, group = open_pair(), DescriptorGroup()
    group.join(pair.wire)
    filled = pair.fill()
    for _ in range(30):
        group.deliver([b"x" * 600], group.mark, frozenset())
        pair.wire.deliver([b"y" * 600])
        assert pair.wire.waiting <= LIMIT
    assert (pair.too_slow, pair.wire.open, pair.wire.descriptor, len(group)) == (1, False, -1, 0)
    got = pair.drain()[filled:]
    # What the transport had is a beginning of what was sent; the rest is for the client to come back for.
    assert (b"x" * 600 + b"y" * 600).startswith(got)
    pair.wire.deliver([b"z"])
    pair.wire.fell_short(b"z", 0)
    assert (pair.drain()[filled:], pair.too_slow) == (got, 1)


def test_one_delivery_that_is_larger_than_the_outbox_gives_the_line_up(open_pair: Opener) -> None:
    pair = open_pair()
    pair.fill()
    pair.wire.deliver([b"x" * (LIMIT + 1)])
    assert (pair.too_slow, pair.wire.waiting) == (1, 0)


def test_what_the_socket_takes_at_once_does_not_count_against_the_outbox(open_pair: Opener) -> None:
    pair = open_pair(limit=100)
    pair.wire.deliver([b"x" * 1000])
    assert (pair.too_slow, pair.drain()) == (0, b"x" * 1000)


def test_a_peer_that_is_gone_ends_the_line_once(open_pair: Opener) -> None:
    pair, group = open_pair(), DescriptorGroup()
    group.join(pair.wire)
    pair.theirs.close()
    group.deliver([b"a"], group.mark, frozenset())
    group.deliver([b"b"], group.mark, frozenset())
    pair.wire.deliver([b"c"])
    assert (pair.too_slow, pair.wire.open, len(group)) == (1, False, 0)


def test_drained_is_settled_when_nothing_waits_any_more(open_pair: Opener) -> None:
    pair = open_pair()
    pair.fill()
    pair.wire.deliver([b"a" * 5000])
    pair.wire.deliver([b"b" * 3000])
    drained = pair.wire.drained()
    assert drained is pair.wire.drained()
    while not drained.done:
        assert pair.wire.waiting
        pair.read(500)
        pair.pump()
    assert pair.wire.waiting == 0
    assert pair.wire.drained().done


def test_drained_is_settled_when_the_wire_is_shut(open_pair: Opener) -> None:
    pair = open_pair()
    pair.fill()
    pair.wire.deliver([b"a"])
    drained = pair.wire.drained()
    assert not drained.done
    pair.wire.shut()
    assert drained.done
    assert pair.wire.drained().done


def test_shut_returns_the_whole_frames_that_wait_and_leaves_every_group(open_pair: Opener) -> None:
    pair, group = open_pair(), DescriptorGroup()
    group.join(pair.wire)
    filled = pair.fill()
    pair.wire.deliver([b"a" * 2000])
    pair.wire.deliver([b"b" * 2000, b"c" * 2000])
    rest = pair.wire.shut()
    assert rest == b"b" * 2000 + b"c" * 2000
    assert (pair.wire.shut(), len(group), pair.wire.places) == (b"", 0, {})
    pair.write(rest)
    assert pair.drain()[filled:] == b"a" * 2000 + rest
    assert pair.wire.descriptor == -1


def test_closing_is_asked_of_the_line(open_pair: Opener) -> None:
    pair = open_pair()
    pair.wire.close(4410, "enough")
    assert pair.owner.closed == [(4410, "enough")]


def test_reading_is_held_until_the_wire_is_shut(open_pair: Opener) -> None:
    pair = open_pair()
    pair.wire.hold_reading(held=True)
    assert not pair.reading
    pair.wire.hold_reading(held=False)
    assert pair.reading
    pair.wire.shut()
    pair.wire.hold_reading(held=True)
    assert pair.reading


def test_expendable_frames_make_room_and_their_loss_is_told_behind_the_rest(open_pair: Opener) -> None:
    pair = open_pair(limit=5000)
    pair.wire.codec = JsonCodec(plain)
    filled = pair.fill()
    pair.wire.deliver([b"[first]".ljust(1000)])
    for number in range(20):
        pair.wire.deliver([Expendable.of((b"[move-%02d]" % number).ljust(1000), "game:1", None)])
    pair.wire.deliver([b"[last]".ljust(1000)])
    assert pair.too_slow == 0
    got = pair.drain()[filled:]
    assert b" ".join(got.split()[:-1]) == b"[first] [move-17] [move-18] [move-19] [last]"
    assert got.endswith(b'{"type":"$gap","channel":"game:1","payload":{"lost":17}}')
    pair.wire.deliver([b"x"])
    assert pair.drain().endswith(b'{"lost":17}}x')


def test_an_expendable_frame_that_finds_no_room_is_dropped_and_the_line_stays(open_pair: Opener) -> None:
    pair = open_pair(limit=5000)
    pair.wire.codec = JsonCodec(plain)
    filled = pair.fill()
    pair.wire.deliver([b"x" * 4900])
    pair.wire.deliver([Expendable.of(b"y" * 200, "game:1", None), Expendable.of(b"z" * 200, "game:2", "ball")])
    assert (pair.too_slow, pair.wire.waiting) == (0, 4900)
    got = pair.drain()[filled:]
    assert got.startswith(b"x" * 4900 + b'{"type":"$gap","channel":"game:1","payload":{"lost":1}}')
    assert got.endswith(b'{"type":"$gap","channel":"game:2","payload":{"lost":1}}')


def test_a_loss_is_told_behind_everything_that_waits_however_much_that_is(open_pair: Opener) -> None:
    pair = open_pair(limit=300_000)
    pair.wire.codec = JsonCodec(plain)
    filled = pair.fill()
    frames = [b"%04d".ljust(1000) % number for number in range(250)]
    for frame in frames:
        pair.wire.deliver([frame])
    moves = [Expendable.of(b"%04d".ljust(1000) % number, "game:1", None) for number in range(9000, 9100)]
    for move in moves:
        pair.wire.deliver([move])
    room = 300_000 - sum(map(len, frames))
    kept = moves[-(room // len(moves[0])) :]
    got = pair.drain()[filled:]
    assert got == b"".join(frames + kept) + b'{"type":"$gap","channel":"game:1","payload":{"lost":%d}}' % (
        100 - len(kept)
    )


def test_a_peer_that_has_half_a_frame_when_the_line_is_given_up_is_told_nothing_more(open_pair: Opener) -> None:
    pair = open_pair(limit=100)
    pair.wire.deliver([b"x" * 100_000])
    assert (pair.aborted, pair.too_slow, pair.wire.open) == (True, 0, False)
    assert b"x" * 100_000 > pair.drain() > b""


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("deliver"), st.lists(st.integers(1, 4000), min_size=1, max_size=4)),
        st.tuples(st.just("group"), st.lists(st.integers(1, 4000), min_size=1, max_size=4)),
        st.tuples(st.just("read"), st.integers(1, 9000)),
        st.tuples(st.just("pump"), st.none()),
    ),
    max_size=60,
)


@given(STEPS, st.integers(4000, 20_000), st.booleans())
def test_whatever_the_peer_s_pace_it_gets_everything_in_order_or_a_beginning_and_one_verdict(
    steps: list, limit: int, tls: bool
) -> None:
    pair, group = PairTransport(tls=tls), DescriptorGroup()
    wire = pair.make_wire(limit)
    group.join(wire)
    sent = bytearray()
    number = 0
    for step, argument in steps:
        if step in ("deliver", "group"):
            frames = [(b"%06d" % (number + n)).ljust(size, b".") for n, size in enumerate(argument)]
            number += len(frames)
            sent += b"".join(frames)
            if step == "group":
                group.deliver(frames, group.mark, frozenset())
            else:
                wire.deliver(frames)
        elif step == "read":
            pair.read(argument)
        else:
            pair.pump()
        assert wire.waiting <= limit or not wire.open
        assert pair.too_slow + pair.aborted == (not wire.open)
    got = pair.drain()
    pair.close()
    assert got == sent if wire.open else sent.startswith(got)
