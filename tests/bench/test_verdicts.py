"""What the page of benchmarks says of a goal: reached, missed, or missed by the C limit too."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

BENCH = Path(__file__).resolve().parents[2] / "bench"


@pytest.fixture(autouse=True)
def modules() -> Iterator[None]:
    sys.path.insert(0, str(BENCH))
    yield
    sys.path.remove(str(BENCH))


def word_and_limit(figure: str, at: str, bound: float, *, other: str = "ws", **medians: float) -> tuple[str, str]:
    from measure import Load
    from plans import Goal, Plan, Row
    from results import Measured
    from verdicts import verdicts

    setup: dict[str, Any] = {"versions": {}, "native": True, "quick": False}
    measured = Measured({}, "today", setup, {name: [{figure: value}] for name, value in medians.items()})
    plan = Plan("some", "some load", Load(mode="fanout", clients=10), dict.fromkeys(medians, 1))
    goal = Goal(text="some figure", plan="some", figure=figure, bound=bound, at=at, other=other)  # type: ignore[arg-type]
    (verdict,) = verdicts(Row("some", "Some", "", (plan,), (goal,)), {"some": measured})
    return verdict.word, verdict.limit_shown


def test_a_goal_that_the_limit_has_not_reached_either_is_said_to_be_one() -> None:
    cpu = "cpu_us_per_delivery"
    assert word_and_limit(cpu, "most", 0.45, limit=5.0, openline=4.0, ws=10.0) == ("reached", "0.50")
    assert word_and_limit(cpu, "most", 0.45, limit=5.0, openline=5.0, ws=10.0) == ("missed by the limit too", "0.50")
    assert word_and_limit(cpu, "most", 0.45, limit=4.0, openline=5.0, ws=10.0) == ("missed", "0.40")
    rate = "deliveries_per_s"
    assert word_and_limit(rate, "least", 2, limit=2.4, openline=1.9, ws=1.0) == ("missed", "2.40")
    assert word_and_limit(rate, "least", 2, limit=1.7, openline=1.6, ws=1.0) == ("missed by the limit too", "1.70")
    assert word_and_limit(rate, "least", 15, limit_corked=20.0, openline=15.0, ws=1.0) == ("reached", "20.00")


def test_against_the_limit_or_without_one_a_goal_is_reached_or_missed() -> None:
    cpu = "cpu_us_per_delivery"
    assert word_and_limit(cpu, "most", 1.1, other="limit", limit=5.0, openline=6.0) == ("missed", "")
    assert word_and_limit(cpu, "most", 0.06, openline=0.63, ws=10.0) == ("missed", "")
    assert word_and_limit(cpu, "most", 0.06, openline=0.6, ws=10.0) == ("reached", "")
    assert word_and_limit(cpu, "most", 1.1, openline=6.0) == ("not measured", "")
