"""Socket.IO's packets: what is one, and the defined answer for everything that is none."""

import json
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openline.errors import CloseCode, CommandError, ProtocolError
from openline.protocol.rooms import everybody, room_channel, room_of
from openline.protocol.socketio import (
    MAX_ARGUMENTS,
    MAX_AUTH_BYTES,
    Kind,
    Packet,
    PacketReader,
    encode_packet,
    read_command,
)


def reader(max_bytes: int = 1000) -> PacketReader:
    return PacketReader(max_bytes)


def read(text: str) -> Packet:
    packet = reader().text(text.encode())
    assert packet is not None
    return packet


def test_packets_of_every_kind_are_read() -> None:
    assert read("0") == Packet(Kind.CONNECT, auth={})
    assert read('0{"token":"123"}').auth == {"token": "123"}
    assert read('0/admin,{"a":1}') == Packet(Kind.CONNECT, "/admin", auth={"a": 1})
    assert read("0/random") == Packet(Kind.CONNECT, "/random", auth={})
    assert read("1/admin,") == read("1/admin") == Packet(Kind.DISCONNECT, "/admin")
    event = read('2/admin,456["project:delete",123,{"a":[true]}]')
    assert (event.namespace, event.id, event.event) == ("/admin", 456, "project:delete")
    assert event.values() == ["project:delete", 123, {"a": [True]}]
    assert read("3/admin,456[]") == Packet(Kind.ACK, "/admin", 456)
    assert read('2["__proto__",{"__proto__":{"p":1}}]').values() == ["__proto__", {"__proto__": {"p": 1}}]


def test_a_binary_packet_waits_for_its_attachments_and_has_them_in_their_places() -> None:
    waiting = reader()
    assert waiting.text(b'52-/a,7["x",{"_placeholder":true,"num":1},[{"_placeholder":true,"num":0}]]') is None
    assert waiting.waiting
    assert waiting.binary(b"one") is None
    packet = waiting.binary(b"two")
    assert packet is not None
    assert (packet.kind, packet.namespace, packet.id) == (Kind.EVENT, "/a", 7)
    assert packet.values() == ["x", b"two", [b"one"]]
    assert not waiting.waiting
    assert read('50-["x",1]').values() == ["x", 1]


def test_what_passes_for_a_placeholder_in_a_plain_packet_is_data() -> None:
    assert read('2["x",{"_placeholder":true,"num":9}]').values() == ["x", {"_placeholder": True, "num": 9}]


MALFORMED = [
    "",
    "abc",
    "7",
    "9[]",
    "2",
    "2{}",
    "2[]",
    "2[",
    '2["a"',
    "2[1]",
    "2[null]",
    '2[{"a":1}]',
    '2["connect"]',
    '2["disconnect"]',
    '2["newListener"]',
    '2abc["a"]',
    '2-1["a"]',
    '21.5["a"]',
    '299999999999999999["a"]',
    '29007199254740992["a"]',
    '21-["a"]',
    "0[]",
    '0"x"',
    "0null",
    "0{",
    "012{}",
    "1{}",
    "15",
    "3[]",
    "3",
    '31{"a":1}',
    "4",
    '4{"message":"x"}',
    '5["a"]',
    '5-["a"]',
    '5-1-["a"]',
    '5x-["a"]',
    '511-["a"]',
    '5999999999-["a"]',
    '51.0-["a"]',
    '50-["a",{"_placeholder":true,"num":0}]',
    "2/" + "n" * 128 + ',["a"]',
    '2/a\x01b,["a"]',
    "2" + "[" * 5000,
]


@pytest.mark.parametrize("text", MALFORMED)
def test_a_malformed_packet_is_refused(text: str) -> None:
    with pytest.raises(ProtocolError) as refused:
        reader().text(text.encode())
    assert len(refused.value.reason) <= 123


@pytest.mark.parametrize("num", ["2", "-1", '"a"', "null", "1.5", "1e99", "true", "[]"])
def test_a_placeholder_out_of_range_is_refused_once_the_attachments_are_there(num: str) -> None:
    waiting = reader()
    assert waiting.text(b'52-["a",{"_placeholder":true,"num":%b},1]' % num.encode()) is None
    assert waiting.binary(b"") is None
    with pytest.raises(ProtocolError):
        waiting.binary(b"")


def test_attachments_come_when_they_are_due_and_only_then() -> None:
    with pytest.raises(ProtocolError):
        reader().binary(b"x")
    waiting = reader()
    assert waiting.text(b'51-["a",{"_placeholder":true,"num":0}]') is None
    with pytest.raises(ProtocolError):
        waiting.text(b'2["b"]')


def test_attachments_are_bounded_in_bytes_all_together() -> None:
    waiting = reader(max_bytes=100)
    assert waiting.text(b'53-["a"]') is None
    assert waiting.binary(b"x" * 60) is None
    with pytest.raises(ProtocolError, match="100 bytes"):
        waiting.binary(b"x" * 60)


