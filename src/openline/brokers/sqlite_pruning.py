"""Dropping from the store what nobody can see any more: in rounds over all channels, one small step at a time."""

import sqlite3
from collections.abc import Container
from typing import Any, Final

from openline.brokers.sqlite_file import State
from openline.brokers.sqlite_keys import Keys
from openline.brokers.sqlite_rows import CHANNEL_COLUMNS, ChannelRow, Damaged

__all__ = ["Pruning"]

#: How long the row of a channel that nobody uses, with nothing in its log, is kept: what it knows saves false alarms.
IDLE_MS: Final = 3_600_000
#: Channels that one step looks at, and how many of them it deals with at most.
LOOKED_AT: Final = 256
DEALT_WITH: Final = 32

#: Of the next channels those whose oldest row is not seen any more (1), and idle ones without rows (NULL): rows are
#: hidden from the oldest on.
_LOOK: Final = f"""
    SELECT {CHANNEL_COLUMNS}, hidden FROM (
        SELECT *, (
            SELECT NOT (stamp > floor AND log.number > c.number - keep_count AND ahead >= total - keep_size
                AND at > ?1 - keep_ms)
            FROM log WHERE channel = c.id ORDER BY stamp LIMIT 1
        ) AS hidden
        FROM channel AS c WHERE id > ?2 AND id <= ?3
    )
    WHERE hidden OR (hidden IS NULL AND touched + ?4 < ?1) ORDER BY id LIMIT ?5
"""  # noqa: S608  names of ours


class Pruning:
    """What is to be dropped by the writer, inside its transactions.

    ``wanted`` are the channels whose rows must stay, ``cached`` the rows that the writer has at hand.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        state: State,
        keys: Keys,
        wanted: Container[str],
        cached: dict[str, ChannelRow],
    ) -> None:
        self._sql = connection
        self._state = state
        self._keys = keys
        self._wanted = wanted
        self._cached = cached
        #: The store's time for which the round that runs looks, and the channel that it has come to.
        self._now: int | None = None
        self._place = 0
        self._asked: int | None = None

    def ask(self, now: int) -> None:
        """Have a whole round made over everything, for the store's time ``now``.

        Behind the one that runs, if there is one: it has passed channels that had nothing to drop yet.
        """
        self._asked = now

    @property
    def asked(self) -> bool:
        """Whether there is something left to do."""
        return self._now is not None or self._asked is not None

    def give_up(self) -> None:
        """Forget what was asked for: the next round begins at the first channel."""
        self._now = self._asked = None
        self._place = 0

    def drop(self, channel: ChannelRow, now: int, most: int) -> int:
        """Drop the oldest rows of ``channel`` that nobody sees any more, ``most`` at most; returns how many."""
        channel.pruned = channel.number
        return self._sql.execute(
            "DELETE FROM log WHERE channel = ?1 AND stamp <= (SELECT max(stamp) FROM"
            " (SELECT stamp, number, ahead, at FROM log WHERE channel = ?1 ORDER BY stamp LIMIT ?6)"
            " WHERE NOT (stamp > ?2 AND number > ?3 AND ahead >= ?4 AND at > ?5))",
            (channel.id, *channel.bounds(now), most),
        ).rowcount

    def step(self, room: int) -> None:
        """Go on with the round: drop ``room`` rows and keys at most, over all channels together."""
        if self._now is None:
            self._now, self._asked = self._asked or self._state.at, None
        self._state.at = now = max(self._state.at, self._now)
        half = room // 2
        dropped = self._keys.sweep(now, half)
        if self._step_channels(now, room - dropped) and dropped < half:
            self._now, self._place = None, 0

    def _step_channels(self, now: int, room: int) -> bool:
        """Returns whether the round has come to the end of the channels."""
        end: int | None = self._sql.execute(
            "SELECT max(id) FROM (SELECT id FROM channel WHERE id > ? ORDER BY id LIMIT ?)", (self._place, LOOKED_AT)
        ).fetchone()[0]
        if end is None:
            return True
        rows: list[tuple[Any, ...]] = self._sql.execute(_LOOK, (now, self._place, end, IDLE_MS, DEALT_WITH)).fetchall()
        for *row, hidden in rows:
            room -= self._deal_with(tuple(row), now, room, hidden=bool(hidden))
            if room <= 0:
                # There may be more of it.
                return False
            self._place = row[0]
        if len(rows) < DEALT_WITH:
            self._place = end
        return False

    def _deal_with(self, row: tuple[Any, ...], now: int, room: int, *, hidden: bool) -> int:
        """Returns how many rows were dropped."""
        try:
            channel = self._cached.get(row[1]) or ChannelRow.of(row)
        except Damaged:
            # Its publications cannot be told from what should be dropped.
            return 0
        if hidden:
            return self.drop(channel, now, room)
        # A use that is not worth writing down is known at hand only.
        if channel.touched + IDLE_MS < now and channel.name not in self._wanted:
            self._cached.pop(channel.name, None)
            self._sql.execute("DELETE FROM channel WHERE id = ?", (channel.id,))
            self._state.forgotten = max(self._state.forgotten, channel.head)
        return 0
