"""The engine process's end of the links: one engine for all nodes that ask for the same, and what each wants of it."""

import asyncio
import logging
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Any, Final, cast

import msgspec

from openline.brokers import link_frames as frames
from openline.brokers.memory_directory import Entries
from openline.errors import BrokerError, CommandError, SettingsError
from openline.hub.outcome import Outcome, drive
from openline.hub.ports import Broker
from openline.model import Position, Publication
from openline.protocol.channel_name import INTERNAL

__all__ = ["LinkServer"]

#: Bytes that may wait for a node; one that does not read, because it stands still, makes up for them when it is back.
MOST_WAITING: Final = 64 * 1024 * 1024
#: Bytes that a node is told again; one that missed more is told so.
MISSED_BYTES: Final = 16 * 1024 * 1024
_OTHER: Final = "the engine process is of another version of Openline: restart the whole server"
_DONE: Final[Outcome[None]] = Outcome.of(None)
_log = logging.getLogger("openline")


class LinkServer:
    """Listens at a Unix socket; ``make`` makes an engine of a URL, ``now`` is the clock of leases."""

    def __init__(self, make: Callable[[str], Broker], now: Callable[[], float]) -> None:
        self._make = make
        self._now = now
        self._engines: dict[tuple[int, str], _Engine] = {}
        self._server: asyncio.Server | None = None
        self.ends: set[_End] = set()

    async def listen(self, path: str) -> None:
        """Begin; raises :class:`OSError`."""
        self._server = await asyncio.get_running_loop().create_unix_server(lambda: _End(self), path)

    async def close(self) -> None:
        """End every link and every engine; what waits to be written is written."""
        if self._server is not None:
            self._server.close()
        for end in tuple(self.ends):
            end.close()
        for engine in self._engines.values():
            await engine.broker.close()

    def engine(self, line: int, url: str) -> "_Engine":
        """The engine that all who ask for this have; raises :class:`SettingsError` where there can be none."""
        engine = self._engines.get((line, url))
        if engine is None:
            broker = self._make(url)
            engine = _Engine(broker, Entries(self._now))
            broker.start(engine)
            self._engines[line, url] = engine
        return engine

    def ended(self, process: int) -> None:
        """A process is no more: what its nodes had is free at once, before their leases run out."""
        for engine in self._engines.values():
            for node in [name for name, owner in engine.processes.items() if owner == process]:
                del engine.processes[node]
                engine.entries.lose(node)


class _Engine:
    """One engine, its directory, and who wants what; see :class:`openline.hub.ports.BrokerListener`.

    ``processes`` says which node is of which process.
    """

    def __init__(self, broker: Broker, entries: Entries) -> None:
        self.broker = broker
        self.entries = entries
        self.processes: dict[str, int] = {}
        #: Few each: a node has one.
        self._wanting: dict[str, tuple[_End, ...]] = {}
        #: The newest, until it is known whose it is: that is settled right behind it.
        self._told: Publication | None = None

    def on_publication(self, publication: Publication) -> None:
        """See :class:`~openline.hub.ports.BrokerListener`."""
        if self._told is not None:
            self._spread(self._told, None)
        self._told = publication

    def on_break(self, channels: Collection[str] | None) -> None:
        """Engines of one process never have one."""

    def settled(self, origin: "_End | None") -> Publication | None:
        """What was told last is of ``origin``, who keeps it: all others who want it hear it."""
        told, self._told = self._told, None
        if told is not None:
            self._spread(told, origin)
        return told

    def _spread(self, publication: Publication, origin: "_End | None") -> None:
        data = b""
        for end in self._wanting.get(publication.channel, ()):
            if end is not origin:
                data = data or frames.frame(frames.Hear(publication))
                end.write(data)

    def want(self, end: "_End", channel: str) -> Outcome[None]:
        """See :class:`~openline.hub.ports.Broker`."""
        wanting = self._wanting.get(channel, ())
        if end not in wanting:
            self._wanting[channel] = (*wanting, end)
        # Our own channels are heard unasked: there are as many as connections, and most never have anything.
        return _DONE if wanting or channel.startswith(INTERNAL) else self.broker.subscribe(channel)

    def unwant(self, end: "_End", channel: str) -> None:
        """See :class:`~openline.hub.ports.Broker`."""
        wanting = self._wanting.get(channel, ())
        left = tuple(each for each in wanting if each is not end)
        if left:
            self._wanting[channel] = left
        elif wanting:
            del self._wanting[channel]
            self.broker.unsubscribe(channel)


