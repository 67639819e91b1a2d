"""Groups of descriptors: who is in gets the bytes, who left, came later or is skipped does not."""

from collections.abc import Callable, Iterator

import pytest

from openline.transports.group import DescriptorGroup
from tests.transports.pairs import PairTransport

NOBODY: frozenset[object] = frozenset()


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


def test_a_member_gets_the_joined_frames_and_who_joins_later_nothing_from_before(open_pair) -> None:
    group, one, late = DescriptorGroup(), open_pair(), open_pair()
    group.join(one.wire)
    mark = group.mark
    group.join(late.wire)
    group.deliver([b"a", b"b"], mark, NOBODY)
    group.deliver([b"c"], group.mark, NOBODY)
    assert (one.drain(), late.drain()) == (b"abc", b"c")


def test_who_left_gets_nothing_and_coming_back_is_coming_later(open_pair) -> None:
    group, one, other = DescriptorGroup(), open_pair(), open_pair()
    group.join(one.wire)
    group.join(other.wire)
    mark = group.mark
    group.leave(one.wire)
    group.leave(one.wire)
    group.join(one.wire)
    group.deliver([b"a"], mark, NOBODY)
    assert (one.drain(), other.drain(), len(group)) == (b"", b"a", 2)


def test_a_skipped_member_misses_this_and_nothing_else(open_pair) -> None:
    group, one, tls = DescriptorGroup(), open_pair(), open_pair(tls=True)
    stranger = open_pair()
    group.join(one.wire)
    group.join(tls.wire)
    group.deliver([b"a"], group.mark, frozenset({one.wire, tls.wire, stranger.wire}))
    group.deliver([b"b"], group.mark, NOBODY)
    assert (one.drain(), tls.drain(), stranger.drain()) == (b"b", b"b", b"")


def test_a_line_under_tls_is_never_written_to_beside_its_transport(open_pair) -> None:
    group, tls = DescriptorGroup(), open_pair(tls=True)
    group.join(tls.wire)
    assert tls.wire.descriptor == -1
    tls.fill()
    group.deliver([b"a"], group.mark, NOBODY)
    assert tls.get_write_buffer_size() == 1
    group.deliver([b"b"], group.mark, NOBODY)
    assert tls.drain().strip(b"~") == b"ab"
    group.deliver([b"c"], group.mark, NOBODY)
    assert tls.drain().strip(b"~") == b"abc"


def test_compaction_keeps_the_members_in_their_order_and_those_aside_aside(open_pair) -> None:
    group = DescriptorGroup()
    pairs = [open_pair() for _ in range(70)]
    for pair in pairs:
        group.join(pair.wire)
    stalled = pairs[0]
    filled = stalled.fill()
    group.deliver([b"one "], group.mark, NOBODY)
    assert not group.sparse
    for pair in pairs[1:60]:
        group.leave(pair.wire)
    assert group.sparse
    group.compact()
    assert (len(group), group.mark, group.sparse) == (11, 11, False)
    group.deliver([b"two "], group.mark, NOBODY)
    assert stalled.drain() == b"~" * filled + b"one two "
    group.deliver([b"three"], group.mark, NOBODY)
    assert stalled.drain()[filled:] == b"one two three"
    assert {bytes(pair.drain()) for pair in pairs[60:]} == {b"one two three"}
    assert {bytes(pair.drain()) for pair in pairs[1:60]} == {b"one "}


def test_who_is_cut_in_the_middle_of_a_delivery_takes_others_out_of_it(open_pair) -> None:
    group, gone = DescriptorGroup(), open_pair()
    aside, tls = open_pair(), open_pair(tls=True)
    for pair in (gone, aside, tls):
        group.join(pair.wire)
    aside.fill()
    group.deliver([b"a"], group.mark, NOBODY)
    gone.theirs.close()
    # Its end ends the others too, as when an application disconnects them in the same step.
    gone.owner.too_slow = lambda: (aside.wire.shut(), tls.wire.shut())  # type: ignore[method-assign,func-returns-value]
    group.deliver([b"b"], group.mark, NOBODY)
    assert (len(group), tls.drain(), aside.drain().strip(b"~")) == (0, b"a", b"a")


def test_many_members_that_fall_short_at_once_get_everything_in_the_end(open_pair) -> None:
    group = DescriptorGroup()
    pairs = [open_pair() for _ in range(150)]
    for pair in pairs:
        group.join(pair.wire)
    frames = [b"%03d" % number + b"." * 997 for number in range(20)]
    for frame in frames:
        group.deliver([frame], group.mark, NOBODY)
    assert all(pair.wire.waiting for pair in pairs)
    assert {pair.drain() for pair in pairs} == {b"".join(frames)}
