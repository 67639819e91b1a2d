"""Everything that belongs to one running event loop: engine, hub, doors, gate.

Made at the first use, ended with the server.
"""

import asyncio
import logging
import sys
import threading
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Final, cast

from openline.app.engine import make_broker, make_directory
from openline.app.handlers import Handlers
from openline.app.http_doors import http_doors
from openline.app.settings import Settings
from openline.errors import OpenlineError
from openline.hub.hub import Hub
from openline.hub.policy import ChannelOptions, Policy
from openline.hub.ports import Clock, Handle
from openline.hub.tasks import Tasks
from openline.hub.tick import Tick
from openline.hub.timers import Timers
from openline.model import NOTHING_KEPT
from openline.protocol.socketio_codec import Spelling
from openline.transports.admission import Gate
from openline.transports.api import Api
from openline.transports.asgi import Endpoint
from openline.transports.delivery import in_slices
from openline.transports.doors import Doors
from openline.transports.forwarding import Forwarding
from openline.transports.vouching import Vouching

__all__ = ["Runtime", "start_from_thread"]

_log = logging.getLogger("openline")
#: How long handlers may go on when the server stops.
PATIENCE_SECONDS: Final = 10.0


class LoopClock:
    """The event loop's own clock."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.now = loop.time
        self._loop = loop

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Handle:
        """See :class:`openline.hub.ports.Clock`."""
        return self._loop.call_later(seconds, callback)


class Runtime:
    """Made inside a running loop, whose time it takes unless there is another ``clock``."""

    def __init__(
        self,
        settings: Settings,
        options: list[ChannelOptions],
        handlers: Handlers,
        spellings: Mapping[str, Spelling],
        clock: Clock | None = None,
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.thread = threading.get_ident()
        self.draining = False
        self._tasks = handlers.tasks = Tasks(self.loop)
        self.clock = clock or LoopClock(self.loop)
        self._timers = Timers(self.clock)
        # Who comes back over Socket.IO finds what was said in its rooms, also where nobody has configured them.
        kept = settings.hub.direct if settings.socketio.recovery else NOTHING_KEPT
        policy = Policy(self._tasks, ChannelOptions(pattern="*", retention=kept))
        for each in options:
            policy.add(each)
        self.policy = policy
        self._broker = make_broker(
            settings.engine, loop=self.loop, timers=self._timers, cluster_key=settings.cluster_key
        )
        self.hub = Hub(
            broker=self._broker,
            policy=policy,
            application=handlers,
            timers=self._timers,
            tick=Tick(self.loop.call_soon, in_slices, hold_seconds=settings.hub.flush_seconds),
            tasks=self._tasks,
            settings=settings.hub,
        )
        self.doors = Doors(
            self.hub,
            settings=settings.line,
            paths=settings.paths,
            socketio=settings.socketio,
            spellings=spellings,
            on_shutdown=self.drain,
        )
        vouching = Vouching(settings.cluster_key)
        self.gate = Gate(settings.gate, vouching)
        #: What answers HTTP at which path below our mount, beside pages.
        self.endpoints: dict[str, Endpoint] = http_doors(self.doors, self.gate, settings.http, settings.paths)
        api = Api(self.hub, settings.api, settings.http)
        self.endpoints |= api.endpoints(self.gate, settings.paths.api)
        directory = make_directory(self._broker)
        cluster = None if directory is None else self.hub.share(directory, settings.advertise)
        if cluster is not None:
            self.doors.forwarding = Forwarding(self.hub, vouching)
        started = self._broker.start(self.hub)
        if cluster is not None:
            started.then(lambda _: cluster.begin())
        handlers.background.start(self._tasks)

    @property
    def trouble(self) -> str | None:
        """Why no new clients should be sent here; None where all is well."""
        if self.draining:
            return "draining"
        trouble, cluster = self._broker.trouble, self.hub.cluster
        if trouble is None and cluster is not None and not cluster.ready:
            return "the other nodes do not know that this one is here"
        return trouble

    def drain(self) -> None:
        """Close every line with 1012, end every connection and the application's tasks; nobody new is let in.

        Later calls change nothing.
        """
        if not self.draining:
            self.draining = True
            self._tasks.dismiss()
            self.hub.lifecycle.close()
            self.doors.stop_waiting()
            self.doors.socketio.engine.close()

    async def finish(self) -> None:
        """Wait for the handlers that still run; those that take too long are cancelled."""
        late = await self._tasks.close(PATIENCE_SECONDS)
        if late:
            _log.warning("%d handlers had to be cancelled after %g s", late, PATIENCE_SECONDS)

    async def close(self) -> None:
        """Drain, wait for the handlers that still run, and end."""
        self.drain()
        cluster = self.hub.cluster
        if cluster is not None:
            await cluster.settle()
        await self.finish()
        if cluster is not None:
            await cluster.leave()
        self._timers.stop()
        await self._broker.close()


async def _started(start: Callable[[], Runtime]) -> Runtime:
    return start()


def start_from_thread(start: Callable[[], Runtime]) -> Runtime:
    """Call ``start`` in the loop of this thread's server: Starlette and FastAPI run plain endpoints in anyio's threads.

    Raises :class:`OpenlineError` for a thread of somebody else's.
    """
    try:
        if "anyio" in sys.modules:
            return cast("Runtime", import_module("anyio.from_thread").run(_started, start))
    except RuntimeError:  # the thread has no server
        pass
    raise OpenlineError("the server is not running yet: publish from handlers, or once it has started")
