"""Who was said to be there, held against who was: no ghosts, and nobody left out."""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Sequence

from tests.chaos.events import Came, Event, Forgot, Looked, Lost, Went
from tests.chaos.report import Kind, Report

__all__ = ["check_attendance"]

#: Within this time whoever came is seen, and a client notices that its line has gone.
_SETTLED_SECONDS = 5.0
#: Within this time after everything was deleted all nodes have noticed, and have said again who is there.
_SAID_AGAIN_SECONDS = 6.0


class _Visit:
    """When one connection was in one channel, by its client's clock."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self.there: list[bool] = []

    def note(self, at: float, *, there: bool) -> None:
        self.times.append(at)
        self.there.append(there)

    def was_there(self, begin: float, end: float) -> bool:
        """At any moment from ``begin`` to ``end``."""
        first = bisect_right(self.times, begin)
        return (first > 0 and self.there[first - 1]) or any(
            there for at, there in zip(self.times[first:], self.there[first:], strict=True) if at <= end
        )

    def stayed(self, begin: float, end: float) -> bool:
        """All the time from ``begin`` to ``end``."""
        first = bisect_right(self.times, begin)
        return first > 0 and self.there[first - 1] and all(at > end or there for at, there in self._behind(first))

    def _behind(self, first: int) -> list[tuple[float, bool]]:
        return list(zip(self.times[first:], self.there[first:], strict=True))


def check_attendance(events: Sequence[Event], report: Report, ghost_seconds: float) -> None:
    """Nobody is shown ``ghost_seconds`` after it went, and who is there is shown."""
    visits = _visits(events)
    deletions = [event.at for event in events if isinstance(event, Forgot)]
    first_seen: dict[tuple[str, str], float] = {}
    for event in events:
        if not isinstance(event, Looked):
            continue
        for member in event.members:
            report.tried[Kind.GHOST] += 1
            visit = visits.get((member, event.channel))
            if visit is None:
                # Its client never heard that it is in: a reply was lost. Then nobody comes back for it.
                seen = first_seen.setdefault((member, event.channel), event.at)
                ghost = event.asked - seen > ghost_seconds
            else:
                ghost = not visit.was_there(event.asked - ghost_seconds, event.at)
            if ghost:
                report.find(Kind.GHOST, f"{member} in {event.channel} at {event.at:.1f}")
        if not any(event.asked - _SAID_AGAIN_SECONDS < deleted < event.at for deleted in deletions):
            _check_missing(event, visits, report)


def _check_missing(event: Looked, visits: dict[tuple[str, str], _Visit], report: Report) -> None:
    for (member, channel), visit in visits.items():
        if channel == event.channel and visit.stayed(event.asked - _SETTLED_SECONDS, event.at + _SETTLED_SECONDS):
            report.tried[Kind.MISSING] += 1
            if member not in event.members:
                report.find(Kind.MISSING, f"{member} in {channel} at {event.at:.1f}")


def _visits(events: Sequence[Event]) -> dict[tuple[str, str], _Visit]:
    visits: dict[tuple[str, str], _Visit] = defaultdict(_Visit)
    channels: dict[str, set[str]] = defaultdict(set)
    for event in events:
        if isinstance(event, Came):
            channels[event.connection].add(event.channel)
            visits[event.connection, event.channel].note(event.at, there=True)
        elif isinstance(event, Went):
            visits[event.connection, event.channel].note(event.at, there=False)
        elif isinstance(event, Lost):
            for channel in channels[event.connection]:
                visits[event.connection, channel].note(event.at, there=False)
    return dict(visits)
