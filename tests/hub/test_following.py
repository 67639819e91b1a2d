"""A client that only listens gets everything behind its position, in order, each once, or is told of a gap."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openline.app.handlers import Handlers
from openline.errors import BrokerError, CommandError
from openline.hub.connection import Connection
from openline.hub.following import Following
from openline.hub.outcome import Outcome, drive
from openline.hub.settings import HubSettings
from openline.model import NOTHING_KEPT, Position, Request, User
from openline.protocol.sse import SseCodec
from openline.testing import FakeWire
from tests.effort import times
from tests.protocol.test_sse import Reader
from tests.rig import KEPT, Rig, open_to_all, with_presence

SSE = SseCodec()
NOBODY: Outcome[User | None] = Outcome.of(None)


class Listener:
    """Follows channels over a fake wire, and keeps what EventSource keeps: the id of the last event."""

    def __init__(self, rig: Rig, *channels: str, since: str | None = None) -> None:
        self.rig = rig
        self.channels = channels
        self.reader = Reader()
        self.open(since)

    def open(self, since: str | None = None) -> None:
        self.wire = FakeWire(SSE, hub=self.rig.hub)
        self.wire.request = Request("/events")
        self._read = 0
        position = None if since is None else Position.parse(since)
        self.following = Following(self.rig.hub, self.wire, self.channels, position)
        self.judged = drive(self.following.judge(NOBODY))
        self.begun: Outcome[None] = Outcome()
        self.judged.then(self._begin)

    def _begin(self, judged: Outcome[None]) -> None:
        if not failed(judged):
            self.begun = drive(self.following.begin())

    def come_back(self) -> None:
        self.open(self.reader.last_id or None)

    @property
    def events(self) -> list[dict[str, Any]]:
        """All that came, over all wires."""
        self.rig.clock.advance()
        for frame in self.wire.written[self._read :]:
            self.reader.read(frame)
        self._read = len(self.wire.written)
        return [json.loads(event.data) for event in self.reader.events]

    @property
    def payloads(self) -> list[Any]:
        return [event["payload"] for event in self.events if not event["type"].startswith("$")]

    @property
    def gaps(self) -> list[str | None]:
        return [event.get("channel") for event in self.events if event["type"] == "$gap"]


def failed(outcome: Outcome[Any]) -> bool:
    try:
        outcome.result()
    except (CommandError, BrokerError):
        return True
    return False


def refusal(listener: Listener) -> CommandError:
    with pytest.raises(CommandError) as refused:
        listener.judged.result()
    return refused.value


def test_without_a_position_it_begins_with_what_comes_next() -> None:
    rig = Rig()
    rig.say("a", "before")
    listener = Listener(rig, "a", "b")
    rig.say("a", 1)
    rig.say("b", 2)
    rig.say("c", "elsewhere")
    assert listener.payloads == [1, 2]
    assert listener.gaps == []


def test_from_a_position_on_it_gets_all_channels_in_order_and_then_what_comes() -> None:
    rig = Rig()
    start = str(rig.say("a", "before"))
    for n in range(4):
        rig.say("ab"[n % 2], n)
    listener = Listener(rig, "a", "b", since=start)
    rig.say("b", 4)
    assert listener.payloads == list(range(5))
    assert listener.gaps == []


def test_what_is_sent_to_everybody_is_recovered_too() -> None:
    rig = Rig()
    listener = Listener(rig, "a")
    rig.say("a", 0)
    assert listener.payloads == [0]
    listener.wire.lose()
    rig.say("a", 1)
    rig.hub.publish_directly("$all", "news", 2)
    rig.say("a", 3)
    listener.come_back()
    assert listener.payloads == [0, 1, 2, 3]


def test_where_history_does_not_reach_back_it_is_told_once_and_goes_on() -> None:
    rig = Rig(open_to_all("kept"), open_to_all("lost", retention=NOTHING_KEPT))
    start = str(rig.say("kept", "before"))
    rig.say("lost", "nobody heard")
    rig.say("kept", 1)
    listener = Listener(rig, "kept", "lost", since=start)
    rig.say("lost", 2)
    assert [event["payload"] for event in listener.events if event["type"] == "said"] == [1, 2]
    assert listener.gaps == ["lost"]
    listener.wire.lose()
    listener.come_back()
    rig.say("lost", 3)
    assert listener.payloads == [1, 2, 3]
    assert listener.gaps == ["lost"]


def test_a_gap_is_told_behind_what_is_recovered_so_that_a_break_in_between_loses_nothing() -> None:
    rig = Rig(open_to_all("kept"), open_to_all("lost", retention=NOTHING_KEPT))
    start = str(rig.say("kept", "before"))
    rig.say("lost", "nobody heard")
    rig.say("kept", 1)
    listener = Listener(rig, "lost", "kept", since=start)
    assert [event["type"] for event in listener.events] == ["said", "$gap"]


@pytest.mark.parametrize("since", ["elsewhere.3", "future"])
def test_a_position_of_another_epoch_or_from_the_future_is_a_gap(since: str) -> None:
    rig = Rig()
    rig.say("a", "before")
    epoch = rig.memory.position.epoch
    listener = Listener(rig, "a", since=f"{epoch}.999" if since == "future" else since)
    rig.say("a", 1)
    assert listener.gaps == [None, "a"]
    assert listener.payloads == [1]
    assert listener.reader.last_id == str(rig.memory.position)


def test_history_that_it_may_not_see_is_a_gap() -> None:
    rig = Rig(open_to_all(see_history=False))
    start = str(rig.say("a", "before"))
    rig.say("a", "secret")
    listener = Listener(rig, "a", since=start)
    rig.say("a", 1)
    assert (listener.payloads, listener.gaps) == ([1], ["a"])


def test_a_newcomer_sees_last_values_and_whoever_comes_back_does_not() -> None:
    rig = Rig(open_to_all("price:*", last_value=True), open_to_all())
    for n in range(3):
        rig.say(f"price:{n % 2}", n)
    listener = Listener(rig, "price:0", "price:1", "other")
    assert listener.payloads == [1, 2]
    listener.wire.lose()
    listener.come_back()
    assert listener.payloads == [1, 2]


def test_one_forbidden_channel_forbids_all_and_nobody_hears_of_it() -> None:
    seen: list[str] = []
    handlers = Handlers()
    handlers.add_connect(lambda connection: seen.append("connect"), thread=False)
    handlers.add_disconnect(lambda connection, reason: seen.append("disconnect"), thread=False)
    rig = Rig(open_to_all("a"), handlers=handlers)
    listener = Listener(rig, "a", "b")
    assert refusal(listener).code == "forbidden"
    assert (seen, listener.wire.written, listener.wire.closed) == ([], [], None)
    assert rig.leftovers == {}


@pytest.mark.parametrize("name", ["", "$all", "a b", "a\n", "x" * 129])
def test_what_is_no_channel_is_refused(name: str) -> None:
    rig = Rig()
    assert refusal(Listener(rig, name)).code == "bad_channel"
    assert rig.leftovers == {}


def test_too_many_channels_are_refused() -> None:
    rig = Rig(settings=HubSettings(max_subscriptions=2))
    assert refusal(Listener(rig, "a", "b", "c")).code == "too_many"
    listener = Listener(rig, "a", "b", "a")
    rig.say("a", 1)
    assert listener.payloads == [1]


def test_handlers_of_connect_may_send_put_into_channels_and_turn_away() -> None:
    seen: list[str] = []
    handlers = Handlers()

    def welcome(connection: Connection) -> None:
        connection.emit("hello", "there")
        connection.subscribe("given")
        if seen:
            raise CommandError("full", "No more.")
        seen.append("connect")

    handlers.add_connect(welcome, thread=False)
    handlers.add_disconnect(lambda connection, reason: seen.append(reason), thread=False)
    rig = Rig(handlers=handlers)
    listener = Listener(rig)
    rig.say("given", 1)
    assert listener.payloads == ["there", 1]
    listener.wire.lose(clean=True)
    assert seen == ["connect", "closed"]
    assert refusal(Listener(rig)).code == "full"


def test_a_listener_counts_as_present_once_it_is_live() -> None:
    rig = Rig(with_presence())
    listener = Listener(rig, "a")
    watcher = rig.join()
    said = watcher.call(type="$subscribe", channel="a", presence=True)
    assert said["presence"]["count"] == 2
    listener.wire.lose()
    assert [push["type"] for push in watcher.pushes()] == ["$left"]
    assert all(event["type"] != "$joined" for event in listener.events)


def test_a_listener_that_goes_while_it_catches_up_leaves_nothing() -> None:
    rig = Rig(slow=True)
    listener = Listener(rig, "a", "b")
    listener.wire.lose()
    for _ in range(20):
        for pending in list(rig.slow.pending):
            rig.slow.apply(pending)
            rig.slow.settle(pending)
    assert rig.leftovers == {}


def test_an_engine_that_does_not_answer_is_told() -> None:
    rig = Rig(slow=True)
    listener = Listener(rig, "a")
    while rig.slow.pending:
        rig.slow.fail(rig.slow.pending[0])
    assert not failed(listener.judged)
    assert failed(listener.begun)


DOINGS = ("say", "say", "say", "volatile", "lose", "back", "stall", "read", "settle", "settle", "settle", "deliver")
steps = st.lists(st.tuples(st.sampled_from(DOINGS), st.integers(0, 7)), min_size=20, max_size=80)


@given(steps=steps)
@settings(max_examples=times(60))
def test_nothing_is_lost_doubled_or_out_of_order_however_often_the_stream_breaks(steps: list[tuple[str, int]]) -> None:
    rig = Rig(open_to_all(retention=KEPT), slow=True)

    def settle(which: int) -> None:
        if rig.slow.pending:
            pending = rig.slow.pending[which % len(rig.slow.pending)]
            rig.slow.apply(pending)
            rig.slow.settle(pending)

    def everything() -> None:
        rig.clock.advance()
        while rig.slow.pending or rig.slow.on_the_way:
            settle(0)
            if rig.slow.on_the_way:
                rig.slow.deliver()
            rig.clock.advance()

    rig.hub.publish("a", "said", b"-1")
    everything()
    listener = Listener(rig, "a", "b", since=str(rig.memory.position))
    said: list[Any] = []
    volatile: set[int] = set()
    last = str(rig.memory.position)
    for doing, which in steps:
        number = len(said)
        if doing in ("say", "volatile"):
            if doing == "volatile":
                volatile.add(number)
            rig.hub.publish("ab"[which % 2], "said", b"%d" % number, volatile=doing == "volatile")
            said.append(number)
        elif doing == "lose":
            listener.events  # noqa: B018  the peer has read what was written
            last = listener.reader.last_id or last
            listener.wire.lose()
        elif doing == "back" and not listener.wire.open:
            listener.open(last)
        elif doing == "stall":
            listener.wire.stall()
        elif doing == "read":
            listener.wire.read(which)
        elif doing == "settle":
            settle(which)
        elif doing == "deliver" and rig.slow.on_the_way:
            rig.slow.deliver()
        rig.clock.advance()
    listener.wire.drain()
    everything()
    listener.events  # noqa: B018
    if not listener.wire.open:
        listener.open(listener.reader.last_id or last)
        everything()
    listener.wire.drain()
    everything()
    got = listener.payloads
    assert listener.gaps == []
    assert [n for n in got if n not in volatile] == _in_order(rig, volatile)
    assert len(set(got)) == len(got)


def _in_order(rig: Rig, volatile: set[int]) -> list[int]:
    """What the engine holds, as it stamped it."""
    kept = [p for name in "ab" for p in rig.memory.read(name).result().publications]
    return [n for p in sorted(kept, key=lambda p: p.stamp) if (n := json.loads(p.payload)) >= 0 and n not in volatile]
