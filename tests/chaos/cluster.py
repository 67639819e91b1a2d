"""What is put to the test: nodes that run our program, the engine between them, and all that can be done to them.

One node with its engine inside it is the smallest. An engine of its own (Redis) implements :class:`Engine`; the rest
takes any number of nodes.
"""

import asyncio
import random
import re
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol, Self

import httpx

from tests.chaos.events import Died, Ended, Event
from tests.chaos.network import Loopback, Namespace
from tests.server import PATIENCE, Process, own_port

__all__ = ["PROGRAM", "Cluster", "Embedded", "Engine", "Node"]

#: Two sorts of people, each with channels that the others must not hear. It prints who has ended, and when.
PROGRAM = """
import os
import time

from openline import History, HttpSettings, HubSettings, LineSettings, Openline, Settings, SocketIoSettings, User
from openline.errors import BrokerError
from openline.hub.policy import Presence

settings = Settings(
    engine=os.environ["ENGINE"],
    http=HttpSettings(retry_seconds=0.2),
    line=LineSettings(max_message_bytes=16_384, outbox_bytes=65_536),
    hub=HubSettings(window_seconds=float(os.environ["WINDOW"])),
    socketio=SocketIoSettings(recovery=True),
)
line = Openline(settings=settings, anonymous=False)
own = lambda connection, channel: connection.user is not None and channel.startswith(connection.user.id.split("/")[0])
rules = {"subscribe": own, "publish": own, "see_presence": own, "see_history": own}
kept = History(count=200_000, size=256 * 1_048_576)
for tenant in ("x", "y"):
    line.channel(f"{tenant}.kept*", history=kept, **rules)
    line.channel(f"{tenant}.plain*", **rules)
    line.channel(f"{tenant}.here*", history=kept, presence=Presence(grace_seconds=2.0), **rules)


@line.authenticate
def who(token, request):
    return User(token) if token else None


@line.on_disconnect
def gone(connection, reason):
    print("gone", connection.id, time.monotonic(), flush=True)


space = line.of("/")


@space.on("join")
async def join(socket, room):
    if not own(socket.connection, room):
        return False
    await socket.join(room)
    return True


@space.on("say")
async def say(socket, room, payload, key):
    if not own(socket.connection, room):
        return None
    try:
        return str(await line.publish(room, "n", payload, key=key))
    except BrokerError:
        return False
"""
_GONE = re.compile(r"^gone (\S+) (\S+)$", re.MULTILINE)


class Engine(Protocol):
    """What links the nodes, where it is a process of its own; what it cannot do raises NotImplementedError."""

    #: What a node is told to use.
    url: str
    #: Where it listens.
    port: int
    #: Whether what it has acknowledged outlives every fault that is done to it.
    durable: bool

    async def kill(self) -> None: ...

    async def start(self) -> None: ...

    async def freeze(self) -> None: ...

    async def thaw(self) -> None: ...

    async def flush(self) -> None: ...

    async def fail_over(self, dropping: float = 0.0) -> None: ...


class Embedded:
    """An engine inside the one node: it lives and dies with it."""

    port = 0

    def __init__(self, url: str, *, durable: bool) -> None:
        self.url = url
        self.durable = durable

    async def kill(self) -> None:
        raise NotImplementedError

    start = freeze = thaw = flush = kill

    async def fail_over(self, dropping: float = 0.0) -> None:
        raise NotImplementedError


