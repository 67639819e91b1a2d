"""Judges what clients saw while nodes were killed: a pure function from their events to counts."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

#: One line of a client: ``at`` in seconds, ``who``, ``what``, and more by what.
Event = Mapping[str, Any]


@dataclass(slots=True)
class Counts:
    """``lost`` and ``doubled`` are of messages that were acknowledged and of listeners that had joined before."""

    acknowledged: int = 0
    #: The publisher does not know whether these were taken; who gets one, gets it, and nobody has lost it.
    unknown: int = 0
    #: Messages times listeners that had to get them.
    due: int = 0
    lost_untold: int = 0
    lost_told: int = 0
    doubled: int = 0
    reordered: int = 0
    #: How often a listener that came back was told that it is somebody new.
    anew: int = 0
    recovered: int = 0
    #: Seconds from a cut until a listener was in all its rooms again.
    away: list[float] = field(default_factory=list)

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(*(getattr(self, each.name) + getattr(other, each.name) for each in fields(self)))


class _Room:
    """What one listener saw in one room, in the order that it saw it."""

    def __init__(self) -> None:
        #: When it was in for the first time.
        self.since: float | None = None
        #: By publisher: numbers, and None where the listener was told that it is somebody new.
        self.seen: dict[str, list[int | None]] = defaultdict(list)

    def told(self, publishers: Iterable[str]) -> None:
        for publisher in publishers if self.since is not None else ():
            self.seen[publisher].append(None)

    def judge(self, publisher: str, due: Sequence[int], counts: Counts) -> None:
        seen = self.seen[publisher]
        got, newest = set[int](), 0
        for number in seen:
            if number is None:
                continue
            counts.doubled += number in got
            counts.reordered += number < newest and number not in got
            got.add(number)
            newest = max(newest, number)
        lost = [number for number in due if number not in got]
        told = [number for number in lost if self._was_told(seen, number)]
        counts.due += len(due)
        counts.lost_told += len(told)
        counts.lost_untold += len(lost) - len(told)

    @staticmethod
    def _was_told(seen: Sequence[int | None], number: int) -> bool:
        """Whether the listener was somebody new between what came before ``number`` and what came behind it."""
        before = max((place for place, each in enumerate(seen) if each is not None and each < number), default=-1)
        behind = (place for place, each in enumerate(seen) if each is not None and each > number and place > before)
        return None in seen[before + 1 : next(behind, len(seen))]


def judge(events: Sequence[Event], publisher: str) -> Counts:
    """What came of the messages of ``publisher``."""
    own = [event for event in events if event["who"] == publisher]
    said = {event["number"]: event["at"] for event in own if event["what"] == "said"}
    acknowledged: dict[str, list[int]] = defaultdict(list)
    for event in own:
        if event["what"] == "acknowledged":
            acknowledged[event["room"]].append(event["number"])
    counts = Counts(sum(map(len, acknowledged.values())), sum(event["what"] == "unknown" for event in own))
    for (_, name), room in _rooms(events).items():
        since = room.since
        if since is not None:
            room.judge(publisher, [number for number in sorted(acknowledged[name]) if said[number] >= since], counts)
    return counts


def _rooms(events: Sequence[Event]) -> Mapping[tuple[str, str], _Room]:
    """What each listener saw in each of its rooms."""
    publishers = {event["who"] for event in events if event["what"] == "said"}
    rooms: dict[tuple[str, str], _Room] = defaultdict(_Room)
    for event in events:
        who, what = event["who"], event["what"]
        if what == "got":
            rooms[who, event["room"]].seen[event["publisher"]].append(event["number"])
        elif what == "joined":
            room = rooms[who, event["room"]]
            room.since = event["at"] if room.since is None else room.since
        elif what == "connected" and not event["recovered"]:
            for (name, _), room in rooms.items():
                if name == who:
                    room.told(publishers)
    return rooms


def judge_lines(events: Sequence[Event]) -> Counts:
    """How listeners came back, whoever published."""
    counts = Counts()
    cut: dict[str, float] = {}
    rooms: dict[str, set[str]] = defaultdict(set)
    missing: dict[str, set[str]] = {}
    for event in events:
        who, what = event["who"], event["what"]
        if what == "joined" and who not in cut:
            rooms[who].add(event["room"])
        elif what == "cut" and rooms[who]:
            # Cut again before it was back: it is away since the first time.
            cut.setdefault(who, event["at"])
            missing[who] = set(rooms[who])
        elif what == "connected" and who in cut:
            counts.recovered += event["recovered"]
            counts.anew += not event["recovered"]
        elif what in ("joined", "kept") and who in cut:
            missing[who].discard(event["room"])
            if not missing[who]:
                counts.away.append(event["at"] - cut.pop(who))
    return counts
