"""What was published where, as far as anybody knows: the logs at the end, acknowledgements, what was received."""

from collections import defaultdict
from collections.abc import Iterable, Sequence

from tests.chaos.events import Acknowledged, Event, Failed, Final, Invoked, Place, Received, Unanswered, Value
from tests.chaos.report import Kind, Report

__all__ = ["Truth"]


class Truth:
    """``durable``: what is acknowledged outlives every fault, so that an acknowledgement of an earlier epoch counts."""

    def __init__(self, events: Sequence[Event], report: Report, *, durable: bool) -> None:
        self._report = report
        self.invoked = {event.value: event.channel for event in events if isinstance(event, Invoked)}
        self._failed = {event.value for event in events if isinstance(event, Failed)}
        #: By channel and epoch: what stands at which stamp.
        self._known: dict[tuple[str, str], dict[int, Value]] = defaultdict(dict)
        self._finals = {event.channel: event for event in events if isinstance(event, Final)}
        # Acknowledged, but not in the log of its epoch at the end: no client can be blamed for it.
        acks = [event for event in events if isinstance(event, Acknowledged)]
        for final in self._finals.values():
            for entry in final.entries:
                self._add(final.channel, entry.place, entry.value)
        self._received(events)
        for ack in acks:
            if ack.place is not None and not self._is_in_reach(ack.channel, ack.place):
                self._add(ack.channel, ack.place, ack.value)
        self._check_acknowledged(acks, durable=durable)
        self._check_publishers(acks)
        report.facts["invoked"] += len(self.invoked)
        report.facts["unanswered"] += sum(isinstance(event, Unanswered) for event in events)
        report.facts["epochs"] += max(
            (len({epoch for name, epoch in self._known if name == channel}) for channel, _ in self._known), default=0
        )
        report.tried[Kind.DIVERGENCE] += sum(map(len, self._known.values()))

    def kept(self, channel: str) -> bool:
        """Whether ``channel`` keeps history."""
        final = self._finals.get(channel)
        return final is None or final.kept

    def between(self, channel: str, floor: Place, top: int) -> list[int]:
        """The stamps of what stands in ``channel`` behind ``floor``, up to ``top``."""
        return [stamp for stamp in self._known[channel, floor.epoch] if floor.stamp < stamp <= top]

    def place_of(self, channel: str) -> dict[Value, list[Place]]:
        """Where each value of ``channel`` stands."""
        places: dict[Value, list[Place]] = defaultdict(list)
        for (name, epoch), known in self._known.items():
            if name == channel:
                for stamp, value in known.items():
                    places[value].append(Place(epoch, stamp))
        return places

    def is_phantom(self, value: Value) -> bool:
        """Whether nobody can have published ``value``."""
        return value not in self.invoked or value in self._failed

    def _is_in_reach(self, channel: str, place: Place) -> bool:
        """Whether the log that was read at the end would show what stands at ``place``."""
        final = self._finals.get(channel)
        return final is not None and final.kept and final.epoch == place.epoch and place.stamp > final.since

    def _add(self, channel: str, place: Place, value: Value) -> None:
        if self.is_phantom(value):
            self._report.find(Kind.PHANTOM, f"{value} stands in {channel} at {place}")
            return
        if self.invoked[value] != channel:
            return  # a leak, which is found elsewhere
        known = self._known[channel, place.epoch].setdefault(place.stamp, value)
        if known != value:
            self._report.find(Kind.DIVERGENCE, f"{channel} at {place}: {known} and {value}")

    def _received(self, events: Iterable[Event]) -> None:
        vanished: set[tuple[str, Place]] = set()
        for event in events:
            if not isinstance(event, Received):
                continue
            if self.is_phantom(event.value):
                self._report.find(Kind.PHANTOM, f"{event.client} received {event.value} of {event.channel}")
            elif event.place is not None:
                if self._is_in_reach(event.channel, event.place):
                    known = self._known[event.channel, event.place.epoch]
                    if event.place.stamp not in known and (event.channel, event.place) not in vanished:
                        vanished.add((event.channel, event.place))
                        self._report.find(
                            Kind.ACKED_LOSS, f"{event.value} was delivered at {event.place}, and is not in the log"
                        )
                        continue
                self._add(event.channel, event.place, event.value)

    def _check_acknowledged(self, acks: Sequence[Acknowledged], *, durable: bool) -> None:
        """What is acknowledged is in the log at the end, once."""
        for channel in {ack.channel for ack in acks}:
            places = self.place_of(channel)
            final = self._finals.get(channel)
            for value in {ack.value for ack in acks if ack.channel == channel}:
                self._report.tried[Kind.ACKED_LOSS] += 1
                epochs = [place.epoch for place in places[value]]
                if len(epochs) != len(set(epochs)):
                    self._report.find(Kind.DUP, f"{value} stands twice in {channel}: {places[value]}")
            if final is None or not final.kept:
                continue
            logged = {entry.value for entry in final.entries}
            lost = {
                ack.value
                for ack in acks
                if ack.channel == channel
                and ack.value not in logged
                and (durable or (ack.place is not None and self._is_in_reach(channel, ack.place)))
            }
            for value in lost:
                self._report.find(Kind.ACKED_LOSS, f"{value} was acknowledged, and is not in the log of {channel}")

    def _check_publishers(self, acks: Sequence[Acknowledged]) -> None:
        """Who waited for one acknowledgement before it went on finds its publications in that order."""
        answered = {ack.value for ack in acks}
        for (channel, epoch), known in self._known.items():
            last: dict[str, int] = {}
            for stamp in sorted(known):
                value = known[stamp]
                if value not in answered:
                    continue
                if value.number < last.get(value.publisher, -1):
                    self._report.find(Kind.REORDER, f"{value} stands behind a later one in {channel} of {epoch}")
                last[value.publisher] = max(value.number, last.get(value.publisher, -1))
