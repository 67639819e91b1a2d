"""The application's own tasks, which last as long as the server does."""

import inspect
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from openline.errors import SettingsError
from openline.hub.tasks import Tasks

__all__ = ["Background"]

_log = logging.getLogger("openline")


class Background:
    """Knows them, and starts them anew for every server."""

    def __init__(self) -> None:
        self._functions: list[Callable[[], Awaitable[object]]] = []

    def add(self, function: Callable[..., Any]) -> None:
        """Run ``function()`` from the next start on; raises :class:`SettingsError` where that cannot be a task."""
        name = _name_of(function)
        if not inspect.iscoroutinefunction(function):
            raise SettingsError(
                f"task {name!r}", "is written as `async def`: a plain function would hold up the server"
            )
        try:
            inspect.signature(function).bind()
        except TypeError as error:
            raise SettingsError(f"task {name!r}", f"is called without arguments ({error})") from None
        self._functions.append(function)

    def start(self, tasks: Tasks) -> None:
        """Start all of them; they are ``tasks``' from now on."""
        for function in self._functions:
            tasks.keep(_told(function), _name_of(function))


async def _told(function: Callable[[], Awaitable[object]]) -> None:
    """Run ``function``; what it raises is logged, and disturbs nobody else."""
    try:
        await function()
    except Exception:
        _log.exception("The task %r failed; the server goes on without it", _name_of(function))


def _name_of(function: Callable[..., Any]) -> str:
    return str(getattr(function, "__qualname__", repr(function)))
