"""Frames that wait: bounded, in order, and what may be dropped is dropped first, and counted."""

from hypothesis import given
from hypothesis import strategies as st

from openline.hub.expendable import Expendable
from openline.hub.outbox import Outbox

FRAMES = st.binary(min_size=1, max_size=40)
SUBJECTS = st.sampled_from([None, "a", "b"])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), FRAMES),
        st.tuples(st.just("spare"), FRAMES, SUBJECTS),
        st.tuples(st.just("take"), st.integers(1, 60)),
    ),
    max_size=60,
)


@given(STEPS, st.integers(1, 120))
def test_the_outbox_never_exceeds_its_limit_and_gives_back_whole_frames_in_order(steps: list, limit: int) -> None:
    outbox = Outbox(limit)
    put: list[tuple[int, bytes, bool]] = []
    lost = 0
    taken = bytearray()
    for step in steps:
        if step[0] == "take":
            taken += outbox.take(step[1])
        else:
            spare = step[0] == "spare"
            frame = Expendable.of(step[1], "c", step[2]) if spare else step[1]
            if outbox.put(frame):
                put.append((len(put), bytes(frame), spare))
        assert outbox.size <= limit
        lost = outbox.lost.get("c", 0)
    taken += outbox.take(10**6)
    assert (len(outbox), outbox.size) == (0, 0)
    # What came out is what went in, in order, less the expendable ones that were counted.
    ways: dict[int, set[int]] = {0: {0}}
    for _, frame, spare in put:
        following: dict[int, set[int]] = {}
        for place, drops in ways.items():
            if bytes(taken[place : place + len(frame)]) == frame:
                following.setdefault(place + len(frame), set()).update(drops)
            if spare:
                following.setdefault(place, set()).update(drop + 1 for drop in drops)
        ways = following
    # A latest one that replaced an older and then did not fit is lost, too, but was never in `put`.
    assert any(lost >= drop for drop in ways.get(len(taken), set()))


def test_the_oldest_volatile_ones_make_room() -> None:
    outbox = Outbox(30)
    for number in range(5):
        assert outbox.put(Expendable.of(b"v%d........" % number, "moves", None))
    assert outbox.put(b"important.")
    assert outbox.take(100) == b"v3........v4........important."
    assert outbox.lost == {"moves": 3}


def test_of_each_subject_only_the_latest_is_kept_and_its_place_is_the_newest() -> None:
    outbox = Outbox(1000)
    for frame, subject in ((b"a1 ", "a"), (b"b1 ", "b"), (b"a2 ", "a"), (b"c1 ", "c"), (b"a3 ", "a")):
        assert outbox.put(Expendable.of(frame, "prices", subject))
    assert outbox.take(1000) == b"b1 c1 a3 "
    assert outbox.lost == {"prices": 2}


def test_what_does_not_fit_even_so_is_refused() -> None:
    outbox = Outbox(20)
    assert outbox.put(b"0123456789")
    assert outbox.put(Expendable.of(b"01234", "c", None))
    assert not outbox.put(b"0123456789x")
    assert outbox.take(100) == b"0123456789"


def test_the_room_of_the_line_counts() -> None:
    outbox = Outbox(100)
    assert outbox.put(b"x" * 10, room=10)
    assert not outbox.put(b"x" * 10, room=9)
    assert outbox.size == 10


def test_dropping_keeps_memory_bounded_over_a_long_stall() -> None:
    outbox = Outbox(1000)
    for number in range(100_000):
        outbox.put(Expendable.of(b"%06d" % number, "prices", "one"))
    assert len(outbox) == 1
    assert outbox.take(10) == b"099999"
    assert outbox.lost == {"prices": 99_999}
