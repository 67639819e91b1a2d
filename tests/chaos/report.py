"""What a checker has found: how often each promise was put to the test, and where it was broken."""

from collections import Counter
from collections.abc import Iterable
from enum import StrEnum

__all__ = ["Kind", "Report", "added"]


class Kind(StrEnum):
    """What may never happen."""

    UNSIGNALLED_LOSS = "unsignalled_loss"
    ACKED_LOSS = "acked_loss"
    DUP = "dup"
    REORDER = "reorder"
    DIVERGENCE = "divergence"
    PHANTOM = "phantom"
    LEAK = "leak"
    GHOST = "ghost"
    MISSING = "missing"
    STUCK = "stuck"
    ENDED_TWICE = "ended_twice"
    NEVER_ENDED = "never_ended"


#: How many examples of each are kept.
_EXAMPLES = 5
#: With nothing bad in N trials the rate is below 3/N, with 95 % confidence (the rule of three).
_RULE_OF_THREE = 3


class Report:
    """``found`` and ``tried`` by kind; ``examples`` say where; ``facts`` are numbers that need not be 0."""

    def __init__(self) -> None:
        self.found: Counter[Kind] = Counter()
        self.tried: Counter[Kind] = Counter()
        self.facts: Counter[str] = Counter()
        self.examples: dict[Kind, list[str]] = {}

    def find(self, kind: Kind, where: str) -> None:
        """Something that may never happen did."""
        self.found[kind] += 1
        known = self.examples.setdefault(kind, [])
        if len(known) < _EXAMPLES:
            known.append(where)

    @property
    def kinds(self) -> set[Kind]:
        return {kind for kind, count in self.found.items() if count}

    @property
    def good(self) -> bool:
        return not self.kinds

    @property
    def unknown_rate(self) -> float:
        """The share of publications of which nobody was told what became of them."""
        return self.facts["unanswered"] / max(1, self.facts["invoked"])

    def lines(self) -> list[str]:
        """A table: each kind, how often it happened, out of how many, and what that says of its rate."""
        rows = ["| | found | of N | rate below (95 %) |", "|---|---|---|---|"]
        for kind in Kind:
            tried = self.tried[kind]
            bound = "–" if self.found[kind] or not tried else f"{_RULE_OF_THREE / tried:.1e}"
            rows.append(f"| {kind} | {self.found[kind]} | {tried} | {bound} |")
        told = ", ".join(f"{name} {count}" for name, count in sorted(self.facts.items()))
        rows += ["", f"{told}, unknown_rate {self.unknown_rate:.2%}"]
        rows += [f"{kind}: {where}" for kind, places in self.examples.items() for where in places]
        return rows

    def __str__(self) -> str:
        return "\n".join(self.lines())


def added(reports: Iterable[Report]) -> Report:
    """Several reports as one."""
    total = Report()
    for report in reports:
        total.found += report.found
        total.tried += report.tried
        total.facts += report.facts
        for kind, places in report.examples.items():
            known = total.examples.setdefault(kind, [])
            known += places[: _EXAMPLES - len(known)]
    return total
