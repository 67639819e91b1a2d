"""A line without a network: it remembers what was written, stalls, and breaks, when a test says so."""

from openline.model import Publication
from openline.protocol.json_codec import JsonCodec
from openline.testing import FakeWire
from tests.rig import Client, Rig, open_to_all

CODEC = JsonCodec(lambda text: text)


def test_what_the_peer_has_read_is_remembered_in_order() -> None:
    wire = FakeWire(CODEC)
    wire.deliver([b"a", b"b"])
    wire.deliver([b"c"])
    assert wire.written == [b"a", b"b", b"c"]
    assert wire.drained().done


def test_a_stalled_peer_reads_nothing_until_it_reads_on() -> None:
    wire = FakeWire(CODEC)
    wire.stall()
    wire.deliver([b"a", b"bb", b"c"])
    drained = wire.drained()
    assert (wire.written, wire.waiting, drained.done) == ([], 4, False)
    wire.read(2)
    assert (wire.written, wire.waiting, drained.done) == ([b"a", b"bb"], 1, False)
    wire.drain()
    wire.deliver([b"d"])
    assert (wire.written, wire.waiting, drained.done) == ([b"a", b"bb", b"c", b"d"], 0, True)


def test_more_than_the_outbox_holds_closes_the_line() -> None:
    wire = FakeWire(CODEC, outbox_bytes=10)
    wire.stall()
    wire.deliver([b"x" * 10])
    assert wire.open
    wire.deliver([b"x"])
    assert wire.closed is not None
    assert (wire.closed[0], wire.open, wire.waiting) == (4500, False, 0)


def test_a_line_that_was_lost_is_out_of_every_group_and_its_hub_knows() -> None:
    rig = Rig()
    client = rig.join("a")
    other = rig.join("a")
    client.wire.lose()
    client.wire.lose()
    rig.say("a", 1)
    assert other.payloads() == [1]
    assert not client.wire.open
    assert client.connection.wire is None
    client.wire.close(1000)
    assert client.wire.closed is None


def test_a_close_comes_behind_what_was_queued() -> None:
    rig = Rig()
    client = rig.join("a")
    rig.say("a", 1)
    client.wire.close(4410, "Enough.")
    client.wire.close(1000)
    assert client.payloads() == [1]
    assert client.wire.closed == (4410, "Enough.")


def test_it_says_whether_anybody_listens() -> None:
    wire = FakeWire(CODEC)
    wire.hold_reading(held=True)
    assert not wire.reading
    wire.hold_reading(held=False)
    assert wire.reading


def test_it_takes_part_in_groups_without_a_descriptor() -> None:
    wires = [FakeWire(CODEC) for _ in range(3)]
    group = wires[0].make_group()
    for wire in wires:
        group.join(wire)
    frame = CODEC.publication(Publication("a", "n", b"1"))
    group.deliver([frame], group.mark, frozenset({wires[1]}))
    assert [wire.written for wire in wires] == [[frame], [], [frame]]


def flooded() -> Client:
    """A client that has read nothing of ten publications, of which its line had to let some go."""
    rig = Rig(open_to_all(when_slow="drop"))
    client = rig.join("a", outbox_bytes=300)
    client.heard()
    client.wire.stall()
    for number in range(10):
        rig.say("a", number, volatile=True)
        rig.pass_time(0)
    return client


def test_a_peer_that_has_read_the_rest_is_told_what_its_line_let_go() -> None:
    client = flooded()
    client.wire.drain()
    *read, gap = client.pushes()
    lost = 10 - len(read)
    assert 0 < lost < 10
    assert [push["payload"] for push in read] == list(range(lost, 10))
    assert (gap["type"], gap["channel"], gap["payload"]) == ("$gap", "a", {"lost": lost})


def test_a_peer_whose_line_was_lost_before_is_told_when_it_comes_back() -> None:
    client = flooded()
    client.wire.lose()
    client.come_back()
    gaps = [push for push in client.pushes() if push["type"] == "$gap" and "lost" in push["payload"]]
    assert [(gap["channel"], gap["payload"]["lost"] > 0) for gap in gaps] == [("a", True)]
