"""Joining what was read with what was held: gapless, in order, each once."""

from hypothesis import given
from hypothesis import strategies as st

from openline.hub.recovery import Hold, merge
from openline.model import Publication


def said(stamp: int, *, exclude: frozenset[str] = frozenset(), name: str = "said") -> Publication:
    return Publication("c", name, b"1", stamp=stamp, exclude=exclude)


@st.composite
def streams(draw: st.DrawFn) -> list[Publication]:
    """A channel's log with volatile publications in between."""
    excludes = st.sampled_from([frozenset[str](), frozenset({"me"}), frozenset({"you"})])
    stream, stamp = [], 0
    for number in range(draw(st.integers(0, 30))):
        volatile = draw(st.booleans())
        stamp += 0 if volatile else draw(st.integers(1, 3))
        stream.append(said(0 if volatile else stamp, exclude=draw(excludes), name=str(number)))
    return stream


@given(streams(), st.integers(0, 40), st.integers(0, 40))
def test_any_cut_and_any_overlap_merge_to_the_stream(stream: list[Publication], cut: int, overlap: int) -> None:
    """The log knows everything stamped up to the cut; the hold began a while before it."""
    read = [publication for publication in stream[:cut] if publication.stamp]
    held = stream[max(0, cut - overlap) :]
    seen_only_live = [p for p in stream[: max(0, cut - overlap)] if not p.stamp]
    expected = [p for p in stream if p not in seen_only_live and "me" not in p.exclude]
    assert merge(read, held, lambda p: "me" in p.exclude) == expected


def test_a_hold_keeps_what_fits_and_then_says_that_it_overflowed() -> None:
    one = said(1)
    hold = Hold(one.size * 2)
    hold.put(one)
    hold.put(said(2))
    assert [p.stamp for p in hold.publications] == [1, 2]
    hold.put(said(3))
    assert hold.overflowed
    assert hold.publications == []
    hold.put(said(4))
    assert hold.publications == []
