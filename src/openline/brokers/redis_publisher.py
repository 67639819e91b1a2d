"""What this node publishes through Redis: numbered, in order, each answered once, and sent again after a break.

A publish has the next number of its node, and names the number that must have come before it. The script takes each
number once and only in order. So what may have been sent already can be sent again, and what comes late, out of the
buffer of a server that was frozen or a connection that is gone, is not a second publication.
"""

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import hiredis

from openline.brokers.redis_connection import Argument, Reply
from openline.brokers.redis_link import Link
from openline.brokers.redis_script import PUBLISH, SLOTS
from openline.errors import BrokerError
from openline.hub.outcome import Outcome
from openline.hub.timers import Timers
from openline.model import Publication

__all__ = ["Entry", "Publisher"]

#: Bytes of publications that may wait or be under way.
WAITING_BYTES: Final = 16 * 1024 * 1024
_LOOK_SECONDS: Final = 0.25
#: Errors behind which the link is made anew, and everything is sent again.
_BREAKS: Final = ("LOST", "NOSCRIPT", "READONLY", "LOADING", "MASTERDOWN", "ORDER", "UNKILLABLE")


class Entry:
    """One publication on its way; without an ``outcome`` to settle with a position it is a volatile one.

    ``key`` and ``arguments`` are what the script is given beside the numbers; ``size`` is what it costs as it waits.
    """

    __slots__ = ("arguments", "gone", "keys", "number", "outcome", "publication", "sent", "size", "until")

    def __init__(
        self, publication: Publication, keys: tuple[Argument, ...], arguments: tuple[Argument, ...], size: int
    ) -> None:
        self.publication = publication
        self.keys = keys
        self.arguments = arguments
        self.size = size
        self.outcome: Outcome[Any] = Outcome()
        self.number = 0
        self.until = 0.0
        self.sent = False
        #: It has been answered, told, or failed.
        self.gone = False

    @property
    def volatile(self) -> bool:
        """Whether it has no place in the log."""
        return not self.keys

    def is_same(self, name: str, envelope: bytes) -> bool:
        """Whether it is what was published under ``name``."""
        return bool(self.keys) and self.arguments[0] == name and self.arguments[1] == envelope


