"""The engine that links several nodes: logs in Redis or Valkey, and what is published carried to every node."""

import asyncio
import logging
import secrets
from collections.abc import Collection, Iterator, Sequence
from functools import partial
from itertools import islice
from typing import Any, Final, cast

import msgspec

from openline.brokers.envelope import Envelopes, Poison, PoisonCount
from openline.brokers.redis_catchup import CatchUp
from openline.brokers.redis_connection import Reply, pack
from openline.brokers.redis_link import Link, Script
from openline.brokers.redis_publisher import Entry, Publisher
from openline.brokers.redis_questions import Questions
from openline.brokers.redis_script import ADOPT, FORGET, HEADS, KEEP, READ, SCRIPTS
from openline.brokers.redis_server import Server
from openline.brokers.redis_url import RedisUrl
from openline.errors import BrokerError, CommandError, ErrorCode
from openline.hub.outcome import Outcome
from openline.hub.ports import BrokerListener
from openline.hub.timers import Timers
from openline.model import Page, Position, Publication, Retention
from openline.protocol.channel_name import INTERNAL

__all__ = ["RedisBroker"]

#: What a publication costs beside its bytes as it waits, about.
_COST: Final = 512
#: Channels whose heads are compared at a time.
_LOOKED_AT: Final = 100
_NO_EPOCH: Final = "none"
_DONE: Final[Outcome[None]] = Outcome.of(None)
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
        self._url = url
        self._loop = loop
        self._timers = timers
        self._signed = bool(cluster_key)
        self._envelopes = Envelopes(cluster_key)
        self._questions = Questions(self.link, timers, lambda: self._name("stamp", self._epoch))
        self._publisher = Publisher(
            self.link,
            timers,
            arrived=self._arrived,
            tell=self._tell_volatile,
            known=lambda: (self._epoch, self._name("stamp", self._epoch), self._stamp),
        )
        self._catch_up = CatchUp(self.link, self._envelopes, self.poison, url.prefix)
        self._listener: BrokerListener | None = None
        self._epoch, self._stamp = _NO_EPOCH, 0
        #: The run of the server in which this node last stood.
        self._run = ""
        #: Channels whose heads are yet to be compared in this round.
        self._looked_at: Iterator[str] = iter(())
        #: How often the link went up.
        self._ups = 0
        #: Wanted channels, and up to which stamp nothing of each is missing; -1 where that is not known.
        self._wanted: dict[str, int] = {}
        #: Who waits until this node has heard everything that was published up to now, and what they want.
        self._asking: list[tuple[str, Outcome[None]]] = []
        #: What comes in while this node is finding out what it missed.
        self._held: list[tuple[str, bytes]] | None = None
        self._names = self._name("c") + ":"
        self._cut = len(self._names)
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
        if self.link.up and not self.link.stalled:
            return None
        return f"the engine is not there: {self.link.reason if not self.link.up else 'it does not answer'}"

    def start(self, listener: BrokerListener) -> Outcome[None]:
        """See :class:`~openline.hub.ports.Broker`; settled once Redis has been reached, however long that takes."""
        self._listener = listener
        if not self._signed:
            _log.warning(
                "No cluster key is set: this node believes whatever is published in its engine. Give all nodes the "
                "same OPENLINE_CLUSTER_KEY"
            )
        self.link.add(self)
        self.link.listen(self._name("breaks"), lambda _, __: self._keep())
        self.link.start()
        return self._started

    def close(self) -> Outcome[None]:
        """See :class:`~openline.hub.ports.Broker`."""
        self._listener = None
        if self._closed is None:
            self._closed = Outcome()
            self._publisher.close()
            self._questions.close()
            for _, outcome in self._asking:
                outcome.fail(BrokerError("the engine is closed"))
            self._asking.clear()
            self._started.settle(None)
            self._closing = self._loop.create_task(self.link.close())
            self._closing.add_done_callback(partial(_closed, self._closed))
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
        known = "" if key is None else self._name("key", f"{channel} {key}")
        keys = (self._name("sent", self.link.name), *self._log_of(channel), known, self._name("epoch"))
        weight = publication.size
        kept = (retention.count, int(retention.seconds * 1000), retention.size) if retention.count else (0, 0, 0)
        entry = Entry(publication, keys, (self._names + channel, envelope, weight, *kept), _COST + 2 * weight)
        self._publisher.publish(entry)
        return entry.outcome

    def _name(self, kind: str, item: str = "") -> str:
        """A name in the store."""
        return f"{self._url.prefix}:{kind}:{item}" if item else f"{self._url.prefix}:{kind}"

    def _log_of(self, channel: str) -> tuple[str, str]:
        return self._name("head", channel), self._name("log", channel)

    def _arrived(self, entry: Entry, reply: Reply) -> bool:
        repeated, stamp, previous, _ = reply
        if not repeated and stamp > self._stamp:
            before = int(previous.lstrip(b"~"))
            stamped = msgspec.structs.replace(entry.publication, epoch=self._epoch, stamp=stamp, previous=before)
            if not self._hand_over(stamped, fresh=previous[:1] == b"~"):
                # It is answered once what is missing in front of it has come.
                return False
        self._stamp = max(self._stamp, stamp)
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
            head = f"0 {self.link.name} {self._epoch} ".encode()
            self.link.send(pack(("PUBLISH", self._names + publication.channel, head + envelope)), _pass_over)
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
        if self._held is not None:
            self._hold(channel, data)
            return
        try:
            self._take(channel, data)
        except Poison as why:
            self.poison.add(channel, why)

    def _hold(self, channel: str, data: bytes) -> None:
        if self._catch_up.full(len(data)):
            self.link.abort("too much was published while this node caught up")
        elif self._held is not None:
            self._held.append((channel, data))

    def _take(self, channel: str, data: bytes) -> None:
        """Something was published by a node, or by whoever reaches the server. Raises :class:`Poison`."""
        try:
            first, second, epoch, envelope = data.split(b" ", 3)
            stamp = int(first) if first.isdigit() else -1
        except ValueError:
            raise Poison("it does not begin as what a node sends does") from None
        if stamp == 0:
            if second != self.link.name.encode():
                self._tell(self._envelopes.open(channel, envelope))
            return
        fresh = second[:1] == b"~"
        before = second[fresh:]
        if not 0 < stamp < 2**53 or not before.isdigit():
            raise Poison("its place is no place")
        if stamp <= self._stamp and epoch == self._epoch.encode():
            # Ours, which has been told when it was answered; or what has been read from the log already.
            return
        publication = self._envelopes.open(channel, envelope, epoch=self._epoch, stamp=stamp, previous=int(before))
        if epoch != self._epoch.encode():
            self._keep()
            raise Poison("it is of another epoch")
        self._hand_over(publication, fresh=fresh)

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
        keys = (*self._log_of(channel), self._name("epoch"))
        asked = self._questions.ask(READ, keys, (*place, limit, size), size=size)
        asked.then(lambda outcome: _copy(outcome, page, partial(self._page, channel, after)))
        return page

    def _page(self, channel: str, after: Position | None, reply: Reply) -> Page:
        self._stamp = max(self._stamp, reply[0])
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
            self.link.listen(self._names + channel, self._on_message)
        outcome: Outcome[None] = Outcome()
        if not self._asking:
            self._loop.call_soon(self._ask_heads)
        self._asking.append((channel, outcome))
        return outcome

    def _ask_heads(self) -> None:
        """One question for everybody who wants a channel in this turn of the loop."""
        asking, self._asking = self._asking, []
        new = tuple({name: None for name, _ in asking if self._wanted.get(name) == -1})
        heads = tuple(self._name("head", name) for name in new)
        self._questions.ask(HEADS, heads).then(lambda outcome: self._answer(asking, new, outcome))

    def _answer(self, asking: Sequence[tuple[str, Outcome[None]]], new: Sequence[str], found: Outcome[Reply]) -> None:
        try:
            newest, *heads = found.result()
        except BrokerError as error:
            for _, outcome in asking:
                outcome.fail(error)
            return
        self._stamp = max(self._stamp, newest)
        for name, head in zip(new, heads, strict=True):
            if self._wanted.get(name) == -1:
                self._wanted[name] = newest if head < 0 else head
        for _, outcome in asking:
            outcome.settle(None)

    def unsubscribe(self, channel: str) -> None:
        """See :class:`~openline.hub.ports.Broker`."""
        if self._wanted.pop(channel, None) is not None:
            self.link.leave(self._names + channel)

    def forget(self, channel: str) -> None:
        """See :class:`~openline.hub.ports.Broker`."""
        whole = "1" if channel.startswith(INTERNAL) else "0"
        if self.link.up:
            self.link.run(FORGET, self._log_of(channel), (whole,)).then(_look_at)

    # -- see Guest of the link

    async def greet(self, server: Server) -> None:
        """See :class:`~openline.brokers.redis_link.Guest`: find the epoch, and read what was missed meanwhile."""
        self._held = []
        found = await self.link.run(
            ADOPT,
            (self._name("epoch"),),
            (self._url.prefix, server.run, self._epoch, self._run, self._stamp, secrets.token_hex(4)),
        )
        epoch, newest = found[0].decode(), found[1]
        broke = self._epoch not in (epoch, _NO_EPOCH)
        if epoch != self._epoch:
            self._epoch, self._stamp = epoch, newest
        self._run = server.run
        missed = await self._catch_up.read(epoch, self._stamp, self._wanted, known=not broke)
        self._wanted.update((name, head) for name, head in missed.heads.items() if name in self._wanted)
        for publication in missed.publications:
            self._stamp = publication.stamp
            self._tell(publication)
        self._stamp = max(self._stamp, missed.newest)
        held, self._held = self._held, None
        if broke or missed.lost:
            self._break(None if broke else missed.lost)
        for channel, data in held:
            self._on_held(channel, data)

    def _on_held(self, channel: str, data: bytes) -> None:
        try:
            self._take(channel, data)
        except Poison as why:
            self.poison.add(channel, why)

    def _break(self, channels: Collection[str] | None) -> None:
        _log.warning(
            "Something may be missing in the engine's stream: clients of %s are told",
            "all channels" if channels is None else f"{len(channels)} channels",
        )
        if self._listener is not None:
            self._listener.on_break(channels)

    def went_up(self) -> None:
        """See :class:`~openline.brokers.redis_link.Guest`."""
        self._started.settle(None)
        self._publisher.restart()
        self._questions.go_on()
        self._ups += 1
        self._timers.after(self._url.probe, self._keep_again, self._ups)

    def went_down(self, reason: str) -> None:
        """See :class:`~openline.brokers.redis_link.Guest`."""
        self._held = None
        self._publisher.let_volatile_pass()

    # -- keeping an eye on the log

    def _keep_again(self, ups: int) -> None:
        if self.link.up and ups == self._ups:
            self._keep()
            self._timers.after(self._url.probe, self._keep_again, ups)

    def _keep(self) -> None:
        """See that the log is still the one that this node believes in."""
        if not self.link.up:
            return
        keys = (self._name("epoch"), self._name("stamp", self._epoch), self._name("sent", self.link.name))
        self.link.send(KEEP.command(keys, (self._epoch,)), self._kept)
        some = tuple(islice(self._looked_at, _LOOKED_AT))
        if len(some) < _LOOKED_AT:
            self._looked_at = iter(tuple(self._wanted))
        heads = (self._name("stamp", self._epoch), *(self._name("head", name) for name in some))
        self.link.send(HEADS.command(heads, ()), partial(self._compare, some))

    def _compare(self, names: Sequence[str], reply: Reply) -> None:
        """Everything that was published in these channels must have come by now."""
        if isinstance(reply, list):
            for name, head in zip(names, cast("list[int]", reply)[1:], strict=True):
                if 0 <= self._wanted.get(name, -1) < head:
                    self.link.abort(f"something published in {name!r} did not come")

    def _kept(self, reply: Reply) -> None:
        if isinstance(reply, int):
            if reply < self._stamp:
                self.link.abort("LOST the log is older than it was")
            self._stamp = max(self._stamp, reply)
        elif not isinstance(reply, BrokerError):
            self.link.abort(str(reply))


def _closed(outcome: Outcome[None], _: asyncio.Task[None]) -> None:
    outcome.settle(None)


def _pass_over(_: Reply) -> None:
    """What is volatile is nobody's when it fails."""


def _look_at(outcome: Outcome[Any]) -> None:
    """Take note of a failure that matters to nobody."""
    try:
        outcome.result()
    except BrokerError as error:
        _log.debug("A note for the engine was dropped: %s", error)


def _copy(found: Outcome[Reply], page: Outcome[Page], make: Any) -> None:
    try:
        page.settle(make(found.result()))
    except Exception as error:
        page.fail(error)
