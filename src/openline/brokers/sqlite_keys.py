"""Idempotency keys in the store: which publications of a batch are repeats, of others in it or of earlier ones."""

import sqlite3
from collections.abc import Sequence
from functools import cache
from typing import Final

from openline.brokers.sqlite_entry import Entry

__all__ = ["KEY_MS", "Keys"]

#: How long a key is known.
KEY_MS: Final = 300_000
#: Keys in one statement.
CHUNKS: Final = (64, 8, 1)

_Pair = tuple[str, str]


class Keys:
    """The keys of one batch at a time, inside its transaction."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._sql = connection
        self._known: dict[_Pair, tuple[int, int]] = {}
        self._new: list[tuple[str, str, int, int]] = []

    def look_up(self, batch: Sequence[Entry]) -> None:
        """Learn which keys of ``batch`` are known already."""
        self._known.clear()
        self._new.clear()
        pairs = [(e.name, e.key) for e in batch if e.key is not None]
        if not pairs:
            return
        start = 0
        for size in CHUNKS:
            while len(pairs) - start >= size:
                chunk = pairs[start : start + size]
                start += size
                found = self._sql.execute(_select(size), [value for pair in chunk for value in pair])
                self._known.update({(row[0], row[1]): (row[2], row[3]) for row in found.fetchall()})

    def repeats(self, entry: Entry) -> bool:
        """Whether ``entry`` is a repeat, which then has the first one's stamp; otherwise its key is known now."""
        if entry.key is None:
            return False
        pair = (entry.name, entry.key)
        first = self._known.get(pair)
        if first is not None and first[1] > entry.at:
            entry.stamp, entry.repeated = first[0], True
            return True
        until = entry.at + KEY_MS
        self._known[pair] = (entry.stamp, until)
        self._new.append((*pair, entry.stamp, until))
        return False

    def store(self) -> None:
        """Write the new ones."""
        start = 0
        for size in CHUNKS:
            while len(self._new) - start >= size:
                chunk = self._new[start : start + size]
                start += size
                self._sql.execute(_insert(size), [value for row in chunk for value in row])

    def sweep(self, now: int, most: int) -> int:
        """Drop those that are too old, ``most`` at most; returns how many."""
        return self._sql.execute(
            "DELETE FROM keys WHERE (channel, key) IN"
            " (SELECT channel, key FROM keys WHERE until <= ? ORDER BY until LIMIT ?)",
            (now, most),
        ).rowcount


@cache
def _select(pairs: int) -> str:
    marks = ", ".join(["(?, ?)"] * pairs)
    # A join in this order looks each one up; other ways of saying it walk over all keys.
    return (
        f"WITH asked (c, k) AS (VALUES {marks}) SELECT channel, key, stamp, until"  # noqa: S608
        " FROM asked CROSS JOIN keys ON channel = c AND key = k"
    )


@cache
def _insert(rows: int) -> str:
    marks = ", ".join(["(?, ?, ?, ?)"] * rows)
    return f"INSERT OR REPLACE INTO keys (channel, key, stamp, until) VALUES {marks}"  # noqa: S608
