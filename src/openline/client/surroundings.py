"""What surrounds a line: time, chance, and the sockets that carry it; tests put their own in place."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Protocol

__all__ = ["Clock", "Handle", "LoopClock", "Socket", "Surroundings"]


class Handle(Protocol):
    """A call that is yet to come."""

    def cancel(self) -> None:
        """It will not come."""
        ...


class Clock(Protocol):
    """Time, in seconds since some moment."""

    def now(self) -> float:
        """The time."""
        ...

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Handle:
        """Call ``callback`` once, ``seconds`` from now."""
        ...


class LoopClock:
    """The running event loop's time."""

    def now(self) -> float:
        """See :class:`Clock`."""
        return asyncio.get_running_loop().time()

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Handle:
        """See :class:`Clock`."""
        return asyncio.get_running_loop().call_later(seconds, callback)


class Socket(Protocol):
    """What carries a line: text messages in order, both ways."""

    async def send(self, text: bytes) -> None:
        """Send one message, and wait while the socket is full.

        Raises :class:`~openline.client.ending.SocketLostError`.
        """
        ...

    async def receive(self) -> str:
        """The next message; raises :class:`~openline.client.ending.SocketLostError` at the end."""
        ...

    async def close(self, code: int | None) -> None:
        """End it: with a goodbye, or without a word where there is no ``code``. Afterwards nothing is left of it."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """Time and chance (from 0 to 1), and how a socket is opened: None for a WebSocket to the URL.

    ``dial`` raises :class:`~openline.client.ending.SocketLostError` where there is none to be had.
    """

    clock: Clock = field(default_factory=LoopClock)
    chance: Callable[[], float] = random.random
    dial: Callable[[], Awaitable[Socket]] | None = None
