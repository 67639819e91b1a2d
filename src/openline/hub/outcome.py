"""What will come of something: a value or an error, now or later, without a task or an event loop.

The hub's own steps await outcomes. They run at once, in one go, when all that they need is there already, which is
the rule with an engine in process. User code never runs this way: it gets real tasks (see ``hub.tasks``).
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Generator, Sequence
from contextlib import suppress
from typing import Any, Generic, TypeVar

__all__ = ["Outcome", "drive", "not_ours", "step_all"]

T = TypeVar("T")
V = TypeVar("V")
_log = logging.getLogger("openline")


class Outcome(Generic[T]):
    """A value or an error that is there now or will be; settled once, later calls change nothing.

    ``await`` it in a task of the event loop; inside the hub, ``await outcome.step()``. A failure that nobody has
    looked at is logged when the outcome is forgotten.
    """

    __slots__ = ("_callbacks", "_failure", "_value", "done")

    def __init__(self) -> None:
        self.done = False
        self._value: T | None = None
        self._failure: _Failure | None = None
        self._callbacks: list[Callable[[Outcome[T]], None]] | None = None

    @staticmethod
    def of(value: V) -> "Outcome[V]":
        """One that is settled already."""
        outcome: Outcome[V] = Outcome()
        outcome._value = value
        outcome.done = True
        return outcome

    @staticmethod
    def failed(error: BaseException) -> "Outcome[Any]":
        """One that has failed already."""
        outcome: Outcome[Any] = Outcome()
        outcome._failure = _Failure(error)
        outcome.done = True
        return outcome

    @property
    def good(self) -> bool:
        """Whether it has come out well already."""
        return self.done and self._failure is None

    def settle(self, value: T) -> None:
        """It came out well."""
        if not self.done:
            self._value = value
            self._finish()

    def fail(self, error: BaseException) -> None:
        """It did not."""
        if not self.done:
            self._failure = _Failure(error)
            self._finish()

    def _finish(self) -> None:
        self.done = True
        callbacks, self._callbacks = self._callbacks, None
        for callback in callbacks or ():
            callback(self)

    def then(self, callback: Callable[["Outcome[T]"], None]) -> None:
        """Call ``callback`` with this outcome as soon as it is settled: now, or in the step that settles it."""
        if self.done:
            callback(self)
        elif self._callbacks is None:
            self._callbacks = [callback]
        else:
            self._callbacks.append(callback)

    def result(self) -> T:
        """The value; raises the error, or :class:`asyncio.InvalidStateError` where it is not settled."""
        if not self.done:
            raise asyncio.InvalidStateError("the outcome is not there yet")
        if self._failure is not None:
            raise self._failure.look()
        value: Any = self._value
        return value  # type: ignore[no-any-return]

    async def step(self) -> T:
        """The result, for coroutines that :func:`drive` runs."""
        if not self.done:
            await _Pause(self)
        return self.result()

    def __await__(self) -> Generator[Any, None, T]:
        if not self.done:
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self.then(lambda _: None if future.done() else future.set_result(None))
            yield from future
        return self.result()


class _Failure:
    """Why an outcome failed; an object of its own, so that outcomes need no finalizer."""

    __slots__ = ("_error", "_looked")

    def __init__(self, error: BaseException) -> None:
        self._error = error
        self._looked = False

    def look(self) -> BaseException:
        self._looked = True
        return self._error

    def __del__(self) -> None:
        if not self._looked:
            _log.error("Nobody looked at a failure: %r", self._error)


class _Pause:
    """Yields an outcome to :func:`drive`."""

    __slots__ = ("_outcome",)

    def __init__(self, outcome: Outcome[Any]) -> None:
        self._outcome = outcome

    def __await__(self) -> Generator[Outcome[Any], None, None]:
        yield self._outcome


async def step_all(outcomes: Sequence[Outcome[T]]) -> list[T]:
    """The results of all, which come about at the same time, for coroutines that :func:`drive` runs.

    Raises the first failure among them; nothing that fails besides is logged.
    """
    try:
        return [await outcome.step() for outcome in outcomes]
    except Exception:
        for outcome in outcomes:
            outcome.then(_look)
        raise


def _look(outcome: Outcome[Any]) -> None:
    with suppress(Exception):
        outcome.result()


def not_ours(error: asyncio.CancelledError) -> RuntimeError:
    """What stands for ``error``, which a function has raised that runs in no task of its own.

    It would pass for the end of whatever runs here, and no task of ours was cancelled.
    """
    told = RuntimeError("a plain function raised CancelledError")
    told.__cause__ = error
    return told


def drive(steps: Coroutine[Outcome[Any], None, T]) -> Outcome[T]:
    """Run ``steps``, which await nothing but ``outcome.step()``, as far as they go now.

    What they return is the outcome.
    """
    outcome: Outcome[T] = Outcome()
    _advance(steps, outcome)
    return outcome


def _advance(steps: Coroutine[Outcome[Any], None, T], outcome: Outcome[T]) -> None:
    while True:
        try:
            awaited = steps.send(None)
        except StopIteration as stop:
            outcome.settle(stop.value)
            return
        except Exception as error:
            outcome.fail(error)
            return
        except asyncio.CancelledError as error:
            outcome.fail(not_ours(error))
            return
        if not awaited.done:
            awaited.then(lambda _: _advance(steps, outcome))
            return
