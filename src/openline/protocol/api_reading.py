"""Reads what is asked of the backend API, and says what does not fit, and where."""

import re
from collections.abc import Mapping, Sequence
from typing import Final, TypeVar

import msgspec

from openline.errors import CommandError, ErrorCode
from openline.protocol.channel_name import GRAMMAR

__all__ = ["read_body", "read_query"]

T = TypeVar("T", bound=msgspec.Struct)
_WHERE: Final = re.compile(r" - at `\$\.?([^`]*)`$")
_QUOTED: Final = re.compile(r"`([^`]*)`")
_BAD_POSITION: Final = "A position looks like EPOCH.STAMP; give back one you received."
_EXPECTED: Final[Mapping[str, tuple[ErrorCode, str]]] = {
    "channel": (ErrorCode.BAD_CHANNEL, f"A channel name has {GRAMMAR}."),
    "pattern": (ErrorCode.BAD_CHANNEL, f"A pattern is a channel name ({GRAMMAR}), or the beginning of one and a *."),
    "since": (ErrorCode.BAD_POSITION, _BAD_POSITION),
    "before": (ErrorCode.BAD_POSITION, _BAD_POSITION),
    "type": (
        ErrorCode.BAD_FIELD,
        "An event's type has 1 to 128 characters, no control characters, and does not begin with $.",
    ),
    "encoding": (ErrorCode.BAD_FIELD, "The only encoding is base64."),
    "key": (
        ErrorCode.BAD_FIELD,
        "A key has 1 to 64 printable ASCII characters without quotes, and no blank around it.",
    ),
}


def read_body(data: bytes, kind: type[T]) -> T:
    """The request in a body.

    Raises :class:`CommandError`: ``bad_message`` where it is no JSON object, otherwise a code that goes with the
    field that does not fit, is missing, or is not known.
    """
    try:
        return msgspec.json.decode(data, type=kind)
    except msgspec.ValidationError as error:
        raise _misfit(str(error), kind) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise CommandError(ErrorCode.BAD_MESSAGE, f"The body is no JSON: {error}.") from error


def read_query(query: Mapping[str, Sequence[str]], kind: type[T]) -> T:
    """The request in a query; raises as :func:`read_body` does, also for a parameter that is there twice."""
    for name, values in query.items():
        if len(values) > 1:
            raise CommandError(ErrorCode.BAD_FIELD, f"`{name[:64]}` is there {len(values)} times.", field=name[:64])
    try:
        return msgspec.convert({name: values[0] for name, values in query.items()}, kind, strict=False)
    except msgspec.ValidationError as error:
        raise _misfit(str(error), kind) from error


def _misfit(text: str, kind: type[msgspec.Struct]) -> CommandError:
    where = _WHERE.search(text)
    if where is not None:
        field = where[1]
        code, message = _EXPECTED.get(field, (ErrorCode.BAD_FIELD, f"{text[: where.start()]}."))
        return CommandError(code, message, field=field)
    quoted = _QUOTED.search(text)
    if "unknown field" in text and quoted is not None:
        known = ", ".join(field.encode_name for field in msgspec.structs.fields(kind))
        name = quoted[1][:64]
        return CommandError(ErrorCode.BAD_FIELD, f"`{name}` is not known here; there is: {known}.", field=name)
    if "missing" in text and quoted is not None:
        return CommandError(ErrorCode.BAD_FIELD, f"`{quoted[1]}` is missing.", field=quoted[1])
    return CommandError(ErrorCode.BAD_MESSAGE, "The body is one JSON object.")
