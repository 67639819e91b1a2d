"""The grammar of channel names, of patterns over them, and of event types (``spec/protocol.md``, section 1)."""

import re
from collections.abc import Iterable
from typing import Final

from openline.errors import CommandError, ErrorCode, SettingsError

__all__ = [
    "GRAMMAR",
    "INTERNAL",
    "NAME",
    "best_pattern",
    "check_channel",
    "check_event",
    "check_pattern",
    "is_channel",
    "require_channel",
    "require_event",
]

#: Control characters, and halves of surrogate pairs, which are no text.
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
#: As a regular expression; every dialect reads it alike.
NAME: Final = r"[A-Za-z0-9_][A-Za-z0-9_\-.~:@]{0,127}"
_NAME: Final = re.compile(NAME, re.ASCII)
_PATTERN: Final = re.compile(r"(?:[A-Za-z0-9_][A-Za-z0-9_\-.~:@]{0,126})?\*", re.ASCII)
GRAMMAR: Final = "1 to 128 characters out of A-Z a-z 0-9 _ - . ~ : @, beginning with a letter, a digit or _"

_BAD_CHANNEL: Final = f"A channel name has {GRAMMAR}."
_BAD_EVENT: Final = "An event's type has 1 to 128 characters, no control characters, and does not begin with $."

#: Names that begin with it are the server's own.
INTERNAL: Final = "$"


def is_channel(name: str) -> bool:
    """Whether ``name`` is a channel name that clients may use."""
    return _NAME.fullmatch(name) is not None


def check_channel(name: str) -> str:
    """``name`` itself; raises :class:`CommandError` (``bad_channel``) where it is none."""
    if not is_channel(name):
        raise CommandError(ErrorCode.BAD_CHANNEL, _BAD_CHANNEL, field="channel")
    return name


def require_channel(name: str) -> str:
    """``name`` itself, as the application gives it; raises :class:`ValueError` where it is none."""
    if not is_channel(name):
        raise ValueError(f"{name!r}: {_BAD_CHANNEL}")
    return name


def _is_event(type: str) -> bool:
    # What can be printed holds no control characters, and is quicker to tell.
    return 1 <= len(type) <= 128 and type[0] != INTERNAL and (type.isprintable() or _CONTROL.search(type) is None)


def check_event(type: str) -> str:
    """``type`` itself; raises :class:`CommandError` (``bad_field``) where it is no event name of an application."""
    if not _is_event(type):
        raise CommandError(ErrorCode.BAD_FIELD, _BAD_EVENT, field="type")
    return type


def require_event(type: str) -> str:
    """``type`` itself, as the application gives it; raises :class:`ValueError` where it is none."""
    if not _is_event(type):
        raise ValueError(f"{type!r}: {_BAD_EVENT}")
    return type


def check_pattern(pattern: str) -> str:
    """``pattern`` itself.

    Raises :class:`SettingsError` where it is neither a name nor a beginning with ``*`` behind it.
    """
    if _NAME.fullmatch(pattern) is None and _PATTERN.fullmatch(pattern) is None:
        raise SettingsError(
            f"channel {pattern!r}",
            f"a pattern is a channel name ({GRAMMAR}), or the beginning of one and a * at the end",
        )
    return pattern


def best_pattern(name: str, patterns: Iterable[str]) -> str | None:
    """The pattern that ``name`` falls under: the exact name, else the longest beginning; None where none fits."""
    best: str | None = None
    for pattern in patterns:
        if pattern == name:
            return pattern
        if (
            pattern[-1] == "*"
            and len(name) >= len(pattern)
            and name.startswith(pattern[:-1])
            and len(pattern) > len(best or "")
        ):
            best = pattern
    return best
