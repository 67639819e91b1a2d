"""Pages of the store's logs, read by a thread and a connection of their own, so that neither loop nor writer waits."""

import asyncio
import logging
import sqlite3
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any, Final

from openline.brokers.sqlite_file import connect
from openline.brokers.sqlite_rows import CHANNEL_COLUMNS, LOG_COLUMNS, ChannelRow, Damaged, decode_row
from openline.errors import BrokerError
from openline.hub.outcome import Outcome
from openline.model import Page, Publication

__all__ = ["MAX_WAITING", "Reader", "Reading"]

#: Readings that may wait.
MAX_WAITING: Final = 10_000

_LOST: Final = Page((), complete=False)
_log = logging.getLogger("openline")


@dataclass(slots=True, eq=False)
class Reading:
    """A page to read: behind ``after``, or ahead of ``before`` or the end, of what had been handed out at ``horizon``.

    ``at`` is the store's time: what was too old then is not seen.
    """

    channel: str
    epoch: str
    after: int | None
    before: int | None
    horizon: int
    at: int
    limit: int
    size: int
    outcome: Outcome[Page] = field(default_factory=Outcome[Page])


class Reader:
    """A thread that reads one page after the other, from :meth:`start` to :meth:`stop`."""

    def __init__(self, path: str, loop: asyncio.AbstractEventLoop) -> None:
        self._path = path
        self._loop = loop
        self._waiting: SimpleQueue[Reading | None] = SimpleQueue()
        self._sql: sqlite3.Connection | None = None
        self._damaged: set[str] = set()
        self._thread = threading.Thread(target=self._run, name="openline-sqlite-reader", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Read what waits, and end; called from another thread, which waits for it."""
        self._waiting.put(None)
        self._thread.join()

    def read(self, reading: Reading) -> Outcome[Page]:
        """Have it read; too many at once fail."""
        if self._waiting.qsize() >= MAX_WAITING:
            return Outcome.failed(BrokerError("too many wait to read the engine's store"))
        self._waiting.put(reading)
        return reading.outcome

    def _run(self) -> None:
        while (reading := self._waiting.get()) is not None:
            try:
                page: Page | BrokerError = self._page(reading)
            except Exception as error:
                page = BrokerError(f"the engine's store could not be read: {error}")
                self._close()
            try:
                self._loop.call_soon_threadsafe(_settle, reading.outcome, page)
            except RuntimeError:
                # The loop has ended, and with it whoever asked.
                break
        self._close()

    def _close(self) -> None:
        connection, self._sql = self._sql, None
        if connection is not None:
            connection.close()

    def _page(self, reading: Reading) -> Page:
        if self._sql is None:
            self._sql = connect(self._path, reading=True)
        # One snapshot for the channel and its rows.
        self._sql.execute("BEGIN")
        try:
            return self._read(self._sql, reading)
        except Damaged:
            self._tell_of_damage(reading.channel)
            return _LOST
        finally:
            self._sql.execute("COMMIT")

    def _tell_of_damage(self, channel: str) -> None:
        if channel not in self._damaged and len(self._damaged) < MAX_WAITING:
            self._damaged.add(channel)
            _log.error("The log of %r in %s is damaged; nobody can read across that", channel, self._path)

    def _read(self, sql: sqlite3.Connection, reading: Reading) -> Page:
        row = sql.execute(
            f"SELECT {CHANNEL_COLUMNS} FROM channel WHERE name = ?",  # noqa: S608  names of ours
            (reading.channel,),
        ).fetchone()
        if row is None:
            forgotten = sql.execute("SELECT forgotten FROM state").fetchone()[0]
            return Page((), complete=reading.after is None or reading.after >= forgotten)
        channel = ChannelRow.of(row)
        if reading.after is not None:
            return _after(channel, reading, reading.after, sql)
        return self._before(channel, reading, sql)

    def _before(self, channel: ChannelRow, reading: Reading, sql: sqlite3.Connection) -> Page:
        """The newest of what was handed out; what is damaged is where it ends."""
        end = reading.horizon + 1 if reading.before is None else min(reading.before, reading.horizon + 1)
        floor, number, ahead, at = channel.bounds(reading.at)
        # The one that must come next: a damaged index skips rows without a word.
        behind = sql.execute(
            "SELECT previous FROM log WHERE channel = ? AND stamp >= ? ORDER BY stamp LIMIT 1", (channel.id, end)
        ).fetchone()
        next_stamp = channel.head if behind is None else behind[0]
        found: list[Publication] = []
        room = reading.size
        rows = sql.execute(
            f"SELECT {LOG_COLUMNS} FROM log WHERE channel = ? AND stamp < ? ORDER BY stamp DESC",  # noqa: S608
            (channel.id, end),
        )
        for row in _closing(rows):
            if not (row[1] > floor and row[3] > number and row[4] >= ahead and row[5] > at):
                break
            try:
                publication = decode_row(channel.name, reading.epoch, row)
            except Damaged:
                self._tell_of_damage(channel.name)
                break
            if publication.stamp != next_stamp:
                self._tell_of_damage(channel.name)
                break
            next_stamp = publication.previous
            room -= publication.size
            if len(found) >= reading.limit or (found and room < 0):
                return Page(tuple(reversed(found)), more=True)
            found.append(publication)
        return Page(tuple(reversed(found)))


def _after(channel: ChannelRow, reading: Reading, after: int, sql: sqlite3.Connection) -> Page:
    """The oldest behind ``after``, each following the one before it, up to the newest: else it is not complete."""
    found: list[Publication] = []
    last, room = after, reading.size
    rows = sql.execute(
        f"SELECT {LOG_COLUMNS} FROM log"  # noqa: S608
        " WHERE channel = ? AND stamp > ? AND stamp > ? AND number > ? AND ahead >= ? AND at > ? ORDER BY stamp",
        (channel.id, after, *channel.bounds(reading.at)),
    )
    for row in _closing(rows):
        publication = decode_row(channel.name, reading.epoch, row)
        if publication.previous > last or (found and publication.previous != last):
            return _LOST
        if publication.stamp > reading.horizon:
            return Page(tuple(found))
        room -= publication.size
        if len(found) >= reading.limit or (found and room < 0):
            return Page(tuple(found), more=True)
        found.append(publication)
        last = publication.stamp
    return Page(tuple(found)) if last >= channel.head else _LOST


def _closing(rows: sqlite3.Cursor) -> Iterator[tuple[Any, ...]]:
    try:
        yield from rows
    finally:
        rows.close()


def _settle(outcome: Outcome[Page], page: Page | BrokerError) -> None:
    if isinstance(page, BrokerError):
        outcome.fail(page)
    else:
        outcome.settle(page)
