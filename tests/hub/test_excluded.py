"""Whom a publication leaves out: by id, and by the channels that they are in where it is handed out."""

from hypothesis import given
from hypothesis import strategies as st

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
