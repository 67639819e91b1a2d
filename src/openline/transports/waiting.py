"""Requests that wait for something to come: how many may, for how long, and that they end with their client."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from typing import Any, TypeVar

from openline.errors import BrokerError, CommandError, ErrorCode
from openline.hub.outcome import Outcome
from openline.transports.doors import Doors
from openline.transports.exchange import Exchange
from openline.transports.settings import HttpSettings
from openline.transports.underneath import Underneath

__all__ = ["Waiting"]

T = TypeVar("T")


class _Bell:
    """Stands among the connections of a server, which tells those that it stops."""

    def __init__(self, doors: Doors, under: Underneath) -> None:
        self.transport = under.transport
        self._doors = doors

    def shutdown(self) -> None:
        """The server stops (uvicorn calls it on every connection)."""
        self._doors.shutdown()


class Waiting:
    """Counts those who wait, in all and by address."""

    def __init__(self, doors: Doors, settings: HttpSettings) -> None:
        self._doors = doors
        self._settings = settings
        self._waiting: set[Outcome[None]] = doors.waiting
        self._by_client: Counter[str] = Counter()

    async def wait(self, exchange: Exchange, seconds: float, work: Callable[[Outcome[None]], Awaitable[T]]) -> T:
        """What ``work`` returns; the outcome that it is given is settled when there is no more time to wait.

        That is after ``seconds``, when the client goes, or when the server stops. Raises :class:`CommandError`
        (``too_many``) where too many wait already, and what ``work`` raises.
        """
        enough: Outcome[None] = Outcome()
        failure: CommandError | BrokerError
        with self._counted(exchange.subscriber, enough), _bell(self._doors, exchange):
            timer = self._doors.timers.after(seconds, lambda: enough.settle(None))
            try:
                async with asyncio.TaskGroup() as tasks:
                    gone = tasks.create_task(exchange.disconnected())
                    gone.add_done_callback(lambda _: enough.settle(None))
                    try:
                        return await work(enough)
                    except (CommandError, BrokerError) as error:
                        failure = error  # a TaskGroup would wrap it
                    finally:
                        gone.cancel()
            finally:
                timer.cancel()
        raise failure

    @contextmanager
    def _counted(self, client: str, enough: Outcome[None]) -> Generator[None]:
        settings = self._settings
        if len(self._waiting) >= settings.max_waiting or self._by_client[client] >= settings.max_waiting_per_client:
            raise CommandError(ErrorCode.TOO_MANY, "Too many requests wait already.", retry=True)
        self._waiting.add(enough)
        self._by_client[client] += 1
        try:
            yield
        finally:
            self._waiting.discard(enough)
            self._by_client[client] -= 1
            if not self._by_client[client]:
                del self._by_client[client]


@contextmanager
def _bell(doors: Doors, exchange: Exchange) -> Generator[None]:
    under = Underneath.of(exchange.receive)
    if under is None:
        yield
        return
    bell: Any = _Bell(doors, under)
    under.connections.add(bell)
    try:
        yield
    finally:
        under.connections.discard(bell)
