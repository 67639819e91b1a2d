"""What a history is made of: what publishers asked for and were told, what clients were told and received.

Each event is one line of JSON. The histories of several processes of one machine are merged by ``at`` (its monotonic
clock); the order of one actor's events is what counts.
"""

import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec

__all__ = [
    "Acknowledged",
    "Came",
    "Died",
    "Dropped",
    "Ended",
    "Entry",
    "Event",
    "Failed",
    "Final",
    "Forgot",
    "Granted",
    "History",
    "Invoked",
    "Looked",
    "Lost",
    "Over",
    "Place",
    "Received",
    "Revoked",
    "Standing",
    "Stuck",
    "Unanswered",
    "Value",
    "Went",
    "read",
    "write",
]


class Place(msgspec.Struct, frozen=True, order=True, array_like=True):
    """A position, as a value with an order within its epoch."""

    epoch: str
    stamp: int

    @classmethod
    def parse(cls, text: str) -> "Place":
        epoch, _, stamp = text.rpartition(".")
        return cls(epoch, int(stamp))


class Value(msgspec.Struct, frozen=True, array_like=True):
    """What was published: whose it is, and its number."""

    publisher: str
    number: int


class _Event(msgspec.Struct, frozen=True, kw_only=True, tag=str.lower, omit_defaults=True):
    at: float = 0.0


# -- publishers


class Invoked(_Event):
    """``value`` is to be published into ``channel``; said once, however often it is tried."""

    channel: str
    value: Value


class Acknowledged(_Event):
    """It is in the store, at ``place`` where the door says so. May be said again, for a repetition."""

    channel: str
    value: Value
    place: Place | None = None


class Failed(_Event):
    """It was refused: nobody may ever see it."""

    value: Value


class Unanswered(_Event):
    """Its publisher has given up without an answer: it may be there, once, or not."""

    value: Value


# -- clients


class Granted(_Event):
    """``client`` may receive ``channel``."""

    client: str
    channel: str


class Revoked(_Event):
    """It may not any more, and nothing is under way."""

    client: str
    channel: str


class Standing(_Event):
    """``client`` was told where it stands in ``channel``.

    ``recovered``: True where the server claims that nothing is missing up to what comes next, False where it says that
    something may be, None where nobody asked. ``place`` is from where on it will hear everything; None where the door
    tells none, and then it is the first thing received.
    """

    client: str
    channel: str
    place: Place | None = None
    recovered: bool | None = None


class Received(_Event):
    """``client`` was given ``value``; without a ``place`` where the door tells none."""

    client: str
    channel: str
    value: Value
    place: Place | None = None


class Stuck(_Event):
    """At the end, with everything whole again and time to spare, ``client`` did not get the last of ``channel``."""

    client: str
    channel: str


# -- presence


class Lost(_Event):
    """The line of ``connection`` has broken or closed; ``Came`` says that it is back."""

    connection: str


class Came(_Event):
    """``connection`` is in ``channel``, and its line is there."""

    connection: str
    channel: str


class Went(_Event):
    """``connection`` has left ``channel`` or ended: nobody is to see it."""

    connection: str
    channel: str


class Forgot(_Event):
    """Everything that the engine knew is deleted: who is there is not known until it is said again."""


class Dropped(_Event):
    """From here on the engine loses a moment of what it acknowledges, such as who has taken up a connection."""


class Looked(_Event):
    """Who was said to be in ``channel``, in an answer that was asked for after ``asked`` and came ``at``."""

    channel: str
    asked: float
    members: tuple[str, ...]


# -- handlers of disconnect


class Ended(_Event):
    """They have run for ``connection``, in ``process``."""

    connection: str
    process: str


class Died(_Event):
    """``process`` was told to end, by SIGKILL or in order."""

    process: str


class Over(_Event):
    """By now they must have run for everybody who was there."""


# -- the end


class Entry(msgspec.Struct, frozen=True, array_like=True):
    """One entry of a log."""

    place: Place
    value: Value


class Final(_Event):
    """The log of ``channel``, read when everything was quiet; ``since`` is where it begins.

    ``kept``: the channel keeps history. For one that does not there is nothing in it.
    """

    channel: str
    epoch: str
    entries: tuple[Entry, ...] = ()
    since: int = 0
    kept: bool = True


Event = (
    Invoked
    | Acknowledged
    | Failed
    | Unanswered
    | Granted
    | Revoked
    | Standing
    | Received
    | Stuck
    | Lost
    | Came
    | Went
    | Looked
    | Forgot
    | Dropped
    | Ended
    | Died
    | Over
    | Final
)

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Event).decode


class History:
    """A history that grows: everybody who acts in this process notes here what happens."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def note(self, kind: type[Any], **fields: Any) -> None:
        self.events.append(kind(at=time.monotonic(), **fields))


def write(events: Iterable[Event], file: Path) -> None:
    with file.open("wb") as lines:
        lines.writelines(_encode(event) + b"\n" for event in events)


def read(*files: Path) -> list[Event]:
    """The events of all files, in the order of the clock."""
    return sorted((event for file in files for event in _lines(file)), key=lambda event: event.at)


def _lines(file: Path) -> Iterator[Event]:
    with file.open("rb") as lines:
        for line in lines:
            yield _decode(line)
