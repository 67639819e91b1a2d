"""Keeps an eye on the log while all is well: that it is still the same, and that nothing published fails to come."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import Final, cast

from openline.brokers.redis_connection import Reply
from openline.brokers.redis_link import Link
from openline.brokers.redis_names import Names
from openline.brokers.redis_script import HEADS, KEEP
from openline.errors import BrokerError
from openline.hub.timers import Timers
from openline.model import Position

__all__ = ["Watch"]

#: Channels whose heads are compared at a time.
_LOOKED_AT: Final = 100


class Watch:
    """Looks every few seconds while the link is up; whatever is wrong ends the connection, and coming back mends it.

    ``wanted`` are channels, with the stamp up to which nothing of each is missing, or -1; ``stands`` says where this
    node stands, and ``reached`` is told up to where it has heard everything.
    """

    def __init__(
        self,
        link: Link,
        timers: Timers,
        names: Names,
        *,
        wanted: Mapping[str, int],
        stands: Callable[[], Position],
        reached: Callable[[int], None],
    ) -> None:
        self._link = link
        self._timers = timers
        self._names = names
        self._wanted = wanted
        self._stands = stands
        self._reached = reached
        #: Channels whose heads are yet to be compared in this round.
        self._round: Iterator[str] = iter(())
        #: How often the link went up.
        self._ups = 0

    def went_up(self) -> None:
        """The link is up: begin."""
        self._ups += 1
        self._timers.after(self._link.url.probe, self._look_again, self._ups)

    def _look_again(self, ups: int) -> None:
        if self._link.up and ups == self._ups:
            self.look()
            self._timers.after(self._link.url.probe, self._look_again, ups)

    def look(self) -> None:
        """See now whether the log is still the one that this node believes in."""
        if not self._link.up:
            return
        epoch = self._stands().epoch
        stamps = self._names.stamp(epoch)
        self._link.send(KEEP.command((self._names.epoch, stamps, self._names.sent), (epoch,)), self._kept)
        some = tuple(islice(self._round, _LOOKED_AT))
        if len(some) < _LOOKED_AT:
            self._round = iter(tuple(self._wanted))
        heads = (self._names.head + name for name in some)
        self._link.send(HEADS.command((stamps, *heads), ()), partial(self._compare, some))

    def _kept(self, reply: Reply) -> None:
        if isinstance(reply, int):
            if reply < self._stands().stamp:
                self._link.abort("LOST the log is older than it was")
            self._reached(reply)
        elif not isinstance(reply, BrokerError):
            self._link.abort(str(reply))

    def _compare(self, names: Sequence[str], reply: Reply) -> None:
        """Everything that was published in these channels must have come by now."""
        if isinstance(reply, list):
            for name, head in zip(names, cast("list[int]", reply)[1:], strict=True):
                if 0 <= self._wanted.get(name, -1) < head:
                    self._link.abort(f"something published in {name!r} did not come")
