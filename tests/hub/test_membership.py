"""Joining and leaving channels: what could be lost, doubled or left behind."""

import asyncio
from typing import Any

from openline.app.handlers import Handlers
from openline.errors import CloseCode
from openline.hub import membership, requests
from openline.hub.connection import Connection
from openline.hub.settings import HubSettings
from openline.model import Retention, User
from tests.rig import GRACE_SECONDS, WINDOW_SECONDS, Rig, open_to_all, with_presence


async def test_who_ends_while_a_rule_is_asked_does_not_stay_in_the_channel() -> None:
    go = asyncio.Event()

    async def later(connection: Connection, channel: str) -> bool:
        return await go.wait()

    rig = Rig(open_to_all(subscribe=later))
    client = rig.line()
    client.connect()
    client.send(type="$subscribe", channel="a")
    client.connection.disconnect()
    go.set()
    await rig.run()
    assert rig.leftovers == {}


def test_who_is_excluded_from_a_publication_does_not_see_it_in_a_page_either() -> None:
    rig = Rig()
    client = rig.line()
    since = client.connect()["position"]
    for number in range(6):
        rig.say("a", number, exclude=[client.connection.id] if number % 2 else [])
    reply = client.call(type="$subscribe", channel="a", since=since)
    assert [p["payload"] for p in reply["publications"]] == [0, 2, 4]


def test_a_page_that_excludes_everything_still_says_where_to_go_on(monkeypatch: Any) -> None:
    monkeypatch.setattr(membership, "MAX_PAGE", 2)
    rig = Rig()
    client = rig.line()
    since = client.connect()["position"]
    for number in range(6):
        rig.say("a", number, exclude=[client.connection.id] if number < 5 else [])
    seen: list[Any] = []
    for _ in range(10):
        reply = client.call(type="$subscribe", channel="a", since=since)
        seen += [p["payload"] for p in reply["publications"]]
        since = reply["position"]
        if not reply.get("more"):
            break
    assert seen == [5]
    assert client.connection.subscriptions["a"].hold is None


def test_history_that_begins_with_what_excludes_the_reader_goes_on_behind_it() -> None:
    rig = Rig()
    client = rig.line()
    since = client.connect()["position"]
    for number in range(6):
        rig.say("a", number, exclude=[client.connection.id] if number < 4 else [])
    reply = client.call(type="$history", channel="a", since=since, limit=2)
    assert ([p["payload"] for p in reply["publications"]], reply["more"]) == ([4, 5], False)
    for _ in range(3):
        rig.say("a", "hidden", exclude=[client.connection.id])
    reply = client.call(type="$history", channel="a", limit=2)
    assert ([p["payload"] for p in reply["publications"]], reply["more"]) == ([5], True)


def test_where_nothing_was_recovered_nothing_is_brought_even_if_it_came_in_meanwhile() -> None:
    rig = Rig(slow=True)
    client = rig.line()
    client.connect()
    client.send(type="$subscribe", channel="a", since="other.5")
    rig.slow.settle(rig.slow.pending[0])
    rig.say("a", "meanwhile")
    rig.slow.settle(rig.slow.pending[-1])
    rig.slow.deliver()
    rig.slow.settle_all()
    reply = client.heard()[-1]["payload"]
    assert (reply["recovered"], reply["publications"]) == (False, [])
    assert reply["position"] == str(rig.memory.position)


def test_more_than_may_be_held_while_joining_is_a_refusal_that_passes() -> None:
    rig = Rig(slow=True, settings=HubSettings(hold_bytes=1024))
    client = rig.line()
    client.connect()
    client.send(type="$subscribe", channel="a", last=1)
    rig.slow.settle(rig.slow.pending[0])
    for number in range(10):
        rig.say("a", number)
    for pending in rig.slow.pending[1:]:
        rig.slow.settle(pending)
    while rig.slow.on_the_way:
        rig.slow.deliver()
    rig.slow.settle_all()
    error = client.heard()[-1]
    assert (error["code"], error["retry"]) == ("unavailable", True)
    assert "a" not in client.connection.subscriptions
    assert rig.hub.membership.get("a") is None


def test_an_engine_that_confirms_nothing_lets_nobody_half_in() -> None:
    rig = Rig(slow=True)
    client = rig.line()
    client.connect()
    client.send(type="$subscribe", channel="a")
    rig.slow.fail(rig.slow.pending[0])
    error = client.heard()[-1]
    assert (error["code"], error["retry"]) == ("unavailable", True)
    client.lose(clean=True)
    rig.slow.settle_all()
    assert rig.leftovers == {}


def test_what_the_application_subscribes_begins_where_the_client_is_told_it_does() -> None:
    """Other channels went on meanwhile: to send what was held would take the connection's position back."""
    rig = Rig(slow=True)
    client = rig.line()
    client.connect()
    client.send(type="$subscribe", channel="a")
    rig.slow.settle_all()
    client.heard()
    client.connection.subscribe("b")
    confirmation = rig.slow.pending[0]
    rig.slow.apply(confirmation)
    rig.say("b", "held")
    rig.say("a", "live")
    for pending in rig.slow.pending[1:]:
        rig.slow.settle(pending)
    while rig.slow.on_the_way:
        rig.slow.deliver()
    rig.slow.settle(confirmation)
    frames = client.pushes()
    assert [frame["type"] for frame in frames] == ["said", "$subscribed"]
    assert frames[1]["payload"] == {"position": str(rig.memory.position)}


