"""How what is queued leaves: neighbours that go straight to descriptors in one call, large groups slice by slice."""

from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Final

from openline.hub.ports import Group
from openline.hub.tick import Call, Entry, ToGroup, ToWire
from openline.transports.fanout import Row, Shortfall, send_rows, send_rows_between
from openline.transports.group import DescriptorGroup, Member
from openline.transports.wire import SocketWire

__all__ = ["in_slices"]

#: How many members are written to before the event loop may have its turn, where that is not many bytes.
SLICE: Final = 512
#: More bytes than these take longer than the system call that they leave in.
_FREE_BYTES: Final = 4096
#: How many entries leave side by side, and how many members they may have: all are looked at in every slice.
_ABREAST: Final = 256
_LOOKS: Final = 131_072


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
    number = 0
    while number < len(entries):
        # As most are, so these are taken many at a time.
        number = step.take_wires(entries, number)
        if number == len(entries) or step.take(entries[number]):
            number += 1
            continue
        if step.send():
            yield
            step = _Step()
            continue
        done = _abreast(entries, number)
        if done > number + 1:
            yield from _SideBySide(entries[number:done]).steps()
        else:
            yield from _alone(entries[number])
        number = done
    if step.send():
        yield


def _most_members(size: int) -> int:
    """How many members may get ``size`` bytes each before the event loop may have its turn."""
    return max(1, SLICE * _FREE_BYTES // max(_FREE_BYTES, size))


def _data(frames: Sequence[bytes]) -> bytes:
    return frames[0] if len(frames) == 1 else b"".join(frames)


def _abreast(entries: Sequence[Entry], first: int) -> int:
    """The end of those that leave side by side with the one at ``first``: where that is large, all that can."""
    if not _is_large(entries[first]):
        return first + 1
    end, looks = first, 0
    while end < min(len(entries), first + _ABREAST) and _has_descriptors(entries[end]):
        looks += _members(entries[end])
        if looks > _LOOKS and end > first:
            break
        end += 1
    return end


def _members(entry: Entry) -> int:
    return entry.mark if isinstance(entry, ToGroup) else 1


def _is_large(entry: Entry) -> bool:
    """Whether it takes more than one step."""
    if not isinstance(entry, ToGroup) or not isinstance(entry.target, DescriptorGroup):
        return False
    return entry.mark > _most_members(sum(map(len, entry.frames)))


def _has_descriptors(entry: Entry) -> bool:
    return not isinstance(entry, Call) and isinstance(entry.target, DescriptorGroup | SocketWire)


def _alone(entry: Entry) -> Iterator[None]:
    if isinstance(entry, ToGroup) and isinstance(entry.target, DescriptorGroup) and _is_large(entry):
        frames = (_data(entry.frames),)
        most = _most_members(len(frames[0]))
        for start in range(0, entry.mark, most):
            entry.target.deliver_between(frames, start, min(start + most, entry.mark), entry.skip)
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
        self._room = SLICE * _FREE_BYTES

    def take(self, entry: Entry) -> bool:
        """Whether ``entry`` goes straight to the descriptors of a group, all of it, and there is room for it here."""
        if isinstance(entry, ToGroup):
            group = entry.target
            if not isinstance(group, DescriptorGroup) or not group.straight:
                return False
            # Joined only where it is taken: what is too much here is joined where it leaves.
            room = self._room - entry.mark * max(_FREE_BYTES, sum(map(len, entry.frames)))
            if room < 0:
                return False
            self._room = room
            self._targets.append(group)
            self._rows.append((group.descriptors(entry.skip), entry.mark, _data(entry.frames)))
            return True
        return False

    def take_wires(self, entries: Sequence[Entry], first: int) -> int:
        """Take those from ``first`` on that go straight to one descriptor each; the place of the first that was not."""
        number, targets, rows = first, self._targets, self._rows
        while number < len(entries):
            entry = entries[number]
            if not isinstance(entry, ToWire):
                break
            wire = entry.target
            if not isinstance(wire, SocketWire) or wire.descriptor < 0:
                break
            data = _data(entry.frames)
            room = self._room - max(_FREE_BYTES, len(data))
            # One that is too large for any step has one of its own.
            if room < 0 and rows:
                break
            self._room = room
            targets.append(wire)
            rows.append((wire.descriptor, 1, data))
            number += 1
        return number

    def send(self) -> bool:
        """Send everything; False where there is nothing."""
        rows = self._rows
        if len(rows) == 1:
            _send_alone(self._targets[0], *rows[0])
        elif rows:
            _tell_short(self._targets, rows, send_rows(rows))
        return bool(rows)


class _SideBySide:
    """Entries that large groups are among: whoever is in several of them gets all at once, slice by slice.

    A slice is a range of descriptors, because these are what a member has one of, however many groups it is in. Who
    stands aside when this begins takes its bytes itself, first of all, and nothing later, even if it is back by then.
    """

    def __init__(self, entries: Sequence[Entry]) -> None:
        self._data = [(entry, _data(entry.frames)) for entry in entries if not isinstance(entry, Call)]
        self._most = _most_members(self._most_bytes())

    def _most_bytes(self) -> int:
        """What a member gets, about, but for replies to it alone: most are in one large group, and few in many."""
        by_group: Counter[Group[Any]] = Counter()
        for entry, data in self._data:
            if isinstance(entry, ToGroup):
                by_group[entry.target] += len(data)
        return max(*by_group.values(), by_group.total() // 4)

    def steps(self) -> Iterator[None]:
        """See :func:`in_slices`."""
        done = frozenset(self._aside())
        if done:
            for wire in done:
                self._deliver_to(wire)
            yield
        start = 0
        while start >= 0:
            start = self._send_slice(start, done)
            yield

    def _aside(self) -> Iterator[Member]:
        for entry, _ in self._data:
            if isinstance(entry.target, DescriptorGroup):
                yield from entry.target.aside
            elif isinstance(entry.target, SocketWire) and entry.target.descriptor < 0:
                yield entry.target

    def _deliver_to(self, wire: Member | SocketWire) -> None:
        for entry, _ in self._data:
            if isinstance(entry, ToWire):
                mine = entry.target is wire
            else:
                # Looked at again: what it was just given may have been too much, or somebody else's end.
                place = wire.places.get(entry.target) if isinstance(entry.target, DescriptorGroup) else None
                mine = place is not None and place < entry.mark and wire not in entry.skip
            if mine:
                wire.deliver(entry.frames)

    def _send_slice(self, start: int, done: frozenset[Any]) -> int:
        """Write to the descriptors of a slice; where the next one begins, -1 where there is none."""
        targets: list[DescriptorGroup | SocketWire] = []
        rows: list[Row] = []
        for entry, data in self._data:
            target = entry.target
            if isinstance(entry, ToGroup) and isinstance(target, DescriptorGroup):
                targets.append(target)
                rows.append((target.descriptors(entry.skip | done), entry.mark, data))
            elif isinstance(target, SocketWire) and target.descriptor >= 0 and target not in done:
                targets.append(target)
                rows.append((target.descriptor, 1, data))
        short, following = send_rows_between(rows, start, start + self._most)
        _tell_short(targets, rows, short)
        return following


def _tell_short(
    targets: Sequence[DescriptorGroup | SocketWire], rows: Sequence[Row], short: Sequence[Shortfall]
) -> None:
    for number, place, taken, mine in short:
        target = targets[number]
        wire = target.member_at(place) if isinstance(target, DescriptorGroup) else target
        # Looked at again: a member that fell just now may have taken others with it.
        if wire is not None:
            wire.fell_short(b"".join([rows[row][2] for row in mine]), taken)


def _send_alone(target: DescriptorGroup | SocketWire, descriptors: "array[int] | int", count: int, data: bytes) -> None:
    if isinstance(target, SocketWire):
        target.deliver((data,))
    elif not isinstance(descriptors, int):
        target.send(descriptors, 0, count, data)
