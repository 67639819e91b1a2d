"""Frames that wait for one slow line: bounded in bytes, in order, and what was dropped is counted."""

from collections import OrderedDict
from collections.abc import Mapping
from itertools import count

from openline.hub.expendable import Expendable
from openline.protocol.codec import Codec
from openline.protocol.commands import Word

__all__ = ["Outbox", "gaps"]


class Outbox:
    """Takes frames until ``limit`` bytes wait; expendable ones make room for others."""

    __slots__ = ("_expendable", "_frames", "_latest", "_limit", "_numbers", "lost", "size")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._numbers = count()
        self._frames: OrderedDict[int, bytes] = OrderedDict()
        # Those that may go, the oldest first; the latest of each channel and subject.
        self._expendable: OrderedDict[int, Expendable] = OrderedDict()
        self._latest: dict[tuple[str, str], int] = {}
        self.size = 0
        #: How many were dropped, by channel.
        self.lost: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._frames)

    def put(self, frame: bytes, room: int | None = None) -> bool:
        """Queue ``frame``; False, and nothing queued, when it does not fit.

        An expendable one that does not fit even alone is dropped and counted like others: never a reason to close.
        ``room`` is what the line has left, where that is less than the outbox has.
        """
        limit = self._limit if room is None else min(self._limit, self.size + room)
        expendable = frame if isinstance(frame, Expendable) else None
        place = None if expendable is None else _place(expendable)
        if place in self._latest:
            self._drop(self._latest[place])
        while self.size + len(frame) > limit:
            if not self._expendable:
                if expendable is not None:
                    self._count(expendable.channel)
                return expendable is not None
            self._drop(next(iter(self._expendable)))
        number = next(self._numbers)
        self._frames[number] = frame
        self.size += len(frame)
        if expendable is not None:
            self._expendable[number] = expendable
            if place is not None:
                self._latest[place] = number
        return True

    def _drop(self, number: int) -> None:
        self._count(self._expendable[number].channel)
        self._remove(number)

    def _count(self, channel: str) -> None:
        self.lost[channel] = self.lost.get(channel, 0) + 1

    def _remove(self, number: int) -> bytes:
        frame = self._frames.pop(number)
        self.size -= len(frame)
        expendable = self._expendable.pop(number, None)
        place = None if expendable is None else _place(expendable)
        if place is not None and self._latest.get(place) == number:
            del self._latest[place]
        return frame

    def take(self, size: int) -> bytes:
        """The oldest frames, joined: up to ``size`` bytes, but at least one; empty when nothing waits."""
        taken: list[bytes] = []
        while self._frames:
            oldest = next(iter(self._frames))
            size -= len(self._frames[oldest])
            if taken and size < 0:
                break
            taken.append(self._remove(oldest))
        return b"".join(taken)

    def take_gaps(self, codec: Codec) -> list[bytes]:
        """What tells of the losses so far; they are not told again."""
        lost, self.lost = self.lost, {}
        return gaps(codec, lost)

    def clear(self) -> None:
        """Drop everything, uncounted."""
        self._frames.clear()
        self._expendable.clear()
        self._latest.clear()
        self.size = 0


def gaps(codec: Codec, lost: Mapping[str, int]) -> list[bytes]:
    """What tells a client how many publications of each channel it has lost; nothing where its kind is not told."""
    told = (codec.notice(Word.GAP, channel, b'{"lost":%d}' % count) for channel, count in lost.items())
    return [notice for notice in told if notice]


def _place(frame: Expendable) -> tuple[str, str] | None:
    return None if frame.subject is None else (frame.channel, frame.subject)
