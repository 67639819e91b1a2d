"""Logs in memory: one channel's, and those of many channels with a bound for all of them together."""

import logging
from collections import OrderedDict, deque
from collections.abc import Container, Iterator
from itertools import islice
from typing import Final

from openline.model import Page, Publication, Retention, fitting
from openline.protocol.channel_name import INTERNAL

__all__ = ["LOGS_BYTES", "Log", "Logs"]

#: How much longer than it kept things an empty log still tells who comes back that something is gone.
IDLE_SECONDS: Final = 300.0
#: What a log costs beside its publications, about.
LOG_BYTES: Final = 1024
#: What the logs of all channels may cost together, unless something else is said.
LOGS_BYTES: Final = 256 * 1024 * 1024

_log = logging.getLogger("openline")


class Log:
    """Publications, oldest first, with the time each came in.

    A channel without history is a log that keeps nothing. ``trimmed`` is the newest stamp that is kept no more,
    ``head`` the newest that was published, ``size`` the bytes of what is kept.
    """

    __slots__ = ("_entries", "_retention", "head", "size", "touched", "trimmed")

    def __init__(self, trimmed: int) -> None:
        # When it came in, it, and its size.
        self._entries: deque[tuple[float, Publication, int]] = deque()
        self._retention = Retention()
        self.size = 0
        self.head = trimmed
        self.trimmed = trimmed
        self.touched = 0.0

    def append(self, publication: Publication, retention: Retention, now: float) -> None:
        """Add the newest; from now on as much is kept as ``retention`` says."""
        self.head = publication.stamp
        self._retention = retention
        self.touched = now
        if retention.count or self._entries:
            size = publication.size
            self._entries.append((now, publication, size))
            self.size += size
            self.trim(now)
        else:
            self.trimmed = publication.stamp

    def trim(self, now: float) -> None:
        """Drop what is too old, too many, or too large."""
        keep, entries = self._retention, self._entries
        while entries:
            at, oldest, size = entries[0]
            if len(entries) <= keep.count and self.size <= keep.size and at + keep.seconds > now:
                return
            entries.popleft()
            self.size -= size
            self.trimmed = oldest.stamp

    def drop_oldest(self) -> bool:
        """Drop the oldest publication; returns whether there was one."""
        if not self._entries:
            return False
        _, oldest, size = self._entries.popleft()
        self.size -= size
        self.trimmed = oldest.stamp
        return True

    def idle(self, now: float) -> bool:
        """Whether nothing is left of it, and whoever could have come back to it in time has done so."""
        return not self._entries and self.touched + self._retention.seconds + IDLE_SECONDS < now

    def page_after(self, stamp: int, limit: int, size: int) -> Page:
        """The oldest behind ``stamp``; see :meth:`openline.hub.ports.Broker.read`."""
        if stamp < self.trimmed:
            return Page((), complete=False)
        found = list(self._behind(stamp))
        found.reverse()
        fits = fitting(found, limit, size)
        return Page(tuple(found[:fits]), more=len(found) > fits)

    def page_before(self, stamp: int | None, limit: int, size: int) -> Page:
        """The newest ahead of ``stamp``, or of the end; see :meth:`openline.hub.ports.Broker.read`."""
        newest = list(islice(self._ahead_of(stamp), limit + 1))
        fits = fitting(newest, limit, size)
        return Page(tuple(reversed(newest[:fits])), more=len(newest) > fits)

    def _behind(self, stamp: int) -> Iterator[Publication]:
        """From the newest down to the first behind ``stamp``."""
        for _, publication, _ in reversed(self._entries):
            if publication.stamp <= stamp:
                return
            yield publication

    def _ahead_of(self, stamp: int | None) -> Iterator[Publication]:
        """From the newest ahead of ``stamp``, or of the end, down to the oldest."""
        for _, publication, _ in reversed(self._entries):
            if stamp is None or publication.stamp < stamp:
                yield publication


