"""The raw door's codec: payloads as they are, and nothing of the protocol."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openline.errors import CommandError
from openline.model import Publication
from openline.protocol.raw_codec import RawCodec, text_payload
from openline.protocol.strict_json import encode_json
from openline.protocol.websocket import FrameReader, Opcode, encode_frame

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=200)


def parts(opcode: Opcode, data: bytes) -> Any:
    return opcode, data


CODEC = RawCodec(parts)


@given(TEXTS)
def test_a_text_that_comes_in_goes_out_as_it_was(text: str) -> None:
    payload = text_payload(text.encode())
    assert json.loads(payload) == text
    assert CODEC.publication(Publication("a", "message", payload)) == (Opcode.TEXT, text.encode())


@given(st.binary(max_size=200))
def test_bytes_go_out_as_a_binary_message(data: bytes) -> None:
    assert CODEC.publication(Publication("a", "message", data, binary=True)) == (Opcode.BINARY, data)


@given(st.none() | st.booleans() | st.integers(-999, 999) | st.lists(TEXTS) | st.dictionaries(TEXTS, TEXTS))
def test_anything_else_goes_out_as_its_json(value: Any) -> None:
    payload = encode_json(value)
    assert CODEC.publication(Publication("a", "b", payload, stamp=3, epoch="e", sender=b"{}")) == (Opcode.TEXT, payload)


def test_escapes_are_taken_out_of_a_string() -> None:
    payload = rb'"\u0041\n\"\ud83d\ude00"'
    assert CODEC.publication(Publication("a", "b", payload)) == (Opcode.TEXT, 'A\n"😀'.encode())


def test_without_a_form_of_their_own_messages_are_websocket_frames() -> None:
    assert RawCodec().publication(Publication("a", "b", b'"hi"')) == encode_frame(Opcode.TEXT, b"hi")
    assert RawCodec().name == "raw"


@pytest.mark.parametrize("codec", [CODEC, RawCodec()])
def test_of_the_protocol_nothing_is_told(codec: RawCodec) -> None:
    assert codec.notice("$joined", "a", b"{}") == b""
    assert codec.reply(1, b"{}") == b""
    assert codec.pong(None) == b""
    assert codec.error(1, CommandError("forbidden")) == b""


def test_a_raw_message_survives_the_way_in() -> None:
    frame = bytearray(encode_frame(Opcode.TEXT, b"hi"))
    # As a client sends it: masked, here with zeros.
    frame[1] |= 0x80
    frame[2:2] = bytes(4)
    ((opcode, data),) = FrameReader(max_message=100, max_fragments=10).feed(bytes(frame))
    assert CODEC.publication(Publication("a", "message", text_payload(data))) == (opcode, b"hi")
