"""The owner of every task that runs user code: it starts them, knows them, and waits for them at the end."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Coroutine, Sequence
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
        #: With the name of what each runs.
        self._running: dict[asyncio.Future[Any], str] = {}
        self._kept: dict[asyncio.Future[Any], str] = {}

    def __len__(self) -> int:
        return len(self._running)

    @property
    def names(self) -> Sequence[str]:
        """What runs: the names of functions of the application, as they are in its source."""
        return sorted(self._running.values())

    def start(self, awaitable: Awaitable[T], name: str = "") -> Outcome[T]:
        """Run ``awaitable`` as a task; cancelled, its outcome fails with :class:`CommandError`.

        ``name`` is that of the function behind it, where its own would not say.
        """
        name = name or getattr(awaitable, "__qualname__", type(awaitable).__name__)
        return self._watch(self._loop.create_task(_await(awaitable)), name)

    def keep(self, coroutine: Coroutine[Any, Any, None], name: str) -> None:
        """Run what is to last as long as the server, and handles its own failures; :meth:`dismiss` cancels it.

        ``name`` is that of the function behind it.
        """
        task = self._loop.create_task(coroutine)
        self._kept[task] = name
        task.add_done_callback(lambda done: self._kept.pop(done, None))

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

    def _watch(self, future: asyncio.Future[T], name: str) -> Outcome[T]:
        outcome: Outcome[T] = Outcome()
        self._running[future] = name
        future.add_done_callback(partial(self._finished, outcome))
        return outcome

    def _finished(self, outcome: Outcome[T], future: asyncio.Future[T]) -> None:
        self._running.pop(future, None)
        if future.cancelled():
            outcome.fail(CommandError(ErrorCode.FAILED, "The server ended before this was done.", retry=True))
        elif (error := future.exception()) is not None:
            outcome.fail(error)
        else:
            outcome.settle(future.result())

    async def close(self, patience: float) -> Sequence[str]:
        """Wait ``patience`` seconds for what still runs, then cancel it; returns the names of what had to be.

        What was to last is told at once that this is the end.
        """
        self.dismiss()
        if self._running or self._kept:
            await asyncio.wait((*self._running, *self._kept), timeout=patience)
        late = {**self._running, **self._kept}
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late, timeout=1.0)
        return sorted(late.values())
