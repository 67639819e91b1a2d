"""Bytes inside of JSON: out, back, and shown."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openline.protocol.attachments import MAX_ATTACHMENTS, put_back, show_attachments, take_out

LEAVES = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=5) | st.binary(max_size=5)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=MAX_ATTACHMENTS,
)


@given(VALUES)
def test_what_is_taken_out_and_put_back_is_what_it_was(value: Any) -> None:
    plain, attachments = take_out(value)
    assert put_back(json.loads(json.dumps(plain)), attachments) == value


def test_bytes_of_every_kind_are_found_however_deep_and_nothing_is_changed_in_place() -> None:
    value = {"a": [1, {"b": bytearray(b"x")}], "c": memoryview(b"y"), "d": (b"z",)}
    plain, attachments = take_out(value)
    assert attachments == (b"x", b"y", b"z")
    assert plain["a"][1]["b"] == {"_placeholder": True, "num": 0}
    assert value["a"][1]["b"] == bytearray(b"x")


@pytest.mark.parametrize("num", [-1, 2, 1.0, True, "0", None, [], 10**30])
def test_a_placeholder_that_names_no_attachment_is_refused(num: Any) -> None:
    with pytest.raises(ValueError, match="names no attachment"):
        put_back([{"_placeholder": True, "num": num}], (b"a", b"b"))


def test_what_would_pass_for_a_placeholder_is_refused_only_beside_bytes() -> None:
    lookalike = {"_placeholder": True, "num": 0}
    assert take_out([[lookalike]]) == ([[lookalike]], ())
    with pytest.raises(ValueError, match="stands for bytes"):
        take_out([[lookalike], b"x"])


def test_more_attachments_than_the_stock_client_takes_are_refused() -> None:
    ten = [b"x"] * MAX_ATTACHMENTS
    assert take_out(ten)[1] == tuple(ten)
    with pytest.raises(ValueError, match="10 attachments of bytes at most, this one has 11"):
        take_out([*ten, {"deeper": b""}])


def test_who_takes_no_attachments_is_shown_them_as_base64() -> None:
    plain, attachments = take_out({"picture": b"\x01\x02\x03", "name": "x"})
    shown = show_attachments(json.dumps(plain).encode(), attachments)
    assert json.loads(shown) == {"picture": {"$bytes": "AQID"}, "name": "x"}
