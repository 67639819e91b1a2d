"""The one ordered list of everything that leaves in this turn of the event loop, flushed in order at its end.

Pushes to groups, replies and frames to one wire are entries of the same list, so nothing overtakes; neighbours to the
same target are joined, so a burst costs one system call per member.
"""

from collections.abc import Callable
from typing import Any, Final

from openline.hub.ports import Group, Wire

__all__ = ["Tick"]

#: How much may wait for the end of the turn.
_LIMIT_BYTES: Final = 1_048_576
_NOBODY: Final[frozenset[Wire]] = frozenset()


class _ToGroup:
    __slots__ = ("frames", "mark", "skip", "target")

    def __init__(self, target: Group[Any], mark: int, skip: frozenset[Wire], frame: bytes) -> None:
        self.target = target
        self.mark = mark
        self.skip = skip
        self.frames = [frame]

    def deliver(self) -> None:
        self.target.deliver(self.frames, self.mark, self.skip)


class _ToWire:
    __slots__ = ("frames", "target")

    def __init__(self, target: Wire, frame: bytes) -> None:
        self.target = target
        self.frames = [frame]

    def deliver(self) -> None:
        self.target.deliver(self.frames)


class _Call:
    __slots__ = ("deliver",)

    def __init__(self, call: Callable[[], None]) -> None:
        self.deliver = call


class Tick:
    """Collects what is to be written; ``call_soon`` is asked for one flush as soon as there is something."""

    def __init__(self, call_soon: Callable[[Callable[[], None]], object]) -> None:
        self._call_soon = call_soon
        self._entries: list[_ToGroup | _ToWire | _Call] = []
        self._bytes = 0
        self._flushing = False
        self._sparse: set[Group[Any]] = set()

    def to_group(self, group: Group[Any], frame: bytes, skip: frozenset[Wire] = _NOBODY) -> None:
        """Queue ``frame`` for those who are members now, but those in ``skip``; nothing for ``b""``."""
        if not frame:
            return
        last = self._last(frame)
        if isinstance(last, _ToGroup) and last.target is group and last.mark == group.mark and last.skip == skip:
            last.frames.append(frame)
        else:
            self._entries.append(_ToGroup(group, group.mark, skip, frame))

    def to_wire(self, wire: Wire, frame: bytes) -> None:
        """Queue ``frame`` for one wire; nothing for ``b""``."""
        if not frame:
            return
        last = self._last(frame)
        if isinstance(last, _ToWire) and last.target is wire:
            last.frames.append(frame)
        else:
            self._entries.append(_ToWire(wire, frame))

    def _last(self, frame: bytes) -> "_ToGroup | _ToWire | _Call | None":
        """The entry that ``frame`` may join. Beyond the limit the list is flushed at once instead of growing."""
        self._bytes += len(frame)
        if self._bytes > _LIMIT_BYTES:
            self.flush()
            self._bytes = len(frame)
        if self._entries:
            return self._entries[-1]
        if not self._flushing:
            self._call_soon(self.flush)
        return None

    def behind(self, call: Callable[[], None]) -> None:
        """Make ``call`` behind everything queued so far: at once, or, inside a flush, as soon as that comes to it."""
        if self._flushing:
            self._entries.append(_Call(call))
        else:
            self.flush()
            call()

    def left(self, group: Group[Any]) -> None:
        """Somebody left ``group``: tidy it up when nothing refers to it."""
        if group.sparse:
            self._sparse.add(group)
            if not self._entries and not self._flushing:
                self._tidy()

    def flush(self) -> None:
        """Write everything queued, in order. Called inside a flush it does nothing: that flush goes on to the end."""
        if self._flushing:
            return
        self._flushing = True
        try:
            while self._entries:
                entries, self._entries = self._entries, []
                self._bytes = 0
                for entry in entries:
                    entry.deliver()
        finally:
            self._flushing = False
        self._tidy()

    def _tidy(self) -> None:
        for group in self._sparse:
            group.compact()
        self._sparse.clear()