class Node:
    """``openline serve`` as a process, always at the same port of ``place``."""

    def __init__(
        self,
        folder: Path,
        engine: str,
        options: Sequence[str] = (),
        *,
        place: Loopback | Namespace | None = None,
        window: float = 30.0,
    ) -> None:
        """``window``: seconds within which a connection may be taken up again."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "program.py").write_text(PROGRAM)
        self.place = place or Loopback()
        self.port = own_port()
        self.http = f"http://{self.place.host}:{self.port}"
        self.ws = f"ws://{self.place.host}:{self.port}"
        self._folder = folder
        self._options = options
        self._environment = {
            "ENGINE": engine,
            "WINDOW": str(window),
            "OPENLINE_CLUSTER_KEY": "a secret that all nodes share",
        }
        self.process: Process | None = None
        self._processes: list[Process] = []
        #: When which process was told to end.
        self._deaths: list[tuple[int, float]] = []

    @property
    def running(self) -> Process:
        assert self.process is not None, "this node is not running"
        return self.process

    async def start(self) -> None:
        """Start once the process before has ended; nothing where it runs."""
        if self.process is not None:
            return
        if self._processes:
            await asyncio.to_thread(self._processes[-1].wait, 4 * PATIENCE)
        command = (*self.place.command, str(Path(sys.executable).with_name("openline")), "serve", "program:line")
        where = ("--host", self.place.host, "--port", str(self.port))
        self.process = Process([*command, *where, *self._options], self._folder, self._environment)
        self._processes.append(self.process)
        await asyncio.to_thread(self.process.address)

    async def ready(self) -> None:
        """Return when it serves; it is running."""
        async with asyncio.timeout(PATIENCE), httpx.AsyncClient(trust_env=False, timeout=5) as http:
            while not await self._is_ready(http):
                await asyncio.sleep(0.05)

    async def _is_ready(self, http: httpx.AsyncClient) -> bool:
        try:
            return (await http.get(f"{self.http}/readyz")).status_code == 200
        except httpx.HTTPError:
            return False

    async def end(self, how: signal.Signals = signal.SIGTERM, within: float = 3 * PATIENCE) -> int:
        """Send the signal and wait for the end; the exit code."""
        process, self.process = self.running, None
        # At once: what waits for a thread may be given up before it has one.
        process.child.send_signal(how)
        self._deaths.append((len(self._processes), time.monotonic()))
        return await asyncio.to_thread(process.wait, within)

    async def kill(self) -> None:
        await self.end(signal.SIGKILL)

    def abandon(self) -> None:
        """End everything that was started, at once."""
        for process in self._processes:
            if process.child.poll() is None:
                process.child.kill()
                process.wait()

    @property
    def said(self) -> str:
        """What its last process has printed."""
        return self._processes[-1].said

    def freeze(self) -> None:
        self.running.child.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.running.child.send_signal(signal.SIGCONT)

    def endings(self, since: float = 0.0) -> Iterator[Event]:
        """What its processes have written of handlers of disconnect, and when they were told to end."""
        for number, at in self._deaths:
            yield Died(at=at, process=f"{self.port}-{number}")
        for number, process in enumerate(self._processes, 1):
            for found in _GONE.finditer(process.said):
                if float(found[2]) > since:
                    yield Ended(at=float(found[2]), connection=found[1], process=f"{self.port}-{number}")


class Cluster:
    """Nodes and their engine. Clients take any node; where it does not answer they take another."""

    def __init__(self, nodes: Sequence[Node], engine: Engine) -> None:
        self.nodes = nodes
        self.engine = engine

    @classmethod
    def of_one(cls, folder: Path, engine: str) -> Self:
        """``engine``: ``memory``, or ``sqlite`` for a file in ``folder``."""
        url = "memory" if engine == "memory" else "sqlite:kept.db"
        return cls([Node(folder, url)], Embedded(url, durable=engine != "memory"))

    @classmethod
    def of_many(
        cls, folder: Path, engine: Engine, places: Sequence[Loopback | Namespace], *, window: float = 30.0
    ) -> Self:
        """A node at each of ``places``."""
        nodes = [
            Node(folder / f"node{number}", engine.url, place=place, window=window)
            for number, place in enumerate(places)
        ]
        return cls(nodes, engine)

    def any(self, chance: random.Random) -> Node:
        """A node that a client may try."""
        return chance.choice(self.nodes)

    async def heal(self) -> None:
        """Every node runs, reaches everybody, and serves."""
        for node in self.nodes:
            node.place.mend()
            await node.start()
        for node in self.nodes:
            await node.ready()

    async def begin(self) -> None:
        """Start every node, and return when all serve."""
        async with asyncio.TaskGroup() as tasks:
            for node in self.nodes:
                tasks.create_task(node.start())
        for node in self.nodes:
            await node.ready()

    async def __aenter__(self) -> Self:
        await self.begin()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.abandon()

    def abandon(self) -> None:
        """End everything, at once."""
        for node in self.nodes:
            node.abandon()
