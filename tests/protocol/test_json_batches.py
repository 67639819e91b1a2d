"""Several JSON commands in one message: an array is its elements, in order."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.protocol.values import VALUES

from openline.errors import CommandError, ErrorCode
from openline.protocol.commands import Misfit
from openline.protocol.json_codec import MOST_AT_ONCE, decode_command, read_command, split_batch


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


def test_an_array_has_so_many_commands_at_most() -> None:
    assert len(split_batch(b"[%b]" % b",".join([b"1"] * MOST_AT_ONCE))) == MOST_AT_ONCE
    with pytest.raises(CommandError, match="1000 commands at most"):
        split_batch(b"[%b]" % b",".join([b"1"] * (MOST_AT_ONCE + 1)))


def test_what_is_no_command_keeps_nothing_of_where_that_was_found() -> None:
    misfit = read_command(b'{"type":"a","id":5,"key":1}')
    assert isinstance(misfit, Misfit)
    assert (misfit.id, misfit.error.code, misfit.error.field) == (5, ErrorCode.BAD_FIELD, "key")
    assert misfit.error.__traceback__ is misfit.error.__cause__ is misfit.error.__context__ is None