class _End(asyncio.Protocol):
    """One connection: a node of an application in a process."""

    def __init__(self, server: LinkServer) -> None:
        self._server = server
        self._transport: asyncio.Transport | None = None
        self._frames = frames.Frames()
        self._loop = asyncio.get_running_loop()
        self._out: list[bytes] = []
        self._engine: _Engine | None = None
        self._process = 0
        self._wanted: set[str] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._server.ends.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._server.ends.discard(self)
        if self._engine is not None:
            for channel in self._wanted:
                self._engine.unwant(self, channel)

    def close(self) -> None:
        """End it behind everything that was written."""
        self._flush()
        if self._transport is not None:
            self._transport.close()

    def write(self, data: bytes) -> None:
        """Send ``data`` at the end of this turn of the loop."""
        if not self._out:
            self._loop.call_soon(self._flush)
        self._out.append(data)

    def _flush(self) -> None:
        out, self._out = self._out, []
        transport = self._transport
        if out and transport is not None:
            transport.write(b"".join(out))
            if transport.get_write_buffer_size() > MOST_WAITING:
                _log.warning("A worker does not read: its link is cut, and it makes up for what it misses")
                transport.abort()

    def data_received(self, data: bytes) -> None:
        try:
            for message in self._frames.take(data):
                self._perform(frames.read_up(message))
        except (msgspec.DecodeError, ValueError) as error:
            _log.error("A worker says what cannot be read: %s", error)
            if self._transport is not None:
                self._transport.abort()

    def _perform(self, message: Any) -> None:
        if isinstance(message, frames.Open):
            self._open(message)
        elif self._engine is not None:
            _PERFORM[type(message)](self, self._engine, message)

    def _open(self, message: frames.Open) -> None:
        if message.version != frames.VERSION:
            self.write(frames.frame(frames.Refused("workers", _OTHER)))
            return
        try:
            engine = self._engine = self._server.engine(message.line, message.url)
        except SettingsError as error:
            self.write(frames.frame(frames.Refused(error.setting, error.reason)))
            return
        self._process = message.process
        self._wanted.update(message.wanted)
        for channel in message.wanted:
            engine.want(self, channel)
        self.write(frames.frame(frames.Opened(engine.broker.position)))

    # -- what is asked

    def publish(self, engine: _Engine, message: frames.Publish) -> None:
        outcome = engine.broker.publish(message.publication, message.retention, message.key)
        outcome.then(partial(self._published, engine, message.number))

    def _published(self, engine: _Engine, number: int, outcome: Outcome[Position]) -> None:
        try:
            stamp = outcome.result().stamp
        except (BrokerError, CommandError) as error:
            self.write(frames.frame(frames.Failure(number, str(error))))
            return
        told = engine.settled(self)
        previous = -1 if told is None else told.previous
        self.write(frames.frame(frames.Answer(number, stamp, previous)))

    def scatter(self, engine: _Engine, message: frames.Scatter) -> None:
        outcome = engine.broker.scatter(message.publication)
        outcome.then(partial(self._scattered, engine, message.number))

    def _scattered(self, engine: _Engine, number: int, outcome: Outcome[None]) -> None:
        try:
            outcome.result()
        except BrokerError as error:
            self._fail(number, error)
            return
        engine.settled(self if number else None)
        if number:
            self._answer(engine, number)

    def read(self, engine: _Engine, message: frames.Read) -> None:
        after, before, limit, size = message.after, message.before, message.limit, message.size
        page = engine.broker.read(message.channel, after=after, before=before, limit=limit, size=size)
        page.then(partial(self._came_out, engine, message.number))

    def want(self, engine: _Engine, message: frames.Want) -> None:
        self._wanted.add(message.channel)
        engine.want(self, message.channel).then(partial(self._came_out, engine, message.number))

    def unwant(self, engine: _Engine, message: frames.Unwant) -> None:
        self._wanted.discard(message.channel)
        engine.unwant(self, message.channel)

    def drop(self, engine: _Engine, message: frames.Drop) -> None:
        engine.broker.forget(message.channel)

    def ask(self, engine: _Engine, message: frames.Ask) -> None:
        arguments = frames.ARGUMENTS[message.method](message.arguments)
        if message.method == "join":
            engine.processes[message.node] = self._process
        elif message.method == "leave":
            engine.processes.pop(message.node, None)
        found: object = getattr(engine.entries, message.method)(message.node, *arguments)
        self._came_out(engine, message.number, Outcome.of(found))

    def catch(self, engine: _Engine, message: frames.Catch) -> None:
        missed = drive(_missed(engine.broker, message.after, tuple(self._wanted)))
        missed.then(partial(self._came_out, engine, message.number))

    # -- answers

    def _came_out(self, engine: _Engine, number: int, outcome: Outcome[Any]) -> None:
        try:
            found = outcome.result()
        except BrokerError as error:
            self._fail(number, error)
        else:
            self._answer(engine, number, frames.raw(found))

    def _answer(self, engine: _Engine, number: int, value: bytes = b"\xc0") -> None:
        stamp = engine.broker.position.stamp
        self.write(frames.frame(frames.Answer(number, stamp, -1, msgspec.Raw(value))))

    def _fail(self, number: int, error: Exception) -> None:
        self.write(frames.frame(frames.Failure(number, str(error))))


_PERFORM: Final[dict[type[Any], Callable[[_End, _Engine, Any], None]]] = {
    frames.Publish: _End.publish,
    frames.Scatter: _End.scatter,
    frames.Read: _End.read,
    frames.Want: _End.want,
    frames.Unwant: _End.unwant,
    frames.Drop: _End.drop,
    frames.Ask: _End.ask,
    frames.Catch: _End.catch,
}


async def _missed(broker: Broker, after: Position, channels: Sequence[str]) -> frames.Missed:
    """What was published in ``channels`` behind ``after``, up to now; raises :class:`BrokerError`."""
    newest = broker.position.stamp
    found: list[Publication] = []
    lost: list[str] = []
    room = MISSED_BYTES
    for channel in channels:
        place, more = after, True
        while more:
            page = await broker.read(channel, after=place).step()
            if not page.complete or room < 0:
                lost.append(channel)
                break
            fresh = [each for each in page.publications if each.stamp <= newest]
            room -= sum(each.size for each in fresh)
            found += fresh
            more = page.more and len(fresh) == len(page.publications)
            if fresh:
                place = Position(after.epoch, fresh[-1].stamp)
    found.sort(key=lambda each: each.stamp)
    return frames.Missed(newest, tuple(found), tuple(lost))
