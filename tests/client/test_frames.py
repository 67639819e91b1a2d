"""What stands in a frame: it comes out as it went in, and positions speak only of their own epoch."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openline.client.frames import Frame, UnreadableError, covers, read, same_epoch, unwrap, wrap, write
from openline.errors import CommandError

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
NUMBERS = st.integers(-(2**53) + 1, 2**53 - 1) | st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXT, lambda x: st.lists(x) | st.dictionaries(TEXT, x), max_leaves=20
)


def carried(payload: Any) -> Any:
    frame = read(write({"type": "note", **wrap(payload)}).decode())
    assert frame is not None
    return unwrap(frame)


@given(JSON)
def test_any_json_arrives_as_it_left(payload: Any) -> None:
    assert carried(payload) == payload


@given(st.binary())
def test_bytes_arrive_as_bytes(payload: bytes) -> None:
    assert carried(payload) == carried(bytearray(payload)) == carried(memoryview(payload)) == payload


@given(st.text())
def test_whatever_comes_is_a_frame_or_none(text: str) -> None:
    assert read(text) is None or isinstance(read(text), Frame)


@given(JSON)
def test_whatever_json_comes_is_a_frame_or_none(value: Any) -> None:
    assert read(json.dumps(value)) is None or isinstance(read(json.dumps(value)), Frame)


def test_what_claims_to_be_base64_and_is_not_stays_the_text_it_is() -> None:
    for payload in ("?", "AAA", 1, None):
        frame = read(json.dumps({"type": "note", "payload": payload, "encoding": "base64"}))
        assert frame is not None
        assert unwrap(frame) == payload


def test_a_number_that_no_float_holds_is_unreadable() -> None:
    frame = read('{"type":"note","payload":1e999}')
    assert frame is not None
    with pytest.raises(UnreadableError):
        unwrap(frame)


@pytest.mark.parametrize("payload", ["\ud800", 2**53, object(), {"a": [2**64]}])
def test_what_no_server_could_read_is_not_written(payload: Any) -> None:
    with pytest.raises(CommandError, match="bad_payload"):
        write({"type": "note", "payload": payload})


@given(st.integers(0, 2**53 - 1), st.integers(0, 2**53 - 1))
def test_who_stands_at_a_position_has_seen_what_is_not_behind_it(one: int, other: int) -> None:
    assert covers(f"e.{one}", f"e.{other}") == (other <= one)
    assert not covers(f"e.{one}", f"f.{other}")
    assert not covers(None, f"e.{other}")
    assert not covers("made up", f"e.{other}")
    assert same_epoch(f"e.{one}", f"e.{other}")
    assert not same_epoch(f"e.{one}", f"f.{one}")
