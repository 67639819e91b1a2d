"""Requests of a polled session that come once more: a balancer repeats what a node, or a line to it, did not answer.

Clients mark each of their requests with another ``t``, against caches: so what is repeated is known by that.
"""

from typing import Final

__all__ = ["Again"]

#: Bytes of an answer that are kept, should it be asked for again.
_MOST_BYTES: Final = 262_144


class Again:
    """Knows the last poll and the last POST of one session by their marks; no mark is never a repetition."""

    __slots__ = ("_polled", "answer", "posted")

    def __init__(self) -> None:
        self._polled = ""
        #: The mark of the POST that was taken last.
        self.posted = ""
        #: What the last poll was answered with; None where it was not, or that was too much to keep.
        self.answer: bytes | None = None

    def polls(self, mark: str) -> bool:
        """Whether a poll with this ``mark`` is the one before, once more; otherwise it is the last one from now on."""
        same = bool(mark) and mark == self._polled
        if not same:
            self._polled, self.answer = mark, None
        return same

    def posts(self, mark: str) -> bool:
        """Whether what a POST with this ``mark`` brings has been taken already."""
        return bool(mark) and mark == self.posted

    def answered(self, payload: bytes) -> None:
        """The last poll has been answered so."""
        self.answer = payload if self._polled and len(payload) <= _MOST_BYTES else None
