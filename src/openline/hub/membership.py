"""The channels of this node and who is in them: joining, leaving, catching up, presence."""

from collections.abc import Iterable
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Final

import msgspec

from openline.errors import BrokerError, CommandError, ErrorCode
from openline.hub.channel import Channel
from openline.hub.connection import Connection, State, Subscription
from openline.hub.outcome import Outcome
from openline.hub.policy import ChannelOptions
from openline.hub.ports import Broker
from openline.hub.presence import joined_json, left_json
from openline.hub.record import Place
from openline.hub.recovery import Hold, merge
from openline.hub.tick import Tick
from openline.hub.timers import Timers
from openline.model import Page, Position, Publication
from openline.protocol.channel_name import INTERNAL
from openline.protocol.commands import Word

if TYPE_CHECKING:
    from openline.hub.attendance import Attendance
    from openline.hub.registry import Registry

__all__ = ["MAX_PAGE", "Joined", "Membership"]

#: Publications in one page at most.
MAX_PAGE: Final = 1000
_NOTHING: Final = Page(())
_DONE: Final[Outcome[None]] = Outcome.of(None)


class Joined(msgspec.Struct, frozen=True):
    """What came of joining: the publications asked for, and whether they are complete.

    ``end``: this was a page, up to there; it has not joined yet.
    """

    publications: list[Publication]
    complete: bool
    end: Position | None = None


