"""Transactions of the store: a batch of entries stamped and written in a few statements, or a step of a sweep."""

import logging
import sqlite3
from collections.abc import Callable, Collection, Container, Iterable, Sequence
from functools import cache
from typing import Any, Final

from openline.brokers.sqlite_entry import Entry, Kind
from openline.brokers.sqlite_file import RESERVE, Store, reason
from openline.brokers.sqlite_keys import Keys
from openline.brokers.sqlite_pruning import Pruning
from openline.brokers.sqlite_rows import CHANNEL_COLUMNS, LOG_COLUMNS, ChannelRow, Kept, LogRow, log_row

__all__ = ["Writer"]

#: Rows that may wait to be dropped in a channel that is being published to, and how many are then dropped at least.
SLACK: Final = 64
PRUNE_ROWS: Final = 256
#: Channels whose rows are kept at hand.
MAX_CACHED: Final = 20_000
#: Rows in one statement: the interpreter is let go a few times per batch, not once per row.
CHUNKS: Final = (64, 16, 4, 1)
#: Pages in the write-ahead log from which on it is cut to nothing, should readers have kept it from being used anew.
WAL_PAGES: Final = 16_384
#: Bytes that are added to the write-ahead log between two times that it is moved into the file.
CHECKPOINT_BYTES: Final = 8 * 1024 * 1024

_KEEP: Final = "head = excluded.head, number = excluded.number, total = excluded.total, floor = excluded.floor"
_UPSERT: Final = (
    f" ON CONFLICT (id) DO UPDATE SET {_KEEP}, keep_count = excluded.keep_count, keep_ms = excluded.keep_ms,"
    " keep_size = excluded.keep_size, touched = excluded.touched, crc = excluded.crc"
)
_log = logging.getLogger("openline")


