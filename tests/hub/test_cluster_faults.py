"""Nodes that share an engine, when something goes wrong: what must not happen does not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openline.hub.record import LEASE_SECONDS
from openline.model import Publication
from tests.cluster import Cluster, come_back, news_of, watch, whereabouts
from tests.rig import WINDOW_SECONDS, with_presence


def test_a_node_that_stood_still_for_longer_than_its_lease_closes_what_it_has_before_anything_leaves() -> None:
    cluster = Cluster()
    a, b = cluster.nodes
    client = a.join("news")
    client.heard()
    before = a.name
    a.freeze()
    cluster.clock.advance(LEASE_SECONDS + 2)
    b.say("news", 1)
    cluster.clock.advance(0)
    a.thaw()
    cluster.clock.advance(1)
    assert client.wire.closed == (1012, "This server was away; come back.")
    assert client.payloads() == []
    assert a.name not in ("", before)
    assert come_back(client, a)["recovered"] is True
    assert client.payloads() == [1]
    assert cluster.ended == []


def test_a_node_that_was_cut_off_for_longer_than_its_lease_starts_over() -> None:
    cluster = Cluster()
    a, b = cluster.nodes
    client = a.join("news")
    client.heard()
    before = a.name
    a.link.cut = True
    cluster.clock.advance(20)
    assert not a.share.ready
    a.link.mend()
    cluster.clock.advance(10)
    assert a.share.ready
    assert a.name != before
    assert client.wire.closed == (1012, "This server was away; come back.")
    b.say("news", 1)
    assert come_back(client, b)["recovered"] is True
    assert client.payloads() == [1]
    assert cluster.ended == []


def test_nobody_is_missed_because_the_engine_stood_still() -> None:
    cluster = Cluster(size=3)
    clients = [node.join("news") for node in cluster.nodes for _ in range(3)]
    names = [node.name for node in cluster.nodes]
    cluster.engine.frozen = True
    cluster.clock.advance(30)
    cluster.engine.thaw()
    cluster.clock.advance(30)
    assert [node.name for node in cluster.nodes] == names
    assert all(client.wire.open for client in clients)
    assert cluster.ended == []


def test_a_directory_that_was_flushed_is_written_again() -> None:
    cluster = Cluster(with_presence())
    a, b = cluster.nodes
    client = a.join("news", token="ada")
    cluster.flush()
    cluster.clock.advance(2)
    assert client.call(type="$presence", channel="news")["count"] == 1
    client.lose()
    b.say("news", 1)
    assert come_back(client, b)["recovered"] is True
    assert client.payloads() == [1]
    assert cluster.ended == []


def test_who_ends_before_a_flushed_directory_is_written_again_ends_once() -> None:
    cluster = Cluster()
    a, _ = cluster.nodes
    client, other = a.join("news"), a.join("news")
    cluster.flush()
    client.lose(clean=True)
    cluster.clock.advance(5)
    other.lose(clean=True)
    cluster.clock.advance(5)
    assert sorted(cluster.ended) == sorted((each.connection.id, "closed") for each in (client, other))


@given(st.floats(0.5, 8.0), st.floats(0.0, 3.0))
def test_who_ends_while_the_engine_stands_still_ends_once_however_many_beats_wait_with_it(
    frozen: float, before: float
) -> None:
    cluster = Cluster()
    a, _ = cluster.nodes
    client = a.join("news")
    cluster.clock.advance(before)
    cluster.engine.frozen = True
    client.lose(clean=True)
    cluster.clock.advance(frozen)
    cluster.engine.thaw()
    cluster.clock.advance(10)
    assert cluster.ended == [(client.connection.id, "closed")]


def test_who_ends_while_the_engine_does_not_answer_ends_once_it_does() -> None:
    cluster = Cluster(with_presence())
    a, b = cluster.nodes
    client, watcher = a.join("news"), b.join()
    watcher.call(type="$subscribe", channel="news", presence=True)
    a.link.cut = True
    client.lose(clean=True)
    cluster.clock.advance(3)
    a.link.mend()
    assert cluster.ended == []
    cluster.clock.advance(5)
    assert cluster.ended == [(client.connection.id, "closed")]
    assert watcher.call(type="$presence", channel="news")["count"] == 1


def test_a_node_that_was_not_told_that_a_connection_moved_adopts_it_all_the_same() -> None:
    cluster = Cluster(size=2)
    a, b = cluster.nodes
    client = a.join("news")
    connection_id = client.connection.id
    client.lose()
    cluster.clock.advance(1)
    a.link.cut = True  # what b tells it is lost
    assert come_back(client, b)["resumed"] is True
    a.link.mend()
    b.kill()
    cluster.clock.advance(10)
    assert whereabouts(cluster, connection_id) == [a.name]
    cluster.clock.advance(WINDOW_SECONDS - 6)
    # The window of the first half has passed; that of the connection has not.
    assert cluster.ended == []
    a.say("news", 1)
    assert come_back(client, a)["recovered"] is True
    assert client.payloads() == [1]


def test_a_node_that_waits_for_the_engine_s_word_holds_no_more_than_it_may_and_nothing_is_lost() -> None:
    cluster = Cluster()
    a, b = cluster.nodes
    client = a.join("news")
    client.heard()
    before = a.name
    # Both stand still, so that nobody is missed, and the engine goes on doing so for a while.
    cluster.engine.frozen = True
    a.freeze()
    cluster.clock.advance(LEASE_SECONDS)
    a.thaw()
    large = Publication("news", "said", b'"%s"' % (b"x" * 1_000_000))
    for _ in range(40):
        a.hub.on_publication(large)
    assert a.tick._bytes < 20_000_000
    assert client.wire.closed == (1012, "This server was away; come back.")
    assert client.payloads() == []
    cluster.engine.thaw()
    cluster.clock.advance(1)
    assert a.name == before
    b.say("news", 1)
    assert client.come_back()["recovered"] is True
    assert client.payloads() == [1]
    assert cluster.ended == []


@pytest.mark.parametrize("noticed", [False, True])
def test_who_ends_when_the_directory_has_just_been_flushed_ends_once(noticed: bool) -> None:
    cluster = Cluster()
    a, _ = cluster.nodes
    client = a.join("news")
    if noticed:
        a.link.cut = True
        client.lose(clean=True)
        cluster.flush()
        cluster.clock.advance(6)
        a.link.mend()
    else:
        cluster.flush()
        client.lose(clean=True)
    cluster.clock.advance(10)
    assert cluster.ended == [(client.connection.id, "closed")]
    assert cluster.engine.entries._records == {}


def test_the_count_of_who_is_present_is_right_also_behind_a_flush() -> None:
    cluster = Cluster(with_presence())
    a, b = cluster.nodes
    watcher = watch(b)
    for _ in range(5):
        a.join("room").lose(clean=True)
    watcher.heard()
    cluster.clock.advance(1)
    cluster.flush()
    cluster.clock.advance(3)
    client = a.join("room")
    assert [news for news in news_of(watcher) if news[1] == client.connection.id] == [
        ("$joined", client.connection.id, 2)
    ]


def test_who_is_disconnected_while_its_node_is_cut_off_is_so_as_soon_as_that_can_be_reached() -> None:
    cluster = Cluster()
    a, b = cluster.nodes
    client = a.join("news", token="ada")
    a.link.cut = True
    ended = b.hub.everywhere.disconnect(user="ada", reason="bye")
    cluster.clock.advance(3)
    assert ended.result() == 0
    assert client.wire.closed is None
    a.link.mend()
    cluster.clock.advance(3)
    assert client.wire.closed == (4410, "bye")
    assert cluster.ended == [(client.connection.id, "disconnected")]


@pytest.mark.parametrize("adopted", [False, True])
def test_who_is_disconnected_when_its_node_has_just_been_killed_does_not_come_back(adopted: bool) -> None:
    cluster = Cluster()
    a, b = cluster.nodes
    client, other = a.join("news", token="ada"), a.join("news", token="eve")
    a.kill()
    b.hub.everywhere.disconnect(user="ada", reason="bye")
    cluster.clock.advance(10 if adopted else 1)
    assert come_back(other, b)["resumed"] is True
    assert come_back(client, b)["resumed"] is False
    cluster.clock.advance(1)
    assert [reason for _, reason in cluster.ended] == ["disconnected"]
    # As somebody new it is welcome.
    cluster.clock.advance(30)
    assert client.wire.open


def test_who_comes_anew_after_being_disconnected_is_not_meant_by_that_wherever_it_goes_on() -> None:
    cluster = Cluster()
    a, b = cluster.nodes
    a.hub.everywhere.disconnect(user="ada", reason="bye")
    cluster.clock.advance(1)
    client = a.join("news", token="ada")
    a.kill()
    cluster.clock.advance(1)
    assert come_back(client, b)["resumed"] is True
    cluster.clock.advance(1)
    assert cluster.ended == []


def test_who_comes_to_a_node_that_hears_of_a_disconnect_late_stays() -> None:
    cluster = Cluster()
    a, b = cluster.nodes
    early = a.join("news", token="ada")
    a.link.cut = True
    b.hub.everywhere.disconnect(user="ada", reason="bye")
    cluster.clock.advance(1)
    a.link.mend()
    late = a.join("news", token="ada")
    cluster.clock.advance(4)
    assert early.wire.closed == (4410, "bye")
    assert late.wire.open


def test_a_user_is_taken_out_of_a_channel_also_where_its_node_has_just_been_killed() -> None:
    cluster = Cluster()
    a, b = cluster.nodes
    client = a.join("news", "rest", token="ada")
    a.kill()
    b.hub.everywhere.unsubscribe("news", user="ada")
    cluster.clock.advance(1)
    reply = come_back(client, b)
    assert (reply["resumed"], reply["subscriptions"]) == (True, [{"channel": "rest", "recovered": True}])


def test_everybody_who_was_at_a_killed_node_is_gone_within_ten_seconds_however_many_there_were() -> None:
    cluster = Cluster(with_presence())
    a, b = cluster.nodes
    watcher = b.join("rest")
    for _ in range(600):
        a.join("room")
    assert watcher.call(type="$presence", channel="room")["count"] == 600
    a.kill()
    cluster.clock.advance(10)
    assert watcher.call(type="$presence", channel="room")["count"] == 0


def test_who_watches_at_a_node_that_was_cut_off_for_a_moment_is_told_who_is_there() -> None:
    cluster = Cluster(with_presence())
    a, b = cluster.nodes
    other, watcher = watch(a), watch(b)
    other.heard()
    b.link.cut = True
    client = a.join("room")
    cluster.clock.advance(2)
    assert watcher.pushes() == []
    b.link.mend()
    cluster.clock.advance(2)
    (told,) = watcher.pushes()
    members = [member["connection"] for member in told["payload"]["members"]]
    assert (told["type"], told["channel"], told["payload"]["count"]) == ("$presence", "room", 3)
    assert sorted(members) == sorted(each.connection.id for each in (watcher, other, client))
    # Once, and nobody at a node that heard everything.
    cluster.clock.advance(5)
    assert watcher.pushes() == []
    assert [news[0] for news in news_of(other)] == ["$joined"]
