"""Events that wait for their reader: bounded in bytes; what is left out is counted and told with ``$gap``."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
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

    Who fills it decides what becomes of what does not fit: it never holds up the line, because the reader may be
    waiting for an answer on it.
    """

    def __init__(self, limit: int, channel: str | None = None) -> None:
        self._limit = limit
        self._channel = channel
        self._entries: deque[_Entry] = deque()
        self._size = 0
        self._lost = 0
        self._until: str | None = None
        self._reader: asyncio.Future[None] | None = None
        self._hungry: Callable[[], None] | None = None
        self._ended = False
        self._error: Exception | None = None

    @property
    def size(self) -> int:
        """Bytes that wait, about."""
        return self._size

    @property
    def has_news(self) -> bool:
        """Whether :meth:`get` gives an event without waiting."""
        return bool(self._entries or self._lost)

    @property
    def has_room(self) -> bool:
        """Whether half of it is free."""
        return self._size <= self._limit // 2

    def when_room(self, call: Callable[[], None]) -> None:
        """Call ``call`` once, when the reader has made room; instead of what was to be called before."""
        self._hungry = call

    def put(self, said: Frame | Event, size: int = 0, *, recovered: bool = False) -> bool:
        """Add what came, with a payload of ``size`` bytes; False, and nothing added, where it does not fit."""
        size += _OVERHEAD
        if self._ended or (self._entries and self._size + size > self._limit):
            return False
        self._tell_lost()
        self._add(said.kept() if isinstance(said, Frame) else said, size, recovered=recovered)
        return True

    def offer(self, said: Frame | Event, size: int = 0) -> None:
        """Add what came; where it does not fit, a ``$gap`` in its place says how many were left out."""
        if not self.put(said, size):
            self.leave_out(said.position)

    def leave_out(self, position: str | None = None) -> None:
        """Count something that is not added, and tell it where it would stand."""
        if not self._ended:
            self._lost += 1
            self._until = position or self._until

    def end(self, error: Exception | None = None, last: Event | None = None) -> None:
        """What waits is still read, then ``last``; then comes ``error``, or the end of the iteration."""
        if self._ended:
            return
        self._tell_lost()
        if last is not None:
            self._add(last, _OVERHEAD)
        self._ended, self._error = True, error
        self._wake()

    async def get(self) -> Event:
        """The next event.

        Raises :class:`StopAsyncIteration` at the end, or the error that ended it, again at every call;
        :class:`RuntimeError` where somebody else waits already.
        """
        while True:
            if not self._entries:
                self._tell_lost()
            if not self._entries:
                await self._arrival()
            elif (event := self._next()) is not None:
                return event

    def _next(self) -> Event | None:
        said, recovered, size = self._entries.popleft()
        self._size -= size
        if self._hungry is not None and self.has_room:
            call, self._hungry = self._hungry, None
            call()
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

    def _tell_lost(self) -> None:
        if self._lost:
            gap = Event("$gap", {"position": self._until, "lost": self._lost}, self._channel, self._until)
            self._lost, self._until = 0, None
            self._add(gap, _OVERHEAD)

    def _add(self, said: Frame | Event, size: int, *, recovered: bool = False) -> None:
        self._entries.append(_Entry(said, recovered, size))
        self._size += size
        self._wake()

    def _wake(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)
