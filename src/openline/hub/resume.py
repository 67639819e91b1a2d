"""A connection comes back: what it missed, of all its channels, in order, and then live, without a hole."""

from typing import TYPE_CHECKING, Final

from openline.errors import CloseCode
from openline.hub.connection import Connection
from openline.hub.membership import MAX_PAGE
from openline.hub.ports import Wire
from openline.hub.recovery import Hold, merge
from openline.model import Page, Position, Publication
from openline.protocol.commands import Word

if TYPE_CHECKING:
    from openline.hub.hub import Hub

__all__ = ["Resumption"]

#: What is written before the line must have taken it.
PAGE_BYTES: Final = 262_144


class Resumption:
    """One return of one connection.

    ``lost`` names the sources whose log does not reach back to where the client stood; they go on from where the
    return began.
    """

    def __init__(self, hub: "Hub", connection: Connection, wire: Wire) -> None:
        self._hub = hub
        self._wire = wire
        self._hold = Hold(hub.settings.hold_bytes)
        self.start = hub.broker.position
        self._pages: dict[str, Page] = {}
        self.connection = connection
        self.lost: set[str] = set()
        #: Where the client stands before the replay.
        self.position = self.start

    @classmethod
    async def prepare(cls, hub: "Hub", connection: Connection, wire: Wire, since: Position | None) -> "Resumption":
        """Hold what comes in from now on, and read what was missed since ``since``.

        None stands for a client that has lost its position.
        """
        self = cls(hub, connection, wire)
        connection.hold = self._hold
        for subscription in connection.subscriptions.values():
            hub.membership.hold(subscription, self._hold)
        names = self._sources()
        if since is not None:
            self.lost.update(await self._read(names, since))
        if since is None or len(self.lost) == len(names):
            self.lost.update(names)
        else:
            self.position = since
        await self._read(self.lost, self.start)
        return self

    @property
    def current(self) -> bool:
        """Whether the connection is still on this line: it may have lost it, or come back on yet another."""
        return self.connection.wire is self._wire

    def _sources(self) -> list[str]:
        direct = [f"$connection:{self.connection.id}"]
        if self.connection.user is not None:
            direct.append(f"$user:{self.connection.user.id}")
        return [*self.connection.subscriptions, *direct]

    async def _read(self, names: "list[str] | set[str]", after: Position) -> list[str]:
        """Read a page of each; returns those that are not complete."""
        incomplete: list[str] = []
        for name in names:
            page = await self._hub.broker.read(name, after=after, limit=MAX_PAGE).step()
            self._pages[name] = page
            if not page.complete:
                incomplete.append(name)
        return incomplete

    async def replay(self) -> None:
        """Write what was missed, a page at a time as the line takes it, and go live.

        Ends early when the line is lost again.
        """
        while (horizon := self._horizon()) is not None:
            self._write(self._until(horizon))
            self._hub.tick.flush()
            await self._wire.drained().step()
            if not self.current:
                return
            after = Position(self.start.epoch, horizon)
            gaps = await self._read(self._sources(), after)
            if not self.current:
                return
            for name in gaps:
                self._tell_gap(name)
        if self._hold.overflowed:
            self._wire.close(CloseCode.SLOW, "Too much came in while this connection caught up.")
            return
        # From here to the seats there is no await: what is published next is delivered live.
        self._write(merge(self._read_so_far(), self._hold.publications, self.connection.id))
        self.connection.hold = None
        for subscription in tuple(self.connection.subscriptions.values()):
            if subscription.hold is self._hold:
                self._hub.membership.seat(subscription)

    def _horizon(self) -> int | None:
        """The stamp up to which every source has been read and one page may go; None where the rest is one page."""
        ends = [page.publications[-1].stamp for page in self._pages.values() if page.more]
        room = PAGE_BYTES
        for publication in self._read_so_far():
            room -= publication.size
            if room < 0:
                ends.append(publication.stamp)
                break
        return min(ends, default=None)

    def _read_so_far(self) -> list[Publication]:
        return sorted((p for page in self._pages.values() for p in page.publications), key=lambda p: p.stamp)

    def _until(self, horizon: int) -> list[Publication]:
        """What was read and held up to ``horizon``; the hold keeps the rest."""
        held = self._hold.publications
        end = max((i + 1 for i, p in enumerate(held) if 0 < p.stamp <= horizon), default=0)
        passed, self._hold.publications = held[:end], held[end:]
        self._hold.size = sum(p.size for p in self._hold.publications)
        return merge([p for p in self._read_so_far() if p.stamp <= horizon], passed, self.connection.id)

    def _write(self, publications: list[Publication]) -> None:
        for publication in publications:
            self._hub.tick.to_wire(self._wire, self._wire.codec.publication(publication))

    def _tell_gap(self, name: str) -> None:
        payload = b'{"position":"%b"}' % str(self._hub.broker.position).encode()
        channel = None if name.startswith("$") else name
        self._hub.tick.to_wire(self._wire, self._wire.codec.notice(Word.GAP, channel, payload))
