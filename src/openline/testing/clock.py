"""Time that passes only when a test says so, and the rest that a test waits for in between."""

import asyncio
from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count
from typing import Any, Final

__all__ = ["FakeClock", "FakeHandle", "settle"]

#: Turns of the event loop after which something must have come to rest.
_MOST_TURNS: Final = 100_000
#: Turns that are enough for what goes on here, in a loop that does not show whether anything is left to do.
_BLIND_TURNS: Final = 50


async def settle() -> None:
    """Let everything happen that waits for nothing but its turn, and whatever follows from it; no time passes.

    What waits for a thread, a network or a file is not waited for. Raises :class:`RuntimeError` where something never
    comes to rest.
    """
    # asyncio's own loops keep there what is to run; uvloop does not show it.
    ready: Any = getattr(asyncio.get_running_loop(), "_ready", None)
    for turn in range(_MOST_TURNS):
        if turn >= _BLIND_TURNS if ready is None else not ready:
            return
        await asyncio.sleep(0)
    raise RuntimeError("something never comes to rest: does a task spin without waiting for anything?")


class FakeHandle:
    """A call that is yet to come."""

    def __init__(self, callback: Callable[[], None]) -> None:
        self._callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        """It will not come."""
        self._callback = None

    @property
    def waiting(self) -> bool:
        """Whether the call is yet to come."""
        return self._callback is not None

    def ring(self) -> None:
        """Make the call, unless it was cancelled or made already."""
        callback, self._callback = self._callback, None
        if callback is not None:
            callback()


class FakeClock:
    """See :class:`openline.hub.ports.Clock`; its ``call_soon`` is what :class:`openline.hub.tick.Tick` wants.

    Nothing is called but inside :meth:`advance`, :meth:`pass_time` and :meth:`stall`. What a call raises comes out
    there.
    """

    def __init__(self, now: float = 0.0) -> None:
        self._now = now
        self._order = count()
        self._due: list[tuple[float, int, FakeHandle]] = []

    def now(self) -> float:
        """Seconds since some moment."""
        return self._now

    @property
    def waiting(self) -> int:
        """How many calls are yet to come."""
        return sum(handle.waiting for _, _, handle in self._due)

    def call_later(self, seconds: float, callback: Callable[[], None]) -> FakeHandle:
        """Call ``callback`` once, ``seconds`` from now, behind everything that is due then already."""
        handle = FakeHandle(callback)
        heappush(self._due, (self._now + max(seconds, 0.0), next(self._order), handle))
        return handle

    def call_soon(self, callback: Callable[[], None]) -> FakeHandle:
        """Call ``callback`` once, as soon as time is let go on, be it by nothing."""
        return self.call_later(0.0, callback)

    def advance(self, seconds: float = 0.0) -> None:
        """Let time pass and make every call at its moment, also those that the calls ask for."""
        end = self._now + seconds
        while self._due and self._due[0][0] <= end:
            self._ring_next()
        self._now = end

    async def pass_time(self, seconds: float = 0.0) -> None:
        """Let time pass as :meth:`advance` does, but everything settle after each call, before the next.

        So tasks keep up: whoever answers a ping within the second does so within the hour.
        """
        end = self._now + seconds
        await settle()
        while self._due and self._due[0][0] <= end:
            self._ring_next()
            await settle()
        self._now = end

    def _ring_next(self) -> None:
        due, _, handle = heappop(self._due)
        self._now = max(self._now, due)
        handle.ring()

    def stall(self, seconds: float) -> None:
        """Let time pass as if something held the loop: what was due meanwhile is called at the end of it."""
        self._now += seconds
        self.advance()
