"""A channel's subscription: how far it is known to be complete, and that each publication is read once."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from openline.client.ending import delay
from openline.client.events import Event, History, Member, Presence
from openline.client.frames import (
    Frame,
    Moved,
    SubscribeReply,
    UnreadableError,
    answer_of,
    covers,
    error_of,
    read_all,
    unwrap,
)
from openline.client.inbox import Inbox
from openline.client.outbox import Outbox
from openline.client.requests import Requests
from openline.client.surroundings import Handle, Surroundings
from openline.errors import CommandError

__all__ = ["Channel", "Host", "SubscribeOptions"]

_log = logging.getLogger("openline.client")


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscribeOptions:
    """What a subscription begins with, and whether it hears of who is there."""

    since: str | None = None
    last: int | None = None
    presence: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """What a subscription needs of its line.

    ``ended``: the server ended or refused it; ``left``: the application did.
    """

    surroundings: Surroundings
    outbox: Outbox
    requests: Requests
    inbox_bytes: int
    ended: Callable[["Channel"], None]
    left: Callable[["Channel"], None]


class Channel:
    """A channel that this line is subscribed to, until it is left; made by :meth:`Line.subscribe`.

    Iterating over it gives every publication once and in order, and the channel's own words between them: ``$gap``,
    ``$joined``, ``$left``, ``$presence``, ``$unsubscribed``. One reader at a time. What a slow reader has no room for
    is fetched from the channel's history when it has; what was lost is told with a ``$gap`` where it was lost. The
    iteration ends when the channel is left or the line is closed here; it raises :class:`CommandError` where the server
    refuses to take the subscription up again, and :class:`GoneError` where the line is closed for good.
    """

    def __init__(self, name: str, options: SubscribeOptions, host: Host) -> None:
        self.name = name
        self.members: dict[str, Member] = {}
        self.count = 0
        self._options = options
        self._host = host
        self._clock = host.surroundings.clock
        self._inbox = Inbox(host.inbox_bytes, name)
        self._ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        # Where to go on from, and the last one delivered.
        self._since = options.since
        self._delivered: str | None = None
        self._live = False
        # It waits for the reader, and goes on from ``_since`` when there is room.
        self._behind = False
        self._over = False
        self._tries = 0
        self._timer: Handle | None = None
        self._awaited = 0

    def __aiter__(self) -> AsyncIterator[Event]:
        return self

    async def __anext__(self) -> Event:
        return await self._inbox.get()

    async def publish(
        self, type: str, payload: Any = None, *, key: str | None = None, volatile: bool = False, echo: bool = True
    ) -> Any:
        """See :meth:`Line.publish`."""
        return await self._host.requests.publish(self.name, type, payload, key=key, volatile=volatile, echo=echo)

    async def history(
        self, *, limit: int | None = None, before: str | None = None, since: str | None = None
    ) -> History:
        """See :meth:`Line.history`."""
        return await self._host.requests.history(self.name, limit=limit, before=before, since=since)

    async def presence(self, *, limit: int | None = None, after: int | None = None) -> Presence:
        """See :meth:`Line.presence`."""
        return await self._host.requests.presence(self.name, limit=limit, after=after)

    def unsubscribe(self) -> None:
        """Leave the channel at once; the iteration ends behind what has come."""
        if not self._over:
            self.end(None)
            self._host.left(self)

    # What follows is between the channel and its line.

    @property
    def live(self) -> bool:
        """Whether pushes of the channel are for this subscription."""
        return self._live

    async def subscribed(self) -> None:
        """Wait for the first subscription; raises why it was refused or given up.

        Where the last one who waits is cancelled, the channel is left.
        """
        self._awaited += 1
        try:
            await asyncio.shield(self._ready)
        except asyncio.CancelledError:
            if self._awaited == 1 and not self._ready.done():
                self.unsubscribe()
            raise
        finally:
            self._awaited -= 1

    def join(self) -> None:
        """Subscribe, or go on with the next page."""
        self._timer = None
        # Where `since` cannot be recovered, the `last` ones are better than nothing.
        start = {"since": self._since, "last": self._options.last, "presence": self._options.presence or None}
        self._host.outbox.call({"type": "$subscribe", "channel": self.name, **start}, self._answered)

    def carry_on(self) -> None:
        """The connection was taken up again, with this subscription. Who came and went in between was not told."""
        if self._options.presence:
            self._host.outbox.call({"type": "$presence", "channel": self.name}, self._told_presence)

    def rejoin(self, seen: str | None) -> None:
        """The connection is gone; ``seen`` is its last position."""
        # It was complete where it was made, and saw everything since. Between epochs the later word counts: at worst
        # the server then says that something was lost.
        if self._live and seen is not None and not covers(self._since, seen):
            self._since = seen
        self._live = False
        if not self._behind:
            self.join()

    def lost(self) -> None:
        """The line broke."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def end(self, read: Exception | None, wait: Exception | None = None, *, last: Event | None = None) -> None:
        """It is over: the iteration ends, with ``read`` if there is one; who still waits to get in gets ``wait``."""
        self._live, self._over = False, True
        self.lost()
        self._inbox.end(read, last)
        if not self._ready.done():
            self._ready.set_exception(wait or read or CommandError("closed", "The channel was left."))
            # Whoever waits for it is told; but nobody may be waiting.
            self._ready.exception()

    def gap(self, position: str | None) -> None:
        """Something was lost in front of ``position``."""
        self._inbox.offer(Event("$gap", {"position": position}, self.name, position))

    def push(self, frame: Frame) -> None:
        """A frame of this channel came."""
        if self._behind:
            self._push_behind(frame)
        if not self._live:
            return
        size = len(bytes(frame.payload))
        try:
            match frame.type:
                case "$gap":
                    self._inbox.offer(frame, size)
                case "$unsubscribed":
                    self._ended(None, Event(frame.type, unwrap(frame), self.name))
                case "$joined" | "$left":
                    self._moved(frame)
                    self._inbox.offer(frame, size)
                case "$presence":
                    self._present(answer_of(frame.payload, Presence))
                case word if not word.startswith("$"):
                    self._deliver(frame, size, recovered=False)
                case _:
                    pass
        except UnreadableError as error:
            _log.warning("A %r of %s is left out: %s", frame.type, self.name, error)

    def _push_behind(self, frame: Frame) -> None:
        """What is kept will be fetched; the rest is lost."""
        if frame.type == "$unsubscribed":
            self._inbox.leave_out()
            self._ended(None, Event(frame.type, unwrap(frame), self.name))
        elif frame.position is None and not frame.type.startswith("$"):
            self._inbox.leave_out()

    def _moved(self, frame: Frame) -> None:
        told = answer_of(frame.payload, Moved)
        if frame.type == "$joined":
            self.members[told.member.connection] = told.member
        else:
            self.members.pop(told.member.connection, None)
        self.count = told.count

    def _answered(self, frame: Frame) -> None:
        if self._over:
            return
        if frame.type == "$reply":
            try:
                reply = answer_of(frame.payload, SubscribeReply)
                said = read_all(reply.publications)
            except UnreadableError as error:
                self._ended(error)
            else:
                self._page(reply, said)
        elif frame.retry is True:
            pause = delay(self._tries, self._host.surroundings.chance)
            self._tries += 1
            self._timer = self._clock.call_later(pause, self.join)
        else:
            self._ended(error_of(frame))

    def _page(self, reply: SubscribeReply, said: list[tuple[Frame, int]]) -> None:
        self._tries = 0
        if reply.recovered is False:
            self.gap(reply.position)
        # Who waits is in: what is read from now on makes room for the next page.
        if not self._ready.done():
            self._ready.set_result(None)
        if all(self._deliver(publication, size, recovered=True) for publication, size in said):
            self._since = reply.position
            self._live = not reply.more
            if reply.more:
                self._read_on()
        if reply.presence is not None:
            self._present(reply.presence)

    def _read_on(self) -> None:
        self._behind = not self._inbox.has_room
        if self._behind:
            self._inbox.when_room(self._read_on)
        elif not self._over:
            self.join()

    def _ended(self, error: CommandError | None, last: Event | None = None) -> None:
        self.end(error, last=last)
        self._host.ended(self)

    def _told_presence(self, frame: Frame) -> None:
        if frame.type == "$reply" and not self._over:
            try:
                self._present(answer_of(frame.payload, Presence))
            except UnreadableError as error:
                _log.warning("Who is in %s cannot be read: %s", self.name, error)

    def _present(self, presence: Presence) -> None:
        self.members = {member.connection: member for member in presence.members}
        self.count = presence.count
        payload = {"count": presence.count, "members": msgspec.to_builtins(presence.members)}
        self._inbox.offer(Event("$presence", payload, self.name), 100 * len(presence.members))

    def _deliver(self, frame: Frame, size: int, *, recovered: bool) -> bool:
        """False where there was no room for it, and the history is read on when there is."""
        if frame.position is None:
            self._inbox.offer(frame, size)
        elif not covers(self._delivered, frame.position):
            if not self._inbox.put(frame, size, recovered=recovered):
                self._fall_behind()
                return False
            self._delivered = frame.position
        return True

    def _fall_behind(self) -> None:
        """What is published meanwhile is left to the history."""
        if self._delivered is not None and not covers(self._since, self._delivered):
            self._since = self._delivered
        self._live, self._behind = False, True
        self._inbox.when_room(self._read_on)
