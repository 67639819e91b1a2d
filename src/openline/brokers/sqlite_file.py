"""The store's file: opening it or saying why not, its layout and how older ones become it, and its epoch."""

import contextlib
import errno
import os
import secrets
import shutil
import sqlite3
from collections.abc import Sequence
from typing import Any, Final

from openline.brokers.sqlite_mark import Mark, Vouched
from openline.brokers.sqlite_rows import CHANNEL_COLUMNS, ChannelRow, Damaged
from openline.errors import SettingsError

__all__ = ["RESERVE", "STEPS", "State", "Store", "connect", "migrate", "open_store", "reason"]

#: "OLsq": tells our files from those of other programs.
_APPLICATION: Final = 0x4F4C7371
#: How long a lock of somebody with a database tool is waited for.
_BUSY_SECONDS: Final = 2.0
#: So many stamps are taken in advance, for what is stamped and not stored; a crash skips them.
RESERVE: Final = 1_000_000

#: The statements that bring a file from layout 0 (empty) to 1, from 1 to 2, and so on.
STEPS: Final[Sequence[Sequence[str]]] = (
    (
        "CREATE TABLE state (id INTEGER PRIMARY KEY CHECK (id = 1), epoch TEXT NOT NULL, stamp INTEGER NOT NULL,"
        " reserved INTEGER NOT NULL, forgotten INTEGER NOT NULL, at INTEGER NOT NULL, clean INTEGER NOT NULL,"
        " synced INTEGER NOT NULL)",
        "CREATE TABLE channel (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, head INTEGER NOT NULL,"
        " number INTEGER NOT NULL, total INTEGER NOT NULL, floor INTEGER NOT NULL, keep_count INTEGER NOT NULL,"
        " keep_ms INTEGER NOT NULL, keep_size INTEGER NOT NULL, touched INTEGER NOT NULL, crc INTEGER NOT NULL)",
        "CREATE TABLE log (channel INTEGER NOT NULL, stamp INTEGER NOT NULL, previous INTEGER NOT NULL,"
        " number INTEGER NOT NULL, ahead INTEGER NOT NULL, at INTEGER NOT NULL, crc INTEGER NOT NULL,"
        " body BLOB NOT NULL, PRIMARY KEY (channel, stamp)) WITHOUT ROWID",
        "CREATE TABLE keys (channel TEXT NOT NULL, key TEXT NOT NULL, stamp INTEGER NOT NULL, until INTEGER NOT NULL,"
        " PRIMARY KEY (channel, key)) WITHOUT ROWID",
        "CREATE INDEX keys_until ON keys (until)",
    ),
)


class State:
    """What the store knows about itself.

    ``stamp`` is the newest that was stored, ``reserved`` the newest that may have been handed out. Behind ``forgotten``
    a channel without a row may have had publications that nobody remembers. ``at`` is the store's time in milliseconds.
    Raises :class:`Damaged` where a row is none.
    """

    __slots__ = ("at", "clean", "epoch", "forgotten", "reserved", "stamp", "synced")

    def __init__(self, row: Sequence[Any]) -> None:
        if not isinstance(row[0], str) or not all(isinstance(number, int) for number in row[1:]):
            raise Damaged
        self.epoch: str = row[0]
        self.stamp: int = row[1]
        self.reserved: int = row[2]
        self.forgotten: int = row[3]
        self.at: int = row[4]
        self.clean = bool(row[5])
        self.synced = bool(row[6])

    def save(self, connection: sqlite3.Connection) -> None:
        """Write it, in the transaction that runs."""
        connection.execute(
            "INSERT OR REPLACE INTO state (id, epoch, stamp, reserved, forgotten, at, clean, synced)"
            " VALUES (1, ?, ?, ?, ?, ?, ?, ?)",
            (self.epoch, self.stamp, self.reserved, self.forgotten, self.at, self.clean, self.synced),
        )

    def vouched_by(self, mark: Mark, vouched: Vouched | None) -> bool:
        """Whether it is certain that the log still has its end.

        It may not have it when the file was rolled back or copied without its parts, and when the operating system
        went down before what was committed had reached the disk.
        """
        if vouched is None or vouched.epoch != self.epoch or vouched.stamp > self.stamp:
            return False
        return self.clean or self.synced or mark.same_boot(vouched)


