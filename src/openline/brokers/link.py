"""A node's line to the engine process of its host: one connection, in order, made anew whenever it is lost.

Whoever has an answer has heard everything that was published before it.
"""

import asyncio
import logging
import os
import random
import time
from collections.abc import Collection, Iterator
from socket import AF_UNIX, SOCK_STREAM, socket
from typing import Any, Final, Protocol, cast

import msgspec

from openline.brokers import link_frames as frames
from openline.brokers.link_requests import Request, Requests
from openline.errors import BrokerError, SettingsError
from openline.hub.timers import Timers
from openline.model import Position, Publication

__all__ = ["Guest", "Link", "open_engine"]

#: Bytes of what comes in while a node finds out what it missed.
HELD_BYTES: Final = 64 * 1024 * 1024
#: How long a file may take to be opened and checked.
OPEN_SECONDS: Final = 60.0
_BACKOFF_SECONDS: Final = 0.02
_MOST_BACKOFF_SECONDS: Final = 0.5

_log = logging.getLogger("openline")


class Guest(Protocol):
    """Who hears what comes over a link."""

    @property
    def wanted(self) -> Collection[str]:
        """The channels that it wants."""
        ...

    def opened(self, position: Position) -> Position | None:
        """There is a connection, and the engine stands at ``position``: behind what to catch up, None for nothing."""
        ...

    def caught_up(self, missed: frames.Missed) -> None:
        """This was missed."""
        ...

    def heard(self, publication: Publication) -> None:
        """Another node has published something."""
        ...

    def answered(self, request: Request, answer: frames.Answer) -> None:
        """Something was answered, in order with what is heard; its outcome is settled behind this."""
        ...

    def passed(self, request: Request) -> None:
        """What is volatile need not wait for the engine any more: it is not answered in time."""
        ...


