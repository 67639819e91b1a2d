"""Who of a node hears what is sent to a user: whoever is in, however many have come and been refused beside it."""

from types import SimpleNamespace

import pytest

from openline.errors import CommandError
from openline.hub import everywhere
from openline.hub.following import Following
from openline.hub.outcome import Outcome, drive
from openline.hub.policy import ChannelOptions
from openline.model import Request
from openline.protocol.sse import SseCodec
from openline.testing import FakeWire
from tests.cluster import Cluster
from tests.rig import Client, Rig, open_to_all


def hears(node: Rig, client: Client, payload: int) -> bool:
    """Whether what ``node`` says to ada reaches ``client``, at another one."""
    node.hub.publish_directly("$user:ada", "said", payload)
    node.clock.advance()
    return client.payloads() == [payload]


def test_who_is_refused_leaves_the_others_of_the_same_user_hearing() -> None:
    cluster = Cluster(open_to_all("news"), ChannelOptions(pattern="closed"))
    one, other = cluster.nodes
    client = one.join("news", token="ada")
    assert hears(other, client, 1)
    wire = FakeWire(SseCodec(), hub=one.hub)
    wire.request = Request("/events")
    judged = drive(Following(one.hub, wire, ["closed"], None).judge(Outcome.of(client.connection.user)))
    cluster.clock.advance()
    with pytest.raises(CommandError, match="forbidden"):
        judged.result()
    assert hears(other, client, 2)


def test_who_is_lost_while_it_is_written_down_counts_once() -> None:
    cluster = Cluster()
    one, other = cluster.nodes
    client = one.join("news", token="ada")
    late = one.line(token="ada")
    late.send(type="$connect")
    late.wire.lose()
    cluster.clock.advance()
    assert hears(other, client, 1)
    second = one.join("news", token="ada")
    second.lose(clean=True)
    cluster.clock.advance()
    assert hears(other, client, 2)


def test_an_order_is_carried_out_whatever_the_clock_of_the_node_that_gives_it(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster()
    clocks = iter((100.0, 99.5))
    monkeypatch.setattr(everywhere, "time", SimpleNamespace(time=lambda: next(clocks)))
    client = cluster.nodes[0].join("news", token="ada")
    cluster.clock.advance()
    for node in cluster.nodes:
        client.call(type="$subscribe", channel="news")
        cluster.clock.advance()
        node.hub.everywhere.unsubscribe("news", user="ada")
        cluster.clock.advance()
        assert list(client.connection.channels) == []


def test_an_order_that_is_said_again_leaves_whoever_has_come_since(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster()
    one, other = cluster.nodes
    monkeypatch.setattr(everywhere, "time", SimpleNamespace(time=lambda: 100.0))
    said = {"user": "ada", "connection": "", "channel": "news", "at": 100.0}
    client = other.join("news", token="ada")
    cluster.clock.advance()
    one.hub.everywhere.unsubscribe("news", user="ada")
    cluster.clock.advance()
    assert list(client.connection.channels) == []
    client.call(type="$subscribe", channel="news")
    mark = other.hub.revocations.number
    cluster.clock.advance()
    assert one.hub.cluster is not None
    assert other.hub.cluster is not None
    again = one.hub.cluster.post.ask(other.hub.cluster.node, "unsubscribe", {**said, "again": True}, 5.0)
    cluster.clock.advance()
    assert again.result() == 0
    assert list(client.connection.channels) == ["news"]
    assert other.hub.revocations.number == mark
