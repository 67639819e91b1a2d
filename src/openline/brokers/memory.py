"""The engine in this process: logs in memory, one node, nothing beside it. Its epoch is new at every start."""

import secrets
from collections import deque
from typing import Final

import msgspec

from openline.brokers.log import LOGS_BYTES, Logs
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


class MemoryBroker:
    """The default engine; see :class:`openline.hub.ports.Broker` for what each method promises.

    Beyond ``logs_bytes`` in all, those logs give way into which nobody has published for the longest time.
    """

    def __init__(self, timers: Timers, *, logs_bytes: int = LOGS_BYTES) -> None:
        self._timers = timers
        self._epoch = secrets.token_hex(4)
        # One object for all who stand there.
        self._position = Position(self._epoch, 0)
        self._wanted: set[str] = set()
        self._logs = Logs(logs_bytes, self._wanted, remedy="The engine memory?bytes=NUMBER may keep more.")
        #: With the stamp of each key's publication; and until when each is known, the oldest first. A dict knows its
        #: first, too, but walks over all that are gone to find it.
        self._keys: dict[tuple[str, str], int] = {}
        self._known_until: deque[tuple[float, tuple[str, str]]] = deque()
        self._listener: BrokerListener | None = None

    @property
    def position(self) -> Position:
        """See :class:`~openline.hub.ports.Broker`."""
        return self._position

    @property
    def trouble(self) -> str | None:
        """See :class:`~openline.hub.ports.Broker`."""
        return None

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
        pair = None if key is None else (publication.channel, key)
        if pair is not None:
            self._drop_old_keys(now)
            known = self._keys.get(pair)
            if known is not None:
                return Outcome.of(Position(self._epoch, known))
        log = self._logs.open(publication.channel)
        position = self._position = Position(self._epoch, self._position.stamp + 1)
        stamped = msgspec.structs.replace(publication, epoch=self._epoch, stamp=position.stamp, previous=log.head)
        self._logs.append(log, stamped, retention, now)
        if pair is not None:
            self._keys[pair] = position.stamp
            self._known_until.append((now + KEY_SECONDS, pair))
        self._tell(stamped)
        return Outcome.of(position)

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
        now = self._timers.now
        if after is not None:
            if after.epoch != self._epoch or after.stamp > self._position.stamp:
                return Outcome.of(Page((), complete=False))
            return Outcome.of(self._logs.page_after(channel, after.stamp, now, limit, size))
        if before is not None and before.epoch != self._epoch:
            return Outcome.of(Page(()))
        place = None if before is None else before.stamp
        return Outcome.of(self._logs.page_before(channel, place, now, limit, size))

    def subscribe(self, channel: str) -> Outcome[None]:
        """See :class:`~openline.hub.ports.Broker`."""
        self._wanted.add(channel)
        # From now on it is known whether something was missed, also when nothing has been published yet.
        self._logs.open(channel)
        return _DONE

    def unsubscribe(self, channel: str) -> None:
        """See :class:`~openline.hub.ports.Broker`."""
        self._wanted.discard(channel)

    def forget(self, channel: str) -> None:
        """See :class:`~openline.hub.ports.Broker`."""
        self._logs.drop(channel)

    def _drop_old_keys(self, now: float) -> None:
        """Beyond the bound even young ones go."""
        known = self._known_until
        while known and (known[0][0] <= now or len(known) >= MAX_KEYS):
            del self._keys[known.popleft()[1]]

    def _sweep(self) -> None:
        """Drop what is too old; forget empty logs that nobody here wants and nobody has used for a while."""
        if self._listener is None:
            return
        now = self._timers.now
        self._drop_old_keys(now)
        self._logs.sweep(now)
        self._timers.after(SWEEP_SECONDS, self._sweep)
