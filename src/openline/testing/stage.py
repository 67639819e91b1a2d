"""Runs an application without a server, in time that a test moves, and lets clients in who need no token."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, Protocol
from weakref import WeakKeyDictionary

from openline.hub.connection import Connection
from openline.hub.outcome import Outcome
from openline.hub.ports import Application, Clock, PlainHandler
from openline.model import JsonBytes, Request, User
from openline.protocol.commands import Command
from openline.testing.clock import FakeClock, settle
from openline.transports.admission import Gate
from openline.transports.doors import Doors

__all__ = ["App", "Introduction", "Running", "stage"]

_log = logging.getLogger("openline.testing")
#: Real seconds that handlers in threads, and such that wait for what no test moves, may take to end.
PATIENCE_SECONDS: Final = 1.0


class Running(Protocol):
    """What runs of an application; see :class:`openline.app.runtime.Runtime`."""

    @property
    def clock(self) -> Clock:
        """Its time."""
        ...

    @property
    def doors(self) -> Doors:
        """Its doors."""
        ...

    @property
    def gate(self) -> Gate:
        """What stands in front of them."""
        ...


class App(Protocol):
    """What a stage needs of an application: an :class:`openline.Openline` is one."""

    def start(self, clock: Clock | None = None) -> Running:
        """Run in this loop by ``clock``; what runs already is returned as it is."""
        ...

    async def stop(self) -> None:
        """End."""
        ...


class Introduction(Request, frozen=True):
    """A request whose client is ``user``, whatever ``authenticate`` would say."""

    user: User | None = None


class _Doorkeeper:
    """See :class:`~openline.hub.ports.Application`: the application's own, but who was introduced is let in."""

    def __init__(self, application: Application) -> None:
        self._application = application

    @property
    def anonymous(self) -> bool:
        return self._application.anonymous

    def authenticate(self, token: str | None, request: Request) -> Outcome[User | None]:
        if isinstance(request, Introduction):
            return Outcome.of(request.user)
        return self._application.authenticate(token, request)

    @property
    def asks_handshakes(self) -> bool:
        return self._application.asks_handshakes

    def handshake(self, request: Request) -> Outcome[Sequence[tuple[str, str]]]:
        return self._application.handshake(request)

    def has_namespace(self, name: str, auth: Mapping[str, Any]) -> Outcome[bool]:
        return self._application.has_namespace(name, auth)

    def admitting(self, connection: Connection) -> Outcome[None]:
        return self._application.admitting(connection)

    def connected(self, connection: Connection) -> Outcome[None]:
        return self._application.connected(connection)

    def handles(self, type: str, channel: str | None) -> bool:
        return self._application.handles(type, channel)

    def event(self, connection: Connection, command: Command) -> JsonBytes | Outcome[JsonBytes]:
        return self._application.event(connection, command)

    @property
    def plain(self) -> dict[str, PlainHandler]:
        return self._application.plain

    def concluded(self, type: str, result: Any, error: BaseException | None) -> JsonBytes | Outcome[JsonBytes]:
        return self._application.concluded(type, result, error)

    def call(self, connection: Connection, command: Command) -> Outcome[Any]:
        return self._application.call(connection, command)

    def disconnected(self, connection: Connection, reason: str) -> Outcome[None]:
        return self._application.disconnected(connection, reason)


class _Stage:
    """One application that runs; ``guests`` are those who want it to go on."""

    def __init__(self, app: App, clock: FakeClock) -> None:
        self.loop = asyncio.get_running_loop()
        self.clock = clock
        self.guests = 0
        self._app = app
        self._running = running = app.start(clock)
        if running.clock is not clock:
            raise RuntimeError("the application runs already, by another clock: let the test be the first to start it")
        hub = running.doors.hub
        hub.application = _Doorkeeper(hub.application)

    async def end(self) -> None:
        """End as a server does, but with less patience for handlers that hang."""
        self._running.doors.shutdown()
        await settle()
        late = await self._running.doors.hub.tasks.close(PATIENCE_SECONDS)
        if late:
            _log.warning("%d handlers had to be cancelled after %g s", len(late), PATIENCE_SECONDS)
        await self._app.stop()
        await settle()


_STAGES: Final[WeakKeyDictionary[App, _Stage]] = WeakKeyDictionary()


@asynccontextmanager
async def stage(app: App, *, clock: FakeClock | None = None) -> AsyncGenerator[FakeClock, None]:
    """Run ``app`` without a server, by ``clock`` or a new one, which is what comes out of entering.

    Each :func:`~openline.testing.client` enters it by itself; the application ends, as a server ends it, when the last
    one has left. Raises :class:`RuntimeError` where it runs already by another clock.
    """
    playing = _STAGES.get(app)
    if playing is None or playing.loop is not asyncio.get_running_loop():
        playing = _STAGES[app] = _Stage(app, clock or FakeClock())
    elif clock is not None and clock is not playing.clock:
        raise RuntimeError("the application runs already, by another clock: all its clients share one")
    playing.guests += 1
    try:
        yield playing.clock
    finally:
        playing.guests -= 1
        if not playing.guests:
            del _STAGES[app]
            await playing.end()
