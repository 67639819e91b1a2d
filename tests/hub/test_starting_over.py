"""Subscribing to a channel once more: who is in already stays present, whatever becomes of it."""

from typing import Any

import pytest

from openline.hub import membership
from tests.rig import GRACE_SECONDS, Client, Rig, open_to_all, with_presence


def seen_by(watcher: Client) -> list[tuple[str, int]]:
    """What a member that watches presence was told: who came or went, and how many there are."""
    return [(f["type"], f["payload"]["count"]) for f in watcher.pushes() if f["type"] in ("$joined", "$left")]


def in_room(rig: Rig) -> tuple[Client, Client]:
    """Somebody who watches the room, and somebody in it."""
    watcher = rig.line()
    watcher.send(type="$connect")
    watcher.send(type="$subscribe", channel="room", presence=True)
    rig.slow.settle_all()
    client = rig.line()
    client.send(type="$connect")
    client.send(type="$subscribe", channel="room")
    rig.slow.settle_all()
    for each in (watcher, client):
        each.heard()
    return watcher, client


@pytest.fixture
def paged(monkeypatch: pytest.MonkeyPatch) -> tuple[Rig, Client, Client, str]:
    """A rig with small pages, who watches, who is in, and where they began; five publications have come since."""
    monkeypatch.setattr(membership, "MAX_PAGE", 2)
    rig = Rig(with_presence())
    since = str(rig.memory.position)
    watcher, client = in_room(rig)
    for number in range(5):
        rig.say("room", number)
    for each in (watcher, client):
        each.heard()
    return rig, watcher, client, since


def page(client: Client, since: str) -> dict[str, Any]:
    return client.call(type="$subscribe", channel="room", since=since)


def test_reading_page_by_page_is_seen_by_nobody(paged: Any) -> None:
    rig, watcher, client, since = paged
    got: list[Any] = []
    while True:
        reply = page(client, since)
        got += [p["payload"] for p in reply["publications"]]
        since = reply["position"]
        if not reply.get("more"):
            break
        rig.say("room", len(got))
        assert client.payloads() == []
        assert watcher.call(type="$presence", channel="room")["count"] == 2
    assert got[:5] == list(range(5))
    rig.say("room", "live")
    assert client.payloads() == ["live"]
    assert seen_by(watcher) == []


@pytest.mark.parametrize("way", ["$unsubscribe", "goodbye", "break", "the application"])
def test_who_goes_between_two_pages_is_gone(paged: Any, way: str) -> None:
    rig, watcher, client, since = paged
    assert page(client, since)["more"]
    if way == "$unsubscribe":
        client.call(type=way, channel="room")
    elif way == "the application":
        client.connection.unsubscribe("room")
    else:
        client.lose(clean=way == "goodbye")
    assert seen_by(watcher) == [("$left", 1)]
    rig.pass_time(GRACE_SECONDS + 1)
    assert seen_by(watcher) == []
    if way == "break":
        assert client.come_back()["subscriptions"] == []
    rig.say("room", "live")
    assert client.payloads() == []


def test_an_engine_that_fails_changes_nothing_for_who_is_in() -> None:
    rig = Rig(with_presence(), slow=True)
    watcher, client = in_room(rig)
    client.send(type="$subscribe", channel="room", last=1)
    rig.slow.fail(rig.slow.pending[-1])
    assert client.heard()[-1]["code"] == "unavailable"
    rig.slow.settle_all()
    rig.say("room", "live")
    rig.slow.settle_all()
    assert client.payloads() == ["live"]
    assert seen_by(watcher) == []


def test_an_engine_that_fails_while_something_came_in_ends_the_subscription_rather_than_leave_a_hole() -> None:
    rig = Rig(with_presence(), slow=True)
    watcher, client = in_room(rig)
    client.send(type="$subscribe", channel="room", last=1)
    reading = rig.slow.pending[-1]
    rig.say("room", "meanwhile")
    rig.slow.settle(rig.slow.pending[-1])
    rig.slow.deliver()
    rig.slow.fail(reading)
    assert client.heard()[-1]["code"] == "unavailable"
    assert seen_by(watcher) == [("$left", 1)]
    assert "room" not in client.connection.subscriptions


def test_an_engine_that_fails_between_two_pages_leaves_a_client_between_them(paged: Any) -> None:
    rig, watcher, client, since = paged
    assert page(client, since)["more"]
    rig.hub.membership._broker = rig.slow
    rig.slow.start(rig.hub)
    client.send(type="$subscribe", channel="room", since=since)
    rig.slow.fail(rig.slow.pending[-1])
    assert client.heard()[-1]["code"] == "unavailable"
    rig.hub.membership._broker = rig.memory
    rig.memory.start(rig.hub)
    rig.say("room", "live")
    assert client.payloads() == []
    assert seen_by(watcher) == []
    client.lose(clean=True)
    assert seen_by(watcher) == [("$left", 1)]


@pytest.mark.parametrize("way", ["unsubscribed", "ended"])
def test_what_the_application_subscribes_and_loses_at_once_is_nobodys_failure(way: str) -> None:
    rig = Rig(open_to_all(), slow=True)
    client = rig.line()
    client.connect()
    connection = client.connection
    outcome = connection.subscribe("room")
    if way == "ended":
        connection.disconnect()
    else:
        connection.unsubscribe("room")
    rig.slow.settle_all()
    assert outcome.done
    assert outcome.result() is None
    assert "room" not in connection.subscriptions
