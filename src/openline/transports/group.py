"""Wires that get the same bytes, as a list of descriptors: one call sends to all of them."""

from array import array
from collections.abc import Iterable, Iterator, MutableMapping, Sequence
from typing import Any, Protocol

from openline.transports.fanout import send_many

__all__ = ["DescriptorGroup", "Member"]

_SPARSE_AT = 32


class Member(Protocol):
    """A wire, as its groups see it."""

    descriptor: int

    @property
    def places(self) -> "MutableMapping[DescriptorGroup, int]":
        """Where it stands in each of them; theirs to fill."""
        ...

    def deliver(self, frames: Sequence[bytes]) -> None:
        """Take bytes by itself."""
        ...

    def fell_short(self, data: bytes, taken: int) -> None:
        """Its descriptor took only the first ``taken`` bytes; -1: its peer is gone."""
        ...


class DescriptorGroup:
    """See :class:`openline.hub.ports.Group`.

    A member has a place; who leaves, leaves -1 there, so a mark (the number of places) stays good and a descriptor
    that is closed is never written to. Members whose bytes cannot go straight to a descriptor stand aside: those
    whose transport still has bytes queued, and those that never can (TLS).
    """

    __slots__ = ("_aside", "_descriptors", "_members", "_vacant")

    def __init__(self) -> None:
        self._descriptors = array("i")
        self._members: list[Member | None] = []
        self._aside: dict[int, Member] = {}
        self._vacant = 0

    @property
    def mark(self) -> int:
        """See :class:`openline.hub.ports.Group`."""
        return len(self._descriptors)

    def __len__(self) -> int:
        return len(self._members) - self._vacant

    def __iter__(self) -> Iterator[Any]:
        return (wire for wire in self._members if wire is not None)

    @property
    def sparse(self) -> bool:
        """See :class:`openline.hub.ports.Group`."""
        return self._vacant > _SPARSE_AT and self._vacant * 2 > len(self._members)

    def join(self, wire: Member) -> None:
        """See :class:`openline.hub.ports.Group`."""
        place = len(self._members)
        wire.places[self] = place
        self._members.append(wire)
        descriptor = wire.descriptor
        self._descriptors.append(descriptor)
        if descriptor < 0:
            self._aside[place] = wire

    def leave(self, wire: Member) -> None:
        """See :class:`openline.hub.ports.Group`."""
        place = wire.places.pop(self, None)
        if place is not None:
            self._members[place] = None
            self._descriptors[place] = -1
            self._aside.pop(place, None)
            self._vacant += 1

    def stand_aside(self, wire: Member) -> None:
        """From now on ``wire`` takes its bytes itself."""
        place = wire.places[self]
        self._descriptors[place] = -1
        self._aside[place] = wire

    def step_back(self, wire: Member) -> None:
        """From now on the descriptor of ``wire`` may be written to again."""
        place = wire.places[self]
        self._descriptors[place] = wire.descriptor
        del self._aside[place]

    @property
    def straight(self) -> bool:
        """Whether nobody stands aside."""
        return not self._aside

    @property
    def aside(self) -> Iterable[Member]:
        """Who takes its bytes itself."""
        return self._aside.values()

    def member_at(self, place: int) -> Member | None:
        """Who has a place; None when it was left."""
        return self._members[place]

    def descriptors(self, skip: frozenset[Any]) -> "array[int]":
        """Where those who stand here are written to, by place; below 0 for who left, stands aside, or is skipped."""
        if not skip:
            return self._descriptors
        places = [place for wire in skip if (place := wire.places.get(self)) is not None]
        if not places:
            return self._descriptors
        shown = self._descriptors[:]
        for place in places:
            shown[place] = -1
        return shown

    def send(self, descriptors: "array[int]", start: int, stop: int, data: bytes) -> None:
        """Write to ``descriptors``, which :meth:`descriptors` has just returned, from ``start`` to ``stop``."""
        for place, taken in send_many(descriptors, start, stop, data):
            wire = self._members[place]
            if wire is not None:
                wire.fell_short(data, taken)

    def deliver(self, frames: Sequence[bytes], mark: int, skip: frozenset[Any]) -> None:
        """See :class:`openline.hub.ports.Group`."""
        self.deliver_between(frames, 0, mark, skip)

    def deliver_between(self, frames: Sequence[bytes], start: int, stop: int, skip: frozenset[Any]) -> None:
        """Write to all whose place lies from ``start`` to ``stop``, but those in ``skip``. Never raises."""
        data = frames[0] if len(frames) == 1 else b"".join(frames)
        aside = tuple(self._aside.items()) if self._aside else ()
        self.send(self.descriptors(skip), start, stop, data)
        for place, wire in aside:
            # Looked at again: a member that fell just now may have taken others with it.
            if start <= place < stop and self._members[place] is wire and wire not in skip:
                wire.deliver(frames)

    def compact(self) -> None:
        """See :class:`openline.hub.ports.Group`."""
        members = [wire for wire in self._members if wire is not None]
        self._members, self._aside, self._vacant = [], {}, 0
        self._descriptors = array("i")
        for wire in members:
            self.join(wire)
