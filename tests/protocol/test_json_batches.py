"""Several JSON commands in one message: an array is its elements, in order."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.protocol.values import VALUES

from openline.errors import CommandError, ErrorCode
from openline.protocol.json_codec import decode_command, split_batch


@given(st.lists(VALUES, min_size=1, max_size=5), st.sampled_from(["", " ", "\r\n\t "]))
def test_an_array_is_its_elements_in_order_whatever_they_are(values: list[Any], space: str) -> None:
    parts = split_batch((space + json.dumps(values, indent=1)).encode())
    assert [json.loads(part) for part in parts] == values


@pytest.mark.parametrize("data", [b"{}", b" {", b"", b"1", b'"["', b"\x00[", b"\xff"])
def test_what_is_no_array_is_one_command_to_be_judged_as_it_is(data: bytes) -> None:
    assert split_batch(data) == [data]


@pytest.mark.parametrize(
    "data", [b"[", b"[]", b" [ \n] ", b"[1,]", b"[1}", b"[1] 2", b"[" * 100_000, b"[" * 5000 + b"]" * 5000]
)
def test_an_array_that_is_no_json_or_empty_is_a_bad_message(data: bytes) -> None:
    with pytest.raises(CommandError) as caught:
        for part in split_batch(data):
            decode_command(part)
    assert caught.value.code == ErrorCode.BAD_MESSAGE
