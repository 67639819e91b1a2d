"""The engine of a node whose host has an engine process: both ports, asked over a link, kept there."""

import asyncio
import logging
from collections.abc import Collection
from typing import Any, Final

import msgspec

from openline.brokers import link_frames as frames
from openline.brokers.link import Link
from openline.brokers.link_requests import Request
from openline.brokers.memory_directory import DirectoryEnd
from openline.hub.outcome import Outcome
from openline.hub.ports import BrokerListener
from openline.hub.timers import Timers
from openline.model import Page, Position, Publication, Retention

__all__ = ["LinkBroker", "LinkDirectory"]

_NO_EPOCH: Final = "none"
_DONE: Final[Outcome[None]] = Outcome.of(None)
_log = logging.getLogger("openline")


class LinkBroker:
    """See :class:`openline.hub.ports.Broker`; ``line`` is which Openline of its program it serves."""

    def __init__(self, path: str, url: str, line: int, *, loop: asyncio.AbstractEventLoop, timers: Timers) -> None:
        self.link = Link(path, url, line, loop=loop, timers=timers)
        self._loop = loop
        self._listener: BrokerListener | None = None
        self._epoch, self._stamp = _NO_EPOCH, 0
        self._wanted: set[str] = set()
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
        """See :class:`~openline.hub.ports.Broker`; settled once the engine process has been reached."""
        self._listener = listener
        self.link.start(self)
        return self._started

    def close(self) -> Outcome[None]:
        """See :class:`~openline.hub.ports.Broker`."""
        self._listener = None
        if self._closed is None:
            closed = self._closed = Outcome()
            self._started.settle(None)
            self._closing = self._loop.create_task(self.link.close())
            self._closing.add_done_callback(lambda _: closed.settle(None))
        return self._closed

    # -- publishing

    def publish(self, publication: Publication, retention: Retention, key: str | None = None) -> Outcome[Position]:
        """See :class:`~openline.hub.ports.Broker`."""
        return self.link.requests.ask(
            lambda number: frames.Publish(number, publication, retention, key),
            self._place,
            publication=publication,
        )

    def _place(self, answer: frames.Answer) -> Position:
        return Position(self._epoch, answer.stamp)

    def scatter(self, publication: Publication) -> Outcome[None]:
        """See :class:`~openline.hub.ports.Broker`.

        It does not wait for an engine that does not answer; then it reaches this node only.
        """
        if publication.channel not in self._wanted:
            self.link.requests.tell(frames.Scatter(0, publication))
        elif self.link.up and not self.link.requests.stalled:
            return self.link.requests.scatter(publication)
        else:
            self._tell(publication)
        return _DONE

    # -- see Guest of the link

    @property
    def wanted(self) -> Collection[str]:
        """See :class:`~openline.brokers.link.Guest`."""
        return self._wanted

    def opened(self, position: Position) -> Position | None:
        """See :class:`~openline.brokers.link.Guest`."""
        before = self.position
        if position.epoch != before.epoch or position.stamp < before.stamp:
            self._epoch, self._stamp = position.epoch, position.stamp
            if before.epoch != _NO_EPOCH:
                self._break(None)
            self._started.settle(None)
            return None
        return None if position.stamp == before.stamp else before

    def caught_up(self, missed: frames.Missed) -> None:
        """See :class:`~openline.brokers.link.Guest`."""
        for publication in missed.publications:
            self.heard(publication)
        self._stamp = max(self._stamp, missed.stamp)
        if missed.lost:
            self._break(missed.lost)

    def heard(self, publication: Publication) -> None:
        """See :class:`~openline.brokers.link.Guest`."""
        if publication.stamp:
            if publication.stamp <= self._stamp:
                return
            self._stamp = publication.stamp
        self._tell(publication)

    def answered(self, request: Request, answer: frames.Answer) -> None:
        """See :class:`~openline.brokers.link.Guest`."""
        publication = request.publication
        if publication is None:
            self._stamp = max(self._stamp, answer.stamp)
        elif request.volatile:
            if not request.gone:
                self._tell(publication)
        elif answer.previous >= 0:
            self._stamp, epoch = answer.stamp, self._epoch
            self._tell(msgspec.structs.replace(publication, epoch=epoch, stamp=answer.stamp, previous=answer.previous))
        else:
            self._stamp = max(self._stamp, answer.stamp)

    def passed(self, request: Request) -> None:
        """See :class:`~openline.brokers.link.Guest`."""
        if request.publication is not None:
            self._tell(request.publication)

    def _tell(self, publication: Publication) -> None:
        if self._listener is not None and publication.channel in self._wanted:
            try:
                self._listener.on_publication(publication)
            except Exception:
                _log.exception("What follows from a publication failed")

    def _break(self, channels: Collection[str] | None) -> None:
        _log.warning(
            "Something may be missing behind the end of the engine process: clients of %s are told",
            "all channels" if channels is None else f"{len(channels)} channels",
        )
        try:
            if self._listener is not None:
                self._listener.on_break(channels)
        except Exception:
            _log.exception("What follows from a break failed")

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
        return self.link.requests.read(channel, after, before, limit, size)

    # -- channels

    def subscribe(self, channel: str) -> Outcome[None]:
        """See :class:`~openline.hub.ports.Broker`."""
        self._wanted.add(channel)
        return self.link.requests.want(channel)

    def unsubscribe(self, channel: str) -> None:
        """See :class:`~openline.hub.ports.Broker`."""
        if channel in self._wanted:
            self._wanted.discard(channel)
            self.link.requests.tell(frames.Unwant(channel))

    def forget(self, channel: str) -> None:
        """See :class:`~openline.hub.ports.Broker`."""
        self.link.requests.tell(frames.Drop(channel))


class LinkDirectory(DirectoryEnd):
    """The end of a node whose directory is in the engine process, over the broker's ``link``."""

    def __init__(self, link: Link) -> None:
        super().__init__()
        self._link = link

    def _ask(self, method: str, *arguments: object) -> Outcome[Any]:
        read, node = frames.RESULTS[method], self._node
        return self._link.requests.ask(
            lambda number: frames.Ask(number, node, method, msgspec.Raw(frames.raw(arguments))),
            lambda answer: read(answer.value),
        )
