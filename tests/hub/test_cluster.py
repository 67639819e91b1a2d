"""Nodes that share an engine: a connection goes on at any of them, and ends once."""

import pytest

from openline.hub.payload import Payload
from openline.hub.record import LEASE_SECONDS
from openline.model import Publication
from tests.cluster import Cluster, Node, move
from tests.rig import WINDOW_SECONDS, Client, with_presence


def whereabouts(cluster: Cluster, client_id: str) -> list[str]:
    return [node.name for node in cluster.owners(client_id)]


def come_back(client: Client, node: Node) -> dict[str, object]:
    move(client, node)
    return client.come_back()


def test_what_is_published_at_one_node_is_heard_at_the_other() -> None:
    a, b = Cluster().nodes
    client = b.join("news")
    a.say("news", 1)
    assert client.payloads() == [1]


def test_a_connection_goes_on_at_another_node_with_exactly_what_it_missed() -> None:
    cluster = Cluster()
    a, b = cluster.nodes
    client = a.join("news", token="ada")
    a.say("news", 1)
    assert client.payloads() == [1]
    client.lose()
    a.say("news", 2)
    connection_id = client.connection.id
    reply = come_back(client, b)
    b.say("news", 3)
    assert (reply["resumed"], reply["recovered"], reply["connection"]) == (True, True, connection_id)
    assert client.payloads() == [2, 3]
    assert whereabouts(cluster, connection_id) == [b.name]
    assert cluster.ended == []


def test_a_connection_goes_on_when_its_node_was_killed_also_before_it_received_anything() -> None:
    cluster = Cluster()
    a, b = cluster.nodes
    client = a.join("news")
    a.kill()
    b.say("news", 1)
    reply = come_back(client, b)
    assert (reply["resumed"], reply["recovered"]) == (True, True)
    assert reply["subscriptions"] == [{"channel": "news", "recovered": True}]
    assert client.payloads() == [1]


def test_what_was_sent_to_it_alone_and_to_its_user_is_found_at_the_other_node() -> None:
    cluster = Cluster()
    a, b = cluster.nodes
    client = a.join(token="ada")
    connection = client.connection
    client.lose()
    a.hub.emit(connection, "mine", 1)
    b.hub.publish_directly("$user:ada", "said", 2)
    come_back(client, b)
    a.hub.publish_directly("$user:ada", "said", 3)
    a.hub.publish_directly(f"$connection:{connection.id}", "said", 4)
    a.hub.publish_directly("$all", "said", 5)
    assert client.payloads() == [1, 2, 3, 4, 5]


def test_only_the_same_user_takes_a_connection_up_elsewhere() -> None:
    a, b = Cluster().nodes
    client = a.join("news", token="ada")
    client.lose()
    move(client, b)
    client._request = type(client._request)("/openline", token="bob")
    reply = client.come_back()
    assert reply["resumed"] is False


def test_the_line_at_the_old_node_closes_when_its_client_is_elsewhere() -> None:
    cluster = Cluster()
    a, b = cluster.nodes
    client = a.join("news")
    old = client.wire
    client.heard()
    come_back(client, b)
    assert old.closed == (4409, "This connection goes on elsewhere.")
    assert a.hub.lifecycle.connections == {}
    assert cluster.ended == []


def test_a_connection_may_go_back_and_forth() -> None:
    cluster = Cluster(size=3)
    client = cluster.nodes[0].join("news")
    connection_id = client.connection.id
    for turn in range(9):
        client.lose()
        node = cluster.nodes[(turn + 1) % 3]
        cluster.nodes[0].say("news", turn)
        assert come_back(client, node)["resumed"] is True
        assert client.payloads() == [turn]
        assert whereabouts(cluster, connection_id) == [node.name]
    cluster.clock.advance(300)
    assert client.connection.alive
    assert cluster.ended == []


