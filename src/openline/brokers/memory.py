"""The engine in this process: logs in memory, one node, nothing beside it. Its epoch is new at every start."""

import secrets
from collections import deque
from collections.abc import Iterator
from itertools import islice
from typing import Final

import msgspec

from openline.hub.outcome import Outcome
from openline.hub.ports import BrokerListener
from openline.hub.timers import Timers
from openline.model import Page, Position, Publication, Retention
from openline.protocol.channel_name import INTERNAL

__all__ = ["MemoryBroker"]

KEY_SECONDS: Final = 300.0
MAX_KEYS: Final = 200_000
SWEEP_SECONDS: Final = 10.0

_DONE: Final[Outcome[None]] = Outcome.of(None)


class _Log:
    """One channel's publications, oldest first, with the time each came in.

    A channel without history is a log that keeps nothing.
    """

    __slots__ = ("entries", "head", "retention", "size", "touched", "trimmed")

    def __init__(self, trimmed: int) -> None:
        self.entries: deque[tuple[float, Publication]] = deque()
        self.retention = Retention()
        self.size = 0
        #: The newest stamp that was published here, and the newest that is kept no more.
        self.head = trimmed
        self.trimmed = trimmed
        self.touched = 0.0

    def append(self, publication: Publication, retention: Retention, now: float) -> None:
        self.head = publication.stamp
        self.retention = retention
        self.touched = now
        if retention.count or self.entries:
            self.entries.append((now, publication))
            self.size += publication.size
            self.trim(now)
        else:
            self.trimmed = publication.stamp

    def trim(self, now: float) -> None:
        keep = self.retention
        while self.entries:
            at, oldest = self.entries[0]
            if len(self.entries) <= keep.count and self.size <= keep.size and at + keep.seconds > now:
                return
            self.entries.popleft()
            self.size -= oldest.size
            self.trimmed = oldest.stamp

    def behind(self, stamp: int) -> Iterator[Publication]:
        """From the newest down to the first behind ``stamp``."""
        for _, publication in reversed(self.entries):
            if publication.stamp <= stamp:
                return
            yield publication

    def ahead_of(self, stamp: int | None) -> Iterator[Publication]:
        """From the newest ahead of ``stamp``, or of the end, down to the oldest."""
        for _, publication in reversed(self.entries):
            if stamp is None or publication.stamp < stamp:
                yield publication


