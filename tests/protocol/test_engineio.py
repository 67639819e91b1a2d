"""Engine.IO's packets, payloads and handshakes."""

import json
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.effort import times

from openline.errors import ProtocolError, RequestRefused
from openline.protocol.engineio import (
    Packet,
    Query,
    decode_payload,
    encode_handshake,
    read_packet,
    read_query,
    split_frames,
    text_frame,
)
from openline.protocol.websocket import Opcode, encode_frame

BOTH = ("polling", "websocket")
MANY = settings(max_examples=times(150))


def refusal(query: str, method: str = "GET", *, upgrade: bool = False, transports: tuple[str, ...] = BOTH) -> int:
    with pytest.raises(RequestRefused) as refused:
        read_query(query, method=method, upgrade=upgrade, transports=transports)
    assert refused.value.status == 400
    return json.loads(refused.value.reason)["code"]


def test_a_handshake_names_the_version_and_a_transport() -> None:
    assert read_query("EIO=4&transport=polling", method="GET", upgrade=False, transports=BOTH) == Query("polling", None)
    asked = read_query("EIO=4&transport=websocket&sid=abc&t=x", method="GET", upgrade=True, transports=BOTH)
    assert asked == Query("websocket", "abc", "x")


def test_what_is_wrong_with_a_request_has_engine_ios_codes() -> None:
    assert refusal("EIO=4") == 0
    assert refusal("EIO=4&transport=abc") == 0
    assert refusal("EIO=4&transport=websocket", upgrade=True, transports=("polling",)) == 0
    assert refusal("EIO=4&transport=polling&transport=websocket") == 0
    assert refusal("EIO=4&transport=polling&j=0") == 0
    assert refusal("EIO=4&transport=polling&sid=") == 1
    assert refusal("EIO=4&transport=polling", "POST") == 2
    assert refusal("EIO=4&transport=websocket") == 3
    assert refusal("EIO=4&transport=polling", upgrade=True) == 3
    for version in ("", "EIO=3&", "EIO=abc&", "EIO=4&EIO=4&", "EIO=%00&"):
        assert refusal(f"{version}transport=polling") == 5


def test_times_are_told_in_whole_milliseconds_and_nothing_else_is_told() -> None:
    packet = encode_handshake("x", upgrades=("websocket",), ping_interval=0.3, ping_timeout=0.2, max_payload=1_000_000)
    assert packet[:1] == b"0"
    assert json.loads(packet[1:]) == {
        "sid": "x",
        "upgrades": ["websocket"],
        "pingInterval": 300,
        "pingTimeout": 200,
        "maxPayload": 1_000_000,
    }
    assert b"300," in packet


def test_a_payload_holds_any_number_of_packets_text_and_binary() -> None:
    assert list(decode_payload(b"4hello\x1ebAQIDBA==\x1e3")) == [
        Packet(b"4", b"hello"),
        Packet(b"4", b"\x01\x02\x03\x04", binary=True),
        Packet(b"3", b""),
    ]
    assert len(list(decode_payload(b"\x1e".join([b"4x"] * 1000)))) == 1000


@pytest.mark.parametrize("body", [b"", b"abc", b"7", b"4a\x1e", b"\x1e4a", b"b!", b"bA", b"b AQID", b"\xff4", b"4\xff"])
def test_a_malformed_payload_is_refused(body: bytes) -> None:
    with pytest.raises(ProtocolError):
        list(decode_payload(body))


@given(st.lists(st.tuples(st.booleans(), st.binary(max_size=300)), max_size=40), st.integers(1, 20))
def test_frames_come_apart_into_packets_in_portions_and_nothing_is_lost(
    said: list[tuple[bool, bytes]], most: int
) -> None:
    frames = b"".join(
        encode_frame(Opcode.BINARY, data) if binary else text_frame(b"4" + data.hex().encode()) for binary, data in said
    )
    polled: list[bytes] = []
    while frames:
        packets, frames = split_frames(frames, most)
        assert 0 < len(packets) <= most
        polled += packets
    expected = [data if binary else data.hex().encode() for binary, data in said]
    assert [packet.data for packet in decode_payload(b"\x1e".join(polled))] == expected if said else not polled


@MANY
@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_any_bytes_have_a_defined_answer(data: bytes) -> None:
    with suppress(ProtocolError):
        list(decode_payload(data))
    with suppress(ProtocolError):
        read_packet(data)
    with suppress(RequestRefused):
        read_query(data.decode("latin-1"), method="GET", upgrade=False, transports=BOTH)
