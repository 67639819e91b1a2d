"""The owner of every task that runs user code: it starts them, knows them, and waits for them at the end."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any, TypeVar

from openline.errors import CommandError, ErrorCode
from openline.hub.outcome import Outcome

__all__ = ["Tasks"]

T = TypeVar("T")


async def _await(awaitable: Awaitable[T]) -> T:
    return await awaitable


def _settle(outcome: Outcome[T], call: Callable[[], Outcome[T]]) -> None:
    def copy(other: Outcome[T]) -> None:
        try:
            outcome.settle(other.result())
        except Exception as error:
            outcome.fail(error)

    try:
        call().then(copy)
    except Exception as error:
        # Its traceback holds this frame and so the outcome, which is to tell when forgotten.
        outcome.fail(error.with_traceback(None))


class Tasks:
    """Runs awaitables as tasks of the loop, and brings calls from other threads to it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._thread = threading.get_ident()
        self._running: set[asyncio.Future[Any]] = set()
        self._kept: set[asyncio.Future[Any]] = set()

    def __len__(self) -> int:
        return len(self._running)

    def start(self, awaitable: Awaitable[T]) -> Outcome[T]:
        """Run ``awaitable`` as a task; cancelled, its outcome fails with :class:`CommandError`."""
        return self._watch(self._loop.create_task(_await(awaitable)))

    def keep(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Run what is to last as long as the server, and handles its own failures; :meth:`dismiss` cancels it."""
        task = self._loop.create_task(coroutine)
        self._kept.add(task)
        task.add_done_callback(self._kept.discard)

    def dismiss(self) -> None:
        """Cancel what was to last; nobody waits for it yet."""
        for task in self._kept:
            task.cancel()

    def on_loop(self, call: Callable[[], Outcome[T]]) -> Outcome[T]:
        """Make ``call`` on the loop: at once there, in a moment from another thread.

        What comes out of it cannot be awaited in that thread, but handed back to the loop.
        """
        if threading.get_ident() == self._thread:
            return call()
        outcome: Outcome[T] = Outcome()
        self._loop.call_soon_threadsafe(_settle, outcome, call)
        return outcome

    def _watch(self, future: asyncio.Future[T]) -> Outcome[T]:
        outcome: Outcome[T] = Outcome()
        self._running.add(future)
        future.add_done_callback(partial(self._finished, outcome))
        return outcome

    def _finished(self, outcome: Outcome[T], future: asyncio.Future[T]) -> None:
        self._running.discard(future)
        if future.cancelled():
            outcome.fail(CommandError(ErrorCode.FAILED, "The server ended before this was done.", retry=True))
        elif (error := future.exception()) is not None:
            outcome.fail(error)
        else:
            outcome.settle(future.result())

    async def close(self, patience: float) -> int:
        """Wait ``patience`` seconds for what still runs, then cancel it; returns how many had to be.

        What was to last is told at once that this is the end.
        """
        self.dismiss()
        if self._running or self._kept:
            await asyncio.wait((*self._running, *self._kept), timeout=patience)
        late = (*self._running, *self._kept)
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late, timeout=1.0)
        return len(late)
