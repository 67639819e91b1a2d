"""One channel's log in memory: what is kept, up to where it is gone, and pages of it."""

from collections import deque
from collections.abc import Iterator
from itertools import islice
from typing import Final

from openline.model import Page, Publication, Retention

__all__ = ["Log"]

#: How much longer than it kept things an empty log still tells who comes back that something is gone.
IDLE_SECONDS: Final = 300.0


class Log:
    """Publications, oldest first, with the time each came in.

    A channel without history is a log that keeps nothing. ``trimmed`` is the newest stamp that is kept no more,
    ``head`` the newest that was published.
    """

    __slots__ = ("_entries", "_retention", "_size", "head", "touched", "trimmed")

    def __init__(self, trimmed: int) -> None:
        self._entries: deque[tuple[float, Publication]] = deque()
        self._retention = Retention()
        self._size = 0
        self.head = trimmed
        self.trimmed = trimmed
        self.touched = 0.0

    def append(self, publication: Publication, retention: Retention, now: float) -> None:
        """Add the newest; from now on as much is kept as ``retention`` says."""
        self._entries.append((now, publication))
        self.head = publication.stamp
        self._size += publication.size
        self._retention = retention
        self.touched = now
        self.trim(now)

    def trim(self, now: float) -> None:
        """Drop what is too old, too many, or too large."""
        keep = self._retention
        while self._entries:
            at, oldest = self._entries[0]
            if len(self._entries) <= keep.count and self._size <= keep.size and at + keep.seconds > now:
                return
            self._entries.popleft()
            self._size -= oldest.size
            self.trimmed = oldest.stamp

    def idle(self, now: float) -> bool:
        """Whether nothing is left of it, and whoever could have come back to it in time has done so."""
        return not self._entries and self.touched + self._retention.seconds + IDLE_SECONDS < now

    def page_after(self, stamp: int, limit: int, size: int) -> Page:
        """The oldest behind ``stamp``; see :meth:`openline.hub.ports.Broker.read`."""
        if stamp < self.trimmed:
            return Page((), complete=False)
        found = list(self._behind(stamp))
        found.reverse()
        fits = _fitting(found, limit, size)
        return Page(tuple(found[:fits]), more=len(found) > fits)

    def page_before(self, stamp: int | None, limit: int, size: int) -> Page:
        """The newest ahead of ``stamp``, or of the end; see :meth:`openline.hub.ports.Broker.read`."""
        newest = list(islice(self._ahead_of(stamp), limit + 1))
        fits = _fitting(newest, limit, size)
        return Page(tuple(reversed(newest[:fits])), more=len(newest) > fits)

    def _behind(self, stamp: int) -> Iterator[Publication]:
        """From the newest down to the first behind ``stamp``."""
        for _, publication in reversed(self._entries):
            if publication.stamp <= stamp:
                return
            yield publication

    def _ahead_of(self, stamp: int | None) -> Iterator[Publication]:
        """From the newest ahead of ``stamp``, or of the end, down to the oldest."""
        for _, publication in reversed(self._entries):
            if stamp is None or publication.stamp < stamp:
                yield publication


def _fitting(publications: list[Publication], limit: int, size: int) -> int:
    """How many of ``publications`` make a page of ``limit`` publications and ``size`` bytes.

    One at least, where there is one.
    """
    for count, publication in enumerate(publications[:limit]):
        size -= publication.size
        if size < 0:
            return max(count, 1)
    return min(len(publications), limit)
