"""The engine that links several nodes: logs in Redis or Valkey, and what is published carried to every node."""

import asyncio
import logging
import secrets
from collections.abc import Collection, Sequence
from functools import partial
from typing import Any, Final

import msgspec

from openline.brokers.envelope import Envelopes, Poison, PoisonCount, Seal
from openline.brokers.redis_catchup import CatchUp
from openline.brokers.redis_connection import Reply, pack
from openline.brokers.redis_link import Link, Script
from openline.brokers.redis_message import Message, read_message, write_volatile
from openline.brokers.redis_names import Names
from openline.brokers.redis_publisher import Entry, Publisher
from openline.brokers.redis_questions import Questions
from openline.brokers.redis_script import ADOPT, FORGET, HEADS, READ, SCRIPTS
from openline.brokers.redis_server import Server
from openline.brokers.redis_url import RedisUrl
from openline.brokers.redis_watch import Watch
from openline.errors import BrokerError, CommandError, ErrorCode
from openline.hub.outcome import Outcome
from openline.hub.ports import BrokerListener
from openline.hub.timers import Timers
from openline.model import Page, Position, Publication, Retention
from openline.protocol.channel_name import INTERNAL

__all__ = ["RedisBroker"]

#: What a publication costs beside its bytes as it waits, about.
_COST: Final = 512
_NO_EPOCH: Final = "none"
_log = logging.getLogger("openline")