def test_a_killed_node_s_connections_end_once_when_nobody_comes_back() -> None:
    cluster = Cluster(size=3)
    clients = [cluster.nodes[0].join("news") for _ in range(5)]
    cluster.nodes[0].kill()
    cluster.clock.advance(100)
    assert cluster.ended == []
    cluster.clock.advance(100)
    assert sorted(cluster.ended) == sorted((client.connection.id, "lost") for client in clients)
    assert cluster.engine.entries._records == {}


def test_a_killed_node_s_adopter_may_be_killed_too() -> None:
    cluster = Cluster(size=3)
    client = cluster.nodes[0].join("news")
    cluster.nodes[0].kill()
    cluster.clock.advance(10)
    (adopter,) = cluster.owners(client.connection.id)
    adopter.kill()
    cluster.clock.advance(10)
    (last,) = cluster.owners(client.connection.id)
    last.say("news", 1)
    assert come_back(client, last)["recovered"] is True
    assert client.payloads() == [1]
    client.lose(clean=True)
    cluster.clock.advance(1)
    assert cluster.ended == [(client.connection.id, "closed")]


def test_the_last_node_s_connections_wait_for_the_next_one() -> None:
    cluster = Cluster(size=1)
    client = cluster.nodes[0].join("news")
    cluster.nodes[0].stop()
    assert cluster.ended == []
    cluster.nodes.append(cluster.add())
    cluster.clock.advance(1)
    assert come_back(client, cluster.nodes[1])["recovered"] is True


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


# -- presence


def watch(node: Node, channel: str = "room", **options: object) -> Client:
    client = node.join(**options)
    client.call(type="$subscribe", channel=channel, presence=True)
    client.heard()
    return client


def news_of(client: Client) -> list[tuple[str, str, int]]:
    frames = client.pushes()
    return [(f["type"], f["payload"]["member"]["connection"], f["payload"]["count"]) for f in frames]


def test_who_comes_and_goes_at_one_node_is_told_at_the_others() -> None:
    cluster = Cluster(with_presence())
    a, b = cluster.nodes
    watcher = watch(b)
    client = a.join("room", token="ada")
    who = client.connection.id
    assert news_of(watcher) == [("$joined", who, 2)]
    assert watcher.call(type="$presence", channel="room")["count"] == 2
    client.call(type="$unsubscribe", channel="room")
    assert news_of(watcher) == [("$left", who, 1)]


def test_nobody_is_told_of_its_own_coming() -> None:
    a, _ = Cluster(with_presence()).nodes
    client = a.join()
    reply = client.call(type="$subscribe", channel="room", presence=True)
    assert [m["connection"] for m in reply["presence"]["members"]] == [client.connection.id]
    assert client.pushes() == []


def test_nobody_sees_a_connection_move() -> None:
    cluster = Cluster(with_presence())
    a, b = cluster.nodes
    watchers = [watch(a), watch(b)]
    for each in watchers:
        each.heard()
    client = a.join("room")
    for each in watchers:
        each.heard()
    client.lose()
    come_back(client, b)
    cluster.clock.advance(60)
    assert [news_of(each) for each in watchers] == [[], []]
    client.lose(clean=True)
    cluster.clock.advance(1)
    assert [news_of(each) for each in watchers] == [[("$left", client.connection.id, 2)]] * 2


def test_nobody_sees_a_node_die_whose_clients_come_back_at_once() -> None:
    cluster = Cluster(with_presence())
    a, b = cluster.nodes
    watcher = watch(b)
    client = a.join("room")
    watcher.heard()
    a.kill()
    cluster.clock.advance(4)
    come_back(client, b)
    cluster.clock.advance(60)
    assert news_of(watcher) == []


