"""A connection comes back on another line: each test here is a hole that was, or could have been."""

import pytest

from openline.errors import CloseCode
from openline.hub import resume
from openline.hub.settings import HubSettings
from openline.model import NOTHING_KEPT, Retention
from tests.rig import Client, Rig, look, open_to_all


@pytest.fixture
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """One page holds about two publications."""
    monkeypatch.setattr(resume, "PAGE_BYTES", 400)
    monkeypatch.setattr(resume, "MIN_READ_BYTES", 400)


def return_slowly(client: Client) -> None:
    """Come back on a line whose peer reads nothing for now."""
    client.open().stall()
    client.send(type="$connect", resume=client.resume, since=client.position)
    client.rig.clock.advance()


def test_what_a_reply_brought_is_not_replayed_when_its_connection_resumes() -> None:
    rig = Rig()
    for number in range(3):
        rig.say("a", number)
    client = rig.line()
    epoch = client.connect()["position"].split(".")[0]
    # It connected before anything was said: nothing but pushes and the reply to $connect moves its position.
    client.position = f"{epoch}.0"
    assert len(client.call(type="$subscribe", channel="a", last=10)["publications"]) == 3
    client.lose()
    rig.say("a", "missed")
    client.come_back()
    assert client.payloads() == ["missed"]


def test_a_channel_that_the_application_adds_during_a_replay_does_not_overtake_it(small_pages: None) -> None:
    rig = Rig()
    client = rig.join("a")
    client.lose()
    for number in range(10):
        rig.say("a", number)
    return_slowly(client)
    client.connection.subscribe("b")
    rig.say("b", "late")
    client.wire.drain()
    assert client.payloads() == [*range(10), "late"]


def test_a_channel_that_the_application_takes_away_during_a_replay_is_not_replayed_further(small_pages: None) -> None:
    rig = Rig()
    client = rig.join("a", "b")
    client.lose()
    for number in range(6):
        rig.say("a", number)
        rig.say("b", -number)
    return_slowly(client)
    client.connection.unsubscribe("a")
    client.wire.drain()
    frames = client.pushes()
    left = [frame["type"] for frame in frames].index("$unsubscribed")
    assert all(frame["channel"] == "b" for frame in frames[left + 1 :])
    assert [frame["payload"] for frame in frames if frame["channel"] == "b"][-6:] == [0, -1, -2, -3, -4, -5]


def test_commands_wait_until_the_replay_is_through(small_pages: None) -> None:
    rig = Rig()
    client = rig.join("a")
    client.lose()
    for number in range(10):
        rig.say("a", number)
    return_slowly(client)
    asked = client.send(type="said", channel="a", payload="mine")
    client.wire.drain()
    frames = client.heard()
    assert [f["payload"] for f in frames if f["type"] == "said"] == [*range(10), "mine"]
    assert frames[-1] == {"type": "$reply", "id": asked, "payload": {"position": client.position}}


def test_an_engine_that_fails_while_a_connection_comes_back_leaves_it_to_come_back_again() -> None:
    rig = Rig(slow=True)
    client = rig.line()
    client.connect()
    client.send(type="$subscribe", channel="a")
    rig.slow.settle_all()
    client.lose()
    rig.say("a", "missed")
    rig.slow.settle_all()
    client.open()
    client.send(type="$connect", resume=client.resume, since=client.position)
    client.send(type="$presence", channel="a")
    rig.slow.fail(rig.slow.pending[0])
    assert client.wire.closed == (CloseCode.TRY_LATER, "The engine did not answer; the outcome is unknown.")
    client.open()
    client.send(type="$connect", resume=client.resume, since=client.position)
    rig.slow.settle_all()
    assert client.payloads() == ["missed"]
    rig.say("a", "live")
    rig.slow.settle_all()
    assert client.payloads() == ["live"]
    assert client.call(type="$presence", channel="a")["count"] == 0


def test_a_return_asks_the_engine_about_all_its_channels_at_the_same_time() -> None:
    rig = Rig(slow=True)
    client = rig.line()
    client.connect()
    for channel in "abc":
        client.send(type="$subscribe", channel=channel)
        rig.slow.settle_all()
    client.lose()
    for channel in "abc":
        rig.say(channel, channel)
        rig.slow.settle_all()
    client.open()
    client.send(type="$connect", resume=client.resume, since=client.position)
    rounds = []
    while rig.slow.pending:
        rounds.append([pending.kind for pending in rig.slow.pending])
        for pending in tuple(rig.slow.pending):
            rig.slow.settle(pending)
    # Three channels, and the logs of all connections and of this one.
    assert rounds == [["read"] * 5]
    assert client.payloads() == ["a", "b", "c"]


