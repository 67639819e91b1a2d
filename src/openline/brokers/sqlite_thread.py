"""The one thread that writes the store: batches of what has come in, then pruning while nothing waits."""

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Container, Sequence
from queue import Empty, SimpleQueue
from typing import Final

from openline.brokers.sqlite_entry import Entry, Kind
from openline.brokers.sqlite_file import RESERVE, Store
from openline.brokers.sqlite_reader import Reader
from openline.brokers.sqlite_writer import Writer

__all__ = ["WriterThread"]

#: What one transaction takes at most: it bounds how long the event loop is held when it is handed over.
MAX_BATCH: Final = 1024
MAX_BATCH_BYTES: Final = 4 * 1024 * 1024
#: Rows and keys that one step of a sweep drops, unless more come in meanwhile; and how many times as long as it took
#: nothing is swept behind it, so that what is published seldom finds the writer at it.
SWEEP_ROWS: Final = 256
REST: Final = 20

_log = logging.getLogger("openline")


class WriterThread:
    """Takes entries with :meth:`put` and hands them back, filled in, on the event loop, in the same order.

    It ends behind a :attr:`Kind.STOP`, or with the loop; ``ended`` is called when the file is closed.
    """

    def __init__(
        self,
        store: Store,
        wanted: Container[str],
        loop: asyncio.AbstractEventLoop,
        hand_over: Callable[[Sequence[Entry]], None],
        ended: Callable[[], None],
    ) -> None:
        self._store = store
        self._writer = Writer(store, wanted)
        self._loop = loop
        self._hand_over = hand_over
        self._ended = ended
        self._waiting: SimpleQueue[Entry] = SimpleQueue()
        #: When the next step of a sweep may be taken, and how many entries came in meanwhile.
        self._due = 0.0
        self._came_in = 0
        self._reader: Reader | None = None
        self._thread = threading.Thread(target=self._run, name="openline-sqlite-writer", daemon=True)

    def start(self, reader: Reader) -> None:
        """Begin; ``reader`` is stopped before the file is closed."""
        self._reader = reader
        self._thread.start()

    def put(self, entry: Entry) -> None:
        """Have it done behind everything put before; nothing may come behind a STOP."""
        self._waiting.put(entry)

    def stamp_at_once(self) -> int | None:
        """The next stamp, where nothing that gets one waits, for the event loop; None where some must be reserved."""
        if self._writer.stamp + RESERVE // 2 >= self._writer.reserved:
            return None
        self._writer.stamp += 1
        return self._writer.stamp

    def _run(self) -> None:
        going = True
        try:
            while going:
                batch = self._take()
                going = batch[-1].kind is not Kind.STOP if batch else True
                if batch:
                    self._write(batch)
                if self._writer.sweeping and going:
                    self._sweep()
        except RuntimeError:
            _log.debug("The event loop has ended, and nobody waits for the store any more")
        if self._reader is not None:
            self._reader.stop()
        self._writer.close()
        if not self._loop.is_closed():
            self._post(self._ended)

    def _take(self) -> list[Entry]:
        """What has come in, up to a limit; nothing, when a step of a sweep is due."""
        batch: list[Entry] = []
        room = MAX_BATCH_BYTES
        rest = max(0.0, self._due - time.monotonic()) if self._writer.sweeping else None
        try:
            batch.append(self._waiting.get(timeout=rest))
            while len(batch) < MAX_BATCH and room > 0 and batch[-1].kind is not Kind.STOP:
                batch.append(self._waiting.get_nowait())
                room -= batch[-1].size
        except Empty:
            pass
        return batch

    def _write(self, batch: list[Entry]) -> None:
        failure = self._writer.write(batch)
        self._came_in = self._came_in + len(batch) if self._writer.sweeping else 0
        self._loop.call_soon_threadsafe(self._hand_over, batch)
        for entry in batch:
            if entry.kind is Kind.SWEEP:
                self._writer.ask_sweep(entry.at)
        if failure is None:
            self._writer.checkpoint()

    def _sweep(self) -> None:
        """Take a step of it, unless what is published should have the writer to itself for a while."""
        # Faster than it fills, however much comes in.
        room = max(SWEEP_ROWS, 2 * self._came_in)
        begun = time.monotonic()
        if room == SWEEP_ROWS and begun < self._due:
            return
        self._writer.sweep(room)
        ended = time.monotonic()
        self._due = ended + REST * (ended - begun)
        self._came_in = 0

    def _post(self, callback: Callable[[], None]) -> None:
        try:
            self._loop.call_soon_threadsafe(callback)
        except RuntimeError:
            _log.debug("The event loop ended while the store was closed")