def test_arguments_are_bounded_in_number() -> None:
    assert len(read(json.dumps(["x", *range(MAX_ARGUMENTS - 1)]).join(("2", ""))).arguments) == MAX_ARGUMENTS
    for head in ("2", "3/a,7"):
        with pytest.raises(ProtocolError, match="more than 1000 arguments"):
            read(head + json.dumps(["x", *range(MAX_ARGUMENTS)]))


def test_a_command_weighs_what_its_arguments_cost_and_not_their_text_alone() -> None:
    text = json.dumps(["x", *[0] * (MAX_ARGUMENTS - 1)])
    command = read_command(read(f"2{text}"))
    assert command.size >= sum(map(sys.getsizeof, (command.payload, *command.more)))


@pytest.mark.parametrize("value", ["0", "[]", "{}", '""', '{"a":0}', "[[]]", r'"\\\""', "1.5"])
def test_values_are_bounded_in_number_whatever_they_are(value: str) -> None:
    few = PacketReader(1000, max_values=1000)
    for data in ("2", "51-"):
        with pytest.raises(ProtocolError) as refused:
            few.text(f'{data}["x",[{",".join([value] * 1001)}]]'.encode())
        assert refused.value.code == CloseCode.TOO_BIG
    assert few.text(f'2["x",[{",".join([value] * 160)}]]'.encode()) is not None
    with pytest.raises(ProtocolError, match="more than 200 values"):
        few.text(f'51-["x",[{",".join([value] * 201)}]]'.encode())


@given(st.text('a,[{"\\\\:', max_size=3000))
def test_what_stands_in_a_string_is_no_value(text: str) -> None:
    packet = PacketReader(1000, max_values=1000).text(f'2["x",{json.dumps(text * 4)}]'.encode())
    assert packet is not None
    assert packet.values()[1] == text * 4


def test_a_connect_may_bring_so_much() -> None:
    fits = {"token": "x" * (MAX_AUTH_BYTES - 20)}
    assert read(f"0/a,{json.dumps(fits)}").auth == fits
    assert read(f"0/a,{json.dumps({'token': 'x' * MAX_AUTH_BYTES})}") == Packet(Kind.CONNECT, "/a")
    assert read(f"0{json.dumps({'a': [[]] * 1000})}").auth is None
    assert read(f"0{json.dumps({'a': ['x,[{'] * 200})}").auth == {"a": ["x,[{"] * 200}


def test_an_event_becomes_a_command_with_all_its_arguments() -> None:
    command = read_command(read('27["move",{"x":1},"b",null]'))
    assert (command.type, command.id, command.payload, command.more) == ("move", 7, b'{"x":1}', (b'"b"', b"null"))
    assert read_command(read('2["bare"]')).payload == b"null"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
NAMES = st.text(st.characters(exclude_categories=("Cs", "Cc"), exclude_characters=","), max_size=20).map("/{}".format)


@given(NAMES, st.none() | st.integers(0, 2**53 - 1), st.lists(JSON, max_size=4))
def test_what_is_encoded_is_read_back(namespace: str, packet_id: int | None, arguments: list[Any]) -> None:
    data = json.dumps(["event", *arguments]).encode()
    packet = reader().text(encode_packet(Kind.EVENT, namespace, packet_id, data))
    assert packet is not None
    assert (packet.namespace, packet.id, packet.values()) == (namespace, packet_id, ["event", *arguments])


def test_a_plain_room_of_the_default_namespace_is_the_channel_of_its_name() -> None:
    assert room_channel("/", "chat:lobby") == "chat:lobby"
    assert room_channel("/admin", "news") == "admin~:news"
    assert room_channel("/", "a b~") == "a~20b~7E"
    assert room_channel("/", "") == "_~_"
    assert everybody("/") == "$all"
    assert everybody("/admin") == "$all:/admin"


def test_a_room_that_is_too_long_for_a_channel_is_refused() -> None:
    with pytest.raises(CommandError) as refused:
        room_channel("/", "é" * 60)
    assert refused.value.code == "bad_channel"


TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=12) | st.text("~_-:/AZ09.", max_size=12)


@given(TEXT, TEXT, TEXT, TEXT)
def test_no_two_rooms_are_one_channel_and_every_channel_leads_back(a: str, b: str, c: str, d: str) -> None:
    first, second = (("/" + a.replace(",", "")), b), (("/" + c.replace(",", "")), d)
    try:
        one, other = room_channel(*first), room_channel(*second)
    except CommandError:
        return
    assert (one == other) is (first == second)
    assert room_of(first[0], one) == b
    assert (room_of(second[0], one) is not None) is (first[0] == second[0])
