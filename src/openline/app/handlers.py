"""The application's functions: found by namespace and event, called with checked payloads, their results encoded."""

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import Any, Final, cast

from openline.app.background import Background
from openline.app.handler import Handler, come
from openline.app.table import Table, check_type
from openline.errors import BrokerError, CommandError, ErrorCode, SettingsError, our_failure
from openline.hub.connection import Connection
from openline.hub.outcome import Outcome, drive, not_ours
from openline.hub.payload import MAX_PAYLOAD_BYTES
from openline.hub.ports import PlainHandler
from openline.hub.tasks import Tasks
from openline.model import JsonBytes, Position, Request, User
from openline.protocol.channel_name import best_pattern, check_pattern
from openline.protocol.commands import Command
from openline.protocol.socketio import DEFAULT
from openline.protocol.strict_json import encode_json

__all__ = ["AskHandshake", "Authenticate", "Handlers"]

#: Takes the token and the request; returns a User, a user id, or None for nobody; plain or async.
Authenticate = Callable[[str | None, Request], User | str | Awaitable[User | str | None] | None]

#: Takes the request; returns the headers to set on the answer, if any; plain or async.
AskHandshake = Callable[[Request], Mapping[str, str] | Awaitable[Mapping[str, str] | None] | None]

_log = logging.getLogger("openline")
_NO_HANDLERS: Final = Table()
#: What is an answer as it stands, as most are.
_VALUES: Final = frozenset((str, int, float, bool, dict, list, tuple, type(None)))
_NOBODY: Final[Outcome[User | None]] = Outcome.of(None)
_DONE: Final[Outcome[None]] = Outcome.of(None)


def _word_of_the_hub(connection: Connection, word: str) -> str:
    """Handlers that know nothing of Socket.IO call an end what the hub calls it."""
    return word


