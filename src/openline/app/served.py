"""An application as servers see it: it starts, answers as ASGI says, and stops."""

from itertools import count
from typing import Final

from openline.app.handlers import Handlers
from openline.app.http import serve_http, serve_lifespan, serve_unavailable
from openline.app.pages import Page, client_pages, sdk_pages
from openline.app.runtime import Runtime, start_from_thread
from openline.app.settings import Settings
from openline.errors import SettingsError
from openline.hub.policy import ChannelOptions
from openline.hub.ports import Clock
from openline.protocol.socketio_codec import Spelling
from openline.transports.admission import Gate
from openline.transports.asgi import Receive, Scope, Send, serve_websocket
from openline.transports.doors import Doors
from openline.transports.engineio_http import serve_engine
from openline.transports.passing_on import passed_on

__all__ = ["Served"]


#: Which Openline of the program each is: the same in every process that runs it.
_lines: Final = count()


class Served:
    """Holds what has been configured, and what runs."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._line = next(_lines)
        self._handlers = Handlers()
        self._options: dict[str, ChannelOptions] = {}
        self._pages: dict[str, Page] = {}
        self._spellings: dict[str, Spelling] = {}
        self._runtime: Runtime | None = None

    @property
    def running(self) -> Runtime:
        """What runs; raises :class:`~openline.errors.OpenlineError` where no server does."""
        runtime = self._runtime
        if runtime is not None and not runtime.loop.is_closed():
            return runtime
        # Mounted, we are not told of the start: the first who asks may be an endpoint of the application's own.
        try:
            return self.start()
        except RuntimeError:
            return start_from_thread(self.start)

    def start(self, clock: Clock | None = None) -> Runtime:
        """Make what runs, inside the event loop that is to run it; the servers call this.

        ``clock`` is for tests that move time themselves; what runs already keeps its own.
        """
        # A server that ended without a word, as the ones of tests do, has taken its loop with it.
        if self._runtime is None or self._runtime.loop.is_closed():
            options = list(self._options.values())
            self._runtime = Runtime(self._settings, options, self._handlers, self._spellings, clock, self._line)
        return self._runtime

    async def stop(self) -> None:
        """Close every line, wait for handlers, end; the servers call this."""
        runtime, self._runtime = self._runtime, None
        if runtime is not None:
            await runtime.close()

    def listens(self, address: str) -> None:
        """The servers call this: where other nodes reach this one, unless the settings say where."""
        cluster = self.running.hub.cluster
        if cluster is not None:
            cluster.advertise(address)

    @property
    def doors(self) -> Doors:
        """The doors of what runs."""
        return self.start().doors

    @property
    def gate(self) -> Gate:
        """The gate in front of them."""
        return self.start().gate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI application: mount it, or give it to a server."""
        if scope["type"] == "lifespan":
            await serve_lifespan((self,), receive, send)
            return
        try:
            self.start()
        except SettingsError as error:
            await serve_unavailable(error, scope, send)
            return
        path: str = scope["path"].removeprefix(scope.get("root_path", "")) or "/"
        if scope["type"] == "websocket":
            await serve_websocket(self, scope, receive, send, path)
        elif scope["type"] == "http" and await passed_on(self.doors, scope, receive, send, path):
            return
        elif scope["type"] == "http" and self.doors.is_engine(path):
            await serve_engine(self, scope, receive, send, path)
        elif scope["type"] == "http":
            pages = {**sdk_pages(), **client_pages(self._settings.socketio.path), **self._pages}
            await serve_http(self.start(), pages, scope, path, receive, send)
        if self._runtime is not None and self._runtime.ended:
            # Mounted, we are not told of the end either; the server waits for its ASGI calls.
            await self._runtime.finish()
