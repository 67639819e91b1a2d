"""What JSON may pass: values that every parser on every door can read (``spec/protocol.md``, section 1)."""

import math
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import msgspec

from openline.errors import CommandError, ErrorCode

__all__ = ["MAX_DEPTH", "check_json", "encode_json"]

MAX_DEPTH: Final = 64
_MAX_INTEGER: Final = 2**53 - 1
# Escapes may hide a lone surrogate, sixteen digits an integer beyond 2**53, an exponent of three digits an infinity.
_SUSPECT: Final = re.compile(rb"\\u[dD]|\d{16}|[eE][+-]?\d{3}")
_decode: Final = msgspec.json.Decoder().decode
_encode: Final = msgspec.json.Encoder().encode


def check_json(data: bytes) -> bytes:
    """``data``, whose syntax has been checked, where it is within the limits.

    Raises :class:`CommandError` (``bad_message``) where it is not. Costs a scan; only what looks suspicious is decoded.
    """
    if data.count(b"[") + data.count(b"{") > MAX_DEPTH or _SUSPECT.search(data) is not None:
        try:
            _check_value(_decode(data))
        except (msgspec.DecodeError, RecursionError) as error:
            raise CommandError(
                ErrorCode.BAD_MESSAGE, "The payload is not JSON that every client can read.", field="payload"
            ) from error
    return data


def encode_json(value: Any) -> bytes:
    """``value`` as JSON text within the limits.

    Takes what msgspec encodes: builtins, Structs, dataclasses, dates, enums, UUIDs. Raises :class:`TypeError` or
    :class:`ValueError` for what is no such value.
    """
    try:
        data = _encode(value)
    except RecursionError:
        raise ValueError("the value is nested too deep") from None
    except UnicodeEncodeError:
        raise ValueError("a string holds a lone surrogate") from None
    try:
        return check_json(data)
    except CommandError as error:
        raise ValueError(error.message) from None


_INSIDE: Final[Mapping[type, Callable[[Any], Iterable[Any]]]] = {dict: lambda item: item.values(), list: iter}


def _check_value(value: Any) -> None:
    level: list[Any] = [value]
    depth = 0
    while level:
        deeper: list[Any] = []
        nested = False
        for item in level:
            inside = _INSIDE.get(item.__class__)
            if inside is not None:
                nested = True
                deeper.extend(inside(item))
            elif (isinstance(item, int) and abs(item) > _MAX_INTEGER) or (
                isinstance(item, float) and not math.isfinite(item)
            ):
                raise CommandError(ErrorCode.BAD_MESSAGE, "A number lies outside ±(2**53 - 1).", field="payload")
        depth += nested
        if depth > MAX_DEPTH:
            raise CommandError(
                ErrorCode.BAD_MESSAGE, f"The payload is nested more than {MAX_DEPTH} deep.", field="payload"
            )
        level = deeper
