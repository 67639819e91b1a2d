"""Nodes that share an engine: a connection goes on at any of them, and ends once."""

from typing import Any

import pytest

from openline.brokers.memory_directory import MemoryDirectory
from openline.hub.outcome import drive
from openline.hub.payload import Payload
from tests.cluster import Cluster, come_back, move, news_of, watch, whereabouts
from tests.rig import WINDOW_SECONDS, with_presence


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


def test_a_connection_that_was_adopted_outlives_its_adopter_s_orderly_end() -> None:
    cluster = Cluster(size=3)
    a, b, c = cluster.nodes
    client = a.join("news")
    for node in (a, b):
        # Its client comes back to neither: they are replaced one after the other.
        node.stop()
        cluster.clock.advance(2)
    c.say("news", 1)
    reply = come_back(client, c)
    assert (reply["resumed"], reply["recovered"]) == (True, True)
    assert client.payloads() == [1]
    assert cluster.ended == []


def test_a_connection_that_was_adopted_is_known_again_when_the_engine_has_forgotten() -> None:
    cluster = Cluster()
    a, b = cluster.nodes
    client = a.join("news")
    a.stop()
    cluster.clock.advance(2)
    cluster.engine.entries.clear()
    cluster.clock.advance(2)
    assert come_back(client, b)["resumed"] is True


def test_who_comes_back_to_the_node_that_adopted_it_may_come_back_again() -> None:
    cluster = Cluster()
    a, b = cluster.nodes
    client = a.join("news")
    connection_id, secret = client.connection.id, client.resume
    a.kill()
    cluster.clock.advance(10)
    adopted = b.hub.lifecycle.connections[connection_id]
    found = b.share.registry.find(secret)
    cluster.clock.advance()
    drive(b.share.registry.take_over(found.result(), secret))
    cluster.clock.advance()
    # A door that gives no new secret tells this one, and a line that is lost is no end.
    assert adopted.resume == (secret,)


def test_the_last_node_s_connections_wait_for_the_next_one() -> None:
    cluster = Cluster(size=1)
    client = cluster.nodes[0].join("news")
    cluster.nodes[0].stop()
    assert cluster.ended == []
    cluster.nodes.append(cluster.add())
    cluster.clock.advance(1)
    assert come_back(client, cluster.nodes[1])["recovered"] is True


# -- presence


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


def test_a_newcomer_is_written_down_once_with_the_secret_that_takes_it_up_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[str] = []
    for name in ("put", "keep", "subscribed"):
        method = getattr(MemoryDirectory, name)

        def ask(self: Any, *said: Any, name: str = name, method: Any = method) -> Any:
            asked.append(name)
            return method(self, *said)

        monkeypatch.setattr(MemoryDirectory, name, ask)
    a, b = Cluster().nodes
    client = a.join("news")
    assert asked == ["put", "subscribed"]
    a.kill()
    assert come_back(client, b)["resumed"] is True


def test_who_is_refused_before_it_knows_that_it_is_in_ends_on_no_node_with_a_handler_of_disconnect() -> None:
    cluster = Cluster()
    one, other = cluster.nodes
    client = one.join()
    one.hub.lifecycle.end(client.connection, "disconnected", refused=True)
    cluster.clock.advance()
    one.kill()
    cluster.clock.advance(WINDOW_SECONDS * 2)
    assert cluster.ended == []
    assert not other.hub.lifecycle.connections
