"""Requests of a polled session that may come once more, because what answered them was lost on the way.

Clients mark their requests with a ``t``, but not each with another one: some count seconds. So that alone says
nothing; an answer is given again where it is known, or found out, that it did not get to the client.
"""

from typing import Final

__all__ = ["Again"]

#: Bytes of an answer that are kept, should it be asked for again.
_MOST_BYTES: Final = 262_144


class Again:
    """Knows the last poll and the last POST of one session.

    Each has a mark, which a repetition shares, and a passage: what another node that passed it on is asked by, empty
    where it came straight from the client. Without a mark nothing is a repetition.
    """

    __slots__ = ("_answer", "_mark", "_owed", "_passage", "_posted")

    def __init__(self) -> None:
        self._mark = self._passage = ""
        self._answer: bytes | None = None
        self._owed = False
        self._posted = ("", "", 0)

    def is_last(self, mark: str) -> bool:
        """Whether a poll with this ``mark`` may be the one before, once more."""
        return bool(mark) and mark == self._mark

    def polls(self, mark: str, passage: str) -> None:
        """A poll waits to be answered; what was said before has arrived."""
        self._mark, self._passage, self._answer, self._owed = mark, passage, None, False

    def answered(self, payload: bytes) -> None:
        """The poll has been answered so: that is kept where it may turn out that it did not arrive."""
        if self._mark and self._passage and len(payload) <= _MOST_BYTES:
            self._answer = payload

    def lost(self, payload: bytes) -> None:
        """The client of the last poll had gone before this answer could be written: whoever polls next has it."""
        self._answer, self._owed = payload, True

    @property
    def owes(self) -> bool:
        """Whether the last answer is known to have gone nowhere."""
        return self._owed

    def take(self) -> bytes | None:
        """The last answer once more, and no second time; None where it was too much to keep."""
        answer = self._answer
        self.polls(self._mark, "")
        return answer

    def poll_passage(self, mark: str) -> str:
        """By which passage the last poll came, if one with this ``mark`` may be that once more; empty otherwise."""
        return self._passage if self.is_last(mark) and not self._owed else ""

    def posts(self, mark: str, passage: str, body: bytes) -> None:
        """A POST has been taken."""
        self._posted = (mark, passage, hash(body)) if mark and passage else ("", "", 0)

    def post_passage(self, mark: str, body: bytes) -> str:
        """By which passage the last POST came, if this one may be that once more; empty otherwise."""
        last, passage, taken = self._posted
        return passage if last and last == mark and taken == hash(body) else ""
