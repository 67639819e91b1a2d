"""However polls and publications fall, a client that goes on from each answer's position gets everything once."""

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openline.hub.outcome import Outcome, drive
from openline.hub.reading import ANSWER_BYTES, GapError, Reading
from openline.hub.settings import HubSettings
from openline.hub.visits import Visits
from openline.model import Position, Publication, User
from tests.effort import times
from tests.rig import KEPT, Rig, open_to_all, with_presence

NOBODY: Outcome[User | None] = Outcome.of(None)
CHANNELS = ("a", "b")


def numbers(publications: Any) -> list[int]:
    return [json.loads(publication.payload) for publication in publications]


class Poller:
    """Polls with what the last answer told, one request at a time."""

    def __init__(self, rig: Rig, *channels: str, limit: int = 1000, answer_bytes: int = ANSWER_BYTES) -> None:
        self.rig = rig
        self.visits = Visits(rig.hub, answer_bytes=answer_bytes)
        self.answer_bytes = answer_bytes
        self.channels = channels
        self.limit = limit
        self.visitor = drive(self.visits.visitor(NOBODY)).result()
        self.options = {name: rig.policy.options(name) for name in channels}
        self.since: Position = rig.hub.broker.position
        self.got: list[Publication] = []

    def take(self, reading: Reading) -> None:
        found = reading.publications
        assert len(found) <= self.limit
        assert len(found) <= 1 or sum(p.size for p in found) <= self.answer_bytes
        assert reading.position.stamp >= self.since.stamp, "a position only grows"
        self.got += reading.publications
        self.since = reading.position

    def ask(self) -> Outcome[Reading]:
        return drive(self.visits.read(self.visitor, self.channels, self.since, self.limit))

    def wait(self, enough: Outcome[None]) -> Any:
        return self.visits.wait(self.visitor, self.options, self.since, self.limit, enough)


DOINGS = ("say", "say", "say", "ask", "answer", "settle", "settle", "settle", "deliver", "deliver")
steps = st.lists(st.tuples(st.sampled_from(DOINGS), st.integers(0, 7)), min_size=20, max_size=80)


@given(
    steps=steps,
    channels=st.sampled_from([("a",), ("a", "b")]),
    limit=st.sampled_from([1, 2, 3, 1000]),
    answer_bytes=st.sampled_from([1, 500, ANSWER_BYTES]),
)
@settings(max_examples=times(80))
def test_short_polls_lose_and_double_nothing_whatever_the_engine_does(
    steps: list[tuple[str, int]], channels: tuple[str, ...], limit: int, answer_bytes: int
) -> None:
    rig = Rig(open_to_all(retention=KEPT), slow=True)
    poller = Poller(rig, *channels, limit=limit, answer_bytes=answer_bytes)
    asked: list[Outcome[Reading]] = []
    said = 0

    def settle(which: int) -> None:
        if rig.slow.pending:
            rig.slow.settle(rig.slow.pending[which % len(rig.slow.pending)])

    def answer() -> None:
        if asked and asked[0].done:
            poller.take(asked.pop().result())

    for doing, which in steps:
        if doing == "say":
            rig.hub.publish(CHANNELS[which % 2], "said", b"%d" % said)
            said += 1
        elif doing == "ask" and not asked:
            asked.append(poller.ask())
        elif doing == "settle":
            settle(which)
        elif doing == "deliver" and rig.slow.on_the_way:
            rig.slow.deliver()
        answer()

    def everything() -> None:
        while rig.slow.pending or rig.slow.on_the_way:
            settle(0)
            if rig.slow.on_the_way:
                rig.slow.deliver()

    everything()
    answer()
    before = -1
    while before < len(poller.got):
        before = len(poller.got)
        asked.append(poller.ask())
        everything()
        answer()
    kept = [p for name in channels for p in rig.memory.read(name).result().publications]
    assert numbers(poller.got) == numbers(sorted(kept, key=lambda p: p.stamp))


