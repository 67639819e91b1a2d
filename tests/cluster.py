"""Nodes in a test's hand, on one engine in memory: each may be killed, frozen, or cut off, and nothing else happens."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

import msgspec

from openline.app.handlers import Handlers
from openline.brokers.memory import MemoryBroker
from openline.brokers.memory_directory import Entries, MemoryDirectory
from openline.errors import BrokerError
from openline.hub.dispatch import Dispatch
from openline.hub.hub import Hub
from openline.hub.outcome import Outcome
from openline.hub.policy import ChannelOptions, Policy
from openline.hub.ports import BrokerListener, Handle
from openline.hub.record import Beat
from openline.hub.settings import HubSettings
from openline.hub.tasks import Tasks
from openline.hub.tick import Tick
from openline.hub.timers import Timers
from openline.model import Page, Position, Publication, Retention
from openline.testing import FakeClock
from tests.rig import WINDOW_SECONDS, Client, Rig, open_to_all

ANSWER_SECONDS = 5.0


class NodeClock:
    """The time of one process: while it is frozen nothing is called, and everything that was due comes at once."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        self.frozen = False
        self.dead = False
        self._due: list[Callable[[], None]] = []

    def now(self) -> float:
        return self._clock.now()

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Handle:
        return self._clock.call_later(seconds, lambda: self._ring(callback))

    def call_soon(self, callback: Callable[[], None]) -> Handle:
        return self.call_later(0.0, callback)

    def _ring(self, callback: Callable[[], None]) -> None:
        if self.dead:
            return
        if self.frozen:
            self._due.append(callback)
        else:
            callback()

    def thaw(self) -> None:
        self.frozen = False
        due, self._due = self._due, []
        for callback in due:
            callback()