class Membership:
    """Knows every channel that somebody here is in, and makes the engine want just these."""

    def __init__(self, broker: Broker, tick: Tick, timers: Timers, *, hold_bytes: int) -> None:
        self._broker = broker
        self._tick = tick
        self._timers = timers
        self._hold_bytes = hold_bytes
        self._channels: dict[str, Channel] = {}
        #: What other nodes are to know, where there are any.
        self.registry: Registry | None = None
        self.attendance: Attendance | None = None

    def __len__(self) -> int:
        return len(self._channels)

    def get(self, name: str) -> Channel | None:
        """The channel, if somebody here is in it."""
        return self._channels.get(name)

    def watched(self) -> tuple[Channel, ...]:
        """Those of which somebody here watches the presence."""
        return tuple(channel for channel in self._channels.values() if len(channel.watchers))

    def names(self, pattern: str) -> Iterable[str]:
        """The channels under ``pattern`` that somebody here is in or visits, but our own, in no order."""
        if not pattern.endswith("*"):
            return (pattern,) if pattern in self._channels else ()
        beginning, least = pattern[:-1], len(pattern)
        return (
            name
            for name in self._channels
            if len(name) >= least and name.startswith(beginning) and not name.startswith(INTERNAL)
        )

    async def join(
        self,
        connection: Connection,
        name: str,
        options: ChannelOptions,
        *,
        after: Position | None = None,
        last: int = 0,
        presence: bool = False,
    ) -> Joined:
        """Hold, read, merge, seat: ``connection`` is in ``name``, and nothing published meanwhile is lost or doubled.

        Who is in already starts over. Raises :class:`CommandError`: ``unavailable`` when the engine does not answer,
        ``failed`` when it left while we waited.
        """
        if connection.stage is State.ENDED:
            raise CommandError(ErrorCode.FAILED, "The connection has ended.")
        previous = connection.subscriptions.get(name)
        confirmed = self._broker.subscribe(name)
        subscription = self._place(connection, name, options, previous, presence=presence)
        if confirmed.good and self.registry is None and not (after or last):
            # Nothing has to be waited for, so nothing can come in meanwhile.
            self.seat(subscription)
            return Joined([], complete=True)
        self.hold(subscription, Hold(self._hold_bytes))
        hold = subscription.hold
        written = _DONE if self.registry is None else self.registry.subscribed(subscription)
        try:
            await confirmed.step()
            await written.step()
            page = await self._read(name, after, last).step() if after or last else _NOTHING
            lost = not page.complete
            if lost and last:
                page = await self._read(name, None, last).step()
        except BrokerError as error:
            self._undo(subscription, hold, previous)
            raise CommandError(ErrorCode.UNAVAILABLE, "The history cannot be read just now.", retry=True) from error
        if connection.subscriptions.get(name) is not subscription:
            raise CommandError(ErrorCode.FAILED, "The subscription ended before it began.")
        if hold is None or subscription.hold is not hold:
            # The line broke meanwhile, and nobody waits for an answer: a resume brings what is missing.
            return Joined([], complete=True)
        if after is not None and page.more and not lost:
            self._pause(subscription, previous)
            return Joined(merge(page.publications, (), connection.is_excluded), complete=True, end=_end(page))
        if hold.overflowed:
            self.leave(subscription, "unsubscribed")
            raise CommandError(ErrorCode.UNAVAILABLE, "Too much came in meanwhile; try again.", retry=True)
        publications = [] if lost and not last else merge(page.publications, hold.publications, connection.is_excluded)
        self.seat(subscription)
        return Joined(publications, complete=not lost)

    def attend(self, visitor: Connection, name: str, options: ChannelOptions, hold: Hold) -> Outcome[None]:
        """Let ``hold`` keep what comes into ``name``, without being counted or seen there, until :meth:`depart`.

        Settled when nothing published from now on is missed.
        """
        subscription = Subscription(visitor, self._open(name, options), presence=False)
        visitor.subscriptions[name] = subscription
        self.hold(subscription, hold)
        return self._broker.subscribe(name)

    def depart(self, visitor: Connection) -> None:
        """Undo every :meth:`attend` of ``visitor``."""
        for name, subscription in tuple(visitor.subscriptions.items()):
            del visitor.subscriptions[name]
            subscription.channel.release(subscription)
            self._drop_if_deserted(subscription.channel)

    def _read(self, name: str, after: Position | None, last: int) -> Outcome[Page]:
        if after is not None:
            return self._broker.read(name, after=after, limit=MAX_PAGE)
        return self._broker.read(name, limit=min(last, MAX_PAGE))

    def _open(self, name: str, options: ChannelOptions) -> Channel:
        channel = self._channels.get(name)
        if channel is None:
            channel = self._channels[name] = Channel(name, options, self._tick)
        return channel

    def _drop_if_deserted(self, channel: Channel) -> None:
        if not (channel.size or channel.holding) and self._channels.get(channel.name) is channel:
            del self._channels[channel.name]
            self._broker.unsubscribe(channel.name)

    def _place(
        self,
        connection: Connection,
        name: str,
        options: ChannelOptions,
        previous: Subscription | None,
        *,
        presence: bool,
    ) -> Subscription:
        """A subscription without a seat, instead of the ``previous`` one."""
        channel = self._channels.get(name)
        if channel is None:
            channel = self._open(name, options)
        if previous is None:
            channel.size += 1
        else:
            self._unseat(previous)
        subscription = Subscription(connection, channel, presence=presence)
        # The channel's own string, which all its members share.
        connection.subscriptions[channel.name] = subscription
        return subscription

    def hold(self, subscription: Subscription, hold: Hold) -> None:
        """From now on ``hold`` keeps what comes in for ``subscription``."""
        subscription.hold = hold
        subscription.channel.holding.add(subscription)

    def seat(self, subscription: Subscription) -> None:
        """``subscription`` has caught up: it goes live on its connection's line, if that has one.

        While the connection itself still catches up, what comes in waits with the rest, so that nothing overtakes.
        """
        connection, channel = subscription.connection, subscription.channel
        if subscription.begun is None:
            subscription.begun = self._broker.position
        if connection.hold is not None:
            self.hold(subscription, connection.hold)
            return
        if connection.wire is not None and channel.options.presence is not None:
            self._enter(channel, connection)
        # Looked at again: telling who watches may have been too much for this very line.
        if connection.wire is None:
            channel.release(subscription)
        else:
            channel.seat(subscription, connection.wire)

    def _unseat(self, subscription: Subscription) -> None:
        wire = subscription.connection.wire
        if wire is None:
            subscription.channel.release(subscription)
        else:
            subscription.channel.unseat(subscription, wire)

    def _undo(self, subscription: Subscription, hold: Hold | None, previous: Subscription | None) -> None:
        """Joining failed: who was in before stays in, unless it has missed something."""
        if previous is not None and previous.paused:
            self._pause(subscription, previous)
        elif previous is None or hold is None or hold.size:
            self.leave(subscription, "unsubscribed")
        elif subscription.hold is hold:
            subscription.presence, subscription.begun = previous.presence, previous.begun
            self.seat(subscription)

    def _pause(self, subscription: Subscription, previous: Subscription | None) -> None:
        """``subscription`` is not in yet; who was in before goes on to be present."""
        if previous is None:
            self.leave(subscription, "unsubscribed")
        elif subscription.connection.subscriptions.get(subscription.channel.name) is subscription:
            self._unseat(subscription)
            subscription.paused = True
            if self.registry is not None:
                self.registry.paused(subscription)

    def leave(self, subscription: Subscription, reason: str | None) -> None:
        """``subscription`` ends; those who watch presence are told why. Nothing where it has ended already.

        Without a reason it goes on, but not here.
        """
        channel, connection = subscription.channel, subscription.connection
        if connection.subscriptions.get(channel.name) is not subscription:
            return
        self._unseat(subscription)
        del connection.subscriptions[channel.name]
        if self.registry is not None and connection.stage is not State.ENDED:
            self.registry.unsubscribed(connection, channel.name)
        channel.size -= 1
        self._exit(channel, connection, reason)
        self._drop_if_deserted(channel)

    def detach(self, connection: Connection) -> None:
        """The line broke: seats are given up, subscriptions stay, presence for a grace period."""
        for subscription in tuple(connection.subscriptions.values()):
            if subscription.paused:
                self.leave(subscription, "unsubscribed")
            else:
                self._unseat(subscription)
        self._await_return(connection)

    def _await_return(self, connection: Connection, most: float = inf) -> None:
        """Let ``connection`` count as present for its grace periods, none of which is longer than ``most`` seconds."""
        present = (s for s in connection.subscriptions.values() if connection.id in s.channel.members)
        graces = {s.channel.options.presence.grace_seconds for s in present if s.channel.options.presence is not None}
        self.stay(connection)
        connection.graces = tuple(
            self._timers.after(min(seconds, most), partial(self._give_up, connection, seconds)) for seconds in graces
        )

    def restore(self, connection: Connection, name: str, options: ChannelOptions, place: Place) -> None:
        """``connection`` was in ``name`` on another node, and has no line yet: it is, and counts as present, as there.

        Where its client was still reading what came before, it is not in any more.
        """
        if place.begun is None:
            if options.presence is not None and self.attendance is not None:
                self.attendance.exit(name, connection.id, "unsubscribed")
            return
        previous = connection.subscriptions.get(name)
        subscription = self._place(connection, name, options, previous, presence=place.presence)
        subscription.begun = place.begun
        if options.presence is not None:
            subscription.channel.members.add(connection.id, connection.member)

    def restored(self, connection: Connection, grace_seconds: float | None) -> None:
        """All its channels are restored: its client may come back for as long as anywhere, or ``grace_seconds``."""
        self._await_return(connection, inf if grace_seconds is None else grace_seconds)

    def stay(self, connection: Connection) -> None:
        """The line is back, or all is over: nobody waits for it any more."""
        for timer in connection.graces:
            timer.cancel()
        connection.graces = ()

    def _give_up(self, connection: Connection, seconds: float) -> None:
        if connection.stage is not State.DETACHED:
            return
        for subscription in tuple(connection.subscriptions.values()):
            options = subscription.channel.options.presence
            if options is not None and options.grace_seconds == seconds:
                self._exit(subscription.channel, connection, "lost")

    def _enter(self, channel: Channel, connection: Connection) -> None:
        if channel.options.presence is None or not channel.members.add(connection.id, connection.member):
            return
        if self.attendance is not None:
            self.attendance.enter(channel.name, connection)
        else:
            channel.watchers.notify(Word.JOINED, channel.name, joined_json(connection.member, len(channel.members)))

    def _exit(self, channel: Channel, connection: Connection, reason: str | None) -> None:
        member = channel.members.remove(connection.id)
        if member is None or reason is None:
            return
        if self.attendance is not None:
            self.attendance.exit(channel.name, connection.id, reason)
        else:
            channel.watchers.notify(Word.LEFT, channel.name, left_json(member, reason, len(channel.members)))


def _end(page: Page) -> Position | None:
    return page.publications[-1].position if page.publications else None
