"""The engine in memory against a plain list of everything that was ever published: nothing is lost in silence."""

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from openline.brokers import memory
from openline.brokers.memory import MemoryBroker
from openline.hub.timers import Timers
from openline.model import NOTHING_KEPT, Page, Position, Publication, Retention
from openline.testing import FakeClock
from tests.effort import times

#: How long a key is known, and how long a log outlives its last use.
KEY_SECONDS = 300.0
#: A sweep comes up to so much later than it is due: its own rhythm and a turn of the wheel.
SWEEP_LAG = 10.5
CHANNELS = ["a", "b", "$user:ada", "$all"]
RETENTIONS = [
    Retention(count=3, seconds=1000.0, size=100_000),
    Retention(count=50, seconds=20.0, size=100_000),
    Retention(count=50, seconds=1000.0, size=900),
    Retention(count=50, seconds=1000.0, size=100_000),
    Retention(count=50, seconds=5000.0, size=100_000),
    NOTHING_KEPT,
]


class Listener:
    def __init__(self) -> None:
        self.heard: list[Publication] = []

    def on_publication(self, publication: Publication) -> None:
        self.heard.append(publication)


class Entry:
    """What the list knows of one publication; ``kept`` until a later publication, or time, pushes it out."""

    def __init__(self, stamp: int, at: float, size: int) -> None:
        self.stamp = stamp
        self.at = at
        self.size = size
        self.kept = True
        #: Nobody comes back to where it was: its channel is one of the server's own, and was quiet for too long.
        self.out_of_reach = False