class Handlers:
    """See :class:`openline.hub.ports.Application`; what it runs belongs to ``tasks``."""

    def __init__(self) -> None:
        self._authenticate: Authenticate | None = None
        self._let_in_anonymous: bool | None = None
        self._tables: dict[str, Table] = {DEFAULT: Table()}
        self._patterns: dict[re.Pattern[str], Table] = {}
        self._handshake: list[AskHandshake] = []
        self._publications: dict[str, dict[str, Handler]] = {}
        self.tasks: Tasks | None = None
        #: What runs beside them.
        self.background = Background()

    # -- registering

    def let_in(self, *, anonymous: bool | None) -> None:
        """Say whether nobody may come in; None: only where there is no ``authenticate``."""
        self._let_in_anonymous = anonymous

    def set_authenticate(self, function: Authenticate) -> None:
        """Use ``function``; raises :class:`SettingsError` the second time."""
        if self._authenticate is not None:
            raise SettingsError("authenticate", "is set already")
        self._authenticate = function

    def declare(self, name: str | re.Pattern[str]) -> None:
        """Let there be a namespace, or all that a pattern fits wholly; nothing where there is."""
        if isinstance(name, re.Pattern) or self._found(name) is None:
            self.table(name)

    def table(self, name: str | re.Pattern[str]) -> Table:
        """The namespace's own handlers, or a pattern's, to add to."""
        if isinstance(name, re.Pattern):
            return self._patterns.setdefault(name, Table())
        return self._tables.setdefault(name, Table())

    def _found(self, namespace: str) -> Table | None:
        """The table of a namespace: its own, or that of the first pattern that fits."""
        own = self._tables.get(namespace)
        if own is not None:
            return own
        return next((table for pattern, table in self._patterns.items() if pattern.fullmatch(namespace)), None)

    def add_connect(self, function: Callable[..., Any], *, thread: bool = False) -> None:
        """Call ``function(connection)`` when a client has connected."""
        self._tables[DEFAULT].connect.append(Handler(function, thread=thread))

    def add_disconnect(self, function: Callable[..., Any], *, thread: bool = False) -> None:
        """Call ``function(connection, reason)`` when a connection has ended."""
        self._tables[DEFAULT].disconnect.append((Handler(function, thread=thread), _word_of_the_hub))

    def add_event(self, type: str, channel: str | None, function: Callable[..., Any], *, thread: bool) -> None:
        """Call ``function`` for events of ``type`` (published into channels of this pattern).

        Raises :class:`SettingsError` for a second one.
        """
        if channel is None:
            self._tables[DEFAULT].add(type, function, thread=thread)
            return
        check_type(type)
        place, name = self._publications.setdefault(type, {}), check_pattern(channel)
        if name in place:
            raise SettingsError(f"event {type!r}", "has a handler already")
        place[name] = Handler(function, thread=thread, in_channel=True)

    # -- the hub's side

    @property
    def anonymous(self) -> bool:
        """See :class:`~openline.hub.ports.Application`."""
        return self._authenticate is None if self._let_in_anonymous is None else self._let_in_anonymous

    def authenticate(self, token: str | None, request: Request) -> Outcome[User | None]:
        """See :class:`~openline.hub.ports.Application`."""
        if self._authenticate is None and self.anonymous:
            return _NOBODY
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

    def add_handshake(self, function: AskHandshake) -> None:
        """Ask ``function`` about every handshake of Socket.IO's clients."""
        self._handshake.append(function)

    @property
    def asks_handshakes(self) -> bool:
        """See :class:`~openline.hub.ports.Application`."""
        return bool(self._handshake)

    def handshake(self, request: Request) -> Outcome[Sequence[tuple[str, str]]]:
        """See :class:`~openline.hub.ports.Application`."""
        return drive(self._ask_handshake(request))

    async def _ask_handshake(self, request: Request) -> Sequence[tuple[str, str]]:
        headers: list[tuple[str, str]] = []
        for function in self._handshake:
            answer = function(request)
            found = await self._tasks().start(answer).step() if isinstance(answer, Awaitable) else answer
            headers += (found or {}).items()
        return headers

    def has_namespace(self, name: str, auth: Mapping[str, Any]) -> Outcome[bool]:
        """See :class:`~openline.hub.ports.Application`."""
        return Outcome.of(self._found(name) is not None)

    def admitting(self, connection: Connection) -> Outcome[None]:
        """See :class:`~openline.hub.ports.Application`."""
        guards = self._of(connection).guards
        return drive(self._run(guards, connection)) if guards else _DONE

    def connected(self, connection: Connection) -> Outcome[None]:
        """See :class:`~openline.hub.ports.Application`."""
        handlers = self._of(connection).connect
        return drive(self._run(handlers, connection)) if handlers else _DONE

    def disconnected(self, connection: Connection, reason: str) -> Outcome[None]:
        """See :class:`~openline.hub.ports.Application`."""
        return drive(self._take_leave(connection, reason))

    def _of(self, connection: Connection) -> Table:
        return self._found(connection.namespace) or _NO_HANDLERS

    async def _run(self, handlers: Sequence[Handler], connection: Connection) -> None:
        for handler in handlers:
            await handler.call(self._tasks(), connection)

    async def _take_leave(self, connection: Connection, reason: str) -> None:
        for handler, word in self._of(connection).disconnect:
            try:
                await handler.call(self._tasks(), connection, word(connection, reason))
            except Exception:
                # The others have a right to know, too.
                _log.exception("The handler of 'disconnect' failed for connection %s", connection.id)

    def handles(self, type: str, channel: str | None) -> bool:
        """See :class:`~openline.hub.ports.Application`."""
        if channel is not None:
            return self._find_publication(type, channel) is not None
        return self._tables[DEFAULT].find(type) is not None

    def _find_publication(self, type: str, channel: str) -> Handler | None:
        patterns = self._publications.get(type)
        pattern = best_pattern(channel, patterns) if patterns else None
        return patterns[pattern] if patterns and pattern is not None else None

    def event(self, connection: Connection, command: Command) -> JsonBytes | Outcome[JsonBytes]:
        """See :class:`~openline.hub.ports.Application`."""
        table = _NO_HANDLERS
        if command.channel is None:
            table = self._tables.get(connection.namespace) or self._of(connection)
            if table.listeners:
                return drive(self._answer_later(command.type, self._call(connection, command)))
        try:
            handler = table.events.get(command.type)
            if handler is None:
                result = self._begin(connection, command)
            else:
                result = handler.take(self._tasks(), connection, command)
            return self._concluded(command.type, result)
        except Exception as error:
            return Outcome.failed(error)

    @property
    def plain(self) -> dict[str, PlainHandler]:
        """See :class:`~openline.hub.ports.Application`."""
        return self._tables[DEFAULT].plain

    def concluded(self, type: str, result: Any, error: BaseException | None) -> JsonBytes | Outcome[JsonBytes]:
        """See :class:`~openline.hub.ports.Application`."""
        # Raised here it would hold on to itself by this frame.
        if isinstance(error, asyncio.CancelledError):
            return Outcome.failed(not_ours(error))
        if isinstance(error, Exception):
            return Outcome.failed(error)
        if error is not None:
            raise error
        try:
            return self._concluded(type, result)
        except Exception as failure:
            return Outcome.failed(failure)

    def _concluded(self, type: str, result: Any) -> JsonBytes | Outcome[JsonBytes]:
        # Not asked of what is plainly there: whether it can be awaited takes longer to find out than to encode it.
        if result.__class__ not in _VALUES and isinstance(result, (Outcome, Awaitable)):
            return drive(self._answer_later(type, come(self._tasks(), result)))
        return _answer(type, result)

    async def _answer_later(self, type: str, coming: Coroutine[Any, Any, Any]) -> JsonBytes:
        return _answer(type, await coming)

    def _begin(self, connection: Connection, command: Command) -> Any:
        """Call the handler of ``command``, and nobody else; see :meth:`Handler.begin`."""
        if command.channel is not None:
            handler = self._find_publication(command.type, command.channel)
        else:
            table = self._of(connection)
            handler = table.find(command.type)
            if handler is not None and handler is table.otherwise:
                return handler.begin(self._tasks(), connection, command.type, *handler.arguments(command))
        if handler is None:
            raise CommandError(ErrorCode.UNKNOWN_EVENT, f"There is no handler for {command.type!r}.", field="type")
        return handler.take(self._tasks(), connection, command)

    def call(self, connection: Connection, command: Command) -> Outcome[Any]:
        """See :class:`~openline.hub.ports.Application`."""
        if command.channel is None and self._of(connection).listeners:
            return drive(self._call(connection, command))
        try:
            result = self._begin(connection, command)
        except Exception as error:
            return Outcome.failed(error)
        if result.__class__ not in _VALUES and isinstance(result, (Outcome, Awaitable)):
            return drive(self._come_plainly(result))
        return Outcome.of(_plain(result))

    async def _come_plainly(self, result: Any) -> Any:
        return _plain(await come(self._tasks(), result))

    async def _call(self, connection: Connection, command: Command) -> Any:
        if command.channel is None:
            for listener in self._of(connection).listeners:
                await listener.call(self._tasks(), connection, command.type, *listener.arguments(command))
        return _plain(await come(self._tasks(), self._begin(connection, command)))

    def _tasks(self) -> Tasks:
        if self.tasks is None:
            raise RuntimeError("handlers run only while the server does")
        return self.tasks


def _plain(result: Any) -> Any:
    """What a handler returned, as plain values where that is a position."""
    return {"position": str(result)} if isinstance(result, Position) else result


def _answer(type: str, result: Any) -> JsonBytes:
    """What a handler returned, as its client is told."""
    if isinstance(result, (bytes, bytearray, memoryview)):
        raise TypeError("a handler cannot return bytes: publish or emit them")
    answer = encode_json(result if result.__class__ in _VALUES else _plain(result))
    if len(answer) > MAX_PAYLOAD_BYTES:
        _log.error("The answer to %r has %d bytes, %d is the most", type, len(answer), MAX_PAYLOAD_BYTES)
        raise CommandError(ErrorCode.TOO_LARGE, "The answer is larger than a message may be.")
    return answer