class Engine:
    """What all nodes share; ``frozen``, it answers nothing, and does what it was asked for when it thaws."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.memory = MemoryBroker(Timers(clock))
        self.memory.start(self)
        self.entries = Entries(clock.now)
        self.links: list[Link] = []
        self.frozen = False
        self._waiting: deque[Callable[[], None]] = deque()

    def on_break(self, channels: object) -> None:
        """It never has one."""

    def on_publication(self, publication: Publication) -> None:
        for link in self.links:
            link.publish_down(publication)

    def perform(self, call: Callable[[], None]) -> None:
        if self.frozen:
            self._waiting.append(call)
        else:
            call()

    def thaw(self) -> None:
        self.frozen = False
        while self._waiting:
            self._waiting.popleft()()


class Link:
    """One node's line to the engine; see :class:`openline.hub.ports.Broker`.

    What comes down, answers and publications, comes in the order in which it was sent. ``cut``, nothing goes through;
    when it is mended, what was published meanwhile in wanted channels is made up for.
    """

    def __init__(self, engine: Engine, clock: NodeClock) -> None:
        self.engine = engine
        self.clock = clock
        self.cut = False
        self.wanted: set[str] = set()
        self._listener: BrokerListener | None = None
        self._position = engine.memory.position
        self._down: deque[Callable[[], None]] = deque()
        engine.links.append(self)

    def carry(self, call: Callable[[], Any]) -> Outcome[Any]:
        """Make ``call`` in the engine; what it returns comes down, or no answer within 5 s."""
        outcome: Outcome[Any] = Outcome()
        self.clock.call_later(ANSWER_SECONDS, lambda: outcome.fail(BrokerError("no answer")))
        if not self.cut:
            self.engine.perform(lambda: self._performed(outcome, call()))
        return outcome

    def _performed(self, outcome: Outcome[Any], answer: Any) -> None:
        if not self.cut:
            self._send_down(lambda: outcome.settle(answer.result() if isinstance(answer, Outcome) else answer))

    def _send_down(self, call: Callable[[], None]) -> None:
        self._down.append(call)
        self.clock.call_soon(self._come_down)

    def _come_down(self) -> None:
        while self._down:
            self._down.popleft()()

    def publish_down(self, publication: Publication) -> None:
        if self.cut:
            return
        wanted = publication.channel in self.wanted

        def hear() -> None:
            if publication.stamp:
                self._position = Position(publication.epoch, publication.stamp)
            if wanted and self._listener is not None:
                self._listener.on_publication(publication)

        self._send_down(hear)

    def mend(self) -> None:
        self.cut = False
        pages = [self.engine.memory.read(each, after=self._position, size=1 << 30).result() for each in self.wanted]
        missed = [publication for page in pages for publication in page.publications]
        for publication in sorted(missed, key=lambda each: each.stamp):
            self.publish_down(publication)

    # -- the port

    @property
    def trouble(self) -> str | None:
        return "cut off" if self.cut else None

    @property
    def position(self) -> Position:
        return self._position

    def start(self, listener: BrokerListener) -> Outcome[None]:
        self._listener = listener
        return Outcome.of(None)

    def close(self) -> Outcome[None]:
        self._listener = None
        return Outcome.of(None)

    def publish(self, publication: Publication, retention: Retention, key: str | None = None) -> Outcome[Position]:
        return self.carry(lambda: self.engine.memory.publish(publication, retention, key))

    def scatter(self, publication: Publication) -> Outcome[None]:
        return self.carry(lambda: self.engine.memory.scatter(publication))

    def read(self, channel: str, **options: Any) -> Outcome[Page]:
        return self.carry(lambda: self.engine.memory.read(channel, **options))

    def subscribe(self, channel: str) -> Outcome[None]:
        return self.carry(lambda: self._want(channel))

    def _want(self, channel: str) -> None:
        self.wanted.add(channel)
        self.engine.memory.subscribe(channel)

    def unsubscribe(self, channel: str) -> None:
        self.engine.perform(lambda: self.wanted.discard(channel))

    def forget(self, channel: str) -> None:
        self.engine.perform(lambda: self.engine.memory.forget(channel))


class _Directory(MemoryDirectory):
    """Says with the next beat that its link was cut."""

    def __init__(self, entries: Entries, link: Link) -> None:
        super().__init__(entries, link.carry)
        self._link = link
        self._was_cut = False

    def beat(self) -> Outcome[Beat]:
        self._was_cut = self._was_cut or self._link.cut
        told: Outcome[Beat] = Outcome()

        def tell(outcome: Outcome[Beat]) -> None:
            try:
                beat = outcome.result()
            except BrokerError as error:
                told.fail(error)
                return
            cut, self._was_cut = self._was_cut, False
            told.settle(msgspec.structs.replace(beat, cut=cut))

        super().beat().then(tell)
        return told


class Node(Rig):
    """One process: see :class:`tests.rig.Rig`."""

    def __init__(self, cluster: "Cluster", handlers: Handlers, options: tuple[ChannelOptions, ...]) -> None:
        self.clock = cluster.clock
        self.own = NodeClock(cluster.clock)
        self.timers = Timers(self.own)
        self.tick = Tick(self.own.call_soon)
        self.tasks = Tasks(cluster.loop)
        self.handlers = handlers
        self.handlers.tasks = self.tasks
        self.policy = Policy(self.tasks)
        for each in options:
            self.policy.add(each)
        self.link = Link(cluster.engine, self.own)
        self.memory = cluster.engine.memory
        self.hub = Hub(
            broker=self.link,
            policy=self.policy,
            application=self.handlers,
            timers=self.timers,
            tick=self.tick,
            tasks=self.tasks,
            settings=HubSettings(window_seconds=WINDOW_SECONDS),
        )
        self.dispatch = Dispatch(self.hub, {"ping": 25.0})
        self.link.start(self.hub)
        self.share = self.hub.share(_Directory(cluster.engine.entries, self.link), "http://node")
        self.share.begin()

    @property
    def name(self) -> str:
        return self.share.node

    def kill(self) -> None:
        """The process is gone, as by SIGKILL: nothing of it runs any more, and nobody is told."""
        self.own.dead = True
        self.link.cut = True

    def freeze(self) -> None:
        """As by SIGSTOP."""
        self.own.frozen = True

    def thaw(self) -> None:
        self.own.thaw()

    def stop(self) -> None:
        """As by SIGTERM."""
        self.hub.lifecycle.close()
        self.share.leave()
        self.clock.advance()
        self.own.dead = True


class Cluster:
    """``size`` nodes; ``ended`` has the id of every connection whose handler of disconnect has run, with the reason."""

    def __init__(self, *options: ChannelOptions, size: int = 2, loop: Any = None) -> None:
        self.clock = FakeClock(1000.0)
        self.loop = loop or asyncio.AbstractEventLoop()
        self.engine = Engine(self.clock)
        self.ended: list[tuple[str, str]] = []
        self._options = options or (open_to_all(),)
        self.nodes = [self.add() for _ in range(size)]
        self.clock.advance()

    def add(self) -> Node:
        handlers = Handlers()
        handlers.let_in(anonymous=True)
        handlers.set_authenticate(lambda token, request: token)
        handlers.add_disconnect(lambda connection, reason: self.ended.append((connection.id, reason)))
        return Node(self, handlers, self._options)

    def owners(self, connection_id: str) -> list[Node]:
        """The nodes that think that a connection is theirs."""
        return [n for n in self.nodes if not n.own.dead and connection_id in n.hub.lifecycle.connections]

    def flush(self) -> None:
        """As FLUSHALL does it, for the directory."""
        self.engine.entries.clear()


def move(client: Client, node: Node) -> None:
    """From now on ``client`` opens its lines at ``node``."""
    client.rig = node
    client._new_line = lambda: type(client.wire)(client.wire.codec, hub=node.hub)


def whereabouts(cluster: Cluster, client_id: str) -> list[str]:
    return [node.name for node in cluster.owners(client_id)]


def come_back(client: Client, node: Node) -> dict[str, object]:
    move(client, node)
    return client.come_back()


def watch(node: Node, channel: str = "room", **options: object) -> Client:
    client = node.join(**options)
    client.call(type="$subscribe", channel=channel, presence=True)
    client.heard()
    return client


def news_of(client: Client) -> list[tuple[str, str, int]]:
    frames = client.pushes()
    return [(f["type"], f["payload"]["member"]["connection"], f["payload"]["count"]) for f in frames]
