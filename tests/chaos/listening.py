"""What one client was told and received in one channel, held against the truth."""

from collections import Counter
from itertools import pairwise

from tests.chaos.events import Place, Received, Standing, Value
from tests.chaos.report import Kind, Report
from tests.chaos.truth import Truth

__all__ = ["Listening"]


class Listening:
    """One client in one channel. A *stretch* is what the server claims to be whole: from ``floor`` to ``top``."""

    def __init__(self, client: str, channel: str, truth: Truth, report: Report) -> None:
        self._name = f"{client} in {channel}"
        self._channel = channel
        self._truth = truth
        self._report = report
        self._floor: Place | None = None
        self._top = 0
        self._last = 0
        self._got: dict[str, set[int]] = {}
        #: What came without a place, on one line.
        self._values: list[Value] = []
        self._seen: set[Value] = set()

    def told(self, event: Standing) -> None:
        """The client was told where it stands."""
        if event.recovered:
            self._claimed(event.place)
            return
        if event.recovered is False:
            self._report.facts["told of a break"] += 1
        self.close()
        if event.place is not None:
            self._begin(event.place)

    def _claimed(self, place: Place | None) -> None:
        if place is None:
            return
        if self._floor is None:
            self._begin(place)
        elif place.epoch != self._floor.epoch:
            self._jumped(place)
        else:
            self._top = max(self._top, place.stamp)

    def received(self, event: Received) -> None:
        """The client was given something."""
        for kind in (Kind.DUP, Kind.REORDER, Kind.PHANTOM):
            self._report.tried[kind] += 1
        if self._truth.is_phantom(event.value):
            return
        if event.place is None:
            self._values.append(event.value)
            return
        place = event.place
        if self._floor is None:
            self._begin(Place(place.epoch, place.stamp - 1))
        elif place.epoch != self._floor.epoch:
            self._jumped(Place(place.epoch, place.stamp - 1))
        got = self._got.setdefault(place.epoch, set())
        if place.stamp in got:
            self._report.find(Kind.DUP, f"{self._name}: {event.value} at {place} came again")
        elif place.stamp <= self._last:
            self._report.find(Kind.REORDER, f"{self._name}: {event.value} at {place} came late")
        got.add(place.stamp)
        self._last = max(self._last, place.stamp)
        self._top = max(self._top, place.stamp)

    def close(self) -> None:
        """Nothing more is claimed of what came so far: judge it."""
        if self._floor is not None:
            expected = self._truth.between(self._channel, self._floor, self._top)
            got = self._got.get(self._floor.epoch, set())
            self._judge(len(expected), [f"{self._floor.epoch}.{each}" for each in expected if each not in got])
        self._floor = None
        self._close_line()

    def _begin(self, floor: Place) -> None:
        self._floor = floor
        self._top = self._last = floor.stamp

    def _jumped(self, floor: Place) -> None:
        """From one epoch into another without a word: whatever the first one ended with may be lost."""
        self.close()
        self._judge(1, [f"a silent change to {floor.epoch}"])
        self._begin(floor)

    def _judge(self, expected: int, missing: list[str]) -> None:
        if not self._truth.kept(self._channel):
            # At most once is what is promised there.
            self._report.facts["lost without history"] += len(missing)
            return
        self._report.tried[Kind.UNSIGNALLED_LOSS] += expected
        for place in missing:
            self._report.find(Kind.UNSIGNALLED_LOSS, f"{self._name}: {place}")

    def _close_line(self) -> None:
        """What came without places on one line: in order, once, and whole between its first and its last."""
        values, self._values = self._values, []
        for value in values:
            if value in self._seen:
                self._report.find(Kind.DUP, f"{self._name}: {value} came again")
            self._seen.add(value)
        if values:
            self._compare(values, self._truth.place_of(self._channel))

    def _compare(self, values: list[Value], places: dict[Value, list[Place]]) -> None:
        """With the log of the epoch in which this line was."""
        epochs = Counter(place.epoch for value in values for place in places.get(value, ()))
        if not epochs:
            return
        epoch = max(epochs, key=lambda each: epochs[each])
        stamps = [
            min(found)
            for value in values
            if (found := [place.stamp for place in places.get(value, ()) if place.epoch == epoch])
        ]
        for before, after in pairwise(stamps):
            if after < before:
                self._report.find(Kind.REORDER, f"{self._name}: {epoch}.{after} came behind {before}")
        expected = self._truth.between(self._channel, Place(epoch, min(stamps) - 1), max(stamps))
        self._judge(len(expected), [f"{epoch}.{each}" for each in expected if each not in set(stamps)])