def test_who_was_at_a_killed_node_is_gone_within_ten_seconds_and_back_when_it_comes_back() -> None:
    cluster = Cluster(with_presence())
    a, b = cluster.nodes
    watcher = watch(b)
    client = a.join("room")
    watcher.heard()
    a.kill()
    cluster.clock.advance(10)
    assert news_of(watcher) == [("$left", client.connection.id, 1)]
    come_back(client, b)
    assert news_of(watcher) == [("$joined", client.connection.id, 2)]


def test_who_was_missed_and_comes_back_at_yet_another_node_than_the_one_that_adopted_it_is_present_again() -> None:
    cluster = Cluster(with_presence(), size=3)
    a, b, c = cluster.nodes
    client = a.join("room")
    a.kill()
    cluster.clock.advance(10)
    (adopter,) = cluster.owners(client.connection.id)
    come_back(client, c if adopter is b else b)
    assert client.call(type="$presence", channel="room")["count"] == 1


def test_a_node_that_leaves_in_order_leaves_its_clients_their_grace() -> None:
    cluster = Cluster(with_presence())
    a, b = cluster.nodes
    watcher = watch(b)
    client = a.join("room")
    watcher.heard()
    a.stop()
    cluster.clock.advance(8)
    assert news_of(watcher) == []
    assert come_back(client, b)["recovered"] is True
    cluster.clock.advance(30)
    assert news_of(watcher) == []


# -- everywhere


def test_a_user_is_disconnected_on_every_node() -> None:
    cluster = Cluster(size=3)
    clients = [node.join(token="ada") for node in cluster.nodes] + [cluster.nodes[0].join(token="bob")]
    ended = cluster.nodes[2].hub.everywhere.disconnect(user="ada", reason="bye")
    cluster.clock.advance(0)
    assert ended.result() == 3
    assert [client.wire.closed for client in clients] == [(4410, "bye")] * 3 + [None]
    assert sorted(cluster.ended) == sorted((client.connection.id, "disconnected") for client in clients[:3])


def test_a_user_is_taken_out_of_a_channel_on_every_node() -> None:
    cluster = Cluster(size=2)
    clients = [node.join("news", token="ada") for node in cluster.nodes]
    removed = cluster.nodes[0].hub.everywhere.unsubscribe("news", user="ada")
    cluster.clock.advance(0)
    assert removed.result() == 2
    assert [[f["type"] for f in client.pushes()] for client in clients] == [["$unsubscribed"]] * 2


def test_a_publication_s_reach_counts_nodes_and_connections() -> None:
    cluster = Cluster(size=4)
    for node in cluster.nodes[1:3]:
        node.join("news")
        node.join("news")
    cluster.nodes[3].link.cut = True
    reach = cluster.nodes[0].hub.everywhere.reach("news")
    cluster.clock.advance(3)
    told = reach.result()
    assert (told.nodes, told.connections, len(told.silent)) == (2, 4, 1)


def test_a_room_is_asked_across_nodes_and_who_does_not_answer_is_named() -> None:
    cluster = Cluster(size=2)
    clients = [node.join("room") for node in cluster.nodes for _ in range(2)]
    asked = cluster.nodes[0].hub.everywhere.ask(["room"], "ready?", Payload.of(1), 5.0)
    cluster.clock.advance(0)
    for number, client in enumerate(clients[:3]):
        (question,) = client.pushes()
        client.rig.receive(client.wire, {"type": "$reply", "id": question["id"], "payload": number})
    cluster.clock.advance(8)
    told = asked.result()
    assert dict(told.answered) == {client.connection.id: n for n, client in enumerate(clients[:3])}
    assert list(told.missing) == [clients[3].connection.id]
    assert list(told.silent) == []


def test_channels_are_listed_across_nodes() -> None:
    cluster = Cluster(with_presence(), size=2)
    a, b = cluster.nodes
    a.join("x", "y")
    b.join("y", "z")
    found = a.hub.everywhere.channels("*", "", 2)
    cluster.clock.advance(0)
    assert found.result() == {"x": (1, 1), "y": (2, 2)}


# -- what must not happen


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
