"""Frames that a slow line may do without: what its outbox drops before it gives the line up."""

from typing import Literal

__all__ = ["Expendable", "WhenSlow"]

#: What becomes of a line that cannot keep up: it closes and its client resumes from history; the oldest volatile
#: publications are dropped; of each subject only the latest publication is kept.
WhenSlow = Literal["close", "drop", "latest"]


class Expendable(bytes):
    """A frame with the ``channel`` that its loss is told for, and the ``subject`` of which only the latest counts."""

    channel: str
    subject: str | None

    @classmethod
    def of(cls, frame: bytes, channel: str, subject: str | None) -> "Expendable":
        """``frame``; without a subject the oldest go first."""
        self = cls(frame)
        self.channel = channel
        self.subject = subject
        return self