class Story:
    """Everything that was ever published into one channel, and how much of it may be kept."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.retention = Retention()

    def trim(self, now: float) -> None:
        quiet = bool(self.entries) and self.entries[-1].at + self.retention.seconds + KEY_SECONDS < now
        for entry in self.entries:
            entry.out_of_reach = entry.out_of_reach or quiet
            entry.kept = entry.kept and entry.at + self.retention.seconds > now
        kept = self.kept
        while kept and (len(kept) > self.retention.count or sum(e.size for e in kept) > self.retention.size):
            kept.pop(0).kept = False

    @property
    def kept(self) -> list[Entry]:
        return [entry for entry in self.entries if entry.kept]


class MemoryAgainstAList(RuleBasedStateMachine):
    """Publications, readings, keys, and hours that pass."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = FakeClock(1_000_000.0)
        # A coarse wheel: hours pass in few turns.
        self.broker = MemoryBroker(Timers(self.clock, turn=5.0))
        self.listener = Listener()
        assert self.broker.start(self.listener).done
        self.epoch = self.broker.position.epoch
        self.stamp = 0
        self.stories = {channel: Story() for channel in CHANNELS}
        self.keys: dict[tuple[str, str], tuple[int, float]] = {}
        self.wanted: set[str] = set()
        self.heard: list[tuple[str, int]] = []

    # -- what happens

    @rule(
        channel=st.sampled_from(CHANNELS),
        retention=st.sampled_from(RETENTIONS),
        size=st.integers(0, 300),
        key=st.none() | st.sampled_from(["k", "l"]),
    )
    def publishes(self, channel: str, retention: Retention, size: int, key: str | None) -> None:
        publication = Publication(channel, "note", b'"%b"' % (b"x" * size))
        story = self.stories[channel]
        # What is too old by now is gone before this one says how long to keep.
        self.broker.read(channel)
        story.trim(self.clock.now())
        position = self.broker.publish(publication, retention, key).result()
        now = self.clock.now()
        known = self.keys.get((channel, key or ""))
        if known is not None and known[1] > now:
            assert position == Position(self.epoch, known[0])
            return
        self.stamp += 1
        assert position == Position(self.epoch, self.stamp) == self.broker.position
        if key is not None:
            self.keys[channel, key] = (self.stamp, now + KEY_SECONDS)
        story.entries.append(Entry(self.stamp, now, publication.size))
        story.retention = retention
        story.trim(now)
        if channel in self.wanted or channel.startswith("$"):
            self.heard.append((channel, self.stamp))
            self._check_previous(story, self.listener.heard[-1])

    def _check_previous(self, story: Story, heard: Publication) -> None:
        before = story.entries[-2].stamp if len(story.entries) > 1 else 0
        assert heard.previous < heard.stamp
        # Where the log has been forgotten meanwhile, it may be said to be later than it was; never earlier.
        assert heard.previous == before or before <= heard.previous <= self._forgotten or heard.channel[0] == "$"

    @rule(channel=st.sampled_from(CHANNELS))
    def scatters(self, channel: str) -> None:
        assert self.broker.scatter(Publication(channel, "moved", b"1")).done
        if channel in self.wanted or channel.startswith("$"):
            self.heard.append((channel, 0))

    @rule(channel=st.sampled_from(["a", "b"]), wanted=st.booleans())
    def wants(self, channel: str, wanted: bool) -> None:
        if wanted:
            assert self.broker.subscribe(channel).done
            self.wanted.add(channel)
        else:
            self.broker.unsubscribe(channel)
            self.wanted.discard(channel)

    @rule(seconds=st.sampled_from([0.0, 5.0, 19.0, 120.0, 299.5, 300.5, 700.0, 1010.0, 6000.0]))
    def time_passes(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @rule(channel=st.sampled_from(CHANNELS), back=st.integers(0, 12), limit=st.integers(1, 5), size=st.integers(1, 900))
    def reads_on(self, channel: str, back: int, limit: int, size: int) -> None:
        place = max(0, self.stamp - back)
        story = self.stories[channel]
        story.trim(self.clock.now())
        missed = [entry for entry in story.entries if entry.stamp > place]
        page = self._page(channel, limit, size, after=Position(self.epoch, place))
        if not page.complete:
            assert page.publications == ()
            assert any(not entry.kept for entry in missed) or (channel[0] != "$" and place < self._forgotten)
            return
        found = [p.stamp for p in page.publications]
        while page.more:
            page = self._page(channel, limit, size, after=Position(self.epoch, found[-1]))
            assert page.complete
            found += [p.stamp for p in page.publications]
        if channel.startswith("$"):
            missed = [entry for entry in missed if not entry.out_of_reach]
        assert found == [entry.stamp for entry in missed]

    @rule(channel=st.sampled_from(CHANNELS), back=st.integers(1, 30), wanted=st.booleans())
    def comes_back_after_hours(self, channel: str, back: int, wanted: bool) -> None:
        self.clock.advance(6000.0)
        if wanted and channel[0] != "$":
            self.wants(channel, True)
        self.reads_on(channel, back, 5, 900)

    @rule(
        channel=st.sampled_from(CHANNELS), back=st.integers(-1, 12), limit=st.integers(1, 5), size=st.integers(1, 900)
    )
    def reads_back(self, channel: str, back: int, limit: int, size: int) -> None:
        before = None if back < 0 else Position(self.epoch, max(0, self.stamp - back))
        story = self.stories[channel]
        story.trim(self.clock.now())
        ahead = [e.stamp for e in story.kept if before is None or e.stamp < before.stamp]
        page = self._page(channel, limit, size, before=before)
        found = [p.stamp for p in page.publications]
        assert page.more == (len(found) < len(ahead))
        while page.more:
            page = self._page(channel, limit, size, before=Position(self.epoch, found[0]))
            found = [p.stamp for p in page.publications] + found
        assert found == ahead

    def _page(self, channel: str, limit: int, size: int, **place: Any) -> Page:
        page = self.broker.read(channel, limit=limit, size=size, **place).result()
        assert len(page.publications) <= limit
        assert len(page.publications) <= 1 or sum(p.size for p in page.publications) <= size
        assert page.publications or not page.more
        return page

    @property
    def _forgotten(self) -> int:
        """The newest stamp of whose channel the log may be forgotten by now."""
        now = self.clock.now()
        ends = [s.entries[-1] for name, s in self.stories.items() if s.entries and name[0] != "$"]
        quiet = [e.stamp for s in self.stories.values() for e in s.entries if e.at + KEY_SECONDS < now]
        return max([e.stamp for e in ends if e.at + KEY_SECONDS < now] + quiet, default=0)

    def teardown(self) -> None:
        assert [(p.channel, p.stamp) for p in self.listener.heard] == self.heard
        assert self.broker.close().done


MemoryAgainstAList.TestCase.settings = settings(max_examples=times(80), stateful_step_count=50)
TestMemoryAgainstAList: Any = MemoryAgainstAList.TestCase

KEPT = Retention(count=100, seconds=3600.0, size=1_000_000)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(1000.0)


@pytest.fixture
def broker(clock: FakeClock) -> MemoryBroker:
    broker = MemoryBroker(Timers(clock))
    broker.start(Listener())
    return broker


def publish(broker: MemoryBroker, channel: str, kept: Retention = KEPT, key: str | None = None) -> Position:
    return broker.publish(Publication(channel, "note", b"1"), kept, key).result()


def test_every_start_is_a_new_epoch(clock: FakeClock, broker: MemoryBroker) -> None:
    position = publish(broker, "a")
    again = MemoryBroker(Timers(clock))
    again.start(Listener())
    publish(again, "a")
    assert not again.read("a", after=position).result().complete


def test_within_one_turn_of_the_loop_everything_is_there_at_once(broker: MemoryBroker) -> None:
    outcomes: list[Any] = [
        broker.publish(Publication("a", "note", b"1"), KEPT),
        broker.read("a"),
        broker.subscribe("a"),
    ]
    assert all(outcome.done for outcome in outcomes)


def test_a_key_is_known_for_five_minutes_to_the_second(clock: FakeClock, broker: MemoryBroker) -> None:
    first = publish(broker, "a", key="k")
    clock.advance(KEY_SECONDS - 0.001)
    assert publish(broker, "a", key="k") == first
    assert publish(broker, "b", key="k") != first
    clock.advance(0.002)
    assert publish(broker, "a", key="k").stamp == first.stamp + 2


def test_of_too_many_keys_the_oldest_are_forgotten_first(monkeypatch: pytest.MonkeyPatch, broker: MemoryBroker) -> None:
    monkeypatch.setattr(memory, "MAX_KEYS", 10)
    positions = [publish(broker, "a", key=f"k{n}") for n in range(11)]
    assert publish(broker, "a", key="k10") == positions[10]
    assert publish(broker, "a", key="k0") != positions[0]
    assert len(broker._keys) <= 10


def test_logs_that_nobody_uses_are_forgotten_and_cost_nothing(clock: FakeClock, broker: MemoryBroker) -> None:
    for number in range(1000):
        publish(broker, f"one:{number}", NOTHING_KEPT, key="k")
        publish(broker, f"$user:{number}", Retention(count=9, seconds=130.0, size=9999))
    broker.subscribe("wanted")
    clock.advance(130.0 + KEY_SECONDS + SWEEP_LAG)
    assert (set(broker._logs.by_channel), len(broker._keys)) == ({"wanted"}, 0)


def test_what_a_long_window_may_still_ask_for_is_not_forgotten_in_silence(
    clock: FakeClock, broker: MemoryBroker
) -> None:
    start = broker.position
    publish(broker, "$user:ada", Retention(count=9, seconds=1000.0, size=9999))
    # The line was found dead late, so its client comes back when the publication has just gone.
    clock.advance(1045.0)
    assert not broker.read("$user:ada", after=start).result().complete


def test_who_was_sent_nothing_before_is_not_told_of_a_loss_because_some_channel_was_forgotten(
    clock: FakeClock, broker: MemoryBroker
) -> None:
    start = broker.position
    publish(broker, "busy", NOTHING_KEPT)
    clock.advance(2 * KEY_SECONDS)
    assert broker.read("$connection:1", after=start).result().complete
    publish(broker, "$connection:1")
    page = broker.read("$connection:1", after=start).result()
    assert (page.complete, len(page.publications)) == (True, 1)


def test_a_listener_that_publishes_hears_its_own_behind_what_made_it_speak(clock: FakeClock) -> None:
    broker = MemoryBroker(Timers(clock))

    class Echo(Listener):
        def on_publication(self, publication: Publication) -> None:
            super().on_publication(publication)
            if len(self.heard) < 4:
                publish(broker, "a")

    echo = Echo()
    broker.start(echo)
    broker.subscribe("a")
    assert publish(broker, "a").stamp == 1
    assert [(p.stamp, p.previous) for p in echo.heard] == [(1, 0), (2, 1), (3, 2), (4, 3)]
    assert [p.stamp for p in broker.read("a").result().publications] == [1, 2, 3, 4]


def test_a_closed_engine_sweeps_no_more(clock: FakeClock, broker: MemoryBroker) -> None:
    publish(broker, "a", NOTHING_KEPT)
    broker.close()
    clock.advance(10_000.0)
    assert set(broker._logs.by_channel) == {"a"}


@pytest.mark.parametrize("wanted", [True, False])
def test_what_was_forgotten_together_with_its_log_is_told_as_lost(
    clock: FakeClock, broker: MemoryBroker, wanted: bool
) -> None:
    start = broker.position
    last = publish(broker, "a", NOTHING_KEPT)
    publish(broker, "b", KEPT)
    clock.advance(KEY_SECONDS + SWEEP_LAG)
    assert "a" not in broker._logs.by_channel
    if wanted:
        broker.subscribe("a")
    assert not broker.read("a", after=start).result().complete
    assert broker.read("a", after=last).result().complete
    assert broker.read("b", after=start).result().complete


def test_a_publication_is_kept_for_its_seconds_and_no_longer(clock: FakeClock, broker: MemoryBroker) -> None:
    start = broker.position
    publish(broker, "a", Retention(count=9, seconds=100.0, size=9999))
    clock.advance(99.999)
    assert len(broker.read("a", after=start).result().publications) == 1
    clock.advance(0.001)
    assert broker.read("a").result().publications == ()
    assert not broker.read("a", after=start).result().complete
