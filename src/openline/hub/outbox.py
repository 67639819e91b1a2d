"""Frames that wait for one slow line: bounded in bytes, in order."""

from collections import deque

__all__ = ["Outbox"]


class Outbox:
    """Takes frames until ``limit`` bytes wait."""

    __slots__ = ("_frames", "_limit", "size")

    def __init__(self, limit: int) -> None:
        self._frames: deque[bytes] = deque()
        self._limit = limit
        self.size = 0

    def __len__(self) -> int:
        return len(self._frames)

    def put(self, frame: bytes) -> bool:
        """Queue ``frame``; False, and nothing queued, when it does not fit."""
        if self.size + len(frame) > self._limit:
            return False
        self._frames.append(frame)
        self.size += len(frame)
        return True

    def take(self, size: int) -> bytes:
        """The oldest frames, joined: up to ``size`` bytes, but at least one; empty when nothing waits."""
        taken: list[bytes] = []
        while self._frames and (not taken or size >= len(self._frames[0])):
            frame = self._frames.popleft()
            size -= len(frame)
            self.size -= len(frame)
            taken.append(frame)
        return b"".join(taken)

    def clear(self) -> None:
        """Drop everything."""
        self._frames.clear()
        self.size = 0
