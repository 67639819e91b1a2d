"""Histories that are true: a server of the mind that keeps every promise, and clients that write down what it does."""

import random
from dataclasses import dataclass, field

from tests.chaos.events import (
    Acknowledged,
    Came,
    Died,
    Ended,
    Entry,
    Event,
    Failed,
    Final,
    Granted,
    Invoked,
    Looked,
    Lost,
    Over,
    Place,
    Received,
    Standing,
    Unanswered,
    Value,
    Went,
)

CHANNELS = ("a", "b")
_BEGINNING = Place("e0", 0)


@dataclass
class _Client:
    name: str
    channel: str
    live: bool = True
    at: Place = field(default=_BEGINNING)
    missed: list[Entry] = field(default_factory=list)
    #: Raw doors tell no places, and begin anew with every line.
    placed: bool = True


class TrueHistory:
    """``durable``: restarts change nothing; otherwise the log ends with each, in a new epoch."""

    def __init__(self, seed: int, *, steps: int, durable: bool) -> None:
        self.chance = random.Random(seed)
        self.durable = durable
        self.events: list[Event] = []
        self._now = 100.0
        self._epoch, self._stamp = "e0", 0
        self._logs: dict[str, list[Entry]] = {name: [] for name in CHANNELS}
        self._numbers = {"p": 0, "q": 0}
        self._clients = [
            _Client(f"{channel}{place}", channel, placed=place < 2) for channel in CHANNELS for place in range(3)
        ]
        for client in self._clients:
            self._note(Granted, client=client.name, channel=client.channel)
            self._stand(client, None)
        for _ in range(steps):
            self._step()
        # Everybody comes back, and hears the last word.
        for client in self._clients:
            if not client.live:
                self._come_back(client)
        for channel in CHANNELS:
            self._publish(channel)
        for channel in CHANNELS:
            self._note(Final, channel=channel, epoch=self._epoch, entries=tuple(self._logs[channel]))
        for client in self._clients:
            self.end(client.name)
        self._note(Over)

    def _note(self, kind: type, **fields: object) -> None:
        self._now += 0.1
        self.events.append(kind(at=self._now, **fields))

    def _step(self) -> None:
        kind = self.chance.random()
        client = self.chance.choice(self._clients)
        if kind < 0.6:
            self._publish(self.chance.choice(CHANNELS))
        elif kind < 0.75 and client.live:
            client.live = False
            self._note(Lost, connection=client.name)
        elif kind < 0.95:
            if not client.live:
                self._come_back(client)
        elif kind < 0.97:
            self._restart()
        else:
            channel = self.chance.choice(CHANNELS)
            there = tuple(each.name for each in self._clients if each.live and each.channel == channel)
            self._note(Looked, channel=channel, asked=self._now, members=there)

    def _publish(self, channel: str) -> None:
        publisher = self.chance.choice(("p", "q"))
        value = Value(publisher, self._numbers[publisher])
        self._numbers[publisher] += 1
        self._note(Invoked, channel=channel, value=value)
        fate = self.chance.random()
        if fate < 0.05:
            self._note(Failed, value=value)
            return
        if fate < 0.1:
            self._note(Unanswered, value=value)
            if self.chance.random() < 0.5:
                return
        self._stamp += self.chance.randint(1, 3)
        entry = Entry(Place(self._epoch, self._stamp), value)
        self._logs[channel].append(entry)
        if fate >= 0.1:
            self._note(Acknowledged, channel=channel, value=value, place=entry.place)
        for client in self._clients:
            if client.channel == channel and client.live:
                self._give(client, entry)
            elif client.channel == channel:
                client.missed.append(entry)

    def _give(self, client: _Client, entry: Entry) -> None:
        place = entry.place if client.placed else None
        self._note(Received, client=client.name, channel=client.channel, value=entry.value, place=place)
        client.at = entry.place

    def _come_back(self, client: _Client) -> None:
        client.live = True
        if not client.placed or client.at.epoch != self._epoch or self.chance.random() < 0.2:
            self._stand(client, recovered=False)
        else:
            self._stand(client, recovered=True)
            for entry in client.missed:
                self._give(client, entry)
        client.missed = []

    def _stand(self, client: _Client, recovered: bool | None) -> None:
        if not recovered:
            client.at = Place(self._epoch, self._stamp)
        place = client.at if client.placed else None
        self._note(Standing, client=client.name, channel=client.channel, place=place, recovered=recovered)
        self._note(Came, connection=client.name, channel=client.channel)

    def _restart(self) -> None:
        if not self.durable:
            self._epoch, self._stamp = f"e{int(self._epoch[1:]) + 1}", 0
            self._logs = {name: [] for name in CHANNELS}
        for client in self._clients:
            if client.live:
                self._note(Lost, connection=client.name)
            client.live = False
            if not self.durable:
                client.missed = []

    def end(self, connection: str) -> None:
        """Its handlers run; at times the node dies with that, and they run at another one."""
        if self.chance.random() < 0.2:
            self._note(Ended, connection=connection, process=f"dies with {connection}")
            self._note(Died, process=f"dies with {connection}")
        self._note(Ended, connection=connection, process="lives")

    def ghost(self) -> None:
        """Somebody who went long ago is still shown."""
        self._note(Came, connection="g", channel="a")
        self._note(Went, connection="g", channel="a")
        self._now += 100.0
        there = tuple(client.name for client in self._clients if client.channel == "a")
        self._note(Looked, channel="a", asked=self._now, members=(*there, "g"))
        self.end("g")
