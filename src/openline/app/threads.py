"""Threads for handlers that block: bounded in number, made when needed, and no reason for the process to stay."""

import asyncio
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, Final

__all__ = ["Threads"]

MOST: Final = 32

_Job = tuple[asyncio.AbstractEventLoop, "asyncio.Future[Any]", Callable[..., Any], tuple[Any, ...]]


class Threads:
    """Runs functions in threads of its own.

    The event loop's executor would do, but for the end: Python waits for its threads, and so for a handler that hangs.
    """

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._made = 0
        self._jobs: SimpleQueue[_Job] = SimpleQueue()
        self._idle = threading.Semaphore(0)

    async def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call ``function`` in a thread, as soon as one is free; raises what it raises.

        Cancelled, it goes on without anybody who hears of it.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        self._jobs.put((loop, future, function, arguments))
        if not self._idle.acquire(blocking=False) and self._made < self._most:
            self._made += 1
            threading.Thread(target=self._work, name=f"openline-{self._made}", daemon=True).start()
        return await future

    def _work(self) -> None:
        while True:
            loop, future, function, arguments = self._jobs.get()
            try:
                self._tell(loop, future, function(*arguments), None)
            except BaseException as error:
                self._tell(loop, future, None, error)
            del loop, future, function, arguments
            self._idle.release()

    def _tell(
        self, loop: asyncio.AbstractEventLoop, future: "asyncio.Future[Any]", result: Any, error: BaseException | None
    ) -> None:
        try:
            loop.call_soon_threadsafe(_settle, future, result, error)
        except RuntimeError:
            # The loop has ended meanwhile.
            return


def _settle(future: "asyncio.Future[Any]", result: Any, error: BaseException | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(result)
    else:
        # A future takes no StopIteration, and what would end a thread must not end the loop.
        plain = isinstance(error, Exception) and not isinstance(error, StopIteration)
        future.set_exception(error if plain else RuntimeError(f"the handler raised {error!r}"))
