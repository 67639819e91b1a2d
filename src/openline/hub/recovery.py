"""Catching up: joining what was read from the log with what came in the meantime, gapless, in order, each once."""

from collections.abc import Callable, Sequence
from typing import Final

from openline.model import Position, Publication

__all__ = ["HOLD_BYTES", "Hold", "merge"]

#: How much may come in while the log is being read.
HOLD_BYTES: Final = 1_048_576


class Hold:
    """Live publications that wait while the log is read; bounded in bytes. ``broken``: some ahead of it are missing."""

    __slots__ = ("_limit", "broken", "overflowed", "publications", "size")

    def __init__(self, limit: int = HOLD_BYTES) -> None:
        self.publications: list[Publication] = []
        self.size = 0
        self.overflowed = False
        self.broken: Position | None = None
        self._limit = limit

    def put(self, publication: Publication) -> None:
        """Keep it; beyond the limit nothing is kept any more and ``overflowed`` says so."""
        self.size += publication.size
        if self.size > self._limit:
            self.overflowed = True
            self.publications.clear()
        if not self.overflowed:
            self.publications.append(publication)

    def break_off(self, position: Position) -> None:
        """Something ahead of ``position`` that should have come may be missing."""
        self.broken = position


def merge(
    read: Sequence[Publication], held: Sequence[Publication], is_excluded: Callable[[Publication], bool]
) -> list[Publication]:
    """What was read and what was held, by stamp, each once, less what ``is_excluded``.

    ``held`` is in order of arrival, which is stamp order. A volatile publication stands right ahead of the stamped
    one that came after it: what was read from before the hold began lies ahead of both.
    """
    if not read and not held:
        return []
    merged: list[Publication] = []
    left = len(read)
    for publication in reversed(held):
        if publication.stamp:
            while left and read[left - 1].stamp > publication.stamp:
                left -= 1
                merged.append(read[left])
            if left and read[left - 1].stamp == publication.stamp:
                left -= 1
        merged.append(publication)
    merged.extend(reversed(read[:left]))
    merged.reverse()
    return [publication for publication in merged if not is_excluded(publication)]
