"""Everything that belongs to one running event loop: engine, hub, doors, gate.

Made at the first use, ended with the server.
"""

import asyncio
import logging
import os
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from typing import Final, cast
from weakref import WeakSet

from openline.app.engine import make_broker, make_directory
from openline.app.handlers import Handlers
from openline.app.http_doors import http_doors
from openline.app.seat import seat
from openline.app.settings import Settings
from openline.errors import OpenlineError
from openline.hub.drain import Drain
from openline.hub.hub import Hub
from openline.hub.plans import Plans
from openline.hub.policy import ChannelOptions, Policy
from openline.hub.ports import Clock, Handle
from openline.hub.record import digest
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

__all__ = ["Runtime", "running_here", "start_from_thread"]

_log = logging.getLogger("openline")
#: How long handlers may go on when the server stops.
PATIENCE_SECONDS: Final = 10.0
#: The same where everybody has been let go one by one.
LAST_SECONDS: Final = 2.0


_running: Final[WeakSet["Runtime"]] = WeakSet()


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
        line: int = 0,
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.thread = threading.get_ident()
        self.ended = False
        self._tasks = handlers.tasks = Tasks(self.loop)
        self.clock = clock or LoopClock(self.loop)
        self._timers = Timers(self.clock)
        # Who comes back over Socket.IO finds what was said in its rooms, also where nobody has configured them.
        kept = settings.hub.direct if settings.socketio.recovery else NOTHING_KEPT
        policy = Policy(self._tasks, ChannelOptions(pattern="*", retention=kept))
        for each in options:
            policy.add(each)
        self.policy = policy
        worker = seat()
        cluster_key, address = settings.cluster_key, settings.advertise
        if worker is not None:
            cluster_key, address = cluster_key or worker.key, worker.reached(address)
        self._broker = make_broker(
            settings.engine, loop=self.loop, timers=self._timers, cluster_key=settings.cluster_key, line=line
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
        directory = make_directory(self._broker)
        cluster = None if directory is None else self.hub.share(directory, address)
        self.doors = Doors(
            self.hub,
            settings=settings.line,
            paths=settings.paths,
            socketio=settings.socketio,
            spellings=spellings,
            on_shutdown=self.drain,
        )
        self.departure = Drain(self.hub, settings.drain, self.doors.waiting)
        vouching = Vouching(cluster_key)
        self.gate = Gate(settings.gate, vouching)
        #: What answers HTTP at which path below our mount, beside pages.
        self.endpoints: dict[str, Endpoint] = http_doors(self.doors, self.gate, settings.http, settings.paths)
        ends = os.getpid() if worker is None else worker.supervisor
        plans = Plans(self.hub, self.departure, "" if worker is None else digest(worker.key))
        api = Api(self.hub, settings.api, settings.http, plans, ends)
        self.endpoints |= api.endpoints(self.gate, settings.paths.api)
        if cluster is not None:
            self.doors.forwarding = Forwarding(self.hub, vouching)
        started = self._broker.start(self.hub)
        if cluster is not None:
            started.then(lambda _: cluster.begin())
        _running.add(self)
        handlers.background.start(self._tasks)

    @property
    def ready(self) -> bool:
        """Whether a balancer may send newcomers here."""
        return self.trouble is None

    @property
    def trouble(self) -> str | None:
        """Why no newcomers should be sent here; None where all is well."""
        if self.ended or self.departure.begun:
            return "draining"
        trouble, cluster = self._broker.trouble, self.hub.cluster
        if trouble is None and cluster is not None and not cluster.ready:
            return "the other nodes do not know that this one is here"
        return trouble

    async def depart(self) -> None:
        """Let everybody go, each at its moment, as the settings for draining say; then what :meth:`drain` does."""
        self.departure.begin()
        await self.departure.over
        self.drain()

    def drain(self) -> None:
        """Close every line with 1012, end every connection and the application's tasks; nobody new is let in.

        Later calls change nothing.
        """
        if not self.ended:
            self.ended = True
            self._tasks.dismiss()
            self.departure.hurry()
            self.hub.lifecycle.close()
            self.doors.stop_waiting()
            self.doors.socketio.engine.close()

    async def finish(self) -> None:
        """Wait for the handlers that still run; those that take too long are cancelled."""
        # Who departed in order has had its time; what is left is for who had to go without it.
        patience = LAST_SECONDS if self.departure.begun else PATIENCE_SECONDS
        late = await self._tasks.close(patience)
        if late:
            _log.warning("%d handlers had to be cancelled: %s", len(late), _shown(late))

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
        _running.discard(self)


def running_here() -> Iterable[Runtime]:
    """All that run in this event loop: an application may have mounted several."""
    loop = asyncio.get_running_loop()
    return [each for each in _running if each.loop is loop]


def _shown(names: Iterable[str]) -> str:
    return ", ".join(f"{name} ({count} times)" if count > 1 else name for name, count in Counter(names).items())


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
