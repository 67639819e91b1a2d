"""Whatever comes between: no member is lost, none stays, and every line hears things in the order of the list."""

import json
from collections import defaultdict
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from openline.app.handlers import Handlers
from openline.hub.connection import State
from openline.testing import FakeWire
from tests.effort import times
from tests.rig import JSON, WINDOW_SECONDS, Frame, Rig, look, with_presence

CHANNELS = ("a", "b")
DOINGS = (
    *("settle", "settle", "settle", "apply", "deliver", "deliver", "fail"),
    *("connect", "subscribe", "subscribe", "unsubscribe", "publish", "publish", "bypass", "history"),
    *("lose", "resume", "resume", "bye", "throw_out", "put", "take", "pass_time", "stall", "drain", "flush"),
)
steps = st.lists(
    st.tuples(st.sampled_from(DOINGS), st.integers(0, 3), st.sampled_from(CHANNELS)), min_size=50, max_size=140
)


class Peer:
    """A client that only notes what comes over each of its lines."""

    def __init__(self, rig: Rig) -> None:
        self._rig = rig
        self._ids = 0
        self.lines: list[FakeWire] = []
        self.secrets: list[str] = []
        self.asked: dict[FakeWire, list[int]] = defaultdict(list)
        self.dial()

    @property
    def wire(self) -> FakeWire:
        return self.lines[-1]

    @property
    def connection(self) -> Any:
        return self.wire.connection

    def dial(self, **fields: Any) -> None:
        self.lines.append(FakeWire(JSON, hub=self._rig.hub, outbox_bytes=20_000))
        self._rig.hub.lifecycle.open(self.wire)
        self.send(type="$connect", **fields)

    def send(self, **frame: Any) -> None:
        self._ids += 1
        if self.wire.open:
            self.asked[self.wire].append(self._ids)
            self._rig.receive(self.wire, {"id": self._ids, **frame})

    def frames(self, wire: FakeWire) -> list[Frame]:
        frames = [json.loads(frame) for frame in wire.written]
        for frame in frames:
            payload = frame.get("payload")
            if frame["type"] == "$reply" and "resume" in payload and payload["resume"] not in self.secrets:
                self.secrets.append(payload["resume"])
        return frames


