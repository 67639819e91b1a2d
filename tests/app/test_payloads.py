"""Payloads are checked by the annotation, whichever kind it is, and what does not fit is named."""

from dataclasses import dataclass
from typing import Any, TypedDict

import msgspec
import pydantic
import pytest

from openline.app.payloads import payload_reader
from openline.errors import CommandError


class InStruct(msgspec.Struct):
    name: str
    age: int


@dataclass
class InDataclass:
    name: str
    age: int


class InTypedDict(TypedDict):
    name: str
    age: int


class InPydantic(pydantic.BaseModel):
    name: str
    age: int = pydantic.Field(ge=0)


KINDS = [InStruct, InDataclass, InTypedDict, InPydantic]


@pytest.mark.parametrize("kind", KINDS)
def test_a_payload_that_fits_becomes_a_value_of_the_type(kind: Any) -> None:
    value = payload_reader(kind)(b'{"name": "ada", "age": 36}', False)
    assert (value["age"] if kind is InTypedDict else value.age) == 36
    assert isinstance(value, dict if kind is InTypedDict else kind)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("payload", "field"),
    [(b'{"name": "ada", "age": "old"}', "payload.age"), (b"[]", "payload"), (b'{"name": 1, "age": 1}', "payload.name")],
)
def test_a_payload_that_does_not_fit_is_refused_by_field(kind: Any, payload: bytes, field: str) -> None:
    with pytest.raises(CommandError) as refusal:
        payload_reader(kind)(payload, False)
    assert (refusal.value.code, refusal.value.field) == ("bad_payload", field)
    assert "object at 0x" not in refusal.value.message


def test_places_inside_lists_are_named() -> None:
    with pytest.raises(CommandError) as refusal:
        payload_reader(list[InPydantic])(b'[{"name": "ada", "age": 1}, {"name": "bob", "age": -1}]', False)
    assert refusal.value.field == "payload.1.age"
    with pytest.raises(CommandError) as refusal:
        payload_reader(list[int])(b'[1, "two"]', False)
    assert (refusal.value.field or "").startswith("payload[")


def test_bytes_go_only_where_bytes_are_wanted() -> None:
    assert payload_reader(bytes)(b"\x00", True) == b"\x00"
    assert payload_reader(Any)(b"\x00", True) == b"\x00"
    assert payload_reader(Any)(b"[1]", False) == [1]
    for kind, payload, binary in ((bytes, b"[1]", False), (str, b"\x00", True)):
        with pytest.raises(CommandError):
            payload_reader(kind)(payload, binary)


def test_a_type_that_cannot_be_checked_is_an_error_at_once() -> None:
    with pytest.raises(TypeError):
        payload_reader(dict[tuple[int, ...], int] | list[set[Any]] | tuple[int])
