"""Judges a history: a pure function of its events, which proves the promises of ``docs/guarantees.md`` or does not."""

from collections.abc import Sequence

from tests.chaos.attendance import check_attendance
from tests.chaos.endings import check_endings
from tests.chaos.events import Event, Granted, Received, Revoked, Standing, Stuck
from tests.chaos.listening import Listening
from tests.chaos.report import Kind, Report
from tests.chaos.truth import Truth

__all__ = ["check"]

#: A line that broke counts as there for this long, and is found dead within as much.
_GHOST_SECONDS = 20.0


def check(events: Sequence[Event], *, durable: bool, ghost_seconds: float = _GHOST_SECONDS) -> Report:
    """What became of every promise.

    ``durable``: the engine keeps what it has acknowledged through every fault of this run; otherwise a new epoch may
    have forgotten it, and everybody has to be told. ``ghost_seconds``: how long one who went may still be shown.
    """
    report = Report()
    truth = Truth(events, report, durable=durable)
    _check_rights(events, truth, report)
    _check_clients(events, truth, report)
    check_attendance(events, report, ghost_seconds)
    check_endings(events, report)
    return report


def _check_clients(events: Sequence[Event], truth: Truth, report: Report) -> None:
    listening: dict[tuple[str, str], Listening] = {}
    for event in events:
        if not isinstance(event, Standing | Received | Stuck):
            continue
        place = (event.client, event.channel)
        if place not in listening:
            listening[place] = Listening(*place, truth, report)
            report.tried[Kind.STUCK] += 1
        if isinstance(event, Standing):
            listening[place].told(event)
        elif isinstance(event, Received):
            listening[place].received(event)
        else:
            report.find(Kind.STUCK, f"{event.client} never got to the end of {event.channel}")
    for each in listening.values():
        each.close()


def _check_rights(events: Sequence[Event], truth: Truth, report: Report) -> None:
    """Nobody receives what it may not, or what belongs to another channel."""
    granted: set[tuple[str, str]] = set()
    for event in events:
        if isinstance(event, Granted):
            granted.add((event.client, event.channel))
        elif isinstance(event, Revoked):
            granted.discard((event.client, event.channel))
        elif isinstance(event, Received):
            report.tried[Kind.LEAK] += 1
            home = truth.invoked.get(event.value, event.channel)
            if (event.client, event.channel) not in granted or home != event.channel:
                report.find(Kind.LEAK, f"{event.client} received {event.value} of {home} in {event.channel}")
