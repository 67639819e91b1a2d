"""What one request reads of several channels: as much as fits into one answer, and where to go on from."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from openline.errors import CommandError, ErrorCode
from openline.hub.ports import Broker
from openline.model import Page, Position, Publication, fitting

__all__ = ["ANSWER_BYTES", "MAX_READ", "GapError", "Reading", "read"]

#: Publications in one answer at most, of all its channels together.
MAX_READ: Final = 1000
#: And their bytes; a publication that is larger is an answer by itself.
ANSWER_BYTES: Final = 1_048_576
#: What is read of one channel at a time at least, however many there are.
_MIN_READ_BYTES: Final = 4096


class GapError(CommandError):
    """The history does not reach back to where the client stands; ``position`` is where it could go on."""

    def __init__(self, since: Position, position: Position) -> None:
        super().__init__(
            ErrorCode.GAP,
            f"The history does not reach back to {since}. Start over without since, or go on from {position}.",
            field="since",
        )
        self.position = position


@dataclass(frozen=True, slots=True)
class Reading:
    """What was read of some channels, in order, and the position to go on from."""

    publications: Sequence[Publication]
    position: Position


async def read(
    broker: Broker, channels: Sequence[str], since: Position | None, *, limit: int = MAX_READ, size: int = ANSWER_BYTES
) -> Reading:
    """The oldest publications of all ``channels`` behind ``since``, or the newest of all of them.

    They are ``limit`` and ``size`` bytes at most, and one where there is one; about twice that is held meanwhile. For
    :func:`~openline.hub.outcome.drive`. Raises :class:`GapError` where the history does not reach back to ``since``,
    :class:`~openline.errors.BrokerError`.
    """
    while True:
        begun = broker.position
        try:
            reading = await _read_from(broker, channels, since, begun, limit, size)
        except GapError:
            if broker.position.epoch == begun.epoch:
                raise
        else:
            if broker.position.epoch == begun.epoch:
                return reading
        # The engine has only come within reach meanwhile, or is another one: where we began is nowhere.


async def _read_from(
    broker: Broker, channels: Sequence[str], since: Position | None, begun: Position, limit: int, size: int
) -> Reading:
    # Up to where it begins everything is in the logs. What is read may go further; of one channel that leaves no hole.
    reached = begun if since is None or since.stamp <= begun.stamp else since
    if len(channels) == 1:
        page = await broker.read(channels[0], after=since, limit=limit, size=size).step()
        whole, found = page.complete, list(page.publications)
        if found and (found[-1].stamp > reached.stamp or (page.more and since is not None)):
            reached = Position(begun.epoch, found[-1].stamp)
    else:
        answer = (_Newest if since is None else _Oldest)(limit, size, reached.stamp)
        # One after the other, because each may be as large as the answer.
        whole = all([await _read_one(broker, name, since, answer, size // n) for n, name in enumerate(channels, 1)])
        found, reached = answer.publications, Position(begun.epoch, answer.end)
    if since is not None and not whole:
        raise GapError(since, begun)
    return Reading(found, reached)


async def _read_one(broker: Broker, name: str, since: Position | None, answer: "_Answer", size: int) -> bool:
    """Have ``answer`` take what it wants of one channel; False where the history does not reach back to ``since``.

    The later a channel is read, the less of it is likely to be wanted: it begins with ``size`` bytes.
    """
    size, place = max(size, _MIN_READ_BYTES), since
    while True:
        size = min(size, answer.size)
        page = await answer.page(broker, name, place, size)
        if not page.complete:
            if place is not None and place is not since:
                # The rest was dropped in the meantime: whoever goes on from here is told so.
                answer.stop_at(place.stamp)
                return True
            return False
        place = answer.take(page)
        if place is None:
            return True
        size *= 2


class _Answer(ABC):
    """What fits of that which it has been given, in order; nothing behind ``end`` belongs to it."""

    def __init__(self, limit: int, size: int, end: int) -> None:
        self.publications: list[Publication] = []
        self.end = end
        self.size = size
        self._limit = limit

    @abstractmethod
    async def page(self, broker: Broker, name: str, place: Position | None, size: int) -> Page:
        """What comes next of a channel; ``place`` is where the page before it ended."""

    @abstractmethod
    def take(self, page: Page) -> Position | None:
        """Take what belongs here of ``page``; where to go on in its channel, if more of that is wanted."""

    @abstractmethod
    def stop_at(self, stamp: int) -> None:
        """Nothing beyond ``stamp`` belongs here."""

    def _merge(self, page: Page) -> None:
        wanted = (p for p in page.publications if self._wants(p))
        self.publications = sorted((*self.publications, *wanted), key=lambda p: p.stamp)

    @abstractmethod
    def _wants(self, publication: Publication) -> bool: ...


class _Oldest(_Answer):
    """The first ones."""

    async def page(self, broker: Broker, name: str, place: Position | None, size: int) -> Page:
        return await broker.read(name, after=place, limit=self._limit, size=size).step()

    def take(self, page: Page) -> Position | None:
        self._merge(page)
        fits = fitting(self.publications, self._limit, self.size)
        if fits < len(self.publications):
            self.stop_at(self.publications[fits - 1].stamp)
        if not (page.more and page.publications):
            return None
        last = page.publications[-1]
        return last.position if last.stamp < self.end else None

    def stop_at(self, stamp: int) -> None:
        self.end = stamp
        self.publications = [p for p in self.publications if self._wants(p)]

    def _wants(self, publication: Publication) -> bool:
        return publication.stamp <= self.end


class _Newest(_Answer):
    """The last ones; none ahead of ``_beginning``."""

    _beginning: int = 0

    async def page(self, broker: Broker, name: str, place: Position | None, size: int) -> Page:
        return await broker.read(name, before=place, limit=self._limit, size=size).step()

    def take(self, page: Page) -> Position | None:
        self._merge(page)
        fits = fitting(self.publications[::-1], self._limit, self.size)
        if fits < len(self.publications):
            # What lies between the last that fits and the first that does not may, of another channel, fit as well.
            self.stop_at(self.publications[-fits - 1].stamp + 1)
        if not (page.more and page.publications):
            return None
        first = page.publications[0]
        return first.position if first.stamp > self._beginning else None

    def stop_at(self, stamp: int) -> None:
        self._beginning = stamp
        self.publications = [p for p in self.publications if self._wants(p)]

    def _wants(self, publication: Publication) -> bool:
        return self._beginning <= publication.stamp <= self.end
