"""Handlers of disconnect run once for every connection.

Once more only where a node dies while it runs them, or the engine drops whose the connection is: that is counted.
"""

from collections import defaultdict
from collections.abc import Sequence

from tests.chaos.events import Came, Died, Dropped, Ended, Event, Over
from tests.chaos.report import Kind, Report

__all__ = ["check_endings"]

#: A node that dies this soon behind its handlers may not have written down that they have run.
_UNWRITTEN_SECONDS = 1.0
#: Two nodes may have a connection so long after an engine has dropped that one of them took it up.
_UNDECIDED_SECONDS = 30.0


def check_endings(events: Sequence[Event], report: Report) -> None:
    """Nobody ends twice; where it was waited for, everybody has ended."""
    deaths = {event.process: event.at for event in events if isinstance(event, Died)}
    drops = [event.at for event in events if isinstance(event, Dropped)]
    ended: dict[str, list[Ended]] = defaultdict(list)
    for event in events:
        if isinstance(event, Ended):
            ended[event.connection].append(event)
    for connection, endings in ended.items():
        report.tried[Kind.ENDED_TWICE] += 1
        *before, _ = sorted(endings, key=lambda each: each.at)
        for each in before:
            if each.at <= deaths.get(each.process, 0.0) <= each.at + _UNWRITTEN_SECONDS:
                report.facts["ended again behind a death"] += 1
            elif any(dropped - 1.0 <= each.at <= dropped + _UNDECIDED_SECONDS for dropped in drops):
                report.facts["ended again behind a drop"] += 1
            else:
                places = ", ".join(f"{ending.process} at {ending.at:.2f}" for ending in endings)
                report.find(Kind.ENDED_TWICE, f"{connection} in {places}")
    if not any(isinstance(event, Over) for event in events):
        return
    for connection in {event.connection for event in events if isinstance(event, Came)}:
        report.tried[Kind.NEVER_ENDED] += 1
        if connection not in ended:
            report.find(Kind.NEVER_ENDED, connection)
