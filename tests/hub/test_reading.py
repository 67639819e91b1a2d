"""However much many channels hold, an answer is bounded, and who goes on from its position gets everything once."""

import tracemalloc
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from openline.hub.outcome import Outcome, drive
from openline.hub.reading import ANSWER_BYTES, GapError, Reading, read
from openline.model import Page, Position, Publication
from tests.effort import times
from tests.rig import Rig

NAMES = "abcde"
#: What one publication costs beside its payload.
OWN = Publication("a", "said", b"").size


def said(rig: Rig, told: Sequence[tuple[int, int]]) -> list[Publication]:
    """Publish into the channels with these numbers as many bytes; all of it, as it stands in the logs."""
    for channel, size in told:
        rig.hub.publish(NAMES[channel], "said", b'"%b"' % (b"x" * size))
    kept = [p for name in NAMES for p in rig.memory.read(name, limit=10_000, size=1 << 30).result().publications]
    return sorted(kept, key=lambda p: p.stamp)


class Engine:
    """Counts what is read of an engine, and publishes meanwhile what is ``yet_to_come``."""

    def __init__(self, rig: Rig, yet_to_come: Sequence[tuple[int, int]] = ()) -> None:
        self._rig = rig
        self._yet_to_come = list(yet_to_come)
        self.largest = self.read_bytes = 0

    @property
    def position(self) -> Position:
        return self._rig.memory.position

    def read(self, channel: str, **how: Any) -> Outcome[Page]:
        page = self._rig.memory.read(channel, **how)
        sizes = [p.size for p in page.result().publications]
        self.read_bytes += sum(sizes)
        self.largest = max(self.largest, sum(sizes) if len(sizes) > 1 else 0)
        if self._yet_to_come:
            said(self._rig, [self._yet_to_come.pop()])
        return page


sizes = st.one_of(st.integers(0, 50), st.integers(0, 9_000))
publications = st.lists(st.tuples(st.integers(0, len(NAMES) - 1), sizes), max_size=60)
chosen = st.lists(st.sampled_from(NAMES), min_size=1, unique=True).map(tuple)
budgets = st.sampled_from([1, 600, 5_000, 20_000, 1 << 20])
limits = st.sampled_from([1, 2, 7, 1000])


def fits(reading: Reading, limit: int, size: int) -> bool:
    found = reading.publications
    return len(found) <= limit and (len(found) <= 1 or sum(p.size for p in found) <= size)


@given(publications, publications, chosen, st.integers(0, 60), limits, budgets)
@settings(max_examples=times(150))
def test_who_goes_on_from_each_answer_gets_everything_once_in_order_and_never_too_much_at_a_time(
    told: list[tuple[int, int]],
    yet_to_come: list[tuple[int, int]],
    channels: tuple[str, ...],
    behind: int,
    limit: int,
    size: int,
) -> None:
    rig = Rig()
    said(rig, told)
    engine = Engine(rig, yet_to_come)
    begun = since = Position(rig.memory.position.epoch, min(behind, len(told)))
    got: list[Publication] = []
    while since != rig.memory.position:
        reading = drive(read(engine, channels, since, limit=limit, size=size)).result()  # type: ignore[arg-type]
        assert fits(reading, limit, size)
        assert reading.position.stamp > since.stamp, "each answer leads on"
        got += reading.publications
        since = reading.position
    assert got == [p for p in said(rig, ()) if p.channel in channels and p.stamp > begun.stamp]
    assert engine.largest <= max(size, OWN)


@given(publications, publications, chosen, limits, budgets)
@example([(0, 267), (1, 0), (0, 0)], [], ("a", "b"), 2, 600)
@settings(max_examples=times(150))
def test_without_a_position_the_newest_come_as_many_as_fit_and_then_whatever_is_new(
    told: list[tuple[int, int]],
    yet_to_come: list[tuple[int, int]],
    channels: tuple[str, ...],
    limit: int,
    size: int,
) -> None:
    rig = Rig()
    said(rig, told)
    engine = Engine(rig, yet_to_come)
    reading = drive(read(engine, channels, None, limit=limit, size=size)).result()  # type: ignore[arg-type]
    got = list(reading.publications)
    assert fits(reading, limit, size)
    ahead = [p for p in said(rig, ()) if p.channel in channels and p.stamp <= reading.position.stamp]
    assert got == ahead[len(ahead) - len(got) :]
    if len(got) < len(ahead):
        over = sum(p.size for p in ahead[len(ahead) - len(got) - 1 :])
        assert len(got) == limit or over > size, "no more would have fitted"
    while reading.position != rig.memory.position:
        reading = drive(read(engine, channels, reading.position, limit=limit, size=size)).result()  # type: ignore[arg-type]
        got += reading.publications
    kept = [p for p in said(rig, ()) if p.channel in channels]
    assert got == kept[len(kept) - len(got) :]
    assert len(got) >= len(kept) - len(told)


def test_a_log_that_is_cut_while_it_is_read_is_told_of_behind_what_was_read() -> None:
    rig = Rig()
    since = rig.memory.position
    for n in range(20):
        rig.say("a", n)
        rig.say("b", n)

    class Cut(Engine):
        def read(self, channel: str, **how: Any) -> Outcome[Page]:
            page = super().read(channel, **how)
            log = rig.memory._logs.by_channel[channel]
            if channel == "b":
                for _ in range(19):
                    log.drop_oldest()
            return page

    # All of a fits, and the first page of b, which goes on.
    size = 30 * OWN
    reading = drive(read(Cut(rig), ("a", "b"), since, size=size)).result()  # type: ignore[arg-type]
    stamps = [p.stamp for p in reading.publications]
    assert 20 < len(stamps) < 30
    assert stamps == list(range(1, len(stamps) + 1))
    with pytest.raises(GapError):
        drive(read(Cut(rig), ("a", "b"), reading.position, size=size)).result()  # type: ignore[arg-type]


class Vast:
    """An engine where each of many channels holds one long publication, made when it is read."""

    position = Position("vast", 1_000)

    def read(self, channel: str, **_: Any) -> Outcome[Page]:
        stamp = int(channel)
        payload = b'"%b"' % (b"x" * 60_000)
        return Outcome.of(Page((Publication(channel, "said", payload, epoch="vast", stamp=stamp),)))


@pytest.mark.parametrize("since", [None, Position("vast", 0)])
@pytest.mark.parametrize("names", [range(1, 401), range(400, 0, -1)])
def test_of_400_channels_with_60_kb_each_no_more_than_about_one_answer_is_held(
    since: Position | None, names: Sequence[int]
) -> None:
    tracemalloc.start()
    try:
        reading = drive(read(Vast(), tuple(map(str, names)), since)).result()  # type: ignore[arg-type]
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(reading.publications) == 17
    assert most < 2 * ANSWER_BYTES


class Late(Engine):
    """An engine that is within reach only when it is asked for the first time."""

    @property
    def position(self) -> Position:
        return super().position if self.read_bytes else Position("none", 0)


@pytest.mark.parametrize("channels", [("a",), ("a", "b")])
@pytest.mark.parametrize("behind", [None, 0, 1])
def test_who_asks_before_the_engine_is_within_reach_is_told_where_that_is(
    channels: tuple[str, ...], behind: int | None
) -> None:
    rig = Rig()
    told = said(rig, [(0, 1), (0, 1)])
    since = None if behind is None else Position(rig.memory.position.epoch, behind)
    reading = drive(read(Late(rig), channels, since)).result()  # type: ignore[arg-type]
    assert list(reading.publications) == told[behind or 0 :]
    assert reading.position == rig.memory.position