class Logs:
    """The logs of many channels, ``most`` bytes at most in all.

    Beyond that the log gives way into which nobody has published for the longest time, its oldest publications first;
    whoever comes back to it is told that it is not complete. The log of a channel that is ``wanted``, or one of the
    server's own, keeps its place when it is empty, so that nobody is told of a loss without need. ``begun`` is the
    newest stamp from before all of them. ``remedy`` says how to set the bound.
    """

    def __init__(self, most: int, wanted: Container[str], *, begun: int = 0, remedy: str = "") -> None:
        self.by_channel: dict[str, Log] = {}
        self._most = most
        self._wanted = wanted
        self._begun = begun
        self._remedy = remedy
        self._bytes = 0
        #: Who published last stands last. Not a plain dict: taking its first again and again walks over what is gone.
        self._by_age: OrderedDict[str, Log] = OrderedDict()
        #: Behind this stamp a channel without a log may have had publications that nobody remembers.
        self._forgotten = begun
        self._told = False

    def open(self, channel: str) -> Log:
        """The log of ``channel``, from now on at least."""
        log = self.by_channel.get(channel)
        if log is None:
            log = self.by_channel[channel] = self._by_age[channel] = Log(self._behind_all(channel))
            self._bytes += LOG_BYTES
        return log

    def append(self, log: Log, publication: Publication, retention: Retention, now: float) -> None:
        """Add it to ``log``, which is its channel's and was just opened."""
        before = log.size
        log.append(publication, retention, now)
        self._bytes += log.size - before
        try:
            self._by_age.move_to_end(publication.channel)
        except KeyError:
            self._by_age[publication.channel] = log
        if self._bytes > self._most:
            self._give_way()

    def page_after(self, channel: str, stamp: int, now: float, limit: int, size: int) -> Page:
        """See :meth:`Log.page_after`; ``now`` says what is too old."""
        log = self._trimmed(channel, now)
        if log is None:
            return Page((), complete=stamp >= self._behind_all(channel))
        return log.page_after(stamp, limit, size)

    def page_before(self, channel: str, stamp: int | None, now: float, limit: int, size: int) -> Page:
        """See :meth:`Log.page_before`; ``now`` says what is too old."""
        log = self._trimmed(channel, now)
        return Page(()) if log is None else log.page_before(stamp, limit, size)

    def drop(self, channel: str) -> None:
        """Drop a log, if there is one; nobody can come back to it."""
        log = self.by_channel.pop(channel, None)
        if log is not None:
            self._by_age.pop(channel, None)
            self._bytes -= log.size + LOG_BYTES

    def sweep(self, now: float) -> None:
        """Drop what is too old, and empty logs that nobody wants and nobody has used for a while."""
        for channel in tuple(self.by_channel):
            log = self._trimmed(channel, now)
            if log is not None and channel not in self._wanted and log.idle(now):
                self._forget(channel, log)

    def _trimmed(self, channel: str, now: float) -> Log | None:
        log = self.by_channel.get(channel)
        if log is not None:
            before = log.size
            log.trim(now)
            self._bytes += log.size - before
        return log

    def _behind_all(self, channel: str) -> int:
        """The newest stamp that a channel without a log may have had, as far as anybody who comes back can tell."""
        # Our own channels are forgotten only when nobody can come back to them.
        return self._begun if channel.startswith(INTERNAL) else self._forgotten

    def _forget(self, channel: str, log: Log) -> None:
        self.drop(channel)
        if not channel.startswith(INTERNAL):
            self._forgotten = max(self._forgotten, log.head)

    def _give_way(self) -> None:
        if not self._told:
            self._told = True
            _log.warning(
                "The logs in memory have reached their %d MiB: the oldest give way. %s", self._most >> 20, self._remedy
            )
        while self._bytes > self._most and self._by_age:
            channel, log = next(iter(self._by_age.items()))
            before = log.size
            if log.drop_oldest():
                self._bytes += log.size - before
            elif channel.startswith(INTERNAL) or channel in self._wanted:
                del self._by_age[channel]
            else:
                self._forget(channel, log)
