"""What is put to the test: nodes that run our program, the engine between them, and all that can be done to them.

One node with its engine inside it is the smallest. An engine of its own (Redis) implements :class:`Engine`; the rest
takes any number of nodes.
"""

import asyncio
import random
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, Self

from tests.server import PATIENCE, Process, openline, own_port

__all__ = ["PROGRAM", "Cluster", "Embedded", "Engine", "Node"]

#: Two sorts of people, each with channels that the others must not hear.
PROGRAM = """
import os

from openline import History, HttpSettings, HubSettings, LineSettings, Openline, Settings, SocketIoSettings, User
from openline.hub.policy import Presence

settings = Settings(
    engine=os.environ["ENGINE"],
    http=HttpSettings(retry_seconds=0.2),
    line=LineSettings(max_message_bytes=16_384, outbox_bytes=65_536),
    hub=HubSettings(window_seconds=30.0),
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


space = line.of("/")


@space.on("join")
async def join(socket, room):
    if not own(socket.connection, room):
        return False
    await socket.join(room)
    return True


@space.on("say")
async def say(socket, room, payload, key):
    return str(await line.publish(room, "n", payload, key=key)) if own(socket.connection, room) else None
"""


class Engine(Protocol):
    """What links the nodes, where it is a process of its own; what it cannot do raises NotImplementedError."""

    #: What a node is told to use.
    url: str
    #: Whether what it has acknowledged outlives every fault that is done to it.
    durable: bool

    async def kill(self) -> None: ...

    async def start(self) -> None: ...

    async def freeze(self) -> None: ...

    async def thaw(self) -> None: ...

    async def flush(self) -> None: ...


class Embedded:
    """An engine inside the one node: it lives and dies with it."""

    def __init__(self, url: str, *, durable: bool) -> None:
        self.url = url
        self.durable = durable

    async def kill(self) -> None:
        raise NotImplementedError

    start = freeze = thaw = flush = kill


class Node:
    """``openline serve`` as a process, always at the same port."""

    def __init__(self, folder: Path, engine: str, options: Sequence[str] = ()) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "program.py").write_text(PROGRAM)
        self.port = own_port()
        self.http = f"http://127.0.0.1:{self.port}"
        self.ws = f"ws://127.0.0.1:{self.port}"
        self._folder = folder
        self._options = options
        self._engine = engine
        self.process: Process | None = None
        self._before: Process | None = None

    @property
    def running(self) -> Process:
        assert self.process is not None, "this node is not running"
        return self.process

    async def start(self) -> None:
        """Start once the process before has ended; nothing where it runs."""
        if self.process is not None:
            return
        if self._before is not None:
            await asyncio.to_thread(self._before.wait, 4 * PATIENCE)
        self.process = openline(
            self._folder,
            *("serve", "program:line", "--port", str(self.port), *self._options),
            environment={"ENGINE": self._engine},
        )
        await asyncio.to_thread(self.process.address)

    async def end(self, how: signal.Signals = signal.SIGTERM, within: float = 3 * PATIENCE) -> int:
        """Send the signal and wait for the end; the exit code."""
        self._before, self.process = self.running, None
        process = self._before
        # At once: what waits for a thread may be given up before it has one.
        process.child.send_signal(how)
        return await asyncio.to_thread(process.wait, within)

    async def kill(self) -> None:
        await self.end(signal.SIGKILL)

    def abandon(self) -> None:
        """End everything that was started, at once."""
        for process in (self.process, self._before):
            if process is not None and process.child.poll() is None:
                process.child.kill()
                process.wait()

    def freeze(self) -> None:
        self.running.child.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.running.child.send_signal(signal.SIGCONT)


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

    def any(self, chance: random.Random) -> Node:
        """A node that a client may try."""
        return chance.choice(self.nodes)

    async def __aenter__(self) -> Self:
        for node in self.nodes:
            await node.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        for node in self.nodes:
            node.abandon()
