"""Owns what has been measured so far: a file that is written after every measurement, and that a run goes on from."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from machine import MachineError
from measure import Figures, Load
from plans import Plan
from rounds import medians


@dataclass(slots=True)
class Measured:
    """What is known of one plan: every run of every server, and what failed; ``setup`` is machine and versions."""

    load: dict[str, Any]
    when: str
    setup: dict[str, Any]
    runs: dict[str, list[Figures]] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)

    def rounds(self, server: str) -> int:
        return len(self.runs.get(server, ()))

    def median(self, server: str, figure: str) -> float | None:
        """None where it was not measured."""
        runs = self.runs.get(server)
        return medians(runs).get(figure) if runs else None


class Results:
    """The file, and the plans in it."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.plans: dict[str, Measured] = {}

    def read(self) -> None:
        """Take up what an earlier run has left; raises MachineError where the file is none of ours."""
        try:
            kept = json.loads(self._file.read_text())
            self.plans = {key: Measured(**plan) for key, plan in kept.items()}
        except FileNotFoundError:
            return
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise MachineError(f"{self._file} cannot be read ({error}): delete it") from error

    def forget(self, plans: Iterable[Plan]) -> None:
        for plan in plans:
            self.plans.pop(plan.key, None)

    def forget_what_changed(self, plans: Iterable[Plan]) -> None:
        """What was measured with another load than the plan's is no part of it."""
        known = [plan for plan in plans if plan.key in self.plans]
        # An earlier version of the load client did what now is the default.
        defaults = asdict(Load(mode="", clients=0))
        self.forget([plan for plan in known if {**defaults, **self.plans[plan.key].load} != asdict(plan.load)])

    def of(self, plan: Plan, when: str, setup: Mapping[str, Any]) -> Measured:
        """What is known of ``plan``; begun ``when`` on ``setup`` if nothing is."""
        fresh = Measured(asdict(plan.load), when, dict(setup))
        return self.plans.setdefault(plan.key, fresh)

    def write(self) -> None:
        self._file.parent.mkdir(parents=True, exist_ok=True)
        beside = self._file.with_suffix(".new")
        beside.write_text(json.dumps({key: asdict(plan) for key, plan in self.plans.items()}, indent=1) + "\n")
        beside.replace(self._file)
