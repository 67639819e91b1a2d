"""The one ordered list of everything that leaves in this turn of the event loop, flushed in order at its end.

Pushes to groups, replies and frames to one wire are entries of the same list, so nothing overtakes; neighbours to the
same target are joined, so a burst costs one system call per member. A flush that takes long is interrupted, and goes on
in the next turn before anything else leaves.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import msgspec

from openline.hub.ports import Group, Wire

__all__ = ["HOLD_SECONDS", "Call", "Entry", "Steps", "Tick", "ToGroup", "ToWire", "one_by_one"]

#: How much may wait for the end of the turn, and while nothing may leave.
_LIMIT_BYTES: Final = 1_048_576
_MOST_HELD_BYTES: Final = 16 * _LIMIT_BYTES
#: How long one flush may hold the event loop.
HOLD_SECONDS: Final = 0.005
#: How long at most, where everything else takes its time as well.
MOST_HOLD_SECONDS: Final = 0.05
_NOBODY: Final[frozenset[Wire]] = frozenset()


class ToGroup:
    """Frames for those who were members at ``mark`` and still are, but those in ``skip``."""

    __slots__ = ("frames", "mark", "skip", "target")

    def __init__(self, target: Group[Any], mark: int, skip: frozenset[Wire], frame: bytes) -> None:
        self.target = target
        self.mark = mark
        self.skip = skip
        self.frames = [frame]

    def deliver(self) -> None:
        """Write them."""
        self.target.deliver(self.frames, self.mark, self.skip)


class ToWire(msgspec.Struct):
    """Frames for one wire; made for every answer, which msgspec's constructor does in a third of the time."""

    target: Wire
    frames: list[bytes]

    def deliver(self) -> None:
        """Write them."""
        self.target.deliver(self.frames)


class Call:
    """What is to be done behind everything that was queued before."""

    __slots__ = ("deliver",)

    def __init__(self, call: Callable[[], None]) -> None:
        self.deliver = call


Entry = ToGroup | ToWire | Call

#: Delivers entries in their order, a step at a time; between two steps members may come and go, and who goes on looks
#: at who is there then.
Steps = Callable[[Sequence[Entry]], Iterator[None]]


def one_by_one(entries: Sequence[Entry]) -> Iterator[None]:
    """Each entry is a step: see :data:`Steps`."""
    for entry in entries:
        entry.deliver()
        yield