def test_to_subscribe_again_starts_over_without_a_leave() -> None:
    rig = Rig(with_presence())
    watcher, client = rig.line(), rig.line()
    for each in (watcher, client):
        each.connect()
        each.call(type="$subscribe", channel="a", presence=True)
    watcher.heard()
    assert client.call(type="$subscribe", channel="a", presence=True)["presence"]["count"] == 2
    assert watcher.pushes() == []
    rig.say("a", 1)
    assert client.payloads() == [1]


def test_a_client_that_the_application_subscribes_while_it_is_away_is_not_shown_as_present() -> None:
    rig = Rig(with_presence())
    watcher, client = rig.line(), rig.join()
    watcher.connect()
    watcher.call(type="$subscribe", channel="a", presence=True)
    connection = client.connection
    client.lose()
    connection.subscribe("a")
    assert watcher.pushes() == []
    client.come_back()
    assert [frame["type"] for frame in watcher.pushes()] == ["$joined"]
    rig.say("a", 1)
    assert client.payloads() == [1]


def test_presence_follows_a_lost_line_after_the_grace_period_and_not_before() -> None:
    rig = Rig(with_presence())
    watcher, client = rig.line(), rig.join("a")
    watcher.connect()
    watcher.call(type="$subscribe", channel="a", presence=True)
    member = {"connection": client.connection.id}
    client.lose()
    rig.pass_time(GRACE_SECONDS - 1)
    assert watcher.pushes() == []
    client.come_back()
    rig.pass_time(GRACE_SECONDS * 2)
    assert watcher.pushes() == []
    client.lose()
    rig.pass_time(GRACE_SECONDS + 1)
    assert [(f["type"], f["payload"]) for f in watcher.pushes()] == [
        ("$left", {"member": member, "reason": "lost", "count": 1})
    ]
    client.come_back()
    assert [(f["type"], f["payload"]) for f in watcher.pushes()] == [("$joined", {"member": member, "count": 2})]
    client.lose()
    rig.pass_time(WINDOW_SECONDS + 1)
    assert [f["payload"]["reason"] for f in watcher.pushes()] == ["lost"]


def test_every_way_out_of_a_channel_has_its_reason() -> None:
    rig = Rig(with_presence())
    watcher = rig.line()
    watcher.connect()
    watcher.call(type="$subscribe", channel="a", presence=True)
    reasons: list[str] = []

    def leave(how: Any) -> None:
        client = rig.join("a")
        how(client)
        reasons.extend(f["payload"]["reason"] for f in watcher.pushes() if f["type"] == "$left")

    leave(lambda client: client.call(type="$unsubscribe", channel="a"))
    leave(lambda client: client.lose(clean=True))
    leave(lambda client: client.connection.disconnect())
    leave(lambda client: client.connection.unsubscribe("a"))
    assert reasons == ["unsubscribed", "closed", "disconnected", "unsubscribed"]


def test_a_connection_has_as_many_subscriptions_as_it_may_and_no_more() -> None:
    rig = Rig(settings=HubSettings(max_subscriptions=3))
    client = rig.join("a", "b", "c")
    assert client.error(type="$subscribe", channel="d")["code"] == "too_many"
    client.call(type="$subscribe", channel="a")
    client.call(type="$unsubscribe", channel="a")
    client.call(type="$subscribe", channel="d")


def test_newcomers_get_the_last_value_unless_they_ask_since() -> None:
    rig = Rig(open_to_all(last_value=True, see_history=False))
    position = rig.join().position
    rig.say("a", "older")
    rig.say("a", "newest")
    client = rig.line()
    client.connect()
    assert [p["payload"] for p in client.call(type="$subscribe", channel="a")["publications"]] == ["newest"]
    reply = client.call(type="$subscribe", channel="a", since=position)
    assert (reply["recovered"], reply["publications"]) == (False, [])


def test_a_channel_without_history_says_so_when_something_was_missed() -> None:
    rig = Rig(open_to_all(retention=Retention()))
    client = rig.line()
    since = client.connect()["position"]
    assert client.call(type="$subscribe", channel="a", since=since)["recovered"] is True
    rig.say("a", 1)
    assert client.call(type="$subscribe", channel="a", since=since)["recovered"] is False


def test_public_data_that_json_cannot_hold_is_noticed_when_its_user_connects(caplog: Any) -> None:
    handlers = Handlers()
    handlers.set_authenticate(lambda token, request: User("ada", data=object()))
    rig = Rig(with_presence(), handlers=handlers)
    client = rig.line()
    client.send(type="$connect")
    assert client.heard()[-1]["code"] == "failed"
    assert client.wire.closed is not None
    assert client.wire.closed[0] == CloseCode.INTERNAL_ERROR
    assert rig.leftovers == {}
    assert len(caplog.records) == 1


def test_the_last_answers_are_remembered_and_no_more() -> None:
    assert requests._REMEMBERED_ANSWERS == 256
    calls: list[int] = []

    def add(connection: Connection, payload: int) -> int:
        calls.append(payload)
        return payload

    handlers = Handlers()
    handlers.add_event("add", None, add, thread=False)
    rig = Rig(handlers=handlers)
    client = rig.join()
    for number in range(257):
        client.call(type="add", payload=number, key=f"k{number}")
    assert client.call(type="add", payload=-1, key="k1") == 1
    assert client.call(type="add", payload=-1, key="k0") == -1
    assert calls == [*range(257), -1]
