"""The application's functions: found by event, called with checked payloads, their results encoded."""

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final, cast, get_type_hints

from openline.app.payloads import payload_reader
from openline.app.threads import Threads
from openline.errors import BrokerError, CommandError, ErrorCode, SettingsError, our_failure
from openline.hub.connection import Connection
from openline.hub.hub import MAX_PAYLOAD_BYTES
from openline.hub.outcome import Outcome, drive
from openline.hub.tasks import Tasks
from openline.model import JsonBytes, Position, Request, User
from openline.protocol.channel_name import best_pattern, check_pattern
from openline.protocol.commands import Command
from openline.protocol.strict_json import encode_json

__all__ = ["Authenticate", "Handlers"]

#: Takes the token and the request; returns a User, a user id, or None for nobody; plain or async.
Authenticate = Callable[[str | None, Request], User | str | Awaitable[User | str | None] | None]

_log = logging.getLogger("openline")
_THREADS: Final = Threads()
_TAKES: Final = "takes (connection), (connection, payload) or (connection, payload, channel)"


class _Handler:
    """One function of the application, and what it wants to be given."""

    def __init__(self, function: Callable[..., Any], *, thread: bool) -> None:
        self._function = function
        self._thread = thread
        parameters = [
            p
            for p in inspect.signature(function).parameters.values()
            if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
        ]
        needed = [p for p in parameters if p.default is p.empty]
        if len(needed) > 3:
            raise SettingsError(f"handler {function.__qualname__}", _TAKES)
        if thread and inspect.iscoroutinefunction(function):
            raise SettingsError(
                f"handler {function.__qualname__}", "thread=True is for plain functions; an async one never blocks"
            )
        self._count = min(len(parameters), 3)
        #: What the payload is where a client sends none.
        self._default: Any = parameters[1].default if self._count > 1 else None
        try:
            kind: Any = get_type_hints(function).get(parameters[1].name, Any) if self._count > 1 else Any
            self._read = payload_reader(kind)
        except (TypeError, NameError) as error:
            raise SettingsError(
                f"handler {function.__qualname__}", f"payloads cannot be checked by its annotation: {error}"
            ) from error

    def begin(self, tasks: Tasks, *given: Any) -> Any:
        """Call the function in its own way, as many arguments as it takes; raises what it raises.

        Returns what it returned; from a thread that is still to come, as an outcome.
        """
        if self._thread:
            return tasks.start(_THREADS.call(self._function, *given[: self._count]))
        try:
            return self._function(*given[: self._count])
        except asyncio.CancelledError as error:
            # It would pass for the end of whatever runs here; no task of ours was cancelled.
            raise RuntimeError("the handler raised CancelledError") from error

    async def call(self, tasks: Tasks, *given: Any) -> Any:
        """Call the function and wait for what comes of it; raises what it raises."""
        return await _come(tasks, self.begin(tasks, *given))

    def payload(self, command: Command) -> Any:
        """The payload as the function wants it.

        Raises :class:`CommandError` (``bad_payload``) where it does not fit.
        """
        if self._count < 2:
            return None
        if command.payload == b"null" and self._default is not inspect.Parameter.empty:
            return self._default
        return self._read(command.payload, command.binary)


