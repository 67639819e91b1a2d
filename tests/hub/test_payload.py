"""What the application says, as it travels."""

import json
from typing import Any

import pytest

from openline.hub.payload import MAX_PAYLOAD_BYTES, Payload


def test_one_value_is_json_bytes_or_json_with_attachments() -> None:
    assert Payload.of({"a": 1}) == Payload(b'{"a":1}')
    assert Payload.of(bytearray(b"x")) == Payload(b"x", binary=True)
    found = Payload.of({"a": b"x"})
    assert (json.loads(found.data), found.attachments) == ({"a": {"_placeholder": True, "num": 0}}, (b"x",))


@pytest.mark.parametrize(
    ("arguments", "data", "spread"),
    [
        ((), b"null", False),
        ((1,), b"1", False),
        (([1, 2],), b"[1,2]", False),
        ((None,), b"[null]", True),
        ((1, "b"), b'[1,"b"]', True),
    ],
)
def test_any_number_of_arguments_is_one_payload(arguments: tuple[Any, ...], data: bytes, spread: bool) -> None:
    assert Payload.of_arguments(arguments) == Payload(data, spread=spread)


def test_bytes_alone_are_a_payload_of_bytes_and_beside_others_attachments() -> None:
    assert Payload.of_arguments((b"x",)) == Payload(b"x", binary=True)
    assert Payload.of_arguments((b"x", 1)).attachments == (b"x",)


@pytest.mark.parametrize("value", ["x" * MAX_PAYLOAD_BYTES, b"x" * (MAX_PAYLOAD_BYTES + 1), [b"x" * MAX_PAYLOAD_BYTES]])
def test_what_would_not_fit_into_an_outbox_is_refused_with_its_attachments_counted(value: Any) -> None:
    with pytest.raises(ValueError, match="262144 bytes at most"):
        Payload.of(value)


def test_what_is_nested_beyond_measure_is_refused() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(ValueError, match="nested"):
        Payload.of(deep)