def test_a_line_that_breaks_while_its_return_is_read_does_not_disturb_the_next_one() -> None:
    rig = Rig(slow=True)
    client = rig.line()
    client.connect()
    client.send(type="$subscribe", channel="a")
    rig.slow.settle_all()
    client.lose()
    rig.say("a", "missed")
    rig.slow.settle_all()
    for _ in range(2):
        client.open()
        client.send(type="$connect", resume=client.resume, since=client.position)
        client.lose()
    client.open()
    client.send(type="$connect", resume=client.resume, since=client.position)
    for pending in reversed(rig.slow.pending.copy()):
        if pending in rig.slow.pending:
            rig.slow.settle(pending)
    rig.slow.settle_all()
    assert client.payloads() == ["missed"]
    assert client.connection.busy == 0


def test_an_answer_goes_to_the_line_that_asked() -> None:
    rig = Rig(slow=True)
    client = rig.line()
    client.connect()
    client.send(type="said", channel="a", id=7)
    client.lose()
    client.open()
    client.send(type="$connect", id=7, resume=client.resume, since=client.position)
    rig.slow.settle_all()
    answers = [frame for frame in client.heard() if frame.get("id") == 7]
    assert len(answers) == 1
    assert answers[0]["payload"]["resumed"]


def test_a_channel_without_history_has_no_gap_where_everything_was_held(small_pages: None) -> None:
    rig = Rig(open_to_all("kept:*"), open_to_all("live:*", retention=NOTHING_KEPT))
    client = rig.join("kept:a", "live:b")
    client.lose()
    for number in range(6):
        rig.say("kept:a", number)
    return_slowly(client)
    rig.say("live:b", "while it was catching up")
    client.wire.drain()
    frames = client.pushes()
    assert [frame["type"] for frame in frames] == ["said"] * 7
    assert frames[-1]["payload"] == "while it was catching up"


def test_what_retention_drops_during_a_replay_is_told_once_with_where_it_goes_on(small_pages: None) -> None:
    rig = Rig(open_to_all(retention=Retention(5, 3600.0, 1 << 20)))
    client = rig.join("a", "b")
    client.lose()
    for number in range(5):
        rig.say("a", number)
        rig.say("b", number)
    return_slowly(client)
    for number in range(5, 12):
        rig.say("a", number)
    start = rig.memory.position
    client.wire.drain()
    frames = client.pushes()
    gaps = [frame for frame in frames if frame["type"] == "$gap"]
    assert [gap["channel"] for gap in gaps] == ["a"]
    told = int(gaps[0]["payload"]["position"].split(".")[1])
    behind = [f for f in frames if f.get("channel") == "a" and f["type"] == "said"]
    stamps = [int(frame["position"].split(".")[1]) for frame in behind]
    assert [stamp for stamp in stamps if stamp > told] == list(range(told + 1, start.stamp + 1))
    assert [f["payload"] for f in frames if f.get("channel") == "b"] == [0, 1, 2, 3, 4]


def test_too_much_meanwhile_closes_the_line_and_costs_nothing() -> None:
    rig = Rig(settings=HubSettings(hold_bytes=1024))
    client = rig.join("a")
    client.lose()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(resume, "PAGE_BYTES", 400)
        for number in range(10):
            rig.say("a", number)
        return_slowly(client)
        for number in range(10, 30):
            rig.say("a", number)
        client.wire.drain()
        heard = client.payloads()
    assert client.wire.closed is not None
    assert client.wire.closed[0] == CloseCode.SLOW
    client.come_back()
    assert heard + client.payloads() == list(range(30))


def test_a_client_without_a_position_is_told_and_goes_on_from_now() -> None:
    rig = Rig()
    client = rig.join("a")
    client.lose()
    rig.say("a", "missed")
    client.position = None
    reply = client.come_back()
    assert reply["recovered"] is False
    assert reply["subscriptions"] == [{"channel": "a", "recovered": False}]
    assert reply["position"] == str(rig.memory.position)
    rig.say("a", "live")
    assert client.payloads() == ["live"]


def test_a_line_that_is_replaced_is_told_and_what_was_queued_for_it_is_out() -> None:
    rig = Rig()
    client = rig.join("a")
    old = client.wire
    rig.say("a", "on the old line")
    client.come_back()
    assert b"on the old line" in old.written[-1]
    assert old.closed is not None
    assert old.closed[0] == CloseCode.REPLACED
    # It had not read that yet when it came back.
    assert client.payloads() == ["on the old line"]


def test_a_return_does_not_make_the_engine_want_a_channel_that_was_left_meanwhile() -> None:
    rig = Rig(slow=True)
    client = rig.line()
    client.connect()
    connection = client.connection
    for channel in ("a", "b"):
        connection.subscribe(channel).then(look)
    client.lose()
    client.open()
    client.send(type="$connect", resume=client.resume, since=client.position)
    connection.unsubscribe("b")
    rig.slow.settle_all()
    assert rig.slow.wanted == {"$all", "a"}
    client.lose(clean=True)
    rig.slow.settle_all()
    assert rig.leftovers == {}
