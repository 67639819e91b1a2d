"""What JSON may pass: values that every parser on every door can read (``spec/protocol.md``, section 1)."""

import math
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import msgspec

from openline.accelerator import native
from openline.errors import CommandError, ErrorCode

__all__ = ["MAX_DEPTH", "MAX_HUGE", "check_json", "encode_json", "has_too_huge", "is_suspect", "is_suspect_in_python"]

MAX_DEPTH: Final = 64
#: How many numbers may be beyond 1e100: decoding one that is close to the greatest takes as long as hundreds of others.
MAX_HUGE: Final = 256
_MAX_INTEGER: Final = 2**53 - 1
_HUGE: Final = re.compile(rb"[eE]\+?0*[1-3][0-9]{2}")
# Escapes may hide a lone surrogate, sixteen digits an integer beyond 2**53, an exponent of three digits an infinity,
# more brackets than a value may be deep a value that is deeper.
_SUSPECT: Final = re.compile(rb"\\u[dD]|\d{16}|[eE][+-]?\d{3}")
_TOKEN: Final = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[\[\]{}]|-?[0-9][0-9.eE+-]*')
_TOO_DEEP: Final = f"The payload is nested more than {MAX_DEPTH} deep."
_decode: Final = msgspec.json.Decoder().decode
_encode: Final = msgspec.json.Encoder().encode


# Before the pattern is looked for, letters that it does not contain are taken out, which is far quicker than to look
# through them. It cannot hide anything; what it brings together is looked at once more.
_INNOCENT: Final = bytes(set(b" abcfghijklmnopqrstvwxyzABCFGHIJKLMNOPQRSTUVWXYZ") | set(range(0x80, 0x100)))


def is_suspect_in_python(data: bytes) -> bool:
    """Whether JSON text may hold what not every parser can read; False is certain."""
    return data.count(b"[") + data.count(b"{") > MAX_DEPTH or (
        _SUSPECT.search(data.translate(None, _INNOCENT)) is not None and _SUSPECT.search(data) is not None
    )


is_suspect = is_suspect_in_python if native is None else native.is_suspect


def has_too_huge(data: bytes) -> bool:
    """Whether JSON text holds more than :data:`MAX_HUGE` numbers that are written with an exponent of 100 or more."""
    # Text in which so many have no room is not looked at.
    return len(data) >= 5 * MAX_HUGE and is_suspect(data) and _has_too_huge(data)


def _has_too_huge(suspect: bytes) -> bool:
    # Text in strings is told apart only where there might be too many.
    if len(_HUGE.findall(suspect)) <= MAX_HUGE:
        return False
    numbers = (match[0] for match in _TOKEN.finditer(suspect) if match[0][:1] != b'"')
    return sum(_HUGE.search(number) is not None for number in numbers) > MAX_HUGE


def check_json(data: bytes) -> bytes:
    """``data``, whose syntax has been checked, where it is within the limits.

    Raises :class:`CommandError` (``bad_message``) where it is not. Costs a scan; only what looks suspicious is read.
    """
    if is_suspect(data):
        if _has_too_huge(data):
            message = f"A payload has {MAX_HUGE} numbers beyond 1e100 at most."
            raise CommandError(ErrorCode.BAD_MESSAGE, message, field="payload")
        _check_suspect(data)
    return data


def _check_suspect(data: bytes) -> None:
    try:
        # Finds lone surrogates and infinities.
        _decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        message = "The payload is not JSON that every client can read."
        raise CommandError(ErrorCode.BAD_MESSAGE, message, field="payload") from error
    _check_tokens(data)


_FINITE: Final = frozenset((str, int, bool, type(None)))


def encode_json(value: Any) -> bytes:
    """``value`` as JSON text within the limits.

    Takes what msgspec encodes: builtins, Structs, dataclasses, dates, enums, UUIDs. Raises :class:`TypeError` or
    :class:`ValueError` for what is no such value.
    """
    try:
        data = _encode(value)
        # find() is the quickest way to ask, and the commonest values need not be asked.
        if value.__class__ not in _FINITE and data.find(b"null") >= 0:
            _check_finite(value)
    except RecursionError:
        raise ValueError("the value is nested too deep") from None
    except UnicodeEncodeError:
        raise ValueError("a string holds a lone surrogate") from None
    if is_suspect(data):
        try:
            _check_suspect(data)
        except CommandError as error:
            raise ValueError(error.message) from None
    return data


def _check_tokens(data: bytes) -> None:
    """In the text, not in values: of a key that stands twice a value holds only the last."""
    depth = 0
    for match in _TOKEN.finditer(data):
        token = match[0]
        if token in (b"[", b"{"):
            depth += 1
            if depth > MAX_DEPTH:
                raise CommandError(ErrorCode.BAD_MESSAGE, _TOO_DEEP, field="payload")
        elif token in (b"]", b"}"):
            depth -= 1
        elif token.removeprefix(b"-").isdigit() and (len(token) > 17 or abs(int(token)) > _MAX_INTEGER):
            raise CommandError(ErrorCode.BAD_MESSAGE, "A number lies outside ±(2**53 - 1).", field="payload")


_INSIDE: Final[Mapping[type, Callable[[Any], Iterable[Any]]]] = {
    dict: lambda item: item.values(),
    list: lambda item: item,
    tuple: lambda item: item,
}


def _check_finite(value: Any) -> None:
    """JSON has no word for NaN and infinity: the encoder writes null, which is not what was meant."""
    # What is JSON already (msgspec.Raw) is let be.
    waiting: list[Any] = [msgspec.to_builtins(value, enc_hook=lambda _: None)]
    while waiting:
        item = waiting.pop()
        if isinstance(item, float) and not math.isfinite(item):
            raise ValueError(f"{item} is no number in JSON")
        inside = _INSIDE.get(item.__class__)
        if inside is not None:
            waiting.extend(inside(item))