class RedisBroker:
    """The engine in Redis; see :class:`openline.hub.ports.Broker` for what each method promises.

    Everything of a node goes through one connection, in order. So this node stands where the newest answer or
    publication on it says, because everything that it wanted came ahead of that.
    """

    scripts: Sequence[Script] = SCRIPTS

    def __init__(
        self, url: RedisUrl, *, loop: asyncio.AbstractEventLoop, timers: Timers, cluster_key: str = ""
    ) -> None:
        self.link = Link(url, loop=loop, timers=timers)
        self.poison = PoisonCount()
        self.seal = Seal(cluster_key)
        self._url = url
        self._loop = loop
        self._timers = timers
        self._signed = bool(cluster_key)
        self._envelopes = Envelopes(cluster_key)
        self._names = Names(url.prefix, self.link.name)
        self._questions = Questions(self.link, timers, lambda: self._names.stamp(self._epoch))
        self._publisher = Publisher(
            self.link,
            timers,
            arrived=self._arrived,
            tell=self._tell_volatile,
            known=lambda: (self._epoch, self._names.stamp(self._epoch), self._stamp),
        )
        self._catch_up = CatchUp(self.link, self._envelopes, self.poison, self._names)
        self._listener: BrokerListener | None = None
        self._epoch, self._stamp = _NO_EPOCH, 0
        #: The run of the server in which this node last stood.
        self._run = ""
        #: Whether a new epoch is yet to be told of.
        self._broke = False
        #: Wanted channels, and up to which stamp nothing of each is missing; -1 where that is not known.
        self._wanted: dict[str, int] = {}
        self._watch = Watch(
            self.link,
            timers,
            self._names,
            wanted=self._wanted,
            stands=lambda: self.position,
            reached=self._reach,
        )
        #: Who waits until this node has heard everything that was published up to now, and what they want.
        self._asking: list[tuple[str, Outcome[None]]] = []
        #: What comes in while this node finds out what it missed; the connections for which it began to, and has.
        self._held: list[tuple[str, bytes]] = []
        self._greeting = self._greeted = 0
        self._cut = len(self._names.live)
        self._started: Outcome[None] = Outcome()
        self._closing: asyncio.Task[None] | None = None
        self._closed: Outcome[None] | None = None

    # -- beginning and end

    @property
    def position(self) -> Position:
        """See :class:`~openline.hub.ports.Broker`."""
        return Position(self._epoch, self._stamp)

    @property
    def trouble(self) -> str | None:
        """See :class:`~openline.hub.ports.Broker`."""
        return self.link.trouble

    def start(self, listener: BrokerListener) -> Outcome[None]:
        """See :class:`~openline.hub.ports.Broker`; settled once Redis has been reached, however long that takes."""
        self._listener = listener
        if not self._signed:
            _log.warning(
                "No cluster key is set: this node believes whatever is published in its engine. Give all nodes the "
                "same OPENLINE_CLUSTER_KEY"
            )
        self.link.add(self)
        self.link.listen(self._names.breaks, lambda _, __: self._watch.look())
        self.link.start()
        return self._started

    def close(self) -> Outcome[None]:
        """See :class:`~openline.hub.ports.Broker`."""
        self._listener = None
        if self._closed is None:
            closed = self._closed = Outcome()
            self._publisher.close()
            self._questions.close()
            for _, outcome in self._asking:
                outcome.fail(BrokerError("the engine is closed"))
            self._asking.clear()
            self._started.settle(None)
            self._closing = self._loop.create_task(self.link.close())
            self._closing.add_done_callback(lambda _: closed.settle(None))
        return self._closed

    # -- publishing

    def publish(self, publication: Publication, retention: Retention, key: str | None = None) -> Outcome[Position]:
        """See :class:`~openline.hub.ports.Broker`."""
        channel = publication.channel
        try:
            envelope = self._envelopes.seal(publication)
            (key or "").encode()
        except UnicodeEncodeError:
            return Outcome.failed(CommandError(ErrorCode.BAD_FIELD, "There is text in it that is not Unicode."))
        names = self._names
        known = names.sent if key is None else names.key(channel, key)
        keys = (names.sent, names.head + channel, names.log + channel, known, names.epoch)
        weight = publication.size
        kept = (retention.count, int(retention.seconds * 1000), retention.size) if retention.count else (0, 0, 0)
        entry = Entry(publication, keys, (names.live + channel, envelope, weight, *kept), _COST + 2 * weight)
        self._publisher.publish(entry)
        return entry.outcome

    def _arrived(self, entry: Entry, reply: Reply) -> bool:
        repeated, stamp, previous = reply
        if not repeated and stamp > self._stamp:
            before = int(previous.lstrip(b"~"))
            stamped = msgspec.structs.replace(entry.publication, epoch=self._epoch, stamp=stamp, previous=before)
            if not self._hand_over(stamped, fresh=previous[:1] == b"~"):
                # It is answered once what is missing in front of it has come.
                return False
        self._reach(stamp)
        entry.outcome.settle(Position(self._epoch, stamp))
        return True

    def scatter(self, publication: Publication) -> Outcome[None]:
        """See :class:`~openline.hub.ports.Broker`.

        It does not wait for an engine that does not answer; then it reaches this node only.
        """
        try:
            envelope = self._envelopes.seal(publication)
        except UnicodeEncodeError:
            return Outcome.failed(CommandError(ErrorCode.BAD_FIELD, "There is text in it that is not Unicode."))
        if self._closed is not None:
            return Outcome.failed(BrokerError("the engine is closed"))
        there = self.link.up and not self.link.stalled
        if there and not self.link.full:
            message = write_volatile(self.link.name, self._epoch, envelope)
            self.link.send(pack(("PUBLISH", self._names.live + publication.channel, message)), lambda _: None)
        entry = Entry(publication, (), (), _COST + publication.size)
        if there:
            self._publisher.follow(entry)
        else:
            self._publisher.let_volatile_pass()
            self._tell_volatile(entry)
        return entry.outcome

    def _tell_volatile(self, entry: Entry) -> None:
        try:
            self._tell(entry.publication)
        finally:
            entry.outcome.settle(None)

    # -- hearing

    def _on_message(self, name: bytes, data: bytes) -> None:
        channel = name[self._cut :].decode("utf-8", "replace")
        if self._greeted == self.link.turn:
            self._check(channel, data)
        elif self._greeting != self.link.turn:
            # It is in the logs by the time that they are read.
            return
        elif self._catch_up.full(len(data)):
            self.link.abort("too much was published while this node caught up")
        else:
            self._held.append((channel, data))

    def _check(self, channel: str, data: bytes) -> None:
        try:
            self._take(channel, data)
        except Poison as why:
            self.poison.add(channel, why)

    def _take(self, channel: str, data: bytes) -> None:
        """Something was published by a node, or by whoever reaches the server. Raises :class:`Poison`."""
        message = read_message(data)
        if not message.stamp:
            if message.sent != self.link.name.encode():
                self._tell(self._envelopes.open(channel, message.envelope))
            return
        same = message.epoch == self._epoch.encode()
        if same and message.stamp <= self._stamp:
            # Ours, which has been told when it was answered; or what has been read from the log already.
            return
        publication = self._opened(channel, message)
        if not same:
            self._watch.look()
            raise Poison("it is of another epoch")
        self._hand_over(publication, fresh=message.fresh)

    def _opened(self, channel: str, message: Message) -> Publication:
        first, envelope = self._publisher.first, message.envelope
        epoch, stamp, previous = self._epoch, message.stamp, message.previous
        if first is not None and first.is_same(self._names.live + channel, envelope):
            # The same bytes: it need not be checked and read, whoever sent it.
            return msgspec.structs.replace(first.publication, epoch=epoch, stamp=stamp, previous=previous)
        return self._envelopes.open(channel, envelope, epoch=epoch, stamp=stamp, previous=previous)

    def _hand_over(self, publication: Publication, *, fresh: bool) -> bool:
        """Tell the next of all that came to this node; False where one of its channel is missing before it."""
        channel = publication.channel
        last = self._wanted.get(channel)
        if last is not None:
            if not fresh and 0 <= last < publication.previous:
                self.link.abort(f"something published in {channel!r} did not come")
                return False
            self._wanted[channel] = publication.stamp
        self._stamp = publication.stamp
        self._tell(publication)
        return True

    def _tell(self, publication: Publication) -> None:
        channel = publication.channel
        if self._listener is not None and channel in self._wanted:
            try:
                self._listener.on_publication(publication)
            except Exception:
                _log.exception("What follows from a publication failed")

    # -- reading

    def read(
        self,
        channel: str,
        *,
        after: Position | None = None,
        before: Position | None = None,
        limit: int = 1000,
        size: int = 262_144,
    ) -> Outcome[Page]:
        """See :class:`~openline.hub.ports.Broker`."""
        if after is not None and after.epoch != self._epoch and self.link.up:
            return Outcome.of(Page((), complete=False))
        if after is None and before is not None and before.epoch != self._epoch:
            return Outcome.of(Page(()))
        place = (-1 if after is None else after.stamp, -1 if before is None else before.stamp)
        page: Outcome[Page] = Outcome()
        keys = (*self._names.log_of(channel), self._names.epoch)
        asked = self._questions.ask(READ, keys, (*place, limit, size), size=size)
        asked.then(lambda outcome: _copy(outcome, page, partial(self._page, channel, after)))
        return page

    def _page(self, channel: str, after: Position | None, reply: Reply) -> Page:
        self._reach(reply[0])
        if after is not None and after.epoch != self._epoch:
            return Page((), complete=False)
        return self._catch_up.page(channel, self._epoch, reply, forward=after is not None)

    # -- channels

    def subscribe(self, channel: str) -> Outcome[None]:
        """See :class:`~openline.hub.ports.Broker`."""
        if self._closed is not None:
            return Outcome.failed(BrokerError("the engine is closed"))
        if channel not in self._wanted:
            self._wanted[channel] = -1
            self.link.listen(self._names.live + channel, self._on_message)
        outcome: Outcome[None] = Outcome()
        if not self._asking:
            self._loop.call_soon(self._ask_heads)
        self._asking.append((channel, outcome))
        return outcome

    def _ask_heads(self) -> None:
        """One question for everybody who wants a channel in this turn of the loop."""
        asking, self._asking = self._asking, []
        new = tuple({name: None for name, _ in asking if self._wanted.get(name) == -1})
        heads = tuple(self._names.head + name for name in new)
        self._questions.ask(HEADS, heads).then(lambda outcome: self._answer(asking, new, outcome))

    def _answer(self, asking: Sequence[tuple[str, Outcome[None]]], new: Sequence[str], found: Outcome[Reply]) -> None:
        try:
            newest, *heads = found.result()
        except BrokerError as error:
            for _, outcome in asking:
                outcome.fail(error)
            return
        self._reach(newest)
        for name, head in zip(new, heads, strict=True):
            if self._wanted.get(name) == -1:
                self._wanted[name] = newest if head < 0 else head
        for _, outcome in asking:
            outcome.settle(None)

    def unsubscribe(self, channel: str) -> None:
        """See :class:`~openline.hub.ports.Broker`."""
        if self._wanted.pop(channel, None) is not None:
            self.link.leave(self._names.live + channel)

    def forget(self, channel: str) -> None:
        """See :class:`~openline.hub.ports.Broker`."""
        whole = "1" if channel.startswith(INTERNAL) else "0"
        # Nobody waits for it: where it fails, the log goes when its time is over.
        self.link.send(FORGET.command(self._names.log_of(channel), (whole,)), lambda _: None)

    # -- see Guest of the link

    async def greet(self, server: Server) -> None:
        """See :class:`~openline.brokers.redis_link.Guest`: find the epoch, and read what was missed meanwhile."""
        self._held, self._greeting = [], self.link.turn
        self._catch_up.begin()
        found = await self.link.run(
            ADOPT,
            (self._names.epoch,),
            (self._url.prefix, server.run, self._epoch, self._run, self._stamp, secrets.token_hex(4)),
        )
        epoch, newest = found[0].decode(), found[1]
        self._broke = self._broke or self._epoch not in (epoch, _NO_EPOCH)
        if epoch != self._epoch:
            self._epoch, self._stamp = epoch, newest
        self._run = server.run
        missed = await self._catch_up.read(epoch, self._stamp, self._wanted, known=not self._broke)
        self._wanted.update((name, head) for name, head in missed.heads.items() if name in self._wanted)
        for publication in missed.publications:
            self._stamp = publication.stamp
            self._tell(publication)
        self._reach(missed.newest)
        held, self._held, self._greeted = self._held, [], self.link.turn
        if self._broke or missed.lost:
            self._break(None if self._broke else missed.lost)
            self._broke = False
        for channel, data in held:
            self._check(channel, data)

    def _break(self, channels: Collection[str] | None) -> None:
        _log.warning(
            "Something may be missing in the engine's stream: clients of %s are told",
            "all channels" if channels is None else f"{len(channels)} channels",
        )
        try:
            if self._listener is not None:
                self._listener.on_break(channels)
        except Exception:
            _log.exception("What follows from a break failed")

    def _reach(self, stamp: int) -> None:
        """Everything up to ``stamp`` that this node wants has been heard."""
        self._stamp = max(self._stamp, stamp)

    def went_up(self) -> None:
        """See :class:`~openline.brokers.redis_link.Guest`."""
        self._started.settle(None)
        self._publisher.restart()
        self._questions.go_on()
        self._watch.went_up()

    def went_down(self, reason: str) -> None:
        """See :class:`~openline.brokers.redis_link.Guest`."""
        self._publisher.let_volatile_pass()


def _copy(found: Outcome[Reply], page: Outcome[Page], make: Any) -> None:
    try:
        page.settle(make(found.result()))
    except Exception as error:
        page.fail(error)
