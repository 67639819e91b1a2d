"""One channel on this node: who is in it, who watches presence, who is still catching up."""

from collections.abc import Iterator
from itertools import chain
from typing import Any, Final

from openline.hub.connection import Subscription
from openline.hub.expendable import Expendable, WhenSlow
from openline.hub.policy import ChannelOptions
from openline.hub.ports import Group, Wire
from openline.hub.presence import Members
from openline.hub.tick import Tick
from openline.model import JsonBytes, Publication
from openline.protocol.codec import Codec

__all__ = ["Channel"]

_NOBODY: Final[frozenset[Wire]] = frozenset()


class Seats:
    """Wires grouped by codec: each publication is encoded once per group."""

    __slots__ = ("_groups", "_tick", "_when_slow")

    def __init__(self, tick: Tick, when_slow: WhenSlow = "close") -> None:
        self._tick = tick
        self._when_slow = when_slow
        self._groups: dict[Codec, Group[Any]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._groups.values()))

    def __iter__(self) -> Iterator[Wire]:
        return chain.from_iterable(self._groups.values())

    def take(self, wire: Wire) -> None:
        """Seat ``wire`` behind everything queued so far."""
        group = self._groups.get(wire.codec)
        if group is None:
            group = self._groups[wire.codec] = wire.make_group()
        group.join(wire)

    def give_up(self, wire: Wire) -> None:
        """Unseat ``wire``, if it has a seat."""
        group = self._groups.get(wire.codec)
        if group is not None:
            group.leave(wire)
            if len(group):
                self._tick.left(group)
            else:
                del self._groups[wire.codec]

    def publish(self, publication: Publication, skip: frozenset[Wire]) -> None:
        """Queue ``publication`` for all but ``skip``."""
        # A copy: a full tick is flushed at once, and who turns out to be gone leaves its group.
        for codec, group in tuple(self._groups.items()):
            self._tick.to_group(group, self._frame(codec, publication), skip)

    def _frame(self, codec: Codec, publication: Publication) -> bytes:
        frame = codec.publication(publication)
        if self._when_slow == "close" or (self._when_slow == "drop" and publication.stamp):
            return frame
        subject = f"{publication.type} {publication.subject}" if self._when_slow == "latest" else None
        return Expendable.of(frame, publication.channel, subject)

    def notify(self, word: str, channel: str, payload: JsonBytes, skip: frozenset[Wire] = _NOBODY) -> None:
        """Queue a notice for all but ``skip``."""
        for codec, group in tuple(self._groups.items()):
            self._tick.to_group(group, codec.notice(word, channel, payload), skip)


class Channel:
    """The node's side of a channel; it exists as long as somebody here is in it, or visits it."""

    __slots__ = ("holding", "members", "name", "newest", "options", "seats", "size", "watchers")

    def __init__(self, name: str, options: ChannelOptions, tick: Tick) -> None:
        self.name = name
        self.options = options
        self.seats = Seats(tick, options.when_slow)
        self.watchers = Seats(tick)
        self.members = Members()
        #: How many are present on all nodes, behind the version of which that is known.
        self.newest: tuple[int, int] = (0, 0)
        #: How many subscriptions there are, seated, holding, or away without a line; visitors do not count.
        self.size = 0
        #: Those whose hold keeps what comes in, visitors among them.
        self.holding: set[Subscription] = set()

    def advance(self, publication: Publication, skip: frozenset[Wire]) -> None:
        """Hand one publication to everybody here: to the seated at once, to those who catch up later."""
        self.seats.publish(publication, skip)
        for subscription in self.holding:
            if subscription.hold is not None:
                subscription.hold.put(publication)

    def seat(self, subscription: Subscription, wire: Wire) -> None:
        """From now on ``subscription`` gets what is published, over ``wire``."""
        if subscription.hold is not None:
            self.release(subscription)
        self.seats.take(wire)
        if subscription.presence:
            self.watchers.take(wire)

    def unseat(self, subscription: Subscription, wire: Wire) -> None:
        """``subscription`` gets nothing over ``wire`` any more."""
        self.release(subscription)
        self.seats.give_up(wire)
        self.watchers.give_up(wire)

    def release(self, subscription: Subscription) -> None:
        """Stop holding for ``subscription``."""
        subscription.hold = None
        self.holding.discard(subscription)
