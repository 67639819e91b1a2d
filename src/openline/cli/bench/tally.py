"""What has arrived: counted for each member of each channel, with how long it took."""

from typing import Final

__all__ = ["Latencies", "Stream", "Tally"]

#: Latencies are kept to one part in 512.
_STEPS: Final = 512


class Stream:
    """One channel, as one connection receives it: the number that is due next, and those before it that are missing."""

    __slots__ = ("due", "missing")

    def __init__(self) -> None:
        self.due = 0
        self.missing: set[int] = set()

    def lost(self, published: int) -> int:
        """How many of so many have not come."""
        return published - self.due + len(self.missing)


class Latencies:
    """Times in whole microseconds, counted in buckets that are no wider than one part in 512 of what they hold."""

    def __init__(self) -> None:
        self.count = 0
        self.most = 0
        self._buckets: dict[int, int] = {}

    def add(self, microseconds: int) -> None:
        """Count one; what lies below 0 counts as 0."""
        value = max(0, microseconds)
        shift = max(0, value.bit_length() - 10)
        bucket = shift * _STEPS + (value >> shift)
        self._buckets[bucket] = self._buckets.get(bucket, 0) + 1
        self.count += 1
        self.most = max(self.most, value)

    def percentile(self, percent: float) -> int | None:
        """What so many percent do not exceed, in microseconds; None where nothing was counted."""
        rank, seen = self.count * percent / 100, 0
        for bucket in sorted(self._buckets):
            seen += self._buckets[bucket]
            if seen >= rank:
                return min(self.most, _end_of(bucket))
        return None


def _end_of(bucket: int) -> int:
    """The greatest value that a bucket holds."""
    shift = max(0, bucket // _STEPS - 1)
    return ((bucket - shift * _STEPS + 1) << shift) - 1


class Tally:
    """The sums over all streams; each of what was delivered counts once."""

    def __init__(self) -> None:
        self.delivered = 0
        self.duplicated = 0
        self.out_of_order = 0
        self.latencies = Latencies()

    def take(self, stream: Stream, number: int, microseconds: int) -> None:
        """The publication ``number``, counted from 0, has come on ``stream``."""
        if number == stream.due:
            stream.due += 1
        elif number > stream.due:
            stream.missing.update(range(stream.due, number))
            stream.due = number + 1
        elif number in stream.missing:
            stream.missing.remove(number)
            self.out_of_order += 1
        else:
            self.duplicated += 1
            return
        self.delivered += 1
        self.latencies.add(microseconds)