class MemoryBroker:
    """The default engine; see :class:`openline.hub.ports.Broker` for what each method promises."""

    def __init__(self, timers: Timers) -> None:
        self._timers = timers
        self._epoch = secrets.token_hex(4)
        # One object for all who stand there.
        self._position = Position(self._epoch, 0)
        self._logs: dict[str, _Log] = {}
        # Behind this stamp a channel without a log may have had publications that nobody remembers.
        self._forgotten = 0
        self._keys: dict[tuple[str, str], tuple[int, float]] = {}
        self._listener: BrokerListener | None = None
        self._wanted: set[str] = set()

    @property
    def position(self) -> Position:
        """See :class:`~openline.hub.ports.Broker`."""
        return self._position

    def start(self, listener: BrokerListener) -> Outcome[None]:
        """See :class:`~openline.hub.ports.Broker`."""
        self._listener = listener
        self._timers.after(SWEEP_SECONDS, self._sweep)
        return _DONE

    def close(self) -> Outcome[None]:
        """See :class:`~openline.hub.ports.Broker`."""
        self._listener = None
        return _DONE

    def publish(self, publication: Publication, retention: Retention, key: str | None = None) -> Outcome[Position]:
        """See :class:`~openline.hub.ports.Broker`."""
        now = self._timers.now
        if key is not None:
            self._drop_old_keys(now)
            known = self._keys.get((publication.channel, key))
            if known is not None:
                return Outcome.of(Position(self._epoch, known[0]))
        log = self._log(publication.channel)
        position = self._position = Position(self._epoch, self._position.stamp + 1)
        stamped = msgspec.structs.replace(publication, epoch=self._epoch, stamp=position.stamp, previous=log.head)
        log.append(stamped, retention, now)
        if key is not None:
            self._keys[publication.channel, key] = (position.stamp, now + KEY_SECONDS)
        self._tell(stamped)
        return Outcome.of(position)

    def _log(self, channel: str) -> _Log:
        log = self._logs.get(channel)
        if log is None:
            log = self._logs[channel] = _Log(self._behind_all(channel))
        return log

    def _behind_all(self, channel: str) -> int:
        """The newest stamp that a channel without a log may have had, as far as anybody who comes back can tell."""
        # Our own channels are forgotten only when nobody can come back to them.
        return 0 if channel.startswith(INTERNAL) else self._forgotten

    def scatter(self, publication: Publication) -> Outcome[None]:
        """See :class:`~openline.hub.ports.Broker`."""
        self._tell(publication)
        return _DONE

    def _tell(self, publication: Publication) -> None:
        if self._listener is not None and (
            publication.channel in self._wanted or publication.channel.startswith(INTERNAL)
        ):
            self._listener.on_publication(publication)

    def read(
        self,
        channel: str,
        *,
        after: Position | None = None,
        before: Position | None = None,
        limit: int = 1000,
        size: int = 262_144,
    ) -> Outcome[Page]:
        """See :class:`~openline.hub.ports.Broker`."""
        log = self._logs.get(channel)
        if log is not None:
            log.trim(self._timers.now)
        if after is not None:
            trimmed = self._behind_all(channel) if log is None else log.trimmed
            return Outcome.of(self._read_after(log, trimmed, after, limit, size))
        if log is None or (before is not None and before.epoch != self._epoch):
            return Outcome.of(Page(()))
        newest = list(islice(log.ahead_of(None if before is None else before.stamp), limit + 1))
        fits = _fitting(newest, limit, size)
        return Outcome.of(Page(tuple(reversed(newest[:fits])), more=len(newest) > fits))

    def _read_after(self, log: _Log | None, trimmed: int, after: Position, limit: int, size: int) -> Page:
        if after.epoch != self._epoch or after.stamp > self._position.stamp or after.stamp < trimmed:
            return Page((), complete=False)
        found = [] if log is None else list(log.behind(after.stamp))
        found.reverse()
        fits = _fitting(found, limit, size)
        return Page(tuple(found[:fits]), more=len(found) > fits)

    def subscribe(self, channel: str) -> Outcome[None]:
        """See :class:`~openline.hub.ports.Broker`."""
        self._wanted.add(channel)
        # From now on it is known whether something was missed, also when nothing has been published yet.
        self._log(channel)
        return _DONE

    def unsubscribe(self, channel: str) -> None:
        """See :class:`~openline.hub.ports.Broker`."""
        self._wanted.discard(channel)

    def forget(self, channel: str) -> None:
        """See :class:`~openline.hub.ports.Broker`."""
        self._logs.pop(channel, None)

    def _drop_old_keys(self, now: float) -> None:
        """The oldest stand first; beyond the bound even young ones go."""
        while self._keys:
            oldest = next(iter(self._keys))
            if self._keys[oldest][1] > now and len(self._keys) < MAX_KEYS:
                return
            del self._keys[oldest]

    def _sweep(self) -> None:
        """Drop what is too old; forget empty logs that nobody here wants and nobody has used for a while."""
        if self._listener is None:
            return
        now = self._timers.now
        self._drop_old_keys(now)
        idle: list[str] = []
        for channel, log in self._logs.items():
            log.trim(now)
            # Empty, it still tells who comes back that something is gone: as long as it kept, and some more.
            rest = log.retention.seconds + KEY_SECONDS
            if not log.entries and channel not in self._wanted and log.touched + rest < now:
                idle.append(channel)
        for channel in idle:
            head = self._logs.pop(channel).head
            if not channel.startswith(INTERNAL):
                self._forgotten = max(self._forgotten, head)
        self._timers.after(SWEEP_SECONDS, self._sweep)


def _fitting(publications: list[Publication], limit: int, size: int) -> int:
    """How many of ``publications`` make a page of ``limit`` publications and ``size`` bytes.

    One at least, where there is one.
    """
    for count, publication in enumerate(publications[:limit]):
        size -= publication.size
        if size < 0:
            return max(count, 1)
    return min(len(publications), limit)
