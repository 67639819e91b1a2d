"""Reads all sockets of one event loop below it: at each wake-up, in one call, whatever has come on any of them.

The event loop watches one descriptor, an epoll of our own. Linux with the native part only; elsewhere the loop's own
transports read, one after the other.
"""

import os
from asyncio import AbstractEventLoop
from collections import deque
from time import perf_counter
from typing import Any, ClassVar, Final, Protocol

from openline.accelerator import native

__all__ = ["WRITABLE", "Reader", "Receiver"]

#: Beside None: what waits may be written now.
WRITABLE: Final = -1
#: How long what was read holds the event loop at a time.
_SLICE_SECONDS: Final = 0.01


class Reader(Protocol):
    """Who reads a seated socket."""

    def found(self, what: Any, more: Any) -> tuple[Any, Any] | None:
        """Something was found there; what it leaves of it, if anything, it is given again when others had their turn.

        A list and bytes: plain frames, as ``protocol.frames.parse_frames`` gives them, and what is left; where none
        were asked for, the list is empty. None and a number: :data:`WRITABLE`, 0 at the end of what the peer writes,
        or an ``errno``. Where it listens, a number and an address: who was accepted, or below 0 an ``errno``.
        """
        ...

    def failed(self, error: Exception) -> None:
        """:meth:`found` has raised ``error``, which it is not meant to."""
        ...


class Receiver:
    """The sockets of one loop, each seated under its descriptor; it lives as long as any is seated.

    What a loop that was closed had seated is let go when the next one has a receiver made.

    A socket leaves its seat before it is closed, so a number that is used again has nothing of the one before. Of one
    socket 32 KiB are read in one turn, and then the others are looked at. What takes longer than some milliseconds to
    be told goes on in the next turn of the loop; nothing is read before it is through.
    """

    _by_loop: ClassVar["dict[AbstractEventLoop, Receiver]"] = {}

    def __init__(self, loop: AbstractEventLoop) -> None:
        self.loop = loop
        self._seated = 0
        # What was read, and is to be told: reader, what, and more.
        self._found: deque[tuple[Reader, Any, Any]] = deque()
        self._epoll: int = native.open_epoll()
        loop.add_reader(self._epoll, self._turn)

    @classmethod
    def of(cls, loop: AbstractEventLoop) -> "Receiver | None":
        """The receiver of ``loop``; None where there can be none."""
        # A closed loop tells nobody that it is.
        for each in tuple(cls._by_loop.values()):
            if each.loop.is_closed():
                each.forget()
        receiver = cls._by_loop.get(loop)
        if receiver is None and native is not None:
            try:
                receiver = cls._by_loop[loop] = cls(loop)
            except NotImplementedError:
                return None
        return receiver

    def seat(self, descriptor: int, reader: Reader, *, listens: bool = False) -> None:
        """Let ``reader`` hear of ``descriptor``, a socket that does not block; where it ``listens``, of who comes."""
        native.seat(self._epoll, descriptor, reader, listens)
        self._seated += 1

    def unseat(self, descriptor: int) -> None:
        """Nobody hears of ``descriptor`` any more, which may be closed now; it must be seated."""
        if self._epoll < 0:  # the loop is closed, and nobody is seated
            return
        native.unseat(self._epoll, descriptor)
        self._seated -= 1
        if not self._seated:
            self.loop.call_soon(self._end)

    def watch(self, descriptor: int, *, reading: bool, writing: bool) -> None:
        """What its reader wants to hear of; at first it is reading alone."""
        if self._epoll >= 0:
            native.watch(self._epoll, descriptor, reading, writing)

    @staticmethod
    def expect(descriptor: int, reader: Reader, limit: int) -> None:
        """From now on ``reader`` gets plain frames of at most ``limit`` bytes, or with -1 bytes as they come."""
        native.expect(descriptor, reader, limit)

    @property
    def behind(self) -> bool:
        """Whether not all is told of what was read: until then nobody is read."""
        return bool(self._found)

    def _turn(self) -> None:
        if not self._found:
            self._found.extend(native.receive(self._epoll))
            self._tell()

    def _tell(self) -> None:
        until = perf_counter() + _SLICE_SECONDS
        try:
            while self._found:
                reader, what, more = self._found.popleft()
                try:
                    left = reader.found(what, more)
                except Exception as error:
                    reader.failed(error)
                else:
                    # Of one reader bytes are found once, so nothing that comes behind them is overtaken.
                    if left is not None:
                        self._found.append((reader, *left))
                if perf_counter() >= until:
                    break
        finally:
            # Also behind what no exception handler is for: nothing is read before all is told.
            if self._found:
                self.loop.call_soon(self._tell)
            elif not self._seated:
                self.loop.call_soon(self._end)

    def _end(self) -> None:
        if not (self._seated or self._found) and self._epoll >= 0:
            self.loop.remove_reader(self._epoll)
            self.forget()

    def forget(self) -> None:
        """Read nothing more, whatever is seated: the loop has been closed, or watches no longer."""
        # Taken first: several threads may find out at a time that a loop has been closed.
        epoll, self._epoll = self._epoll, -1
        if epoll >= 0:
            self._by_loop.pop(self.loop, None)
            native.unseat_all(epoll)
            os.close(epoll)
            found, self._found = self._found, deque()
            for _, what, _ in found:
                # Who was accepted, and is served by nobody.
                if isinstance(what, int) and what >= 0:
                    os.close(what)
