"""The owner of every task that runs user code: it starts them, knows them, and waits for them at the end."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, TypeVar

from openline.errors import OpenlineError
from openline.hub.outcome import Outcome

__all__ = ["Tasks"]

T = TypeVar("T")


async def _await(awaitable: Awaitable[T]) -> T:
    return await awaitable


class Tasks:
    """Runs awaitables as tasks of the loop, and functions that block in its threads."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._running: set[asyncio.Future[Any]] = set()

    def __len__(self) -> int:
        return len(self._running)

    def start(self, awaitable: Awaitable[T]) -> Outcome[T]:
        """Run ``awaitable`` as a task; cancelled, its outcome fails with :class:`OpenlineError`."""
        return self._watch(self._loop.create_task(_await(awaitable)))

    def start_in_thread(self, function: Callable[..., T], *arguments: Any) -> Outcome[T]:
        """Run ``function`` in a thread; it cannot be cancelled, only awaited."""
        return self._watch(self._loop.run_in_executor(None, partial(function, *arguments)))

    def _watch(self, future: asyncio.Future[T]) -> Outcome[T]:
        outcome: Outcome[T] = Outcome()
        self._running.add(future)
        future.add_done_callback(partial(self._finished, outcome))
        return outcome

    def _finished(self, outcome: Outcome[T], future: asyncio.Future[T]) -> None:
        self._running.discard(future)
        if future.cancelled():
            outcome.fail(OpenlineError("the task was cancelled"))
        elif (error := future.exception()) is not None:
            outcome.fail(error)
        else:
            outcome.settle(future.result())

    async def close(self, patience: float) -> int:
        """Wait ``patience`` seconds for what still runs, then cancel it; returns how many had to be."""
        if self._running:
            await asyncio.wait(tuple(self._running), timeout=patience)
        late = tuple(self._running)
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late, timeout=1.0)
        return len(late)