class Handlers:
    """See :class:`openline.hub.ports.Application`; what it runs belongs to ``tasks``."""

    def __init__(self) -> None:
        self._authenticate: Authenticate | None = None
        self._let_in_anonymous: bool | None = None
        self._connect: list[_Handler] = []
        self._disconnect: list[_Handler] = []
        self._events: dict[str, _Handler] = {}
        self._publications: dict[str, dict[str, _Handler]] = {}
        self.tasks: Tasks | None = None

    # -- registering

    def let_in(self, *, anonymous: bool | None) -> None:
        """Say whether nobody may come in; None: only where there is no ``authenticate``."""
        self._let_in_anonymous = anonymous

    def set_authenticate(self, function: Authenticate) -> None:
        """Use ``function``; raises :class:`SettingsError` the second time."""
        if self._authenticate is not None:
            raise SettingsError("authenticate", "is set already")
        self._authenticate = function

    def add_connect(self, function: Callable[..., Any], *, thread: bool) -> None:
        """Call ``function(connection)`` when a client has connected."""
        self._connect.append(_Handler(function, thread=thread))

    def add_disconnect(self, function: Callable[..., Any], *, thread: bool) -> None:
        """Call ``function(connection, reason)`` when a connection has ended."""
        self._disconnect.append(_Handler(function, thread=thread))

    def add_event(self, type: str, channel: str | None, function: Callable[..., Any], *, thread: bool) -> None:
        """Call ``function`` for events of ``type`` (published into channels of this pattern).

        Raises :class:`SettingsError` for a second one.
        """
        if type.startswith("$") or not 1 <= len(type) <= 128:
            raise SettingsError(f"event {type!r}", "has 1 to 128 characters and does not begin with $")
        place, name = (
            (self._events, type)
            if channel is None
            else (self._publications.setdefault(type, {}), check_pattern(channel))
        )
        if name in place:
            raise SettingsError(f"event {type!r}", "has a handler already")
        place[name] = _Handler(function, thread=thread)

    # -- the hub's side

    @property
    def anonymous(self) -> bool:
        """See :class:`~openline.hub.ports.Application`."""
        return self._authenticate is None if self._let_in_anonymous is None else self._let_in_anonymous

    def authenticate(self, token: str | None, request: Request) -> Outcome[User | None]:
        """See :class:`~openline.hub.ports.Application`."""
        return drive(self._who(token, request))

    async def _who(self, token: str | None, request: Request) -> User | None:
        user: User | None = None
        if self._authenticate is not None:
            try:
                user = await self._ask(self._authenticate, token, request)
            except (CommandError, BrokerError):
                raise
            except Exception as error:
                _log.exception("authenticate failed for a client at %s", request.client or request.path)
                raise our_failure() from error
        bad_token = self._authenticate is not None and user is None and token is not None
        if bad_token or (user is None and not self.anonymous):
            raise CommandError(ErrorCode.UNAUTHORIZED, "The token is not good." if bad_token else "A token is needed.")
        return user

    async def _ask(self, authenticate: Authenticate, token: str | None, request: Request) -> User | None:
        answer: object = authenticate(token, request)
        if isinstance(answer, Awaitable):
            answer = await self._tasks().start(cast("Awaitable[Any]", answer)).step()
        user = User(answer) if isinstance(answer, str) else answer
        if user is not None and not isinstance(user, User):
            raise TypeError(f"it returned {type(answer).__name__}, not a User, a user id, or None")
        if user is not None and user.data is not None:
            # Others are shown it later: what JSON cannot hold fails here, where its client can be told.
            encode_json(user.data)
        return user

    def connected(self, connection: Connection) -> Outcome[None]:
        """See :class:`~openline.hub.ports.Application`."""
        return drive(self._welcome(connection))

    def disconnected(self, connection: Connection, reason: str) -> Outcome[None]:
        """See :class:`~openline.hub.ports.Application`."""
        return drive(self._take_leave(connection, reason))

    async def _welcome(self, connection: Connection) -> None:
        for handler in self._connect:
            await handler.call(self._tasks(), connection)

    async def _take_leave(self, connection: Connection, reason: str) -> None:
        for handler in self._disconnect:
            try:
                await handler.call(self._tasks(), connection, reason)
            except Exception:
                # The others have a right to know, too.
                _log.exception("The handler of 'disconnect' failed for connection %s", connection.id)

    def handles(self, type: str, channel: str | None) -> bool:
        """See :class:`~openline.hub.ports.Application`."""
        return self._find(type, channel) is not None

    def _find(self, type: str, channel: str | None) -> _Handler | None:
        if channel is None:
            return self._events.get(type)
        patterns = self._publications.get(type)
        pattern = best_pattern(channel, patterns) if patterns else None
        return patterns[pattern] if patterns and pattern is not None else None

    def event(self, connection: Connection, command: Command) -> Outcome[JsonBytes]:
        """See :class:`~openline.hub.ports.Application`."""
        handler = self._find(command.type, command.channel)
        try:
            if handler is None:
                raise CommandError(ErrorCode.UNKNOWN_EVENT, f"There is no handler for {command.type!r}.", field="type")
            result = handler.begin(self._tasks(), connection, handler.payload(command), command.channel)
            if isinstance(result, (Outcome, Awaitable)):
                return drive(self._answer_later(command, result))
            return Outcome.of(_answer(command, result))
        except Exception as error:
            return Outcome.failed(error)

    async def _answer_later(self, command: Command, result: Any) -> JsonBytes:
        return _answer(command, await _come(self._tasks(), result))

    def _tasks(self) -> Tasks:
        if self.tasks is None:
            raise RuntimeError("handlers run only while the server does")
        return self.tasks


async def _come(tasks: Tasks, result: Any) -> Any:
    """What a handler returned, once it is there: it may have to be awaited, and so may what comes of that."""
    if isinstance(result, Outcome):
        result = await cast("Outcome[Any]", result).step()
    if isinstance(result, Awaitable) and not isinstance(result, Outcome):
        result = await tasks.start(cast("Awaitable[Any]", result)).step()
    return await cast("Outcome[Any]", result).step() if isinstance(result, Outcome) else result


def _answer(command: Command, result: Any) -> JsonBytes:
    """What a handler returned, as its client is told."""
    if isinstance(result, Position):
        return b'{"position":"%b"}' % str(result).encode()
    if isinstance(result, (bytes, bytearray, memoryview)):
        raise TypeError("a handler cannot return bytes: publish or emit them")
    answer = encode_json(result)
    if len(answer) > MAX_PAYLOAD_BYTES:
        _log.error("The answer to %r has %d bytes, %d is the most", command.type, len(answer), MAX_PAYLOAD_BYTES)
        raise CommandError(ErrorCode.TOO_LARGE, "The answer is larger than a message may be.")
    return answer
