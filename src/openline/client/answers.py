"""What the application answers when the server asks."""

import asyncio
import inspect
import logging
from collections.abc import Callable
from typing import Any, Final

from openline.client.frames import Frame, unwrap, write
from openline.client.outbox import Outbox
from openline.errors import CommandError, ErrorCode, GoneError
from openline.protocol.commands import CommandId

__all__ = ["Answers"]

_log = logging.getLogger("openline.client")
#: So many asks are worked on at once.
_MOST: Final = 256
#: Longer texts are cut, so that a refusal always fits.
_LONGEST: Final = 1000


class Answers:
    """One function per type, run as a task of the line."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self._functions: dict[str, Callable[[Any], Any]] = {}
        self._running: set[asyncio.Task[None]] = set()

    def register(self, type: str, function: Callable[[Any], Any]) -> None:
        """Let ``function`` answer; raises :class:`ValueError` where one does already."""
        if type in self._functions:
            raise ValueError(f"{type!r} is answered already")
        self._functions[type] = function

    def asked(self, frame: Frame, ask: CommandId, tasks: asyncio.TaskGroup, same: Callable[[], bool]) -> None:
        """The server asked. ``same``: whether the connection is still the one that was asked."""
        function = self._functions.get(frame.type)
        if function is None:
            self._refuse(ask, CommandError(ErrorCode.UNKNOWN_EVENT, "Nobody answers this here."))
        elif len(self._running) >= _MOST:
            self._refuse(ask, CommandError(ErrorCode.TOO_MANY, "Too many are being answered."))
        else:
            task = tasks.create_task(self._answer(function, frame, ask, same))
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    def is_one(self, task: asyncio.Task[Any] | None) -> bool:
        """Whether ``task`` answers the server."""
        return task in self._running

    def cancel(self) -> None:
        """Nobody waits for them any more."""
        for task in self._running:
            task.cancel()

    async def _answer(
        self, function: Callable[[Any], Any], frame: Frame, ask: CommandId, same: Callable[[], bool]
    ) -> None:
        try:
            value = function(unwrap(frame))
            answer = self._outbox.reply(ask, await value if inspect.isawaitable(value) else value)
        except CommandError as error:
            answer = _refusal(ask, error)
        except GoneError:
            return
        except Exception:
            _log.exception("The answer to %r failed", frame.type)
            answer = _refusal(ask, CommandError(ErrorCode.FAILED, "The handler failed."))
        # The line may be another one by now, but the connection must be the one that was asked.
        if same():
            self._outbox.tell(answer)

    def _refuse(self, ask: CommandId, error: CommandError) -> None:
        self._outbox.tell(_refusal(ask, error))


def _refusal(ask: CommandId, error: CommandError) -> bytes:
    return write({"type": "$error", "id": ask, "code": error.code[:64], "message": error.message[:_LONGEST]})
