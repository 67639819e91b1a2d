"""Owns the interleaving: every case once per round, round after round, so that a drifting machine treats all alike."""

import math
import statistics
import sys
import time
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from machine import is_terminal, seconds_as_text
from measure import Figures, MeasurementError

# What is measured again and again; its text stands in the progress line.
CaseT = TypeVar("CaseT", bound=Hashable)


@dataclass(slots=True)
class Outcome(Generic[CaseT]):
    """The figures of every case, one entry per round; a case that failed is in errors and was not tried again."""

    runs: dict[CaseT, list[Figures]] = field(default_factory=dict)
    errors: dict[CaseT, str] = field(default_factory=dict)


class Progress:
    """A line on stderr that says what is measured now and how long it will still take."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._done = 0
        self._began = time.monotonic()

    def begin(self, what: str) -> None:
        start, end = ("\r\033[K", "") if is_terminal() else ("", "\n")
        line = f"[{self._done + 1:>3}/{self._total}] {what}{self._rest()}"
        print(start + line, end=end, file=sys.stderr, flush=True)

    def end(self) -> None:
        self._done += 1

    def clear(self) -> None:
        if is_terminal():
            print("\r\033[K", end="", file=sys.stderr, flush=True)

    def _rest(self) -> str:
        if not self._done:
            return ""
        each = (time.monotonic() - self._began) / self._done
        return f", about {seconds_as_text(each * (self._total - self._done))} left"


def interleave(
    cases: Mapping[CaseT, int], measure: Callable[[CaseT], Figures], within_seconds: float = math.inf
) -> Outcome[CaseT]:
    """Measure every case as often as its number says, in turns, every other turn backwards.

    Nothing is begun any more when ``within_seconds`` have passed.
    """
    outcome: Outcome[CaseT] = Outcome()
    progress = Progress(sum(cases.values()))
    deadline = time.monotonic() + within_seconds
    for turn in range(max(cases.values(), default=0)):
        due = [case for case, repeat in cases.items() if turn < repeat]
        for case in due if turn % 2 == 0 else reversed(due):
            if time.monotonic() > deadline:
                break
            progress.begin(str(case))
            if case not in outcome.errors:
                _measure_once(case, measure, outcome)
            progress.end()
    progress.clear()
    return outcome


def _measure_once(case: CaseT, measure: Callable[[CaseT], Figures], outcome: Outcome[CaseT]) -> None:
    try:
        figures = measure(case)
        outcome.runs.setdefault(case, []).append(figures)
    except MeasurementError as error:
        outcome.errors[case] = str(error)
        outcome.runs.pop(case, None)


def in_order(cases: Iterable[CaseT], outcome: Outcome[CaseT]) -> dict[CaseT, list[Figures]]:
    """The runs of the cases that did not fail, in the order of the cases."""
    return {case: outcome.runs[case] for case in cases if case in outcome.runs}


def medians(runs: list[Figures]) -> Figures:
    return {key: statistics.median(run[key] for run in runs) for key in runs[0]}


def ratio_range(runs: list[Figures], reference: list[Figures], key: str) -> tuple[float, float] | None:
    """The least and the greatest ratio of two figures of the same round."""
    ratios = [run[key] / other[key] for run, other in zip(runs, reference, strict=False) if other[key]]
    return (min(ratios), max(ratios)) if ratios else None