class Store:
    """An open store: the one connection that writes, what the file knows, and its mark."""

    def __init__(self, path: str, connection: sqlite3.Connection, state: State, mark: Mark) -> None:
        self.path = path
        self.connection = connection
        self.state = state
        self.mark = mark
        #: Whether this start gave it a new epoch, because the log may have lost its end.
        self.renewed = False
        self._identity = _identity(path)

    def check_place(self) -> None:
        """Raise :class:`OSError` where the file was moved or deleted: what is written now would be gone."""
        if _identity(self.path) != self._identity:
            raise FileNotFoundError(errno.ENOENT, "the file was moved or deleted while it was in use", self.path)

    def log_bytes(self) -> int:
        """The size of the write-ahead log: what was written since it was begun anew, in whole."""
        try:
            return os.stat(f"{self.path}-wal").st_size
        except OSError:
            return 0

    def close(self) -> None:
        """Write down that everything is on the disk, and let go of the file. Never raises."""
        with contextlib.suppress(sqlite3.Error):
            self.connection.execute("PRAGMA synchronous = FULL")
            self.state.clean = True
            self.state.save(self.connection)
        with contextlib.suppress(OSError):
            self.mark.write(self.state.epoch, self.state.stamp)
        with contextlib.suppress(sqlite3.Error):
            self.connection.close()
        self.mark.release()


def _identity(path: str) -> tuple[int, int]:
    status = os.stat(path)
    return status.st_dev, status.st_ino


def open_store(path: str, *, synced: bool, wall: float) -> Store:
    """Open or make the store at ``path``; ``wall`` is the time of day in seconds.

    Raises :class:`SettingsError`, which says what is wrong and what to do.
    """
    place = _place(path)
    mark = Mark.take(place)
    connection: sqlite3.Connection | None = None
    try:
        _make(place)
        connection = connect(place)
        return _open(place, connection, mark, synced=synced, wall=int(wall * 1000))
    except Exception as error:
        if connection is not None:
            connection.close()
        mark.release()
        if isinstance(error, sqlite3.Error | OSError | Damaged | UnicodeDecodeError):
            raise SettingsError("engine", f"{place} {reason(place, error)}") from error
        raise


def connect(path: str, *, reading: bool = False) -> sqlite3.Connection:
    """A connection to the file, for one thread at a time, that begins no transaction by itself."""
    connection = sqlite3.connect(
        path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False, cached_statements=256
    )
    connection.execute("PRAGMA cell_size_check = ON")
    if reading:
        connection.execute("PRAGMA query_only = ON")
        # What is no text in a damaged file is found out by its checksum.
        connection.text_factory = _any_text
    return connection


def _any_text(text: bytes) -> str:
    return text.decode("utf-8", "surrogateescape")


def _place(path: str) -> str:
    """The file itself: two names of it must meet at the same lock."""
    place = os.path.realpath(path)
    folder = os.path.dirname(place)
    if not path or os.path.isdir(place):
        raise SettingsError("engine", f"sqlite:{path} names no file; write sqlite:FOLDER/NAME.db")
    if not os.path.isdir(folder):
        raise SettingsError("engine", f"there is no folder {folder}; make it, or name another path")
    return place


def _make(place: str) -> None:
    """Make the file, where there is none, for our eyes only: it holds what people write to each other."""
    with contextlib.suppress(FileExistsError):
        os.close(os.open(place, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))


def _open(place: str, connection: sqlite3.Connection, mark: Mark, *, synced: bool, wall: int) -> Store:
    layout = _check(place, connection)
    if connection.execute("PRAGMA journal_mode = WAL").fetchone()[0] != "wal":
        raise SettingsError(
            "engine", f"{place} lies on a file system without shared memory; name a path on a local disk"
        )
    connection.execute("PRAGMA wal_autocheckpoint = 0")
    # When it is begun anew it is cut as well: its size tells what is in it.
    connection.execute("PRAGMA journal_size_limit = 0")
    connection.execute("PRAGMA cache_size = -8192")
    # The first transaction must be on the disk before anything is acknowledged: it says that the log is in use.
    connection.execute("PRAGMA synchronous = FULL")
    migrate(connection, layout, STEPS)
    store = _begin(place, connection, mark, synced=synced, wall=wall)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    if not synced:
        connection.execute("PRAGMA synchronous = NORMAL")
    return store