class Writer:
    """Belongs to one thread; ``wanted`` are the channels whose rows must stay."""

    def __init__(self, store: Store, wanted: Container[str]) -> None:
        self._store = store
        self._state = store.state
        self._sql = store.connection
        self._keys = Keys(store.connection)
        self._cached: dict[str, ChannelRow] = {}
        self._pruning = Pruning(self._sql, self._state, self._keys, wanted, self._cached)
        self._next_id: int = self._sql.execute("SELECT coalesce(max(id), 0) + 1 FROM channel").fetchone()[0]
        #: The newest stamp that was handed out. The event loop hands them out itself while nothing waits for us.
        self.stamp = self._state.stamp
        #: Up to here they may be handed out.
        self.reserved = self._state.reserved
        self._rows: list[tuple[ChannelRow, LogRow]] = []
        self._dirty: dict[str, ChannelRow] = {}
        #: Whether the transaction that runs has come to its end but for the commit.
        self._saved = False
        self._failing = False
        #: Bytes of the write-ahead log that are in the file.
        self._moved = 0

    # -- batches

    def write(self, batch: Sequence[Entry]) -> Exception | None:
        """Fill in every entry and commit what is to be kept.

        What prevented it comes back; then nothing of the batch is kept, and the entries that should be have an
        ``error``.
        """
        # All stamps first: what needs no file keeps its own, whatever becomes of the rest.
        self._stamp(batch)
        if not any(map(self._needs_file, batch)) and self.stamp + RESERVE // 2 < self.reserved:
            return None
        failure = self._transact(lambda: self._apply(batch))
        self._tell_of(failure)
        if failure is not None:
            for entry in batch:
                if self._stored(entry) or entry.stamp > self.reserved:
                    entry.error = f"the engine's store did not take it: {failure}"
        return failure

    def _tell_of(self, failure: Exception | None) -> None:
        """One line when trouble begins, one when it ends."""
        if failure is not None and not self._failing:
            _log.error("Publishing fails: %s %s", self._store.path, reason(self._store.path, failure))
        elif failure is None and self._failing:
            _log.info("Publishing works again: %s takes what is written", self._store.path)
        self._failing = failure is not None

    def _stored(self, entry: Entry) -> bool:
        """Whether what is answered about ``entry`` rests on the file."""
        return entry.kind is Kind.APPEND or entry.key is not None

    def _needs_file(self, entry: Entry) -> bool:
        return (
            self._stored(entry)
            or entry.kind is Kind.FORGET
            or (entry.kind is Kind.TOUCH and entry.name not in self._cached)
        )

    def _stamp(self, batch: Sequence[Entry]) -> None:
        # Where there is nothing to stamp, the event loop may be handing out stamps right now.
        for entry in batch:
            if entry.stamped:
                self.stamp += 1
                entry.stamp = self.stamp

    def _transact(self, work: Callable[[], None]) -> Exception | None:
        """Do ``work`` in one transaction, all of it or nothing."""
        self._rows.clear()
        self._dirty.clear()
        self._saved = False
        at, forgotten = self._state.at, self._state.forgotten
        try:
            self._store.check_place()
            if self._sql.in_transaction:
                self._sql.execute("ROLLBACK")
            self._sql.execute("BEGIN IMMEDIATE")
            work()
            self._flush()
            self._save_state()
            self._sql.execute("COMMIT")
        except Exception as error:
            # Whatever it was, nobody is told that it was stored; and the thread goes on.
            if not self._is_committed():
                self._state.at, self._state.forgotten = at, forgotten
                return error
        self.reserved = self._state.reserved
        self._mark()
        return None

    def _save_state(self) -> None:
        state = self._state
        state.stamp, state.reserved = self.stamp, self.reserved
        if self.stamp + RESERVE // 2 >= self.reserved:
            state.reserved = self.stamp + RESERVE
        self._sql.execute(
            "UPDATE state SET stamp = ?, reserved = ?, forgotten = ?, at = ?",
            (state.stamp, state.reserved, state.forgotten, state.at),
        )
        self._saved = True

    def _is_committed(self) -> bool:
        """End a transaction that failed; returns whether it has been committed nevertheless.

        Then it is in the log, and those who are there must be told as well.
        """
        self._cached.clear()
        try:
            if self._sql.in_transaction:
                self._sql.execute("ROLLBACK")
                return False
            found = self._sql.execute("SELECT stamp, reserved, at FROM state").fetchone()
        except sqlite3.Error as error:
            _log.warning("It is not known what became of a transaction: %s", error)
            return False
        state = self._state
        return self._saved and found == (state.stamp, state.reserved, state.at)

    def _mark(self) -> None:
        try:
            self._store.mark.write(self._state.epoch, self._state.stamp)
        except OSError:
            # It vouches for less than there is, which only makes it notice less.
            _log.exception("The mark of the store could not be written")

    def _apply(self, batch: Sequence[Entry]) -> None:
        if len(self._cached) > MAX_CACHED:
            self._cached.clear()
        self._keys.look_up(batch)
        self._load({entry.name for entry in batch if entry.name not in self._cached and entry.kind is not Kind.DIRECT})
        self._state.at = max(self._state.at, batch[-1].at)
        for entry in batch:
            if entry.kind is Kind.APPEND:
                self._append(entry)
            elif entry.kind is Kind.DIRECT:
                self._keys.repeats(entry)
            elif entry.kind is Kind.TOUCH:
                self._touch(entry)
            elif entry.kind is Kind.FORGET:
                self._forget(entry)
        self._keys.store()

    def _append(self, entry: Entry) -> None:
        if self._keys.repeats(entry):
            return
        channel = self._touch(entry)
        if entry.kept != channel.kept:
            self._keep(channel, entry.kept, entry.at)
        entry.previous, kept = channel.head, entry.kept
        if kept.count > 0 and kept.ms > 0 and kept.size >= entry.weight:
            self._rows.append((channel, log_row(channel, entry.stamp, entry.previous, entry.at, entry.body)))
        channel.head = entry.stamp
        channel.number += 1
        channel.total += entry.weight
        self._dirty[channel.name] = channel

    def _keep(self, channel: ChannelRow, kept: Kept, at: int) -> None:
        """From now on ``channel`` remembers as much as ``kept`` says; what it had forgotten does not come back."""
        if channel.kept.grows_to(kept):
            self._flush_rows()
            seen = self._sql.execute(
                "SELECT previous FROM log WHERE channel = ? AND stamp > ? AND number > ? AND ahead >= ? AND at > ?"
                " ORDER BY stamp LIMIT 1",
                (channel.id, *channel.bounds(at)),
            ).fetchone()
            channel.floor = channel.head if seen is None else max(channel.floor, seen[0])
        channel.kept = kept

    def _touch(self, entry: Entry) -> ChannelRow:
        channel = self._cached.get(entry.name)
        if channel is None:
            channel = ChannelRow(self._next_id, entry.name, self._state.forgotten)
            self._next_id += 1
            self._cached[entry.name] = self._dirty[entry.name] = channel
        channel.touched = entry.at
        return channel

    def _forget(self, entry: Entry) -> None:
        channel = self._cached.get(entry.name)
        if channel is not None:
            channel.floor = channel.head
            self._dirty[entry.name] = channel

    # -- statements

    def _load(self, names: Collection[str]) -> None:
        """Have the rows of channels at hand, where there are any."""
        for chunk in _chunks(tuple(names)):
            found = self._sql.execute(_select_channels(len(chunk)), chunk)
            for row in found.fetchall():
                channel = ChannelRow.of(row)
                self._cached[channel.name] = channel

    def _flush(self) -> None:
        self._flush_rows()
        for chunk in _chunks([channel.row() for channel in self._dirty.values()]):
            self._sql.execute(_upsert_channels(len(chunk)), [value for row in chunk for value in row])
        for channel in self._dirty.values():
            if channel.number - channel.pruned >= SLACK:
                # Faster than it fills.
                self._pruning.drop(channel, self._state.at, max(PRUNE_ROWS, 2 * (channel.number - channel.pruned)))

    def _flush_rows(self) -> None:
        # What would be too many at the end of the batch is not written in the first place.
        seen = [row for channel, row in self._rows if row[3] > channel.number - channel.kept.count]
        for chunk in _chunks(seen):
            self._sql.execute(_insert_rows(len(chunk)), [value for row in chunk for value in row])
        self._rows.clear()

    def checkpoint(self) -> None:
        """Now and then move what was written into the file itself, by this one connection: see docs/storage.md."""
        size = self._store.log_bytes()
        if size < self._moved:
            # It was begun anew.
            self._moved = 0
        if size - self._moved < CHECKPOINT_BYTES:
            return
        self._moved = size
        try:
            _, pages, _ = self._sql.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            if pages > WAL_PAGES:
                self._sql.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        except sqlite3.Error as error:
            # What was committed stays where it is; the next one tries again.
            _log.warning("The store's write-ahead log could not be moved into its file: %s", error)

    # -- sweeping

    @property
    def sweeping(self) -> bool:
        """Whether there is something to sweep."""
        return self._pruning.asked

    def ask_sweep(self, now: int) -> None:
        """Have everything dropped that nobody can see any more at ``now``, the store's time, by :meth:`sweep`."""
        self._pruning.ask(now)

    def sweep(self, room: int) -> None:
        """One step of it, in a transaction of its own: ``room`` rows and keys at most.

        Where it fails, that was all until it is asked for again.
        """
        failure = self._transact(lambda: self._pruning.step(room))
        if failure is None:
            self.checkpoint()
        else:
            _log.warning("The store could not be swept: %s", failure)
            self._pruning.give_up()

    def close(self) -> None:
        """Write down that everything is on the disk. Never raises."""
        self._state.stamp = self._state.reserved = self.stamp
        self._store.close()


def _chunks(items: Sequence[Any]) -> Iterable[Sequence[Any]]:
    start = 0
    for size in CHUNKS:
        while len(items) - start >= size:
            yield items[start : start + size]
            start += size


def _marks(columns: str, rows: int) -> str:
    one = f"({', '.join('?' * len(columns.split(',')))})"
    return ", ".join([one] * rows)


@cache
def _insert_rows(rows: int) -> str:
    return f"INSERT INTO log ({LOG_COLUMNS}) VALUES {_marks(LOG_COLUMNS, rows)}"  # noqa: S608


@cache
def _upsert_channels(rows: int) -> str:
    return f"INSERT INTO channel ({CHANNEL_COLUMNS}) VALUES {_marks(CHANNEL_COLUMNS, rows)}{_UPSERT}"  # noqa: S608


@cache
def _select_channels(rows: int) -> str:
    return f"SELECT {CHANNEL_COLUMNS} FROM channel WHERE name IN ({', '.join('?' * rows)})"  # noqa: S608