@given(
    bursts=st.lists(st.lists(st.integers(0, 2), max_size=4), min_size=1, max_size=20),
    channels=st.sampled_from([("a",), ("a", "b")]),
    limit=st.sampled_from([1, 2, 1000]),
    hold_bytes=st.sampled_from([1024, 1_048_576]),
    answer_bytes=st.sampled_from([1, 500, ANSWER_BYTES]),
)
@settings(max_examples=times(50))
def test_long_polls_lose_and_double_nothing(
    bursts: list[list[int]], channels: tuple[str, ...], limit: int, hold_bytes: int, answer_bytes: int
) -> None:
    async def story() -> None:
        rig = Rig(open_to_all(retention=KEPT), settings=HubSettings(hold_bytes=hold_bytes))
        poller = Poller(rig, *channels, limit=limit, answer_bytes=answer_bytes)
        expected: list[int] = []
        said = 0
        for burst in bursts:
            enough: Outcome[None] = Outcome()
            waiting = asyncio.get_running_loop().create_task(poller.wait(enough))
            await rig.run()
            for which in burst:
                channel = "abc"[which]
                rig.say(channel, said)
                expected += [said] if channel in channels else []
                said += 1
            await rig.run()
            enough.settle(None)
            poller.take(await waiting)
        while len(poller.got) < len(expected):
            poller.take(poller.ask().result())
        assert numbers(poller.got) == expected
        assert not rig.leftovers

    asyncio.run(story())


def test_where_history_does_not_reach_back_the_gap_says_where_to_go_on() -> None:
    rig = Rig()
    poller = Poller(rig, "a")
    rig.say("a", 1)
    poller.since = Position("elsewhere", 1)
    with pytest.raises(GapError) as gap:
        poller.ask().result()
    assert gap.value.position == rig.memory.position


def test_without_a_position_the_newest_are_read_oldest_first() -> None:
    rig = Rig()
    for n in range(50):
        rig.say("ab"[n % 2], n)
    poller = Poller(rig, "a", "b", limit=10)
    reading = drive(poller.visits.read(poller.visitor, ("a", "b"), None, 10)).result()
    assert numbers(reading.publications) == list(range(40, 50))
    assert reading.position == rig.memory.position


def test_without_a_position_a_long_history_is_read_page_by_page() -> None:
    rig = Rig()
    for n in range(20):
        rig.hub.publish("a", "said", b'"%b"' % (b"x" * 30_000))
        rig.say("a", n)
    poller = Poller(rig, "a")
    reading = drive(poller.visits.read(poller.visitor, ("a",), None, 1000)).result()
    assert len(reading.publications) == 40


async def test_who_waits_counts_nowhere_and_hears_what_is_said_whoever_comes_and_goes() -> None:
    rig = Rig(with_presence())
    poller = Poller(rig, "a", "b")
    everywhere = rig.hub.everywhere
    waiting = asyncio.get_running_loop().create_task(poller.wait(Outcome()))
    await rig.run()
    for name in poller.channels:
        assert everywhere.reach(name).result().connections == 0
    assert everywhere.channels("*", "", 10).result() == {}
    other = rig.join("b")
    assert everywhere.reach("b").result().connections == 1
    assert everywhere.channels("*", "", 10).result() == {"b": (1, 1)}
    assert everywhere.channels("*", "", 1).result() == {"b": (1, 1)}, "a page is not short for who does not count"
    other.call(type="$unsubscribe", channel="b")
    assert everywhere.channels("*", "", 10).result() == {}
    assert not waiting.done()
    rig.say("b", 1)
    await rig.run()
    assert numbers((await waiting).publications) == [1]
    assert all(rig.hub.membership.get(name) is None for name in poller.channels)


async def test_who_is_in_a_channel_stays_in_it_when_the_last_one_that_waits_has_gone() -> None:
    rig = Rig(with_presence())
    member = rig.join("a")
    enough: Outcome[None] = Outcome()
    waiting = asyncio.get_running_loop().create_task(Poller(rig, "a").wait(enough))
    await rig.run()
    enough.settle(None)
    await waiting
    assert rig.hub.everywhere.channels("*", "", 10).result() == {"a": (1, 1)}
    rig.say("a", 1)
    assert member.payloads() == [1]


async def test_a_visitor_that_is_cancelled_while_it_waits_leaves_nothing() -> None:
    rig = Rig()
    poller = Poller(rig, "a")
    waiting = asyncio.get_running_loop().create_task(poller.wait(Outcome()))
    await rig.run()
    assert rig.hub.membership.get("a") is not None
    waiting.cancel()
    await rig.run()
    assert not rig.leftovers
