"""JSON that every parser on every door can read: what goes beyond is refused, wherever it hides."""

import json
import math
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openline.errors import CommandError
from openline.protocol import strict_json
from openline.protocol.strict_json import MAX_HUGE, check_json, encode_json, has_too_huge

MAX = 2**53 - 1
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
SCALARS = st.none() | st.booleans() | st.integers(-MAX, MAX) | st.floats(allow_nan=False, allow_infinity=False) | TEXTS
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4), max_leaves=20
)


def nested(depth: int, opening: bytes = b"[", closing: bytes = b"]") -> bytes:
    return opening * depth + b"1" + closing * depth


def refused(data: bytes) -> bool:
    try:
        check_json(data)
    except CommandError as error:
        return (error.code, error.field) == ("bad_message", "payload")
    return False


@given(VALUES)
def test_what_is_within_the_limits_is_taken_as_it_is_and_comes_out_as_it_went_in(value: Any) -> None:
    for data in (json.dumps(value).encode(), json.dumps(value, ensure_ascii=False).encode()):
        assert check_json(data) is data
    assert json.loads(encode_json(value)) == value


@given(VALUES, st.sampled_from([MAX + 1, -MAX - 1, 2**64, -(2**80), 10**30]))
def test_an_integer_that_not_every_parser_can_hold_is_refused_anywhere(value: Any, number: int) -> None:
    for holder in (number, [value, number], {"a": [{"b": number}], "z": value}):
        assert refused(json.dumps(holder).encode())
        with pytest.raises(ValueError, match="outside"):
            encode_json(holder)


@pytest.mark.parametrize(
    "text",
    [
        "1e400",
        "-1e400",
        "[1E+400]",
        "1" + "0" * 400 + ".5",
        "0.1e99999",
        "9" * 100_000,
        r'"\ud800"',
        r'"a\uDC00"',
        r'"\udc00\ud800"',
        r'{"\udfff":1}',
        r'["\\\ud800"]',
    ],
)
def test_what_not_every_parser_can_read_is_refused(text: str) -> None:
    assert refused(text.encode())
    assert refused(
        b"[1,{" + b'"a":' + text.encode() + b"}]" if not text.startswith("{") else b"[" + text.encode() + b"]"
    )


@pytest.mark.parametrize(
    "text",
    [
        str(MAX),
        str(-MAX),
        "1e300",
        "1e-999",
        "9007199254740993.5",
        '"9007199254740993"',
        '"1e400"',
        r'"😀"',
        r'"\uD83D\uDE00"',
        r'"\\ud800"',
        r'"\"9007199254740993"',
        "-0.0",
    ],
)
def test_what_only_looks_like_it_is_taken(text: str) -> None:
    assert not refused(text.encode())


def test_64_levels_are_taken_and_65_are_not_however_they_are_made() -> None:
    for opening, closing in ((b"[", b"]"), (b'{"a":', b"}"), (b'[{"a":', b"}]")):
        levels = 64 if len(opening) < 6 else 32
        assert not refused(nested(levels, opening, closing))
        assert refused(nested(levels + 1, opening, closing))
        assert refused(b"[" + nested(levels, opening, closing) + b"]")
    assert refused(nested(100_000))
    assert not refused(b"[" + b",".join([nested(63)] * 100) + b"]")
    assert not refused(json.dumps("[{" * 5000).encode())
    assert not refused(b'["\\"' + b"[" * 100 + b'\\\\",1]')


@pytest.mark.parametrize(
    "hidden",
    [nested(65), nested(500), b"9007199254740992", b"1" * 50, b"1e400", rb'"\ud800"', nested(65, b'{"a":', b"}")],
)
def test_what_hides_behind_a_key_that_stands_twice_is_refused_too(hidden: bytes) -> None:
    assert refused(b'{"a":' + hidden + b',"a":1}')
    assert refused(b'[{"b":{"a":' + hidden + b',"a":1}}]')


@dataclass
class Place:
    x: float
    y: float | None = None


class Report(msgspec.Struct):
    values: Any


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_nan_and_infinity_are_refused_instead_of_becoming_null(number: float) -> None:
    for value in (number, [1, number], {"a": {"b": (number,)}}, Place(number), Report([Place(1.0, number)])):
        with pytest.raises(ValueError, match="no number"):
            encode_json(value)


def test_null_is_still_null() -> None:
    assert encode_json([None, Place(1.0), Report(None), msgspec.Raw(b'{"null":null}'), "null"]) == (
        b'[null,{"x":1.0,"y":null},{"values":null},{"null":null},"null"]'
    )


def test_values_that_json_cannot_hold_are_errors_that_say_so() -> None:
    circle: list[Any] = []
    circle.append(circle)
    for value in (circle, "\ud800", {"\udc00": 1}, ["a\ud800b"], json.loads(nested(65))):
        with pytest.raises(ValueError):
            encode_json(value)
    for other in (object(), {(1, 2): 3}, 1j):
        with pytest.raises(TypeError):
            encode_json(other)


def test_bytes_that_are_no_text_are_refused_where_they_are_looked_at() -> None:
    assert refused(b'["\xee",1e999]')
    assert refused(b'{"\xee":"\\ud83d\\ude00"}')


@pytest.mark.parametrize("number", [b"1.5e300", b"-1E+290", b"12e0308", b"1e100"])
def test_a_payload_has_so_many_numbers_that_take_long_to_read_and_no_more(number: bytes) -> None:
    most, more = (b"[%b]" % b",".join([number] * count) for count in (MAX_HUGE, MAX_HUGE + 1))
    assert (has_too_huge(most), has_too_huge(more)) == (False, True)
    assert refused(more)
    assert not refused(b"[1e99,%b]" % b",".join([b"1e300"] * MAX_HUGE))


def test_what_is_suspect_is_found_to_be_so_once(monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[bytes] = []
    monkeypatch.setattr(strict_json, "is_suspect", lambda data: (looks.append(data), True)[1])
    check_json(b"[%b]" % b",".join([b"1e300"] * MAX_HUGE))
    assert len(looks) == 1


def test_what_looks_like_such_a_number_in_a_string_or_is_small_is_none() -> None:
    texts = [json.dumps("e300 1e300" * 1000), json.dumps(["1e300"] * 1000), json.dumps([1e-300, 1e99, 2300] * 1000)]
    assert [has_too_huge(text.encode()) for text in texts] == [False] * 3
    assert encode_json([1e300] * 1000) == json.dumps([1e300] * 1000).replace("e+", "e").replace(" ", "").encode()