def _check(place: str, connection: sqlite3.Connection) -> int:
    """The layout of the file, 0 for an empty one; raises :class:`SettingsError` for a file that we must not touch."""
    layout = int(connection.execute("PRAGMA user_version").fetchone()[0])
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    empty = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0
    if empty and application in {0, _APPLICATION}:
        return 0
    if application != _APPLICATION:
        raise SettingsError("engine", f"{place} is the database of another program; name another path")
    if layout > len(STEPS):
        raise SettingsError(
            "engine",
            f"{place} was written by a newer Openline (layout {layout}, this one knows up to {len(STEPS)}); "
            "update Openline, or name another path",
        )
    # The second also looks whether every channel is found by its name.
    for check in ("quick_check(1)", "integrity_check(channel)"):
        finding = connection.execute(f"PRAGMA {check}").fetchone()[0]
        if finding != "ok":
            raise sqlite3.DatabaseError(finding)
    return layout


def migrate(connection: sqlite3.Connection, layout: int, steps: Sequence[Sequence[str]]) -> None:
    """Bring a file from ``layout`` to the last of ``steps``, all in one transaction."""
    if layout >= len(steps):
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        for statement in (statement for step in steps[layout:] for statement in step):
            connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {_APPLICATION}")
        connection.execute(f"PRAGMA user_version = {len(steps)}")
        connection.execute("COMMIT")
    except sqlite3.Error:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _begin(place: str, connection: sqlite3.Connection, mark: Mark, *, synced: bool, wall: int) -> Store:
    """Decide on the epoch and take stamps in advance, in one transaction: so it is known that writing works."""
    connection.execute("BEGIN IMMEDIATE")
    row = connection.execute(
        "SELECT epoch, stamp, reserved, forgotten, at, clean, synced FROM state WHERE id = 1"
    ).fetchone()
    state = State(row or (secrets.token_hex(4), 0, 0, 0, 0, True, synced))
    vouched = mark.read()
    store = Store(place, connection, state, mark)
    newest = 0
    for channel in connection.execute(f"SELECT {CHANNEL_COLUMNS} FROM channel"):  # noqa: S608  names of ours
        newest = max(newest, ChannelRow.of(channel).head)
    if newest > state.reserved:
        raise Damaged
    if row is not None and not state.vouched_by(mark, vouched):
        store.renewed = True
        state.epoch = secrets.token_hex(4)
        state.reserved = max(state.reserved, 0 if vouched is None else vouched.stamp + RESERVE)
    if not state.clean or store.renewed:
        state.stamp = state.reserved
    state.reserved = state.stamp + RESERVE
    # The clock of the day may have been set back meanwhile; the store's time never goes back.
    state.at = max(state.at, wall)
    state.clean, state.synced = False, synced
    state.save(connection)
    connection.execute("COMMIT")
    mark.write(state.epoch, state.stamp, synced=True)
    return store


_REMEDIES: Final = {
    "SQLITE_FULL": "has no room to grow: free some space on its disk",
    "SQLITE_READONLY": "can only be read: let this user write the file and its folder, or name another path",
    "SQLITE_CANTOPEN": "cannot be opened: let this user read and write the file and its folder, or name another path",
    "SQLITE_BUSY": "is locked by another program: close what has it open",
    "SQLITE_NOTADB": "is no SQLite file: name another path, or move it away to begin with an empty history",
    "SQLITE_IOERR": "cannot be read or written: look whether its disk is full or failing",
}
#: With less room than this, the files beside a store cannot be made, which looks like any other failure.
_TIGHT: Final = 131_072
_DAMAGED: Final = (
    "is damaged: put back a copy of it, or move it and the files beside it (-wal, -shm, -mark) away to begin with an "
    "empty history"
)


def reason(path: str, error: Exception) -> str:
    """What is wrong with the file at ``path``, and what to do, to stand behind its name in one line."""
    # Names in a damaged file need not be text, and then their way into a message fails.
    if isinstance(error, Damaged | UnicodeDecodeError):
        return f"{_DAMAGED} (something in it is not what was written)"
    if isinstance(error, OSError):
        full = error.errno in {errno.ENOSPC, errno.EDQUOT}
        return _REMEDIES["SQLITE_FULL"] if full else f"cannot be used: {error.strerror}"
    # What a check has found comes in several lines.
    found = " ".join(str(error).split())
    name = getattr(error, "sqlite_errorname", "")
    if name.startswith("SQLITE_IOERR") and shutil.disk_usage(os.path.dirname(path)).free < _TIGHT:
        name = "SQLITE_FULL"
    for beginning, remedy in _REMEDIES.items():
        if name.startswith(beginning):
            return f"{remedy} ({found})"
    # A table that is not as it was made (SQLITE_ERROR), pages that make no sense, and what a check has found.
    damaged = name == "SQLITE_ERROR" or name.startswith("SQLITE_CORRUPT") or type(error) is sqlite3.DatabaseError
    return f"{_DAMAGED if damaged else 'cannot be used'} ({found})"
