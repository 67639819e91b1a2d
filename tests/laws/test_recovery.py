"""Recovery is gapless, in the order of the stamps, each once, less what is excluded; or the client is told."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openline.hub import membership, resume
from openline.hub.outcome import Outcome
from openline.hub.settings import HubSettings
from openline.model import NOTHING_KEPT, Position, Retention
from tests.effort import times
from tests.laws.client import DIRECT, Wanting
from tests.rig import KEPT, Rig, look, open_to_all

CHANNELS = ("a", "b")
THERE = "there"
Step = tuple[str, int]
DOINGS = (
    "settle",
    *("say", "say", "exclude", "bypass", "emit", "all", "say_there", "put_there"),
    *("lose", "dial", "stall", "drain", "read"),
    *("apply", "settle", "settle", "settle", "settle", "deliver", "deliver", "fail"),
)
steps = st.lists(st.tuples(st.sampled_from(DOINGS), st.integers(0, 7)), min_size=60, max_size=150)


class Story:
    """What is said, and what became of it, while one client comes and goes."""

    def __init__(self, *, slow: bool, retention: Retention, hold_bytes: int, fails: bool) -> None:
        self.rig = Rig(
            open_to_all(retention=retention),
            slow=slow,
            settings=HubSettings(hold_bytes=hold_bytes, direct_count=10_000, direct_bytes=1 << 30),
        )
        self._slow, self._fails = slow, fails
        self.client = Wanting(self.rig, *CHANNELS)
        self.said: list[tuple[str, list[str], Outcome[Any]]] = []
        self.volatile: set[int] = set()

    def do(self, doing: str, which: int) -> None:
        getattr(self, doing)(which)
        self.client.listen()

    # -- what the server says

    def _publish(self, channel: str, excluded: list[str], *, volatile: bool = False) -> None:
        number = len(self.said)
        payload = json.dumps([number, excluded]).encode()
        outcome = self.rig.hub.publish(channel, "said", payload, exclude=excluded, volatile=volatile)
        self.said.append((channel, excluded, outcome))

    def say(self, which: int) -> None:
        self._publish(CHANNELS[which % 2], [])

    def exclude(self, which: int) -> None:
        self._publish(CHANNELS[which % 2], [self.client.connection or "nobody"])

    def bypass(self, which: int) -> None:
        self.volatile.add(len(self.said))
        self._publish(CHANNELS[which % 2], [], volatile=True)

    def emit(self, which: int) -> None:
        connection = self.rig.hub.lifecycle.connections.get(self.client.connection or "")
        if connection is not None:
            self.said.append((DIRECT, [], self.rig.hub.emit(connection, "said", [len(self.said), []])))

    def all(self, which: int) -> None:
        if self.client.connection is not None:
            number = len(self.said)
            self.said.append((DIRECT, [], self.rig.hub.publish_directly("$all", "said", [number, []])))

    def say_there(self, which: int) -> None:
        self._publish(THERE, [])

    def put_there(self, which: int) -> None:
        """The application subscribes the client, who did not ask for it."""
        connection = self.rig.hub.lifecycle.connections.get(self.client.connection or "")
        if connection is not None and THERE not in connection.subscriptions:
            connection.subscribe(THERE).then(look)

    # -- what the client and the line do

    def lose(self, which: int) -> None:
        self.client.lose(which)

    def dial(self, which: int) -> None:
        """Also while the line before seems to live."""
        self.client.dial()

    def stall(self, which: int) -> None:
        self.client.wire.stall()

    def drain(self, which: int) -> None:
        self.client.wire.drain()

    def read(self, which: int) -> None:
        self.client.wire.read(which)

    # -- what the engine does

    def apply(self, which: int) -> None:
        if self.rig.slow.pending:
            self.rig.slow.apply(self.rig.slow.pending[which % len(self.rig.slow.pending)])

    def settle(self, which: int) -> None:
        if self.rig.slow.pending:
            self.rig.slow.settle(self.rig.slow.pending[which % len(self.rig.slow.pending)])

    def deliver(self, which: int) -> None:
        if self.rig.slow.on_the_way:
            self.rig.slow.deliver()

    def fail(self, which: int) -> None:
        reads = [p for p in self.rig.slow.pending if p.kind in ("read", "subscribe")]
        if self._fails and reads:
            self.rig.slow.fail(reads[which % len(reads)])

    def end(self) -> None:
        """Everything calms down, and the client has all the time that it needs."""
        for _ in range(400):
            self.rig.slow.settle_all()
            self.client.wire.drain()
            self.client.listen()
            if self.client.away:
                self.client.dial()
            elif not self.rig.slow.pending and not self.client.unanswered:
                return
        raise AssertionError("the client never got where it wanted to be")

    # -- what must hold

    def stamps(self) -> dict[int, int]:
        return {
            number: outcome.result().stamp
            for number, (_, _, outcome) in enumerate(self.said)
            if number not in self.volatile and isinstance(outcome.result(), Position)
        }

    def check(self, *, told_allowed: bool) -> None:
        stamps = self.stamps()
        report, began = self.client.report, self.client.began or 0
        for source in (*CHANNELS, THERE, DIRECT):
            received = [number for number in report.received[source] if number in stamps]
            in_order = sorted(set(received), key=stamps.__getitem__)
            assert received == in_order, (source, received)
            wanted = {
                number
                for number, (channel, excluded, _) in enumerate(self.said)
                if channel == source and stamps.get(number, -1) > began and not excluded
            }
            if source == THERE and not self.client.is_in(THERE):
                continue
            missing = wanted.difference(received)
            for number in missing:
                assert any(low < stamps[number] <= high for low, high in report.told[source]), (
                    source,
                    number,
                    stamps[number],
                    report,
                )
            if not told_allowed and source in CHANNELS:
                assert not missing
                assert not report.told[source]


def tell(
    doings: list[Step], *, slow: bool, retention: Retention, hold_bytes: int = 1 << 20, fails: bool = False
) -> Story:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(resume, "PAGE_BYTES", 500)
        patch.setattr(resume, "MIN_READ_BYTES", 400)
        patch.setattr(membership, "MAX_PAGE", 3)
        story = Story(slow=slow, retention=retention, hold_bytes=hold_bytes, fails=fails)
        for doing, which in doings:
            story.do(doing, which)
        story.end()
    return story


HOLDS = st.sampled_from([1024, 2048, 1 << 20])


@given(doings=steps, hold_bytes=HOLDS)
@settings(max_examples=times(60))
def test_with_an_engine_in_process_nothing_kept_is_ever_missing(doings: list[Step], hold_bytes: int) -> None:
    tell(doings, slow=False, retention=KEPT, hold_bytes=hold_bytes).check(told_allowed=False)


@given(doings=steps, hold_bytes=HOLDS)
@settings(max_examples=times(80))
def test_with_a_slow_engine_nothing_kept_is_ever_missing(doings: list[Step], hold_bytes: int) -> None:
    tell(doings, slow=True, retention=KEPT, hold_bytes=hold_bytes).check(told_allowed=False)


@given(doings=steps, hold_bytes=HOLDS, count=st.integers(0, 4), slow=st.booleans(), fails=st.booleans())
@settings(max_examples=times(80))
def test_whatever_is_missing_the_client_was_told(
    doings: list[Step], hold_bytes: int, count: int, slow: bool, fails: bool
) -> None:
    retention = Retention(count, 86_400.0, 1 << 30) if count else NOTHING_KEPT
    story = tell(doings, slow=slow, retention=retention, hold_bytes=hold_bytes, fails=fails)
    story.check(told_allowed=True)