class Publisher:
    """Keeps the entries of one node in the order in which they were made, until each has been told.

    ``arrived`` gets an entry with what the script returned, and says whether that is the end of it; ``tell`` gets a
    volatile one when it is its turn; ``known`` is asked for the epoch that this node knows, its counter's name, and the
    newest stamp.
    """

    def __init__(
        self,
        link: Link,
        timers: Timers,
        *,
        arrived: Callable[[Entry, Reply], bool],
        tell: Callable[[Entry], None],
        known: Callable[[], tuple[str, str, int]],
    ) -> None:
        self._link = link
        self._timers = timers
        self._arrived = arrived
        self._tell = tell
        self._known = known
        self._entries: deque[Entry] = deque()
        #: Those of them that were not sent over this connection yet; volatile ones are never sent from here.
        self._unsent: deque[Entry] = deque()
        self._under_way = 0
        self._bytes = 0
        self._number = 0
        #: The number that must have been taken before the next that is sent.
        self._behind = 0
        self._done = 0
        #: In which both were so.
        self._epoch: str = ""
        #: Why Redis refused one: everything behind it fails alike, until nothing is under way any more.
        self._refusal: str | None = None
        self._looking = False
        self._closed = False

    @property
    def waiting(self) -> bool:
        """Whether something that was published has not been told yet."""
        return bool(self._entries)

    @property
    def first(self) -> Entry | None:
        """What has waited longest."""
        return self._entries[0] if self._entries else None

    def publish(self, entry: Entry) -> None:
        """Send it as soon as may be; its outcome fails when that takes too long."""
        if self._closed:
            entry.outcome.fail(BrokerError("the engine is closed"))
        elif self._bytes and self._bytes + entry.size > WAITING_BYTES:
            entry.outcome.fail(BrokerError("the engine does not keep up"))
        else:
            self._number += 1
            entry.number = self._number
            entry.until = self._timers.now + self._link.url.timeout
            self._bytes += entry.size
            self._entries.append(entry)
            self._unsent.append(entry)
            self.go_on()
            self._look_later()

    def follow(self, entry: Entry) -> None:
        """Tell a volatile one behind everything that was published before it, or at once where too much waits."""
        if not self._entries or self._bytes + entry.size > WAITING_BYTES or self._closed:
            self._tell(entry)
        else:
            self._bytes += entry.size
            self._entries.append(entry)

    def go_on(self) -> None:
        """Send what may be sent."""
        while self._unsent and self._link.up and self._refusal is None and self._under_way < SLOTS - 1:
            entry = self._unsent.popleft()
            if entry.gone:
                continue
            epoch, stamps, newest = self._known()
            numbers = (entry.number, self._behind, newest, epoch)
            command = PUBLISH.command((stamps, *entry.keys), (*numbers, *entry.arguments))
            self._behind = entry.number
            self._under_way += 1
            entry.sent = True
            self._link.send(command, partial(self._answered, entry))

    def _answered(self, entry: Entry, reply: Reply) -> None:
        self._under_way -= 1
        if isinstance(reply, Exception):
            self._failed(entry, reply)
        else:
            self._done = entry.number
            if not entry.gone and self._arrived(entry, reply):
                self._end(entry)
        if not self._under_way and self._refusal is not None:
            # What was refused, and all that came behind it, has been answered.
            self._refusal, self._behind = None, self._done
        self._advance()
        self.go_on()

    def _failed(self, entry: Entry, error: Exception) -> None:
        if not isinstance(error, hiredis.ReplyError):
            # The connection is gone: it is sent again over the next.
            return
        kind = str(error).partition(" ")[0]
        if self._refusal is None and kind in _BREAKS:
            self._link.abort(str(error))
            return
        if self._refusal is None:
            self._refusal = str(error)
        if not entry.gone:
            entry.outcome.fail(BrokerError(f"the engine refuses: {self._refusal}"))
            self._end(entry)

    def _end(self, entry: Entry) -> None:
        entry.gone = True
        self._bytes -= entry.size

    def _advance(self) -> None:
        """Drop what is through, and tell the volatile ones whose turn it is."""
        while self._entries and (self._entries[0].gone or self._entries[0].volatile):
            entry = self._entries.popleft()
            if not entry.gone:
                self._end(entry)
                self._tell(entry)

    # -- breaks

    def restart(self) -> None:
        """The link is up again: send everything that has not been answered, in order."""
        self._refusal = None
        self._under_way = 0
        epoch, _, _ = self._known()
        if epoch != self._epoch:
            # Redis may have forgotten which numbers it took last: nothing has to come before the first.
            self._epoch, self._done = epoch, 0
        self._behind = self._done
        self._unsent = deque(entry for entry in self._entries if not entry.gone and not entry.volatile)
        self.go_on()

    def let_volatile_pass(self) -> None:
        """Tell the volatile ones that wait: the engine does not answer."""
        for entry in tuple(self._entries):
            if entry.volatile and not entry.gone:
                self._end(entry)
                self._tell(entry)
        self._advance()

    def _look_later(self) -> None:
        if not self._looking:
            self._looking = True
            self._timers.after(_LOOK_SECONDS, self._look)

    def _look(self) -> None:
        """Fail what has waited too long; if it comes out well after all, that is nobody's any more."""
        self._looking = False
        now = self._timers.now
        for entry in tuple(self._entries):
            if not entry.gone and not entry.volatile and entry.until <= now:
                entry.outcome.fail(BrokerError(f"the engine did not answer: {self._why()}"))
                self._end(entry)
        if not self._link.up or self._link.stalled:
            self.let_volatile_pass()
        self._advance()
        if self._entries:
            self._look_later()

    def _why(self) -> str:
        return "nothing for too long" if self._link.up else self._link.reason

    def close(self) -> None:
        """Fail what waits; nothing is told any more."""
        self._closed = True
        entries, self._entries = self._entries, deque()
        self._unsent.clear()
        for entry in entries:
            if not entry.gone:
                entry.outcome.fail(BrokerError("the engine is closed"))
