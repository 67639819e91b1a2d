"""Wires that get the same bytes, as a list of descriptors: one call sends to all of them."""

from array import array
from collections.abc import MutableMapping, Sequence
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

    def deliver(self, frames: Sequence[bytes], mark: int, skip: frozenset[Any]) -> None:
        """See :class:`openline.hub.ports.Group`."""
        data = frames[0] if len(frames) == 1 else b"".join(frames)
        aside = tuple(self._aside.items()) if self._aside else ()
        skipped = self._hide(skip) if skip else ()
        short = send_many(self._descriptors, mark, data)
        for place, descriptor in skipped:
            self._descriptors[place] = descriptor
        for place, taken in short:
            wire = self._members[place]
            if wire is not None:
                wire.fell_short(data, taken)
        for place, wire in aside:
            # Looked at again: a member that fell just now may have taken others with it.
            if place < mark and self._members[place] is wire and wire not in skip:
                wire.deliver(frames)

    def _hide(self, skip: frozenset[Any]) -> list[tuple[int, int]]:
        hidden: list[tuple[int, int]] = []
        for wire in skip:
            place: int | None = wire.places.get(self)
            if place is not None:
                hidden.append((place, self._descriptors[place]))
                self._descriptors[place] = -1
        return hidden

    def compact(self) -> None:
        """See :class:`openline.hub.ports.Group`."""
        members = [wire for wire in self._members if wire is not None]
        self._members, self._aside, self._vacant = [], {}, 0
        self._descriptors = array("i")
        for wire in members:
            self.join(wire)
