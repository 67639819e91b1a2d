"""A mapping that costs little while it holds little."""

from collections.abc import Iterator, MutableMapping
from typing import Any, Final, TypeVar, cast

__all__ = ["Few"]

K = TypeVar("K")
V = TypeVar("V")

#: With more entries than this, looking one up in a row takes longer than in a dict.
_MOST_IN_A_ROW: Final = 8


class Few(MutableMapping[K, V]):
    """A dict in all but size: up to eight entries stand in one tuple, key behind value behind key.

    For what every connection has one of and most have one or two entries in: a dict takes 184 bytes for these, this
    takes 120.
    """

    __slots__ = ("_entries",)

    def __init__(self) -> None:
        self._entries: tuple[Any, ...] | dict[K, V] = ()

    def __getitem__(self, key: K) -> V:
        entries = self._entries
        if isinstance(entries, dict):
            return entries[key]
        value: V = entries[_place(entries, key) + 1]
        return value

    def get(self, key: K, default: Any = None) -> Any:
        """What ``key`` stands for; ``default`` where it does not stand."""
        entries = self._entries
        if isinstance(entries, dict):
            return entries.get(key, default)
        for place in range(0, len(entries), 2):
            if entries[place] == key:
                return entries[place + 1]
        return default

    def __contains__(self, key: object) -> bool:
        entries = self._entries
        return key in entries if isinstance(entries, dict) else key in entries[::2]

    def __setitem__(self, key: K, value: V) -> None:
        entries = self._entries
        if isinstance(entries, dict):
            entries[key] = value
        elif not entries:
            self._entries = (key, value)
        elif key in entries[::2]:
            place = _place(entries, key)
            self._entries = (*entries[: place + 1], value, *entries[place + 2 :])
        elif len(entries) < 2 * _MOST_IN_A_ROW:
            self._entries = (*entries, key, value)
        else:
            self._entries = {**dict(zip(entries[::2], entries[1::2], strict=True)), key: value}

    def __delitem__(self, key: K) -> None:
        entries = self._entries
        if isinstance(entries, dict):
            del entries[key]
        else:
            place = _place(entries, key)
            self._entries = (*entries[:place], *entries[place + 2 :])

    def __iter__(self) -> Iterator[K]:
        entries = self._entries
        return iter(entries if isinstance(entries, dict) else cast("tuple[K, ...]", entries[::2]))

    def __len__(self) -> int:
        entries = self._entries
        return len(entries) if isinstance(entries, dict) else len(entries) // 2


def _place(entries: tuple[Any, ...], key: object) -> int:
    """Where ``key`` stands; raises :class:`KeyError` where it does not."""
    for place in range(0, len(entries), 2):
        if entries[place] == key:
            return place
    raise KeyError(key)
