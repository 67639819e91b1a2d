"""Refusals over HTTP: problem details (RFC 9457) with the codes of ``errors.py``."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

import msgspec

from openline.errors import CommandError, ErrorCode, RequestRefused
from openline.model import JsonBytes

__all__ = ["CONTENT_TYPE", "Problem", "problem", "refused", "status_of"]

CONTENT_TYPE: Final = "application/problem+json"

#: What is not here is the application's own refusal, or a mistake in the request: 400.
_STATUS: Final[Mapping[str, int]] = {
    ErrorCode.UNKNOWN_EVENT: 404,
    ErrorCode.UNKNOWN_LINE: 404,
    ErrorCode.NOT_FOUND: 404,
    ErrorCode.BAD_METHOD: 405,
    ErrorCode.BAD_CONTENT_TYPE: 415,
    ErrorCode.TOO_SLOW: 408,
    ErrorCode.UNAUTHORIZED: 401,
    ErrorCode.FORBIDDEN: 403,
    ErrorCode.GAP: 410,
    ErrorCode.TOO_MANY: 429,
    ErrorCode.TOO_LARGE: 413,
    ErrorCode.FAILED: 500,
    ErrorCode.UNAVAILABLE: 503,
}
_REFUSED: Final[Mapping[int, str]] = {403: ErrorCode.FORBIDDEN}


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """Why a request was turned down.

    ``code`` is a stable word, ``detail`` is for people, ``field`` names what was wrong, ``retry`` says that the same
    may succeed later.
    """

    type: str = "about:blank"
    title: str
    status: int
    code: str
    detail: str
    field: str | msgspec.UnsetType = msgspec.UNSET
    retry: bool | msgspec.UnsetType = msgspec.UNSET


def status_of(error: CommandError) -> int:
    """The HTTP status that goes with an error."""
    return _STATUS.get(error.code, 400)


def problem(error: CommandError, **more: Any) -> JsonBytes:
    """The JSON of a :class:`Problem`, with ``more`` members."""
    status = status_of(error)
    said = Problem(
        title=HTTPStatus(status).phrase,
        status=status,
        code=_text(error.code),
        detail=_text(error.message),
        field=msgspec.UNSET if error.field is None else _text(error.field),
        retry=error.retry or msgspec.UNSET,
    )
    return msgspec.json.encode(msgspec.to_builtins(said) | more)


def refused(error: RequestRefused) -> CommandError:
    """What the gate said, as an error with a code."""
    return CommandError(_REFUSED.get(error.status, ErrorCode.BAD_MESSAGE), error.reason.rstrip("\n"))


def _text(text: str) -> str:
    """``text`` without lone surrogates: an application's errors may quote file names and the like."""
    return text.encode("utf-8", "replace").decode()
