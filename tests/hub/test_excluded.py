"""Whom a publication leaves out: by id, and by the channels that they are in where it is handed out."""

from itertools import chain, combinations

from hypothesis import given
from hypothesis import strategies as st

from openline.hub.ports import Wire
from openline.model import Publication
from tests.cluster import Cluster, come_back
from tests.rig import Client, Rig

CHANNELS = ("room", "muted", "silent")


def publish(rig: Rig, channel: str, payload: int, *exclude: str) -> None:
    rig.hub.publish(channel, "said", b"%d" % payload, exclude_channels=exclude)
    rig.clock.advance()


steps = st.lists(
    st.one_of(
        st.tuples(st.just("join"), st.sampled_from(CHANNELS)),
        st.tuples(st.just("leave"), st.sampled_from(CHANNELS)),
        st.tuples(st.just("say"), st.sets(st.sampled_from(CHANNELS[1:])).map(sorted)),
        st.tuples(st.sampled_from(("lose", "return")), st.none()),
    ),
    max_size=30,
)


@given(steps)
def test_who_is_in_an_excluded_channel_hears_nothing_live_or_after_a_cut(said: list[tuple[str, object]]) -> None:
    """Memberships change while the client is there; while it is away they stay."""
    rig = Rig()
    client: Client = rig.join()
    inside: set[str] = set()
    expected: list[int] = []
    got: list[int] = []
    away = False
    for number, (word, what) in enumerate(said):
        got += client.payloads()
        if word == "say":
            assert isinstance(what, list)
            publish(rig, "room", number, *what)
            if "room" in inside and inside.isdisjoint(what):
                expected.append(number)
        elif word == "lose" and not away:
            client.lose()
            away = True
        elif word == "return" and away:
            client.come_back()
            away = False
        elif word in ("join", "leave") and not away:
            assert isinstance(what, str)
            client.call(type="$subscribe" if word == "join" else "$unsubscribe", channel=what)
            inside = inside | {what} if word == "join" else inside - {what}
    if away:
        client.come_back()
    assert got + client.payloads() == expected


def test_who_is_put_into_an_excluded_channel_while_away_still_gets_what_was_said_before() -> None:
    rig = Rig()
    client = rig.join("room")
    client.lose()
    publish(rig, "room", 1, "muted")
    client.connection.subscribe("muted")
    publish(rig, "room", 2, "muted")
    publish(rig, "room", 3)
    client.come_back()
    assert client.payloads() == [1, 3]


def test_another_node_leaves_out_whom_it_has_and_whom_it_takes_up() -> None:
    cluster = Cluster()
    one, other = cluster.nodes
    free, muted = other.join("room"), other.join("room", "muted")
    publish(one, "room", 1, "muted")
    muted.lose()
    publish(one, "room", 2, "muted")
    publish(one, "room", 3)
    come_back(muted, one)
    assert (free.payloads(), muted.payloads()) == ([1, 2, 3], [3])


moves = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(("join", "reread", "leave")), st.integers(0, 3), st.sampled_from(CHANNELS)),
        st.tuples(st.sampled_from(("lose", "return", "say")), st.integers(0, 3), st.just("")),
        st.tuples(st.just("settle"), st.integers(0, 5), st.just("")),
    ),
    max_size=40,
)


def seated(rig: Rig, name: str) -> set[Wire]:
    channel = rig.hub.membership.get(name)
    return set() if channel is None else set(channel.seats)


def excluded(rig: Rig, publication: Publication) -> set[Wire | None]:
    """Looked for among all connections."""
    return {each.wire for each in rig.hub.lifecycle.connections.values() if each.is_excluded(publication)}


def move(rig: Rig, clients: list[Client], word: str, number: int, channel: str) -> None:
    client = clients[number % len(clients)]
    if word in ("join", "reread") and client.wire.open:
        since = {"since": str(rig.hub.broker.position)} if word == "reread" else {}
        client.send(type="$subscribe", channel=channel, **since)
    elif word == "leave" and client.wire.open:
        client.send(type="$unsubscribe", channel=channel)
    elif word == "lose" and client.wire.open:
        client.lose()
    elif word == "return" and not client.wire.open:
        client.open()
        client.send(type="$connect", resume=client.resume, since=client.position)
    elif word == "say":
        rig.say("room", number)
    elif word == "settle":
        for pending in rig.slow.pending[: number + 1]:
            rig.slow.settle(pending)


@given(st.lists(st.sets(st.sampled_from(CHANNELS)), min_size=4, max_size=4), moves)
def test_whoever_is_looked_through_the_same_lines_are_skipped(
    inside: list[set[str]], said: list[tuple[str, int, str]]
) -> None:
    rig = Rig(slow=True)
    clients = [rig.join() for _ in inside]
    for client, channels in zip(clients, inside, strict=True):
        for channel in sorted(channels):
            client.send(type="$subscribe", channel=channel)
            rig.slow.settle_all()
    for word, number, channel in [("settle", 0, ""), *said]:
        move(rig, clients, word, number, channel)
        for client in clients:
            client.heard()
        newest = rig.hub.broker.position
        for some in chain.from_iterable(combinations(CHANNELS, count) for count in range(4)):
            for stamp in (0, newest.stamp, newest.stamp + 1):
                said_there = {"epoch": newest.epoch, "stamp": stamp, "exclude_channels": frozenset(some)}
                one = Publication("room", "said", b"1", **said_there)
                assert rig.hub.skipped(one) & seated(rig, "room") == excluded(rig, one) & seated(rig, "room")
