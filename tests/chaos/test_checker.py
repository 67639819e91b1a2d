"""The checker: true histories pass; each kind of fault that is planted is found, as that kind and no other."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.chaos.checker import check
from tests.chaos.events import (
    Acknowledged,
    Came,
    Dropped,
    Ended,
    Entry,
    Event,
    Failed,
    Final,
    Forgot,
    Granted,
    Invoked,
    Looked,
    Place,
    Received,
    Standing,
    Stuck,
    Unanswered,
    Value,
    read,
    write,
)
from tests.chaos.report import Kind, added
from tests.chaos.true_history import TrueHistory

seeds = st.integers(0, 2**32)


def placed(events: list[Event]) -> list[int]:
    """Where something stands that a client received with its place, and that the log of the end shows."""
    logged = {entry.place for event in events if isinstance(event, Final) for entry in event.entries}
    return [n for n, each in enumerate(events) if isinstance(each, Received) and each.place in logged]


def pick(history: TrueHistory, places: list[int]) -> int:
    assume(places)
    return history.chance.choice(places)


# -- planting; each is sure that what it takes is noticed


def lose_a_delivery(history: TrueHistory) -> None:
    """Of those that are followed by another one, on the same stretch, and of which somebody else says where they stood.

    What nobody else was given with its place, or told of, and what is in no log, nobody can miss: an epoch that ended
    took it along before it was answered.
    """
    followed, after = [], set[tuple[str, str]]()
    told = witnesses(history.events)
    for n in reversed(range(len(history.events))):
        event = history.events[n]
        if isinstance(event, Received):
            if event.place is not None and told[event.place] > 1 and (event.client, event.channel) in after:
                followed.append(n)
            after.add((event.client, event.channel))
        elif isinstance(event, Standing) and not event.recovered:
            after.discard((event.client, event.channel))
    del history.events[pick(history, followed)]


def witnesses(events: list[Event]) -> Counter[Place]:
    """How often it is said that something stands at a place."""
    tellers = [each for each in events if isinstance(each, Acknowledged | Received)]
    said = Counter(each.place for each in tellers if each.place is not None)
    said.update(entry.place for each in events if isinstance(each, Final) for entry in each.entries)
    return said


def claim_what_is_not_so(history: TrueHistory) -> None:
    """Who was told of a break in which something was published is told that there was none."""
    events, found = history.events, []
    for n, event in enumerate(events):
        if isinstance(event, Standing) and event.recovered is False and event.place is not None:
            mine = [e for e in events[:n] if isinstance(e, Received | Standing) and e.client == event.client]
            last = mine[-1].place if mine else None
            later = any(isinstance(e, Received) and e.client == event.client for e in events[n:])
            if last is not None and later and (last.epoch != event.place.epoch or missed(events, event, last)):
                found.append(n)
    place = pick(history, found)
    events[place] = msgspec.structs.replace(events[place], recovered=True)


def missed(events: list[Event], event: Standing, last: Place) -> bool:
    assert event.place is not None
    acks = [e for e in events if isinstance(e, Acknowledged) and e.channel == event.channel and e.place is not None]
    return any(last < ack.place <= event.place for ack in acks)


def deliver_twice(history: TrueHistory) -> None:
    place = pick(history, [n for n, each in enumerate(history.events) if isinstance(each, Received)])
    history.events.insert(place, history.events[place])


def publish_twice(history: TrueHistory) -> None:
    """One key, two entries of the log, at the end of it."""
    place = pick(history, [n for n, each in enumerate(history.events) if isinstance(each, Final) and each.entries])
    final = history.events[place]
    assert isinstance(final, Final)
    acked = {each.value for each in history.events if isinstance(each, Acknowledged)}
    entry = next((each for each in reversed(final.entries) if each.value in acked), None)
    assume(entry is not None)
    assert entry is not None
    again = Entry(Place(final.epoch, final.entries[-1].place.stamp + 100), entry.value)
    # Nobody is after it in the publisher's order.
    assume(all(each.value.publisher != entry.value.publisher for each in final.entries if each.place > entry.place))
    history.events[place] = msgspec.structs.replace(final, entries=(*final.entries, again))


def swap_deliveries(history: TrueHistory) -> None:
    """Two neighbours of one client in one channel, nothing between them."""
    events, last, found = history.events, dict[str, int](), []
    for n, event in enumerate(events):
        if isinstance(event, Standing):
            last.pop(event.client, None)
        elif isinstance(event, Received):
            if event.client in last:
                found.append((last[event.client], n))
            last[event.client] = n
    assume(found)
    one, other = history.chance.choice(found)
    events[one], events[other] = events[other], events[one]


def swap_publications(history: TrueHistory) -> None:
    """Two acknowledged publications of one publisher changed places, everywhere."""
    acks: dict[tuple[str, str, str], list[Acknowledged]] = {}
    for event in history.events:
        if isinstance(event, Acknowledged) and event.place is not None:
            acks.setdefault((event.channel, event.value.publisher, event.place.epoch), []).append(event)
    pairs = [each for each in acks.values() if len(each) > 1]
    assume(pairs)
    one, other = history.chance.choice(pairs)[:2]
    swapped = {one.value: other.value, other.value: one.value}
    for n, event in enumerate(history.events):
        if isinstance(event, Received | Acknowledged):
            history.events[n] = msgspec.structs.replace(event, value=swapped.get(event.value, event.value))
        elif isinstance(event, Final):
            entries = tuple(Entry(e.place, swapped.get(e.value, e.value)) for e in event.entries)
            history.events[n] = msgspec.structs.replace(event, entries=entries)


def diverge(history: TrueHistory) -> None:
    """One client receives another value where all others have the one of the log."""
    place = pick(history, placed(history.events))
    event = history.events[place]
    assert isinstance(event, Received)
    values = [e.value for e in history.events if isinstance(e, Acknowledged) and e.channel == event.channel]
    values = [value for value in values if value != event.value]
    assume(values)
    history.events[place] = msgspec.structs.replace(event, value=history.chance.choice(values))


def make_up(history: TrueHistory) -> None:
    """A client receives what nobody has published, in a place that nobody has."""
    place = pick(history, placed(history.events))
    event = history.events[place]
    assert isinstance(event, Received)
    assert event.place is not None
    made = msgspec.structs.replace(event, value=Value("nobody", 0), place=Place(event.place.epoch, 10**6))
    history.events.insert(place, made)


def see_the_refused(history: TrueHistory) -> None:
    """What was refused stands in the log."""
    refused = [each for each in history.events if isinstance(each, Failed)]
    finals = [n for n, each in enumerate(history.events) if isinstance(each, Final)]
    assume(refused)
    value = history.chance.choice(refused).value
    final = history.events[finals[0]]
    assert isinstance(final, Final)
    entries = (*final.entries, Entry(Place(final.epoch, 10**6), value))
    history.events[finals[0]] = msgspec.structs.replace(final, entries=entries)


def forget_the_acknowledged(history: TrueHistory) -> None:
    """The log of the end lacks what was acknowledged, and delivered to nobody or to some."""
    acked = {event.value for event in history.events if isinstance(event, Acknowledged)}
    places = [
        (n, each)
        for n, event in enumerate(history.events)
        if isinstance(event, Final)
        for each in event.entries
        if each.value in acked
    ]
    assume(places)
    place, entry = history.chance.choice(places)
    final = history.events[place]
    assert isinstance(final, Final)
    kept = tuple(each for each in final.entries if each != entry)
    history.events[place] = msgspec.structs.replace(final, entries=kept)
    history.events = [e for e in history.events if not (isinstance(e, Received) and e.value == entry.value)]


def leak(history: TrueHistory) -> None:
    got = {event.client for event in history.events if isinstance(event, Received)}
    grants = [n for n, each in enumerate(history.events) if isinstance(each, Granted) and each.client in got]
    del history.events[pick(history, grants)]


def haunt(history: TrueHistory) -> None:
    history.ghost()


def overlook(history: TrueHistory) -> None:
    """Somebody who is there is not shown, and somebody comes later, so that it is not just late."""
    history._note(Came, connection="h", channel="a")
    history._now += 50.0
    history._note(Looked, channel="a", asked=history._now, members=())
    history.end("h")


def never_arrive(history: TrueHistory) -> None:
    history._note(Stuck, client="a0", channel="a")


def end_twice(history: TrueHistory) -> None:
    """The handlers run again at another node, though the first one lived on for long enough."""
    ended = history.chance.choice([each for each in history.events if isinstance(each, Ended)])
    history._now += 5.0
    history._note(Ended, connection=ended.connection, process="another")


def end_never(history: TrueHistory) -> None:
    client = history.chance.choice([each for each in history.events if isinstance(each, Came)]).connection
    history.events = [e for e in history.events if not (isinstance(e, Ended) and e.connection == client)]


PLANTED: dict[Callable[[TrueHistory], None], Kind] = {
    lose_a_delivery: Kind.UNSIGNALLED_LOSS,
    claim_what_is_not_so: Kind.UNSIGNALLED_LOSS,
    deliver_twice: Kind.DUP,
    publish_twice: Kind.DUP,
    swap_deliveries: Kind.REORDER,
    swap_publications: Kind.REORDER,
    diverge: Kind.DIVERGENCE,
    make_up: Kind.PHANTOM,
    see_the_refused: Kind.PHANTOM,
    forget_the_acknowledged: Kind.ACKED_LOSS,
    leak: Kind.LEAK,
    haunt: Kind.GHOST,
    overlook: Kind.MISSING,
    never_arrive: Kind.STUCK,
    end_twice: Kind.ENDED_TWICE,
    end_never: Kind.NEVER_ENDED,
}


@given(seeds, st.integers(0, 150), st.booleans())
def test_true_histories_pass(seed: int, steps: int, durable: bool) -> None:
    report = check(TrueHistory(seed, steps=steps, durable=durable).events, durable=durable)
    assert report.good, str(report)


@pytest.mark.parametrize("plant", PLANTED, ids=lambda plant: plant.__name__)
@settings(max_examples=25)
@given(seeds, st.booleans())
def test_what_is_planted_is_found_as_what_it_is(plant: Callable[[TrueHistory], None], seed: int, durable: bool) -> None:
    history = TrueHistory(seed, steps=100, durable=durable)
    plant(history)
    report = check(history.events, durable=durable)
    assert report.kinds == {PLANTED[plant]}, str(report)


@given(seeds)
def test_what_is_acknowledged_may_end_with_an_epoch_only_where_the_engine_keeps_nothing(seed: int) -> None:
    events = TrueHistory(seed, steps=100, durable=False).events
    logged = {entry.value for event in events if isinstance(event, Final) for entry in event.entries}
    forgotten = {event.value for event in events if isinstance(event, Acknowledged)} - logged
    assert check(events, durable=False).good
    assert check(events, durable=True).found[Kind.ACKED_LOSS] == len(forgotten)


@pytest.mark.parametrize(("seconds", "found"), [(2.0, set()), (60.0, {Kind.ENDED_TWICE})])
def test_who_ends_twice_behind_a_drop_is_counted_and_not_held_against_anybody(seconds: float, found: set[Kind]) -> None:
    history = TrueHistory(4, steps=10, durable=True)
    history._note(Came, connection="h", channel="a")
    history._note(Dropped)
    history._now += seconds
    for process in ("one", "another"):
        history._note(Ended, connection="h", process=process)
    report = check(history.events, durable=True)
    assert report.kinds == found
    assert report.facts["ended again behind a drop"] == 1 - len(found)


@pytest.mark.parametrize(("seconds", "found"), [(1.0, set()), (30.0, {Kind.MISSING})])
def test_who_is_missing_right_behind_a_flush_is_yet_to_be_said_again(seconds: float, found: set[Kind]) -> None:
    history = TrueHistory(3, steps=10, durable=True)
    history._note(Came, connection="h", channel="a")
    history._now += 50.0
    history._note(Forgot)
    history._now += seconds
    history._note(Looked, channel="a", asked=history._now, members=())
    history._now += 50.0
    history.end("h")
    assert check(history.events, durable=True).kinds == found


def test_a_report_says_out_of_how_many_and_what_that_is_worth() -> None:
    events = TrueHistory(1, steps=150, durable=True).events
    received = sum(isinstance(event, Received) for event in events)
    report = added([check(events, durable=True)] * 2)
    assert report.tried[Kind.DUP] == 2 * received > 0
    assert f"| dup | 0 | {2 * received} | {3 / (2 * received):.1e} |" in report.lines()
    unanswered = sum(isinstance(event, Unanswered) for event in events)
    invoked = sum(isinstance(event, Invoked) for event in events)
    assert report.unknown_rate == unanswered / invoked > 0


def test_histories_of_several_processes_become_one(tmp_path: Path) -> None:
    events = TrueHistory(2, steps=50, durable=True).events
    files = [tmp_path / "one.jsonl", tmp_path / "other.jsonl"]
    for n, file in enumerate(files):
        write(events[n::2], file)
    assert read(*files) == events
