"""What a node missed while it did not hear Redis: read from the logs, in the order in which it was published."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

from openline.brokers.envelope import Envelopes, Poison, PoisonCount
from openline.brokers.redis_connection import Reply
from openline.brokers.redis_link import Link
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
    """``publications`` in the order of their stamps, up to ``newest``; the ``heads`` of wanted channels there, -1 where
    that is not known; and the channels in which something is ``lost``.
    """

    newest: int
    heads: dict[str, int]
    publications: list[Publication]
    lost: set[str]


class CatchUp:
    """Reads logs over a link; what it cannot open there it drops, and the channel has lost something."""

    def __init__(self, link: Link, envelopes: Envelopes, poison: PoisonCount, prefix: str) -> None:
        self._link = link
        self._envelopes = envelopes
        self._poison = poison
        self._prefix = prefix
        self._room = MOST_BYTES
        self._held_room = MOST_BYTES

    def full(self, size: int) -> bool:
        """Whether ``size`` more bytes that came in meanwhile are too many."""
        self._held_room -= size
        return self._held_room < 0

    async def read(self, epoch: str, after: int, wanted: Mapping[str, int], *, known: bool) -> Missed:
        """What was published in ``wanted`` behind ``after``; ``known`` is false where this node knows nothing of it.

        What came behind the newest stamp of this moment comes live. Raises :class:`~openline.errors.BrokerError`.
        """
        self._room = self._held_room = MOST_BYTES
        missed = Missed(-1, {}, [], set())
        names = iter(tuple(wanted))
        some = tuple(islice(names, _HEADS_AT_ONCE))
        while some or missed.newest < 0:
            keys = (f"{self._prefix}:stamp:{epoch}", *(f"{self._prefix}:head:{name}" for name in some))
            newest, *heads = await self._link.run(HEADS, keys)
            if missed.newest < 0:
                missed.newest = newest
            for name, head in zip(some, heads, strict=True):
                if known and head > max(after, wanted.get(name, head)):
                    missed.heads[name] = await self._read(epoch, after, name, missed)
                else:
                    missed.heads[name] = head if head <= missed.newest else -1
            some = tuple(islice(names, _HEADS_AT_ONCE))
        missed.publications.sort(key=lambda publication: publication.stamp)
        return missed

    async def _read(self, epoch: str, after: int, name: str, missed: Missed) -> int:
        """Add what is missed in one channel; the stamp up to which that goes, or -1 where it is not known."""
        prefix = self._prefix
        keys = (f"{prefix}:stamp:{epoch}", f"{prefix}:head:{name}", f"{prefix}:log:{name}", f"{prefix}:epoch")
        last, more = -1, True
        while more:
            page = self.page(name, epoch, await self._link.run(READ, keys, (after, -1, _PAGE, _PAGE_BYTES)))
            if self._room < 0 or not page.complete:
                missed.lost.add(name)
                return -1
            found = [publication for publication in page.publications if publication.stamp <= missed.newest]
            self._room -= sum(publication.size for publication in found)
            missed.publications += found
            if found:
                last = after = found[-1].stamp
            more = page.more and len(found) == len(page.publications)
        return last

    def page(self, channel: str, epoch: str, reply: Reply, *, forward: bool = True) -> Page:
        """The page that the script READ returned; where something in it cannot be opened, it is not complete."""
        _, complete, more, *found = reply
        publications: list[Publication] = []
        places: list[Any] = found
        try:
            for i in range(0, len(places), 3):
                publications.append(
                    self._envelopes.open(channel, places[i + 2], epoch=epoch, stamp=places[i], previous=places[i + 1])
                )
        except Poison as why:
            self._poison.add(f"the log of {channel}", why)
            if forward:
                return Page((), complete=False)
            more = False
        if not forward:
            publications.reverse()
        return Page(tuple(publications), complete=bool(complete), more=bool(more))
