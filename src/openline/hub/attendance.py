"""Presence across nodes: the directory knows who is in a channel, and whoever watches it hears who comes and goes."""

import logging
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from openline.errors import BrokerError
from openline.hub.channel import Channel
from openline.hub.connection import Connection
from openline.hub.outcome import Outcome, drive
from openline.hub.presence import joined_json, left_json
from openline.hub.record import Turnout
from openline.model import JsonBytes, Publication
from openline.protocol.commands import Word

if TYPE_CHECKING:
    from openline.hub.hub import Hub
    from openline.hub.ports import Directory

__all__ = ["Attendance"]

_log = logging.getLogger("openline")


class _News(msgspec.Struct, frozen=True):
    """Somebody came, or left for a ``reason``: how many there are as of ``version``."""

    member: msgspec.Raw
    count: int
    version: int
    reason: str = ""


_read_news = msgspec.json.Decoder(_News).decode


class Attendance:
    """What this node tells the directory of presence, and all nodes of what came of it."""

    def __init__(self, hub: "Hub", directory: "Directory") -> None:
        self._hub = hub
        self._directory = directory
        # What the engine did not answer, by channel and connection: None for somebody who came.
        self._unknown: dict[tuple[str, str], str | None] = {}

    def enter(self, channel: str, connection: Connection) -> None:
        """Somebody is in ``channel``, who may have been there already, on another node."""
        self._unknown.pop((channel, connection.id), None)
        outcome = self._directory.enter(channel, connection.id, connection.member)
        outcome.then(partial(self._changed, channel, connection.id, None))

    def exit(self, channel: str, connection_id: str, reason: str) -> None:
        """Somebody is no longer in ``channel``."""
        self._unknown.pop((channel, connection_id), None)
        self._directory.exit(channel, connection_id).then(partial(self._changed, channel, connection_id, reason))

    def _changed(self, channel: str, connection_id: str, reason: str | None, outcome: Outcome[Turnout | None]) -> None:
        try:
            turnout = outcome.result()
        except BrokerError:
            self._unknown[channel, connection_id] = reason
            return
        if turnout is None:
            return
        news = _News(msgspec.Raw(turnout.member), turnout.count, turnout.version, reason or "")
        # Who comes is not told of it.
        excluded = frozenset((connection_id,)) if reason is None else frozenset[str]()
        word = Word.JOINED if reason is None else Word.LEFT
        told = self._hub.broker.scatter(Publication(channel, word, msgspec.json.encode(news), exclude=excluded))
        told.then(_look)

    def hear(self, publication: Publication) -> None:
        """Tell those here who watch.

        What two nodes say of one channel may arrive in another order than it came about; the count is the newest.
        """
        channel = self._hub.membership.get(publication.channel)
        if channel is None:
            return
        news = _read_news(publication.payload)
        count = _newest(channel, news)
        member = bytes(news.member)
        payload = joined_json(member, count)
        if publication.type == Word.LEFT:
            payload = left_json(member, news.reason, count)
        skip = self._hub.skipped(publication)
        channel.watchers.notify(publication.type, channel.name, payload, skip)

    def present(self, channel: str, limit: int, after: int) -> Outcome[JsonBytes]:
        """See :meth:`openline.hub.ports.Directory.present`."""
        return self._directory.present(channel, limit, after)

    def count(self, channels: Sequence[str]) -> Outcome[Sequence[int]]:
        """See :meth:`openline.hub.ports.Directory.count`."""
        return self._directory.count(channels)

    def tell_again(self) -> None:
        """Who came and went may not have been heard here: whoever watches is told who is there."""
        drive(self._tell_again())

    async def _tell_again(self) -> None:
        # One after the other: lists may be long.
        for channel in self._hub.membership.watched():
            limit = 0 if channel.options.presence is None else channel.options.presence.limit
            try:
                present = await self._directory.present(channel.name, limit, 0).step()
            except BrokerError:
                # It was cut again, and is told of that.
                return
            channel.watchers.notify(Word.PRESENCE, channel.name, present)

    def abandon(self) -> None:
        """Others have those of whom this node knew."""
        self._unknown.clear()

    def say_again(self) -> None:
        """Repeat what the engine did not answer."""
        for (channel, connection_id), reason in tuple(self._unknown.items()):
            connection = self._hub.lifecycle.connections.get(connection_id)
            if reason is not None:
                self.exit(channel, connection_id, reason)
            elif connection is not None and channel in connection.subscriptions:
                self.enter(channel, connection)
            else:
                del self._unknown[channel, connection_id]

    def repeat(self, connection: Connection) -> None:
        """Count ``connection`` in wherever it is: the directory may have forgotten."""
        for name, subscription in connection.subscriptions.items():
            if connection.id in subscription.channel.members:
                self.enter(name, connection)


def _newest(channel: Channel, news: _News) -> int:
    version, _ = channel.newest
    if news.version > version:
        channel.newest = (news.version, news.count)
    return channel.newest[1]


def _look(outcome: Outcome[None]) -> None:
    try:
        outcome.result()
    except BrokerError:
        # Whoever asks for the list sees it; nobody is told twice.
        _log.warning("Those who watch presence may not have heard of a change: the engine did not answer")
