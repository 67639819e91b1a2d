"""Bytes inside of JSON: taken out and stood for by placeholders, put back, or shown to clients that take only text.

The placeholders are Socket.IO's (its protocol 5, "Binary attachments"): ``{"_placeholder": true, "num": 0}``.
"""

import base64
from collections.abc import Callable, Sequence
from typing import Any, Final, cast

import msgspec

from openline.model import JsonBytes

__all__ = ["MAX_ATTACHMENTS", "put_back", "show_attachments", "take_out"]

#: Of one event or acknowledgement: with more, the stock client's parser (4.2.7) ends its connection.
MAX_ATTACHMENTS: Final = 10
_MARK: Final = "_placeholder"
_BYTES: Final = (bytes, bytearray, memoryview)
_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder().decode


def take_out(value: Any) -> tuple[Any, tuple[bytes, ...]]:
    """``value`` with placeholders for the bytes in it, and these in order.

    Without any, ``value`` itself comes back. Raises :class:`ValueError` where there are more than
    :data:`MAX_ATTACHMENTS` or something in it would pass for a placeholder, :class:`TypeError` for what JSON cannot
    hold, :class:`RecursionError` for what is nested too deep.
    """
    if not _may_hold_bytes(value):
        return value, ()
    plain = msgspec.to_builtins(value, builtin_types=_BYTES)
    found: list[bytes] = []

    def swap(item: Any) -> Any:
        found.append(bytes(item))
        return {_MARK: True, "num": len(found) - 1}

    swapped = _rebuilt(plain, lambda item: isinstance(item, _BYTES), swap)
    if not found:
        return value, ()
    if len(found) > MAX_ATTACHMENTS:
        raise ValueError(f"an event has {MAX_ATTACHMENTS} attachments of bytes at most, this one has {len(found)}")
    _refuse_lookalikes(plain)
    return swapped, tuple(found)


def _may_hold_bytes(value: Any) -> bool:
    """Whether it is worth the walk: most payloads are flat, and made of what certainly holds none."""
    if isinstance(value, dict):
        return not all(isinstance(item, (str, int, float)) for item in cast("dict[Any, Any]", value).values())
    if isinstance(value, (list, tuple)):
        return not all(isinstance(item, (str, int, float)) for item in cast("Sequence[Any]", value))
    return value is not None and not isinstance(value, (str, int, float))


def _refuse_lookalikes(value: Any) -> None:
    def refuse(item: Any) -> Any:
        raise ValueError(f"{_MARK!r} stands for bytes; data beside bytes cannot hold it")

    _rebuilt(value, _is_placeholder, refuse)


def _is_placeholder(item: Any) -> bool:
    return isinstance(item, dict) and cast("dict[Any, Any]", item).get(_MARK) is True


def put_back(value: Any, attachments: Sequence[Any]) -> Any:
    """``value`` with its placeholders replaced by ``attachments``; raises :class:`ValueError` for a bad one."""

    def look_up(item: Any) -> Any:
        number = item.get("num")
        if number.__class__ is not int or not 0 <= number < len(attachments):
            raise ValueError("a placeholder names no attachment")
        return attachments[number]

    return _rebuilt(value, _is_placeholder, look_up)


def show_attachments(payload: JsonBytes, attachments: Sequence[bytes]) -> JsonBytes:
    """``payload`` as clients see it that take no attachments: ``{"$bytes": BASE64}`` in their places."""
    shown = [{"$bytes": base64.b64encode(data).decode()} for data in attachments]
    return _encode(put_back(_decode(payload), shown))


def _rebuilt(value: Any, chosen: Callable[[Any], bool], swap: Callable[[Any], Any]) -> Any:
    """``value``, made of builtins, with what is ``chosen`` swapped, depth first; nothing is changed in place."""
    if chosen(value):
        return swap(value)
    if isinstance(value, dict):
        return {key: _rebuilt(item, chosen, swap) for key, item in cast("dict[Any, Any]", value).items()}
    if isinstance(value, (list, tuple)):
        return [_rebuilt(item, chosen, swap) for item in cast("Sequence[Any]", value)]
    return value
