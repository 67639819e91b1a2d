"""Whatever becomes of nodes, of their engine and of the way there: nobody misses anything, and everybody ends once."""

import json
from collections import Counter
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from openline.hub.record import LEASE_SECONDS
from tests.cluster import Cluster, Node, move
from tests.effort import times
from tests.rig import WINDOW_SECONDS, with_presence

CLIENTS = 3
NODES = 3
numbers = st.integers(0, 2)


class Traveller:
    """A client that comes back wherever it can, and keeps what it was given."""

    def __init__(self, cluster: Cluster, node: Node) -> None:
        self.cluster = cluster
        self.client = node.join("room")
        self.id = self.client.connection.id
        self.got: list[int] = []
        self.listen()

    def listen(self) -> None:
        self.got += self.client.payloads()

    @property
    def away(self) -> bool:
        return not self.client.wire.open or self.client.rig.own.dead

    def lose(self) -> None:
        self.listen()
        if not self.client.rig.own.dead and not self.client.rig.own.frozen:
            self.client.wire.lose()
        self.client.wire.open = False

    def come_back(self, node: Node) -> bool:
        """Whether it is there again; where it is, it goes on as it was."""
        if self.client.wire.open:
            self.lose()
        move(self.client, node)
        wire = self.client.open()
        number = self.client.send(type="$connect", resume=self.client.resume, since=self.client.position)
        self.cluster.clock.advance(0)
        frames = [json.loads(frame) for frame in wire.written]
        answers = [f for f in frames if f.get("id") == number and f["type"] in ("$reply", "$error")]
        if not answers or answers[0]["type"] == "$error" or not wire.open:
            self.lose()
            return False
        reply: dict[str, Any] = answers[0]["payload"]
        assert reply["resumed"], "its window has not passed"
        assert reply["recovered"], reply
        assert reply["subscriptions"] == [{"channel": "room", "recovered": True}], reply
        assert reply["connection"] == self.id
        self.listen()
        return True


class World:
    """A cluster, and what is done to it."""

    def __init__(self) -> None:
        self.cluster = Cluster(with_presence(), size=NODES)
        self.travellers = [Traveller(self.cluster, node) for node in self.cluster.nodes[:CLIENTS]]
        for each in self.travellers:
            each.listen()
        self.said = 0

    @property
    def living(self) -> list[Node]:
        return [n for n in self.cluster.nodes if not n.own.dead]

    def node(self, number: int) -> Node:
        return self.living[number % len(self.living)]

    def publish(self, number: int) -> None:
        node = self.node(number)
        if not node.own.frozen and not node.link.cut and not self.cluster.engine.frozen:
            node.say("room", self.said)
            self.said += 1

    def lose(self, number: int) -> None:
        self.travellers[number].lose()

    def come_back(self, number: int, node_number: int) -> None:
        node = self.node(node_number)
        if not node.own.frozen and not node.link.cut and not self.cluster.engine.frozen:
            self.travellers[number].come_back(node)

    def kill(self, number: int) -> None:
        node = self.node(number)
        node.kill()
        for each in self.travellers:
            if each.client.rig is node:
                each.lose()
        self.cluster.nodes.append(self.cluster.add())

    def freeze(self, number: int) -> None:
        node = self.node(number)
        if node.own.frozen:
            node.thaw()
        else:
            node.freeze()

    def cut(self, number: int) -> None:
        link = self.node(number).link
        if link.cut:
            link.mend()
        else:
            link.cut = True

    def freeze_engine(self) -> None:
        if self.cluster.engine.frozen:
            self.cluster.engine.thaw()
        else:
            self.cluster.engine.frozen = True

    def pass_time(self, seconds: int) -> None:
        self.cluster.clock.advance(seconds)

    def heal(self) -> None:
        if self.cluster.engine.frozen:
            self.cluster.engine.thaw()
        for node in self.living:
            if node.own.frozen:
                node.thaw()
            if node.link.cut:
                node.link.mend()
        self.cluster.clock.advance(3 * LEASE_SECONDS)

    def check(self) -> None:
        records = self.cluster.engine.entries._records
        for each in self.travellers:
            each.listen()
            record = records.get(each.id)
            owners = [
                node
                for node in self.cluster.owners(each.id)
                if record is not None and node.hub.lifecycle.connections[each.id].fence == record.fence
            ]
            assert len(owners) <= 1, "it is owned by one node at a time"
            assert each.got == list(range(len(each.got))), "in order, without holes, each once"
        assert max(Counter(who for who, _ in self.cluster.ended).values(), default=0) <= 1, "everybody ends once"


steps = st.lists(
    st.one_of(
        st.tuples(st.just("publish"), numbers),
        st.tuples(st.just("lose"), numbers),
        st.tuples(st.just("come_back"), numbers, numbers),
        st.tuples(st.just("kill"), numbers),
        st.tuples(st.just("freeze"), numbers),
        st.tuples(st.just("cut"), numbers),
        st.tuples(st.just("freeze_engine")),
        st.tuples(st.just("pass_time"), st.sampled_from([0, 1, 3, 7])),
    ),
    max_size=25,
)


def present(world: World) -> set[str]:
    roll = json.loads(world.cluster.engine.entries.present("", "room", 100, 0))
    return {member["connection"] for member in roll["members"]}


@given(steps)
@example([("kill", 2), ("cut", 2), ("publish", 0)])
@settings(max_examples=times(12))
def test_nobody_misses_anything_and_everybody_ends_once(moves: list[tuple[Any, ...]]) -> None:
    world = World()
    for name, *arguments in moves:
        getattr(world, name)(*arguments)
        world.check()
    world.heal()
    for number, each in enumerate(world.travellers):
        if each.away or number == 0:
            assert each.come_back(world.node(number)), "with everything healed it comes back at once"
    world.publish(0)
    world.cluster.clock.advance(30)
    world.check()
    for each in world.travellers:
        assert each.got == list(range(world.said)), "it has got everything that was said"
    assert present(world) == {each.id for each in world.travellers}, "all who are here are present, and nobody else"
    assert world.cluster.ended == []
    for each in world.travellers:
        each.lose()
    world.cluster.clock.advance(WINDOW_SECONDS + 3 * LEASE_SECONDS)
    assert sorted(world.cluster.ended) == sorted((each.id, "lost") for each in world.travellers)
    assert present(world) == set()
    assert world.cluster.engine.entries._records == {}