class _Wire(asyncio.Protocol):
    """One connection of a link."""

    def __init__(self, link: "Link") -> None:
        self._link = link
        self._frames = frames.Frames()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        try:
            self._link.take(self, self._frames.take(data))
        except (msgspec.DecodeError, ValueError) as error:
            _log.error("The engine process says what cannot be read: %s", error)
            self.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._link.lost(self)

    def write(self, data: bytes) -> None:
        """Send it."""
        if self._transport is not None:
            self._transport.write(data)

    def close(self) -> None:
        """End it behind what was written."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """End it."""
        if self._transport is not None:
            self._transport.abort()


class Link:
    """Owns the one task that connects, again and again, from :meth:`start` to :meth:`close`."""

    def __init__(self, path: str, url: str, line: int, *, loop: asyncio.AbstractEventLoop, timers: Timers) -> None:
        self._path = path
        self._url = url
        self._line = line
        self._loop = loop
        self.up = False
        self.reason = "it has not been reached yet"
        self.requests = Requests(self, timers)
        self._guest: Guest | None = None
        self._wire: _Wire | None = None
        self._opening: asyncio.Future[frames.Opened | frames.Refused] = loop.create_future()
        self._gone: asyncio.Future[None] = loop.create_future()
        self._task: asyncio.Task[None] | None = None
        self._out: list[bytes] = []
        self._held: list[Publication] = []
        self._held_bytes = 0
        self._told = self._closed = False

    @property
    def trouble(self) -> str | None:
        """Why the engine cannot be used just now, for people; None where it can."""
        if not self.up:
            return f"the engine process is not there: {self.reason}"
        return "the engine process does not answer" if self.requests.stalled else None

    def start(self, guest: Guest) -> None:
        """Begin to connect."""
        self._guest = guest
        self._task = self._loop.create_task(self._run())

    async def close(self) -> None:
        """End, and wait for it; what waits fails."""
        self._closed = True
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
        self._flush()
        wire, self._wire = self._wire, None
        if wire is not None:
            wire.close()
        self.up = False
        self.requests.close()

    # -- see Line

    def write(self, data: bytes) -> None:
        """Send it at the end of this turn of the loop."""
        if not self._out:
            self._loop.call_soon(self._flush)
        self._out.append(data)

    def _flush(self) -> None:
        out, self._out = self._out, []
        if out and self._wire is not None:
            self._wire.write(b"".join(out))

    def passed(self, request: Request) -> None:
        """See :class:`Guest`."""
        if self._guest is not None:
            self._guest.passed(request)

    # -- hearing

    def take(self, wire: _Wire, messages: Iterator[bytes]) -> None:
        """Something has come; raises :class:`ValueError` for what cannot be read."""
        self.requests.heard()
        for message in messages:
            guest = self._guest
            if guest is None or self._closed or wire is not self._wire:
                return
            self._take(guest, frames.read_down(message))

    def _take(self, guest: Guest, message: Any) -> None:
        if isinstance(message, frames.Hear):
            if self.up:
                guest.heard(message.publication)
            else:
                self._hold(message.publication)
        elif isinstance(message, frames.Answer):
            request = self.requests.take(message.number)
            if request is not None:
                if self.up:
                    guest.answered(request, message)
                request.settle(message)
        elif isinstance(message, frames.Failure):
            request = self.requests.take(message.number)
            if request is not None:
                request.fail(message.reason)
        elif not self._opening.done():
            self._opening.set_result(message)

    def _hold(self, publication: Publication) -> None:
        self._held.append(publication)
        self._held_bytes += publication.size
        if self._held_bytes > HELD_BYTES and self._wire is not None:
            self._wire.abort()

    def lost(self, wire: _Wire) -> None:
        """A connection has ended."""
        if wire is self._wire:
            self._wire = None
            if not self._gone.done():
                self._gone.set_result(None)
            if not self._opening.done():
                self._opening.set_exception(ConnectionResetError("it has hung up"))
            self._down("it has hung up")

    # -- staying connected

    async def _run(self) -> None:
        pause = 0.0
        while True:
            if pause:
                await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311  nobody is to guess it
            try:
                await self._connect()
            except (OSError, BrokerError) as error:
                self._down(str(error) or type(error).__name__)
                pause = min(pause * 2, _MOST_BACKOFF_SECONDS) or _BACKOFF_SECONDS
                continue
            pause = _BACKOFF_SECONDS
            await self._gone

    async def _connect(self) -> None:
        guest = self._guest
        if guest is None:
            return
        self._gone, self._opening = self._loop.create_future(), self._loop.create_future()
        self._held, self._held_bytes = [], 0
        _, self._wire = await self._loop.create_unix_connection(lambda: _Wire(self), self._path)
        self.write(frames.frame(frames.Open(frames.VERSION, self._url, self._line, os.getpid(), list(guest.wanted))))
        opened = await self._opening
        if isinstance(opened, frames.Refused):
            raise BrokerError(opened.reason)
        after = guest.opened(opened.position)
        if after is not None:
            guest.caught_up(await self.requests.catch_up(after))
        if self._gone.done():
            raise BrokerError("it has hung up")
        self.up = True
        held, self._held = self._held, []
        for publication in held:
            guest.heard(publication)
        if self._told:
            _log.info("The engine process is there again")
            self._told = False
        self.requests.go_on()

    def _down(self, reason: str) -> None:
        was_up, self.up, self.reason = self.up, False, reason
        wire, self._wire = self._wire, None
        if wire is not None:
            wire.abort()
        if was_up:
            _log.error("The engine process is not there: %s; trying again", reason)
            self._told = True
        self._out = []
        self.requests.cut(reason)


def open_engine(path: str, url: str, line: int, *, patience: float = OPEN_SECONDS) -> None:
    """Have the engine process at ``path`` open what ``url`` names, and wait for it; it may start just now.

    It is waited for with ``patience``, in seconds. Raises :class:`SettingsError` where it cannot be, and
    :class:`BrokerError` where the process does not answer.
    """
    cutter = frames.Frames()
    with socket(AF_UNIX, SOCK_STREAM) as asking:
        asking.settimeout(OPEN_SECONDS)
        try:
            _knock(asking, path, patience)
            asking.sendall(frames.frame(frames.Open(frames.VERSION, url, line)))
            while data := asking.recv(65_536):
                for message in cutter.take(data):
                    answer = frames.read_down(message)
                    if isinstance(answer, frames.Refused):
                        raise SettingsError(answer.subject, answer.reason)
                    return
        except OSError as error:
            raise BrokerError(f"the engine process cannot be reached: {error}") from error
    raise BrokerError("the engine process has hung up")


def _knock(asking: socket, path: str, patience: float) -> None:
    until = time.monotonic() + patience
    while True:
        try:
            asking.connect(path)
            return
        except (FileNotFoundError, ConnectionRefusedError):
            if time.monotonic() >= until:
                raise
            time.sleep(0.02)
