"""Owns the comparison of what was measured with what is to be reached."""

from collections.abc import Mapping
from dataclasses import dataclass

from plans import Goal, Row
from results import Measured

NAMES = {
    "limit": "the C limit",
    "limit_corked": "the corked C limit",
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
    """A goal and what came of it; ``got`` is None where something is not measured, ``spread`` that of single rounds."""

    goal: Goal
    got: float | None
    spread: tuple[float, float] | None = None

    @property
    def reached(self) -> bool | None:
        if self.got is None:
            return None
        # As it is shown: a figure that reads like the goal has reached it.
        shown = round(self.got, 2)
        return shown <= self.goal.bound if self.goal.at == "most" else shown >= self.goal.bound

    @property
    def word(self) -> str:
        return {True: "reached", False: "missed", None: "not measured"}[self.reached]

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
        text = f"**{self.got:.3f}**" if self.got < 0.1 else f"**{self.got:.2f}**"
        return f"{text} ({self.spread[0]:.2f} to {self.spread[1]:.2f})" if self.spread else text


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
    return Verdict(goal, ours / others, _range(plan, goal) if plan is other else None)


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
