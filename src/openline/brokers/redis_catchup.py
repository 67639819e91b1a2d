"""What a node missed while it did not hear Redis: read from the logs, in the order in which it was published."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

from openline.brokers.envelope import Envelopes, Poison, PoisonCount
from openline.brokers.redis_connection import Reply
from openline.brokers.redis_link import Link
from openline.brokers.redis_names import Names
from openline.brokers.redis_script import HEADS, READ
from openline.model import Page, Publication

__all__ = ["CatchUp", "Missed"]

#: Bytes that may be read, and that may come in meanwhile; who missed more is told so.
MOST_BYTES: Final = 64 * 1024 * 1024
_HEADS_AT_ONCE: Final = 200
_PAGE_BYTES: Final = 1024 * 1024
_PAGE: Final = 1000


@dataclass(slots=True)
class Missed:
    """``publications`` in the order of their stamps, up to ``newest``; the ``heads`` of wanted channels, up to where
    nothing is missing, -1 where that is not known; and the channels in which something is ``lost``.
    """

    newest: int
    heads: dict[str, int]
    publications: list[Publication]
    lost: set[str]


class CatchUp:
    """Reads logs over a link; what it cannot open there it drops, and the channel has lost something."""

    def __init__(self, link: Link, envelopes: Envelopes, poison: PoisonCount, names: Names) -> None:
        self._link = link
        self._envelopes = envelopes
        self._poison = poison
        self._names = names
        self._room = MOST_BYTES
        self._held_room = MOST_BYTES

    def full(self, size: int) -> bool:
        """Whether ``size`` more bytes that came in meanwhile are too many."""
        self._held_room -= size
        return self._held_room < 0

    def begin(self) -> None:
        """A new connection is there: nothing of it has been held, or read, yet."""
        self._room = self._held_room = MOST_BYTES

    async def read(self, epoch: str, after: int, wanted: Mapping[str, int], *, known: bool) -> Missed:
        """What was published in ``wanted`` behind ``after``; ``known`` is false where this node knows nothing of it.

        What came behind the newest stamp of this moment comes live. Raises :class:`~openline.errors.BrokerError`.
        """
        missed = Missed(-1, {}, [], set())
        names = iter(tuple(wanted))
        some = tuple(islice(names, _HEADS_AT_ONCE))
        while some or missed.newest < 0:
            keys = (self._names.stamp(epoch), *(self._names.head + name for name in some))
            newest, *heads = await self._link.run(HEADS, keys)
            if missed.newest < 0:
                missed.newest = newest
            for name, head in zip(some, heads, strict=True):
                last = wanted.get(name, head)
                if known and head > (after if last < 0 else last):
                    missed.heads[name] = await self._read(epoch, after, name, last, missed)
                else:
                    missed.heads[name] = missed.newest if head <= missed.newest else -1
            some = tuple(islice(names, _HEADS_AT_ONCE))
        missed.publications.sort(key=lambda publication: publication.stamp)
        return missed

    async def _read(self, epoch: str, after: int, name: str, last: int, missed: Missed) -> int:
        """Add what is missed in one channel behind its ``last``; the stamp up to which that goes, -1 where not known.

        What should have come before ``after`` cannot be told any more: clients have positions behind it.
        """
        behind, more = (after if last < 0 else min(last, after)), True
        while more:
            keys = (self._names.stamp(epoch), *self._names.log_of(name), self._names.epoch)
            reply = await self._link.run(READ, keys, (behind, -1, _PAGE, _PAGE_BYTES))
            page = self.page(name, epoch, reply)
            if self._room < 0 or not page.complete:
                missed.lost.add(name)
                return -1
            found = [publication for publication in page.publications if publication.stamp <= missed.newest]
            self._room -= sum(publication.size for publication in found)
            if found:
                behind = found[-1].stamp
                if found[0].stamp <= after:
                    missed.lost.add(name)
            missed.publications += (publication for publication in found if publication.stamp > after)
            more = page.more and len(found) == len(page.publications)
        return missed.newest

    def page(self, channel: str, epoch: str, reply: Reply, *, forward: bool = True) -> Page:
        """The page that the script READ returned; where something in it cannot be opened, it is not complete."""
        _, complete, more, *found = reply
        publications: list[Publication] = []
        places: list[Any] = found
        try:
            for i in range(0, len(places), 3):
                stamp, previous, envelope = places[i : i + 3]
                opened = self._envelopes.open(channel, envelope, epoch=epoch, stamp=stamp, previous=previous)
                publications.append(opened)
        except Poison as why:
            self._poison.add(f"the log of {channel}", why)
            if forward:
                return Page((), complete=False)
            more = False
        if not forward:
            publications.reverse()
        return Page(tuple(publications), complete=bool(complete), more=bool(more))
