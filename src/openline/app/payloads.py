"""Payloads as handlers want them: checked by the annotation, refused with the field and the reason."""

import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final, Protocol, get_args

import msgspec

from openline.errors import CommandError, ErrorCode
from openline.model import JsonBytes
from openline.protocol.attachments import put_back

__all__ = ["Reader", "payload_reader", "quick_decoder"]


class Reader(Protocol):
    """Makes a payload what a handler wants; raises :class:`CommandError` (``bad_payload``) where it does not fit."""

    def __call__(self, payload: JsonBytes, binary: bool, attachments: Sequence[bytes] = ()) -> Any:  # noqa: FBT001
        """``payload`` is plain bytes where ``binary`` says so; placeholders in it stand for ``attachments``."""
        ...


_WHERE: Final = re.compile(r" - at `\$\.?([^`]*)`$")


def payload_reader(kind: Any) -> Reader:
    """A function from a payload to a value of ``kind``.

    ``kind`` is what msgspec decodes (builtins, Structs, dataclasses, TypedDicts, …), a pydantic model or something made
    of them where pydantic is installed, ``bytes``, or Any. The function raises :class:`CommandError` (``bad_payload``,
    with the field) for what does not fit; this one raises :class:`TypeError` for a type that cannot be checked.
    """
    if kind is bytes:
        return _read_bytes
    if _has_pydantic(kind):
        decode, convert = _by_pydantic(kind)
    else:
        decode = partial(_by_msgspec, msgspec.json.Decoder(kind).decode)
        convert = partial(_by_msgspec, partial(msgspec.convert, type=kind))
    return partial(_read, decode, convert, kind is Any)


def quick_decoder(kind: Any) -> Callable[[JsonBytes], Any] | None:
    """What decodes JSON to ``kind``, raising anything where it does not fit; None where only the reader can."""
    return None if kind is bytes or _has_pydantic(kind) else msgspec.json.Decoder(kind).decode


def _read_bytes(payload: bytes, binary: bool, attachments: Sequence[bytes] = ()) -> bytes:  # noqa: FBT001
    value = _attached(payload, attachments) if attachments else payload
    if not (binary or (isinstance(value, bytes) and attachments)):
        raise CommandError(ErrorCode.BAD_PAYLOAD, 'Expected bytes ("encoding": "base64").', field="payload")
    return value


def _read(
    decode: Callable[[bytes], Any],
    convert: Callable[[Any], Any],
    takes_bytes: bool,  # noqa: FBT001
    payload: bytes,
    binary: bool,  # noqa: FBT001
    attachments: Sequence[bytes] = (),
) -> Any:
    if attachments:
        return convert(_attached(payload, attachments))
    if not binary:
        return decode(payload)
    if takes_bytes:
        return payload
    raise CommandError(ErrorCode.BAD_PAYLOAD, "Expected JSON, got bytes.", field="payload")


def _attached(payload: JsonBytes, attachments: Sequence[bytes]) -> Any:
    try:
        return put_back(msgspec.json.decode(payload), attachments)
    except (msgspec.MsgspecError, RecursionError, ValueError) as error:
        raise _misfit("The payload and its attachments do not fit", "") from error


def _by_msgspec(read: Callable[[Any], Any], payload: Any) -> Any:
    try:
        return read(payload)
    except (msgspec.MsgspecError, RecursionError, ValueError) as error:
        text = str(error)
        where = _WHERE.search(text)
        raise _misfit(text if where is None else text[: where.start()], "" if where is None else where[1]) from error


def _has_pydantic(kind: Any) -> bool:
    return hasattr(kind, "model_validate_json") or any(map(_has_pydantic, get_args(kind)))


def _by_pydantic(kind: Any) -> tuple[Callable[[JsonBytes], Any], Callable[[Any], Any]]:
    """How to read JSON, and how to read Python values."""
    # Only who annotates with a model of pydantic's has it, and needs it.
    from pydantic import TypeAdapter, ValidationError  # noqa: PLC0415

    adapter: Any = TypeAdapter(kind)

    def checked(validate: Callable[[Any], Any], payload: Any) -> Any:
        try:
            return validate(payload)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False, include_context=False)[0]
            raise _misfit(first["msg"], ".".join(map(str, first["loc"]))) from error

    return partial(checked, adapter.validate_json), partial(checked, adapter.validate_python)


def _misfit(reason: str, place: str) -> CommandError:
    joint = "." if place and not place.startswith("[") else ""
    return CommandError(ErrorCode.BAD_PAYLOAD, f"{reason}.", field=f"payload{joint}{place}")
