"""Stores of the SQLite engine for tests: opened and closed, or left behind as a process leaves them that is killed."""

import asyncio
import shutil
import sqlite3
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from openline.brokers.sqlite import SqliteBroker
from openline.brokers.sqlite_writer import Writer
from openline.model import Publication
from openline.testing.broker_bench import Bench

NOON = 1_700_000_000.0
HOUR = 3600.0


class Gate:
    """Holds the writer between batches, as a slow disk does."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._open = threading.Event()
        self._open.set()
        write = Writer.write

        def held(writer: Writer, batch: Any) -> Exception | None:
            self._open.wait(60)
            return write(writer, batch)

        monkeypatch.setattr(Writer, "write", held)

    def hold(self) -> None:
        self._open.clear()

    def let_go(self) -> None:
        self._open.set()


@asynccontextmanager
async def opened(path: Path, *, wall: float = NOON, **options: Any) -> AsyncIterator[Bench]:
    """The store at ``path``, with the time of day ``wall`` when it is opened."""
    loop = asyncio.get_running_loop()
    bench = Bench(
        lambda timers: SqliteBroker(str(path), loop=loop, timers=timers, wall=lambda: wall, **options), patience=20.0
    )
    await bench.of(bench.broker.start(bench), "start")
    try:
        yield bench
    finally:
        await bench.of(bench.broker.close(), "close")


async def log_of(bench: Bench, name: str) -> list[Publication]:
    """All that is kept of a channel."""
    found: list[Publication] = []
    while True:
        page = await bench.read(name, before=found[0].position if found else None)
        found[:0] = page.publications
        if not page.more:
            return found


def left_behind(path: Path, *suffixes: str) -> Path:
    """What would be there if the process that has ``path`` open were killed now; only these files, where named."""
    copy = path.with_name(f"left-{path.name}")
    while copy.exists():
        copy = copy.with_name(f"left-{copy.name}")
    # What vouches for the others comes first: the writer may still be at it.
    for suffix in suffixes or ("-mark", "-wal", ""):
        shutil.copy(f"{path}{suffix}", f"{copy}{suffix}")
    return copy


def rows(path: Path, statement: str, *values: object) -> list[Any]:
    """What another program finds in the file."""
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        return connection.execute(statement, values).fetchall()
    finally:
        connection.close()


async def settled(bench: Bench, path: Path, statement: str, expected: object) -> None:
    """Wait until another program finds what is expected: pruning goes on beside everything else."""
    async with asyncio.timeout(60):
        while (found := rows(path, statement)) != expected:
            await bench.publish("$beat", "x")
            await asyncio.sleep(0)
    assert found == expected