class Tick:
    """Collects what is to be written; ``call_soon`` is asked for one flush as soon as there is something.

    ``steps`` is how entries are delivered; after ``hold_seconds`` of ``now`` the event loop has its turn in between. A
    flush that goes on takes as long as the loop was away, up to a limit: so thousands who come at once take half of the
    time at most from those who are in.
    """

    def __init__(
        self,
        call_soon: Callable[[Callable[[], None]], object],
        steps: Steps = one_by_one,
        *,
        hold_seconds: float = HOLD_SECONDS,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._call_soon = call_soon
        self._steps = steps
        self._hold_seconds = hold_seconds
        self._now = now
        self._entries: list[Entry] = []
        self._bytes = 0
        # What was interrupted, and is to go on before anything else.
        self._under_way: Iterator[None] | None = None
        self._interrupted_at = 0.0
        self._flushing = False
        # Whether the loop has been asked for a turn that has not come yet.
        self._asked = False
        self._sparse: set[Group[Any]] = set()
        #: Says whether anything may leave; who asks for it to be held back flushes, or discards, later.
        self.guard: Callable[[], bool] | None = None
        #: Called when more is held back than may be: it discards, and sees to those who were to get it.
        self.overflow: Callable[[], None] = self.discard
        self._held = False

    def to_group(self, group: Group[Any], frame: bytes, skip: frozenset[Wire] = _NOBODY) -> None:
        """Queue ``frame`` for those who are members now, but those in ``skip``; nothing for ``b""``."""
        if not frame:
            return
        self._bytes += len(frame)
        if self._bytes > _LIMIT_BYTES or not self._entries:
            self._begin(frame)
        last = self._entries[-1] if self._entries else None
        if isinstance(last, ToGroup) and last.target is group and last.mark == group.mark and last.skip == skip:
            last.frames.append(frame)
        else:
            self._entries.append(ToGroup(group, group.mark, skip, frame))

    def to_wire(self, wire: Wire, frame: bytes) -> None:
        """Queue ``frame`` for one wire; nothing for ``b""``."""
        if not frame:
            return
        self._bytes += len(frame)
        if self._bytes > _LIMIT_BYTES or not self._entries:
            self._begin(frame)
        entries = self._entries
        last = entries[-1] if entries else None
        if isinstance(last, ToWire) and last.target is wire:
            last.frames.append(frame)
        else:
            entries.append(ToWire(wire, [frame]))

    def _begin(self, frame: bytes) -> None:
        """Begin a list with ``frame``. Beyond the limit the list is flushed at once instead of growing."""
        if self._bytes > _LIMIT_BYTES:
            self.flush()
            if self._held and self._bytes > _MOST_HELD_BYTES:
                self.overflow()
            if not (self._held and self._entries):
                self._bytes = len(frame)
        if not self._entries and not self._flushing and self._under_way is None:
            self._ask()

    def _ask(self) -> None:
        if not self._asked:
            self._asked = True
            self._call_soon(self._come_on)

    def behind(self, call: Callable[[], None]) -> None:
        """Make ``call`` behind everything queued so far: at once, or, inside a flush, as soon as that comes to it."""
        if self._flushing:
            self._entries.append(Call(call))
        else:
            self.flush()
            call()

    def discard(self) -> None:
        """Drop everything queued: it is not to leave any more."""
        self._entries.clear()
        self._under_way = None
        self._bytes = 0

    def left(self, group: Group[Any]) -> None:
        """Somebody left ``group``: tidy it up when nothing refers to it."""
        if group.sparse:
            self._sparse.add(group)
            if not self._entries and not self._flushing and self._under_way is None:
                self._tidy()

    def flush(self) -> None:
        """Write everything queued, in order, however long that takes.

        Called inside a flush it does nothing: that flush goes on to the end.
        """
        self._go_on(None)

    def _come_on(self) -> None:
        self._asked = False
        self.turn()

    def turn(self) -> None:
        """Write as much as may be written in one turn of the loop, and ask for another if that is not all."""
        now, hold = self._now(), self._hold_seconds
        if self._under_way is not None:
            hold = max(hold, min(now - self._interrupted_at, MOST_HOLD_SECONDS))
        self._go_on(now + hold)

    def _go_on(self, until: float | None) -> None:
        if self._flushing:
            return
        self._held = self.guard is not None and not self.guard()
        if self._held:
            return
        self._flushing = True
        try:
            while self._entries or self._under_way is not None:
                if not self._advance(until):
                    break
        finally:
            self._flushing = False
            # Also where a step failed, which is a fault of ours: what was queued meanwhile asked for no turn.
            if self._entries or self._under_way is not None:
                self._ask()
            else:
                self._tidy()

    def _advance(self, until: float | None) -> bool:
        """Deliver what is under way, or else what is queued; False where it was interrupted."""
        steps, self._under_way = self._under_way, None
        if steps is None:
            entries, self._entries = self._entries, []
            self._bytes = 0
            if len(entries) == 1 and isinstance(entries[0], ToWire):
                # As most flushes are: nothing to join, nothing to interrupt.
                entries[0].deliver()
                return True
            steps = self._steps(entries)
        for _ in steps:
            if until is not None and (now := self._now()) >= until:
                self._under_way, self._interrupted_at = steps, now
                return False
        return True

    def _tidy(self) -> None:
        for group in self._sparse:
            group.compact()
        self._sparse.clear()
