"""How what is queued leaves: neighbours that go straight to descriptors in one call, large groups slice by slice."""

from array import array
from collections.abc import Iterator, Sequence
from typing import Final

from openline.hub.tick import Entry, ToGroup, ToWire
from openline.transports.fanout import Row, send_rows
from openline.transports.group import DescriptorGroup
from openline.transports.wire import SocketWire

__all__ = ["in_slices"]

#: How many members are written to before the event loop may have its turn.
SLICE: Final = 512


def in_slices(entries: Sequence[Entry]) -> Iterator[None]:
    """See :data:`openline.hub.tick.Steps`.

    A member that is in several entries of one step gets all of them in one system call, in their order. Between two
    steps a member keeps its place in its group, or leaves it, or stands aside, or is back, and is treated accordingly
    when its turn comes; who joins has a place beyond every mark, whatever the number of its descriptor.
    """
    if len(entries) == 1:
        yield from _alone(entries[0])
        return
    step = _Step()
    for entry in entries:
        # As most are, so the question is put here.
        if isinstance(entry, ToWire) and step.take_wire(entry):
            continue
        if step.take(entry):
            continue
        if step.send():
            yield
            step = _Step()
            if step.take(entry):
                continue
        yield from _alone(entry)
    if step.send():
        yield


def _alone(entry: Entry) -> Iterator[None]:
    if isinstance(entry, ToGroup) and entry.mark > SLICE and isinstance(entry.target, DescriptorGroup):
        for start in range(0, entry.mark, SLICE):
            entry.target.deliver_between(entry.frames, start, min(start + SLICE, entry.mark), entry.skip)
            yield
    else:
        entry.deliver()
        yield


class _Step:
    """Entries that go straight to descriptors, and leave in one call; nothing happens between the first and that."""

    __slots__ = ("_room", "_rows", "_targets")

    def __init__(self) -> None:
        self._targets: list[DescriptorGroup | SocketWire] = []
        self._rows: list[Row] = []
        self._room = SLICE

    def take(self, entry: Entry) -> bool:
        """Whether ``entry`` goes straight to descriptors, all of it, and there is room for it here."""
        if isinstance(entry, ToWire):
            return self.take_wire(entry)
        if isinstance(entry, ToGroup):
            group = entry.target
            if not isinstance(group, DescriptorGroup) or not group.straight or entry.mark > self._room:
                return False
            self._add(group, group.descriptors(entry.skip), entry.mark, entry.frames)
            return True
        return False

    def take_wire(self, entry: ToWire) -> bool:
        """As :meth:`take`."""
        wire = entry.target
        if not isinstance(wire, SocketWire) or wire.descriptor < 0 or not self._room:
            return False
        frames = entry.frames
        self._targets.append(wire)
        self._rows.append((wire.descriptor, 1, frames[0] if len(frames) == 1 else b"".join(frames)))
        self._room -= 1
        return True

    def _add(self, target: DescriptorGroup, descriptors: "array[int]", count: int, frames: Sequence[bytes]) -> None:
        self._targets.append(target)
        self._rows.append((descriptors, count, frames[0] if len(frames) == 1 else b"".join(frames)))
        self._room -= count

    def send(self) -> bool:
        """Send everything; False where there is nothing."""
        rows = self._rows
        if len(rows) == 1:
            _send_alone(self._targets[0], *rows[0])
        elif rows:
            for number, place, taken, mine in send_rows(rows):
                target = self._targets[number]
                wire = target.member_at(place) if isinstance(target, DescriptorGroup) else target
                # Looked at again: a member that fell just now may have taken others with it.
                if wire is not None:
                    wire.fell_short(b"".join([rows[row][2] for row in mine]), taken)
        return bool(rows)


def _send_alone(target: DescriptorGroup | SocketWire, descriptors: "array[int] | int", count: int, data: bytes) -> None:
    if isinstance(target, SocketWire):
        target.deliver((data,))
    elif not isinstance(descriptors, int):
        target.send(descriptors, 0, count, data)
