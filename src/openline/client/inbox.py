"""Events that wait for their reader: bounded in bytes; what did not fit is counted and told with ``$gap``."""

import asyncio
import logging
from collections import deque
from typing import Final, NamedTuple

from openline.client.events import Event
from openline.client.frames import Frame, UnreadableError, event_of

__all__ = ["Inbox"]

_log = logging.getLogger("openline.client")
#: What an event that waits costs beside its payload, about.
_OVERHEAD: Final = 600


class _Entry(NamedTuple):
    said: Frame | Event
    recovered: bool
    size: int


class Inbox:
    """A queue for one reader, of at most ``limit`` bytes, or of a single event that is longer.

    At the limit the oldest make room: the server keeps what a channel remembers, and the reader is told where to read
    on. Holding up the line instead would hold up the answers that the reader itself may be waiting for.
    """

    def __init__(self, limit: int, channel: str | None = None) -> None:
        self._limit = limit
        self._channel = channel
        self._entries: deque[_Entry] = deque()
        self._size = 0
        self._dropped = 0
        self._until: str | None = None
        self._reader: asyncio.Future[None] | None = None
        self._ended = False
        self._error: Exception | None = None

    @property
    def size(self) -> int:
        """Bytes that wait, about."""
        return self._size

    def put(self, said: Frame | Event, size: int = 0, *, recovered: bool = False) -> None:
        """Add what came; ``size`` is that of its payload."""
        if self._ended:
            return
        entry = _Entry(said.kept() if isinstance(said, Frame) else said, recovered, size + _OVERHEAD)
        self._entries.append(entry)
        self._size += entry.size
        while self._size > self._limit and len(self._entries) > 1:
            dropped = self._take()
            self._dropped += 1
            self._until = dropped.said.position or self._until
        self._wake()

    def end(self, error: Exception | None = None) -> None:
        """What waits is still read; then comes ``error``, or the end of the iteration."""
        if not self._ended:
            self._ended, self._error = True, error
            self._wake()

    async def get(self) -> Event:
        """The next event.

        Raises :class:`StopAsyncIteration` at the end, or the error that ended it, again at every call;
        :class:`RuntimeError` where somebody else waits already.
        """
        while True:
            event = self._next()
            if event is not None:
                return event
            if not self._entries:
                await self._arrival()

    def _next(self) -> Event | None:
        if self._dropped:
            event = Event("$gap", {"position": self._until, "lost": self._dropped}, self._channel)
            self._dropped, self._until = 0, None
            return event
        if not self._entries:
            return None
        said, recovered, _ = self._take()
        if isinstance(said, Event):
            return said
        try:
            return event_of(said, recovered=recovered)
        except UnreadableError as error:
            _log.warning("An event of type %r is left out: %s", said.type, error)
            return None

    async def _arrival(self) -> None:
        if self._ended:
            raise StopAsyncIteration if self._error is None else self._error
        if self._reader is not None:
            raise RuntimeError("somebody reads these events already; one reader at a time")
        self._reader = asyncio.get_running_loop().create_future()
        try:
            await self._reader
        finally:
            self._reader = None

    def _take(self) -> _Entry:
        entry = self._entries.popleft()
        self._size -= entry.size
        return entry

    def _wake(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)
