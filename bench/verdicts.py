"""Owns the comparison of what was measured with what is to be reached."""

from collections.abc import Mapping
from dataclasses import dataclass

from plans import LIMITS, Goal, Row
from results import Measured

NAMES = {
    "limit": "the C limit",
    "limit_corked": "the corked C limit",
    "limit_enveloped": "the C limit, 216 B",
    "limit_corked_enveloped": "the corked C limit, 216 B",
    "openline": "Openline",
    "openline_history": "Openline, history 100",
    "openline_streams": "Openline, event streams",
    "openline_long_polls": "Openline, long polls",
    "openline_short_polls": "Openline, short polls",
    "openline_socketio": "Openline, Socket.IO clients",
    "openline_pure": "Openline, pure Python",
    "socketify": "uWebSockets (socketify.py)",
    "ws": "ws",
    "ws_framed": "ws, pre-framed",
    "socketio": "Socket.IO",
    "picows": "picows",
    "websockets": "websockets",
    "starlette": "Starlette on uvicorn",
    "python_socketio": "python-socketio",
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """A goal and what came of it; ``got`` is None where something is not measured, ``spread`` that of single rounds.

    ``limit`` is what the C limit has got instead, in the same run, where a goal is held against another server.
    """

    goal: Goal
    got: float | None
    spread: tuple[float, float] | None = None
    limit: float | None = None

    @property
    def reached(self) -> bool | None:
        if self.got is None:
            return None
        return _reaches(self.goal, self.got)

    @property
    def word(self) -> str:
        if self.reached is False and self.limit is not None and not _reaches(self.goal, self.limit):
            return "missed by the limit too"
        return {True: "reached", False: "missed", None: "not measured"}[self.reached]

    @property
    def limit_shown(self) -> str:
        return "" if self.limit is None else _figure(self.limit)

    @property
    def wanted(self) -> str:
        sign = "≤" if self.goal.at == "most" else "≥"
        if not self.goal.other:
            return f"{sign} {self.goal.bound:g}"
        return f"{sign} {self.goal.bound:g} × {self.goal.against or NAMES[self.goal.other]}"

    @property
    def shown(self) -> str:
        if self.got is None:
            return "–"
        text = f"**{_figure(self.got)}**"
        return f"{text} ({self.spread[0]:.2f} to {self.spread[1]:.2f})" if self.spread else text


def _figure(number: float) -> str:
    return f"{number:.3f}" if number < 0.1 else f"{number:.2f}"


def _reaches(goal: Goal, got: float) -> bool:
    """As it is shown: a figure that reads like the goal has reached it."""
    shown = float(_figure(got))
    return shown <= goal.bound if goal.at == "most" else shown >= goal.bound


def verdicts(row: Row, measured: Mapping[str, Measured]) -> list[Verdict]:
    """One for each goal of the row."""
    references = {plan.key: plan.reference for plan in row.plans}
    return [_verdict(goal, measured, references) for goal in row.goals]


def _verdict(goal: Goal, measured: Mapping[str, Measured], references: Mapping[str, str]) -> Verdict:
    other_plan = goal.other_plan or goal.plan
    if goal.to_limit:
        ours = ratio(measured.get(goal.plan), goal.figure, goal.server, references[goal.plan])
        others = ratio(measured.get(other_plan), goal.figure, goal.other, references[other_plan])
        return Verdict(goal, ours / others if ours and others else None)
    plan, other = measured.get(goal.plan), measured.get(other_plan)
    ours = plan.median(goal.server, goal.figure) if plan else None
    if not goal.other or ours is None:
        return Verdict(goal, ours, _range(plan, goal) if plan and not goal.other else None)
    others = other.median(goal.other, goal.figure) if other else None
    if not others:
        return Verdict(goal, None)
    if plan is not other:
        return Verdict(goal, ours / others)
    return Verdict(goal, ours / others, _range(plan, goal), _limit(plan, goal))


def _limit(plan: Measured | None, goal: Goal) -> float | None:
    """What the C limit has got of the goal; None where it is the limit that the goal is held against."""
    there = [name for name in LIMITS.values() if plan is not None and name in plan.runs]
    return ratio(plan, goal.figure, there[0], goal.other) if there and goal.other not in there else None


def _range(plan: Measured | None, goal: Goal) -> tuple[float, float] | None:
    """The least and the greatest of single rounds: the noise of the run."""
    ours = plan.runs.get(goal.server, []) if plan else []
    if len(ours) < 2 or plan is None:
        return None
    if not goal.other:
        found = [run[goal.figure] for run in ours]
    else:
        pairs = zip(ours, plan.runs.get(goal.other, []), strict=False)
        found = [run[goal.figure] / other[goal.figure] for run, other in pairs if other[goal.figure]]
    return (min(found), max(found)) if len(found) > 1 else None


def ratio(plan: Measured | None, figure: str, server: str, other: str) -> float | None:
    """Of the medians of two servers; None where one is missing."""
    ours, others = (plan.median(server, figure), plan.median(other, figure)) if plan else (None, None)
    return ours / others if ours is not None and others else None
