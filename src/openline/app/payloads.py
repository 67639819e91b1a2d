"""Payloads as handlers want them: checked by the annotation, refused with the field and the reason."""

import re
from collections.abc import Callable
from functools import partial
from typing import Any, Final, cast, get_args

import msgspec

from openline.errors import CommandError, ErrorCode
from openline.model import JsonBytes

__all__ = ["payload_reader"]

_WHERE: Final = re.compile(r" - at `\$\.?([^`]*)`$")


def payload_reader(kind: Any) -> Callable[[JsonBytes, bool], Any]:
    """A function from a payload, and whether it is plain bytes, to a value of ``kind``.

    ``kind`` is what msgspec decodes (builtins, Structs, dataclasses, TypedDicts, …), a pydantic model or something made
    of them where pydantic is installed, ``bytes``, or Any. The function raises :class:`CommandError` (``bad_payload``,
    with the field) for what does not fit; this one raises :class:`TypeError` for a type that cannot be checked.
    """
    if kind is bytes:
        return _read_bytes
    decode = _by_pydantic(kind) if _has_pydantic(kind) else partial(_by_msgspec, msgspec.json.Decoder(kind).decode)
    return partial(_read, decode, kind is Any)


def _read_bytes(payload: bytes, binary: bool) -> bytes:  # noqa: FBT001
    if not binary:
        raise CommandError(ErrorCode.BAD_PAYLOAD, 'Expected bytes ("encoding": "base64").', field="payload")
    return payload


def _read(decode: Callable[[bytes], Any], takes_bytes: bool, payload: bytes, binary: bool) -> Any:  # noqa: FBT001
    if not binary:
        return decode(payload)
    if takes_bytes:
        return payload
    raise CommandError(ErrorCode.BAD_PAYLOAD, "Expected JSON, got bytes.", field="payload")


def _by_msgspec(decode: Callable[[bytes], Any], payload: JsonBytes) -> Any:
    try:
        return decode(payload)
    except (msgspec.MsgspecError, RecursionError, ValueError) as error:
        text = str(error)
        where = _WHERE.search(text)
        raise _misfit(text if where is None else text[: where.start()], "" if where is None else where[1]) from error


def _has_pydantic(kind: Any) -> bool:
    return hasattr(kind, "model_validate_json") or any(map(_has_pydantic, get_args(kind)))


def _by_pydantic(kind: Any) -> Callable[[JsonBytes], Any]:
    # Only who annotates with a model of pydantic's has it, and needs it.
    from pydantic import TypeAdapter, ValidationError  # noqa: PLC0415

    validate = cast("Callable[[bytes], Any]", TypeAdapter(kind).validate_json)

    def decode(payload: JsonBytes) -> Any:
        try:
            return validate(payload)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False, include_context=False)[0]
            raise _misfit(first["msg"], ".".join(map(str, first["loc"]))) from error

    return decode


def _misfit(reason: str, place: str) -> CommandError:
    joint = "." if place and not place.startswith("[") else ""
    return CommandError(ErrorCode.BAD_PAYLOAD, f"{reason}.", field=f"payload{joint}{place}")
