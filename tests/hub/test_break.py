"""The engine's stream broke: everybody whom it concerns is told, and who was catching up comes back."""

import asyncio

import pytest

from openline.hub.outcome import Outcome, drive
from openline.hub.visits import GapError, Visits
from openline.model import NOTHING_KEPT
from openline.protocol.raw_codec import RawCodec
from openline.protocol.socketio_codec import SocketIoCodec
from openline.testing import FakeWire
from tests.rig import Client, Rig, open_to_all


def gaps(frames: list[dict[str, object]]) -> list[object]:
    return [(frame.get("channel"), frame["payload"]) for frame in frames if frame["type"] == "$gap"]


def test_everybody_is_told_of_a_break_of_everything_per_channel_and_once_for_the_rest() -> None:
    rig = Rig()
    both, one = rig.join("a", "b"), rig.join("a")
    rig.say("a", 1)
    for client in (both, one):
        client.heard()
    place = {"position": str(rig.hub.broker.position)}
    rig.hub.on_break(None)
    assert sorted(gaps(both.heard()), key=str) == sorted([("a", place), ("b", place), (None, place)], key=str)
    assert sorted(gaps(one.heard()), key=str) == sorted([("a", place), (None, place)], key=str)


def test_a_break_of_some_channels_is_told_to_those_who_are_in_them() -> None:
    rig = Rig()
    one, other = rig.join("a"), rig.join("b")
    rig.hub.on_break(["a", "nobody is here", f"$connection:{other.connection.id}", "$user:nobody"])
    place = {"position": str(rig.hub.broker.position)}
    assert gaps(one.heard()) == [("a", place)]
    assert gaps(other.heard()) == [(None, place)]


def test_what_is_sent_to_a_user_may_be_missing_for_all_its_connections() -> None:
    rig = Rig()
    client = rig.join("a")
    rig.hub.lifecycle.users["ada"] = {client.connection: None}
    rig.hub.on_break(["$user:ada"])
    assert [channel for channel, _ in gaps(client.heard())] == [None]


def test_who_is_catching_up_when_it_breaks_loses_its_line_and_comes_back() -> None:
    rig = Rig(slow=True)
    rig.slow.settle_all()
    client = rig.line()
    client.connect()
    client.send(type="$subscribe", channel="a")
    rig.hub.on_break(None)
    assert client.wire.closed is not None
    assert client.wire.closed[0] == 1012


async def test_who_waits_in_a_poll_is_told_of_the_gap_and_where_to_go_on() -> None:
    rig = Rig()
    visits = Visits(rig.hub)
    visitor = drive(visits.visitor(Outcome.of(None))).result()
    options, since = {"a": rig.policy.options("a")}, rig.hub.broker.position
    waiting = asyncio.get_running_loop().create_task(visits.wait(visitor, options, since, 10, Outcome()))
    await rig.run()
    rig.say("b", "somewhere else")
    rig.hub.on_break(None)
    place = rig.hub.broker.position
    rig.say("a", "behind the gap")
    with pytest.raises(GapError) as gap:
        await waiting
    assert gap.value.position == place
    assert not rig.leftovers


def mute(client: Client, codec: RawCodec | SocketIoCodec) -> FakeWire:
    """From now on ``client`` speaks a protocol in which nobody can be told of a gap."""
    client.wire.codec = codec
    return client.wire


def test_whom_no_notice_reaches_is_told_by_its_end_and_does_not_come_back_as_who_it_was() -> None:
    rig = Rig()
    rooms, none = rig.join("a"), rig.join()
    wires = [mute(each, SocketIoCodec("/", recovery=True)) for each in (rooms, none)]
    rig.hub.on_break(None)
    assert [wire.closed and wire.closed[0] for wire in wires] == [1012, 1012]
    for client in (rooms, none):
        assert client.resume is not None
        assert rig.hub.lifecycle.resumable(client.resume).result() is None


def test_whom_no_notice_reaches_and_nothing_was_promised_to_stays() -> None:
    rig = Rig(open_to_all("a"), open_to_all("b", retention=NOTHING_KEPT))
    kept, other, plain, elsewhere = (rig.join(name) for name in ("a", "b", "b", "a"))
    for client in (kept, plain):
        mute(client, RawCodec())
        assert client.connection is not None
        client.connection.resume = ()
    mute(other, SocketIoCodec("/", recovery=True))
    rig.hub.on_break(["a"])
    assert [each.wire.closed is None for each in (kept, other, plain, elsewhere)] == [False, True, True, True]
    rig.hub.on_break(["b"])
    assert [each.wire.closed is None for each in (other, plain, elsewhere)] == [False, True, True]
