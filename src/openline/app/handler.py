"""One function of the application: what it takes, checked by its annotations, and the way in which it is called."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import Any, Final, cast, get_type_hints

from openline.app.payloads import payload_reader, quick_decoder
from openline.app.threads import Threads
from openline.errors import SettingsError
from openline.hub.connection import Connection
from openline.hub.outcome import Outcome, not_ours
from openline.hub.ports import PlainHandler
from openline.hub.tasks import Tasks
from openline.protocol.commands import Command

__all__ = ["Handler", "View", "come"]

#: What a handler is given for its connection.
View = Callable[[Connection], Any]

_THREADS: Final = Threads()
_TAKES: Final = "takes (connection), (connection, payload) or (connection, payload, channel)"
_NEVER: Final = inspect.Parameter.empty


class Handler:
    """A function, plain or async.

    ``fixed`` is how many parameters stand in front of the event's arguments. ``in_channel``: behind the first argument
    comes the channel, and nothing else. ``view`` makes of a connection what the function wants for it.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        *,
        thread: bool = False,
        fixed: int = 1,
        in_channel: bool = False,
        view: View | None = None,
    ) -> None:
        """Raises :class:`SettingsError` for a function that cannot be called so."""
        self._function = function
        self._thread = thread
        self._view = view
        self._in_channel = in_channel
        name = f"handler {function.__qualname__}"
        given = inspect.signature(function).parameters.values()
        parameters = [p for p in given if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
        rest = next((p for p in given if p.kind is p.VAR_POSITIONAL), None)
        if in_channel and len([p for p in parameters if p.default is _NEVER]) > 3:
            raise SettingsError(name, _TAKES)
        if thread and inspect.iscoroutinefunction(function):
            raise SettingsError(name, "thread=True is for plain functions; an async one never blocks")
        self._count: float = float("inf") if rest else len(parameters)
        arguments = parameters[fixed : fixed + 1] if in_channel else parameters[fixed:]
        #: What an argument is where a client sends none.
        self._defaults = [None if p.default is _NEVER else p.default for p in arguments]
        self._has_default = [p.default is not _NEVER for p in arguments]
        try:
            hints = get_type_hints(function)
            self._readers = [payload_reader(hints.get(p.name, Any)) for p in arguments]
            self._read_rest = payload_reader(hints.get(rest.name, Any)) if rest else None
            # The short way of most: the connection, one JSON value, and nothing else.
            short = len(parameters) == 2 and fixed == 1 and not (thread or in_channel or rest)
            self._decode = quick_decoder(hints.get(arguments[0].name, Any)) if short else None
        except (TypeError, NameError) as error:
            raise SettingsError(name, f"payloads cannot be checked by its annotation: {error}") from error

    @property
    def plain(self) -> PlainHandler | None:
        """The function and the decoder of its payload, where it takes a connection and that, and nothing else."""
        return None if self._decode is None or self._view is not None else (self._function, self._decode)

    def begin(self, tasks: Tasks, connection: Connection, *given: Any) -> Any:
        """Call the function in its own way, with as many of the arguments as it takes; raises what it raises.

        Returns what it returned; from a thread that is still to come, as an outcome.
        """
        first = connection if self._view is None else self._view(connection)
        arguments = (first, *given)
        if len(arguments) > self._count:
            arguments = arguments[: int(self._count)]
        if self._thread:
            return tasks.start(_THREADS.call(self._function, *arguments), _name_of(self._function))
        try:
            return self._function(*arguments)
        except asyncio.CancelledError as error:
            raise not_ours(error) from error

    def take(self, tasks: Tasks, connection: Connection, command: Command) -> Any:
        """Call the function as :meth:`begin` does, with what ``command`` brings.

        Raises :class:`~openline.errors.CommandError` (``bad_payload``) where that does not fit, and what it raises.
        """
        payload = command.payload
        if self._decode is None or payload == b"null" or command.binary or command.more or command.attachments:
            return self.begin(tasks, connection, *self.arguments(command))
        try:
            argument = self._decode(payload)
        except Exception:  # the reader says what is wrong
            return self.begin(tasks, connection, *self.arguments(command))
        try:
            return self._function(connection if self._view is None else self._view(connection), argument)
        except asyncio.CancelledError as error:
            raise not_ours(error) from error

    async def call(self, tasks: Tasks, connection: Connection, *given: Any) -> Any:
        """Call the function and wait for what comes of it; raises what it raises."""
        return await come(tasks, self.begin(tasks, connection, *given))

    def arguments(self, command: Command) -> list[Any]:
        """What the event brings, as the function wants it.

        Raises :class:`~openline.errors.CommandError` (``bad_payload``) where it does not fit.
        """
        if self._in_channel:
            return [*self._first(command), command.channel]
        read = self._first(command)
        for place, raw in enumerate(command.more, start=1):
            reader = self._readers[place] if place < len(self._readers) else self._read_rest
            if reader is None:
                break
            read.append(reader(raw, binary=False, attachments=command.attachments))
        return read + self._defaults[len(read) :]

    def _first(self, command: Command) -> list[Any]:
        if not self._readers:
            bare = command.payload == b"null" and not command.more
            return [] if self._read_rest is None or bare else [self._read(self._read_rest, command)]
        if command.payload == b"null" and not command.more and self._has_default[0]:
            return [self._defaults[0]]
        return [self._read(self._readers[0], command)]

    def _read(self, reader: Callable[..., Any], command: Command) -> Any:
        return reader(command.payload, binary=command.binary, attachments=command.attachments)


def _name_of(function: Callable[..., Any]) -> str:
    return str(getattr(function, "__qualname__", function))


async def come(tasks: Tasks, result: Any) -> Any:
    """What a handler returned, once it is there: it may have to be awaited, and so may what comes of that."""
    if isinstance(result, Outcome):
        result = await cast("Outcome[Any]", result).step()
    if isinstance(result, Awaitable) and not isinstance(result, Outcome):
        result = await tasks.start(cast("Awaitable[Any]", result)).step()
    return await cast("Outcome[Any]", result).step() if isinstance(result, Outcome) else result
