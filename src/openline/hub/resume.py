"""A connection comes back: what it missed, of all its channels, in order, and then live, without a hole."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final

from openline.errors import CloseCode
from openline.hub.connection import Connection, Subscription
from openline.hub.outcome import step_all
from openline.hub.ports import Wire
from openline.hub.recovery import Hold, merge
from openline.model import Page, Position, Publication
from openline.protocol.channel_name import INTERNAL
from openline.protocol.commands import Word

if TYPE_CHECKING:
    from openline.hub.hub import Hub

__all__ = ["Resumption"]

#: What is written before the line must have taken it, and about what is read at a time, of all channels together.
PAGE_BYTES: Final = 262_144
#: What is read of one channel at a time, however many there are.
MIN_READ_BYTES: Final = 4096
_NOTHING: Final = Page(())


class Resumption:
    """One return of one connection, from the moment that it has its new line.

    What was published up to ``start`` is read from the logs, what comes behind it is held, until both are written.
    ``lost`` names the sources whose log does not reach back to where the client stood; they go on from ``start``. Those
    in ``untold`` the client is yet to be told of: with a ``$gap`` in front of what comes behind ``start``.
    """

    def __init__(self, hub: "Hub", connection: Connection, wire: Wire) -> None:
        self._hub = hub
        self._wire = wire
        #: Where each channel that is read went live; those that the application adds meanwhile are held only.
        self._sources: dict[str, Subscription | None] = dict(connection.subscriptions)
        self._sources[f"$connection:{connection.id}"] = None
        if connection.user is not None:
            self._sources[f"$user:{connection.user.id}"] = None
        self._pages: dict[str, Page] = {}
        self._hold = Hold(hub.settings.hold_bytes)
        self.connection = connection
        self.lost: set[str] = set()
        self.untold: set[str] = set()
        self._take_hold(tuple(connection.subscriptions.values()))
        self.start = hub.broker.position
        #: Where the client stands before the replay.
        self.position = self.start

    def _take_hold(self, subscriptions: tuple[Subscription, ...]) -> None:
        self.connection.hold = self._hold
        for subscription in subscriptions:
            self._hub.membership.hold(subscription, self._hold)

    @property
    def current(self) -> bool:
        """Whether the connection is still on this line: it may have lost it, or come back on yet another."""
        return self.connection.wire is self._wire

    async def prepare(self, since: Position | None) -> None:
        """Read the beginning of what was missed since ``since``; None stands for a client that has lost its position.

        Raises :class:`~openline.errors.BrokerError`, as does :meth:`replay`.
        """
        await self._confirm()
        if since is None:
            await self.read({})
        else:
            await self.read({name: _after(since, subscription) for name, subscription in self._sources.items()})
        if since is not None and len(self.lost) < len(self._sources):
            self.position = since

    @property
    def sources(self) -> Iterable[str]:
        """The names of the logs that it reads."""
        return self._sources.keys()

    async def read(self, after: Mapping[str, Position]) -> None:
        """Read the beginning of what each source has behind its position; one without a position is ``lost``."""
        pages = await self._read_all({name: after[name] for name in self._sources if name in after})
        for name in self._sources:
            page = self._pages[name] = pages.get(name, _NOTHING)
            if name not in after or not page.complete:
                self.lost.add(name)

    async def _confirm(self) -> None:
        """Make sure that the engine misses nothing of what is wanted; what was held before that is held anew."""
        wanted = [name for name, subscription in self._sources.items() if self._wants(name, subscription)]
        await step_all([self._hub.broker.subscribe(name) for name in wanted])
        if self.current:
            mine = tuple(s for s in self.connection.subscriptions.values() if s.hold is self._hold)
            self._hold = Hold(self._hub.settings.hold_bytes)
            self._take_hold(mine)
            self.start = self.position = self._hub.broker.position

    def _wants(self, name: str, subscription: Subscription | None) -> bool:
        """Whether the engine is to want a source: whoever has left meanwhile is not to be wanted again.

        What is sent to a connection or its user is heard unasked where there is one node.
        """
        if subscription is None:
            return self._hub.cluster is not None and self.connection.alive
        return self.connection.subscriptions.get(name) is subscription

    async def _read_all(self, after: Mapping[str, Position]) -> Mapping[str, Page]:
        """A page of each source, from its position: with many connections on their way back, every wait counts."""
        size = max(PAGE_BYTES // len(self._sources), MIN_READ_BYTES)
        broker = self._hub.broker
        pages = await step_all([broker.read(name, after=position, size=size) for name, position in after.items()])
        return dict(zip(after, map(self._up_to_start, pages), strict=True))

    def _up_to_start(self, page: Page) -> Page:
        """What comes behind ``start`` is held."""
        wanted = tuple(p for p in page.publications if p.stamp <= self.start.stamp)
        return Page(wanted, page.complete, more=page.more and len(wanted) == len(page.publications))

    async def replay(self) -> None:
        """Write what was missed, a page at a time as the line takes it, and go live.

        Ends early when the line is lost again.
        """
        while self.current and not self._hold.overflowed:
            horizon = self._horizon()
            self._write(self._until(horizon))
            if horizon is None:
                self._tell_gaps()
                self._go_live()
                return
            self._hub.tick.flush()
            await self._wire.drained().step()
            await self._read_on(horizon)
        self.abandon(CloseCode.SLOW, "Too much came in while this connection caught up.")

    def abandon(self, code: CloseCode, reason: str) -> None:
        """Close the line, if the connection is still on it: its client comes back."""
        if self.current:
            self._wire.close(code, reason)

    def _go_live(self) -> None:
        # Between the last write and the seats there is no await: what is published next is delivered behind it.
        if self.current:
            self.connection.hold = None
            for subscription in tuple(self.connection.subscriptions.values()):
                if subscription.hold is self._hold:
                    self._hub.membership.seat(subscription)

    def _horizon(self) -> int | None:
        """The stamp up to which every source has been read and one page may go; None where the rest is one page."""
        ends = [page.publications[-1].stamp for page in self._pages.values() if page.more]
        room = PAGE_BYTES
        for publication in (*self._read_so_far(), *self._hold.publications):
            room -= publication.size
            if room < 0 and publication.stamp:
                ends.append(publication.stamp)
                break
        return min(ends, default=None)

    def _read_so_far(self) -> list[Publication]:
        return sorted((p for page in self._pages.values() for p in page.publications), key=lambda p: p.stamp)

    def _until(self, horizon: int | None) -> list[Publication]:
        """What was read and held up to ``horizon``; the hold keeps the rest."""
        held, read = self._hold.publications, self._read_so_far()
        if horizon is None:
            end = len(held)
        else:
            end = max((i + 1 for i, p in enumerate(held) if 0 < p.stamp <= horizon), default=0)
            read = [p for p in read if p.stamp <= horizon]
        passed, self._hold.publications = held[:end], held[end:]
        self._hold.size = sum(p.size for p in self._hold.publications)
        return merge(read, passed, self.connection.is_excluded)

    async def _read_on(self, horizon: int) -> None:
        """Drop what has been written, and read on where there is more."""
        ends: dict[str, Position] = {}
        for name, page in self._pages.items():
            rest = tuple(p for p in page.publications if p.stamp > horizon)
            if page.more and not rest:
                ends[name] = Position(self.start.epoch, page.publications[-1].stamp)
            else:
                self._pages[name] = Page(rest, more=page.more)
        pages = await self._read_all(ends)
        self._pages.update(pages)
        self.untold.update(name for name, page in pages.items() if not page.complete)

    def _tell_gaps(self) -> None:
        """Everything up to ``start`` is written: whoever is told of a gap has nothing from before it to come."""
        untold, self.untold = self.untold, set()
        payload = b'{"position":"%b"}' % str(self.start).encode()
        places = dict.fromkeys(None if name.startswith(INTERNAL) else name for name in sorted(untold))
        for channel in places if self.current else ():
            self._hub.tick.to_wire(self._wire, self._wire.codec.notice(Word.GAP, channel, payload))

    def _write(self, publications: list[Publication]) -> None:
        for publication in publications:
            if publication.stamp > self.start.stamp:
                self._tell_gaps()
            if self._wanted(publication.channel):
                self._hub.tick.to_wire(self._wire, self._wire.codec.publication(publication))

    def _wanted(self, channel: str) -> bool:
        """Whether the connection is still in ``channel``: the application may have taken it out meanwhile."""
        return channel.startswith(INTERNAL) or channel in self.connection.subscriptions


def _after(since: Position, subscription: Subscription | None) -> Position:
    """From where a source is read: a subscription that began later has missed nothing before it began."""
    begun = None if subscription is None else subscription.begun
    return since if begun is None or begun.epoch != since.epoch or begun.stamp < since.stamp else begun