class Crowd:
    """Some peers and everything that may befall them."""

    def __init__(self, *, slow: bool) -> None:
        self.ended: dict[str, list[str]] = defaultdict(list)
        self.begun: list[str] = []
        handlers = Handlers()
        handlers.add_connect(lambda connection: self.begun.append(connection.id), thread=False)
        handlers.add_disconnect(lambda connection, why: self.ended[connection.id].append(why), thread=False)
        self.rig = Rig(with_presence(), slow=slow, handlers=handlers)
        self.peers = [Peer(self.rig) for _ in range(4)]
        self.said = 0

    def settle(self, peer: Peer, channel: str) -> None:
        pending = self.rig.slow.pending
        if pending:
            self.rig.slow.settle(pending[self.said % len(pending)])
            self.said += 1

    def apply(self, peer: Peer, channel: str) -> None:
        pending = self.rig.slow.pending
        if pending:
            self.rig.slow.apply(pending[self.said % len(pending)])

    def deliver(self, peer: Peer, channel: str) -> None:
        if self.rig.slow.on_the_way:
            self.rig.slow.deliver()

    def fail(self, peer: Peer, channel: str) -> None:
        pending = [p for p in self.rig.slow.pending if p.kind != "publish"]
        if pending:
            self.rig.slow.fail(pending[self.said % len(pending)])

    def connect(self, peer: Peer, channel: str) -> None:
        if not peer.wire.open:
            peer.dial()

    def subscribe(self, peer: Peer, channel: str) -> None:
        peer.send(type="$subscribe", channel=channel, presence=True, last=3)

    def unsubscribe(self, peer: Peer, channel: str) -> None:
        peer.send(type="$unsubscribe", channel=channel)

    def history(self, peer: Peer, channel: str) -> None:
        peer.send(type="$history", channel=channel)

    def publish(self, peer: Peer, channel: str) -> None:
        self.said += 1
        peer.send(type="said", channel=channel, payload=self.said, echo=self.said % 3 > 0)

    def bypass(self, peer: Peer, channel: str) -> None:
        peer.send(type="said", channel=channel, volatile=True)

    def lose(self, peer: Peer, channel: str) -> None:
        peer.wire.lose()

    def bye(self, peer: Peer, channel: str) -> None:
        peer.wire.lose(clean=True)

    def resume(self, peer: Peer, channel: str) -> None:
        """Also while the line before seems to live, and with a secret that is worth nothing any more."""
        self.rig.clock.advance()
        for wire in peer.lines:
            peer.frames(wire)
        since = str(self.rig.memory.position)
        if peer.secrets:
            peer.dial(resume=peer.secrets[-1 - self.said % min(2, len(peer.secrets))], since=since)

    def throw_out(self, peer: Peer, channel: str) -> None:
        peer.connection.disconnect("enough")

    def put(self, peer: Peer, channel: str) -> None:
        peer.connection.subscribe(channel).then(look)

    def take(self, peer: Peer, channel: str) -> None:
        peer.connection.unsubscribe(channel)

    def pass_time(self, peer: Peer, channel: str) -> None:
        self.rig.clock.advance(11.0)

    def stall(self, peer: Peer, channel: str) -> None:
        peer.wire.stall()

    def drain(self, peer: Peer, channel: str) -> None:
        peer.wire.drain()

    def flush(self, peer: Peer, channel: str) -> None:
        self.rig.clock.advance()

    def calm_down(self) -> None:
        self.rig.clock.advance()
        for _ in range(20):
            for peer in self.peers:
                for wire in peer.lines:
                    wire.drain()
            self.rig.slow.settle_all()
            self.rig.clock.advance()

    # -- what must hold

    def check_members(self) -> None:
        """Hub, channels and engine agree, when nothing is on its way."""
        membership, lifecycle = self.rig.hub.membership, self.rig.hub.lifecycle
        for name, channel in membership._channels.items():
            inside = [c.subscriptions[name] for c in lifecycle.connections.values() if name in c.subscriptions]
            assert channel.size == len(inside) > 0
            seated = sum(s.connection.wire is not None for s in inside)
            assert len(channel.seats) == seated
            assert len(channel.watchers) == sum(s.presence and bool(s.connection.wire) for s in inside)
            assert not channel.holding
            assert all(s.channel is channel for s in inside)
            here = {s.connection.id for s in inside if s.connection.wire is not None}
            away = {s.connection.id for s in inside} - here
            if name != "$all":
                assert here <= channel.members._members.keys() <= here | away
        wanted = membership._channels.keys()
        assert self.rig.memory._wanted == wanted
        for connection in lifecycle.connections.values():
            assert connection.stage is (State.DETACHED if connection.wire is None else State.LIVE)
            assert not connection.busy
            assert not connection.backlog
            assert connection.hold is None
            for name in connection.subscriptions:
                assert name in membership._channels

    def check_order(self) -> None:
        for peer in self.peers:
            for wire in peer.lines:
                stamps = [
                    int(frame["position"].rpartition(".")[2]) for frame in peer.frames(wire) if "position" in frame
                ]
                assert stamps == sorted(set(stamps)), "positions on one line only grow"

    def check_answers(self) -> None:
        for peer in self.peers:
            for wire in peer.lines:
                answers = [f["id"] for f in peer.frames(wire) if f["type"] in ("$reply", "$error") and "id" in f]
                assert len(answers) == len(set(answers)), "nothing is answered twice"
                assert answers == sorted(answers), "answers come in the order of the commands"
                assert set(answers) <= set(peer.asked[wire]), "an answer goes to the line that asked"

    def check_nothing_stays(self) -> None:
        for peer in self.peers:
            for wire in peer.lines:
                wire.lose()
        self.rig.slow.settle_all()
        self.rig.clock.advance(WINDOW_SECONDS + 1)
        self.rig.slow.settle_all()
        self.rig.clock.advance()
        assert self.rig.leftovers == {}
        assert all(len(reasons) == 1 for reasons in self.ended.values())
        assert sorted(self.ended) == sorted(self.begun)


def live(doings: list[tuple[str, int, str]], *, slow: bool) -> None:
    crowd = Crowd(slow=slow)
    for doing, who, channel in doings:
        getattr(crowd, doing)(crowd.peers[who], channel)
    crowd.calm_down()
    crowd.check_members()
    crowd.check_order()
    crowd.check_answers()
    crowd.check_nothing_stays()


@given(steps)
@settings(max_examples=times(60))
def test_no_member_is_lost_and_none_stays_with_an_engine_in_process(doings: list[tuple[str, int, str]]) -> None:
    live(doings, slow=False)


@given(steps)
@settings(max_examples=times(100))
def test_no_member_is_lost_and_none_stays_with_a_slow_engine(doings: list[tuple[str, int, str]]) -> None:
    live(doings, slow=True)
