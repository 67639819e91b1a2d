"""A short trial of a server with workers, each of which may die: the promises hold."""

from pathlib import Path

import pytest

from tests.chaos.checker import check
from tests.chaos.trial import hold
from tests.chaos.workers import kill_worker, of_workers

pytestmark = pytest.mark.server


async def test_nothing_is_found_while_workers_are_killed(tmp_path: Path) -> None:
    async with of_workers(tmp_path, "sqlite") as cluster:
        trial = await hold(cluster, kill_worker, seconds=6.0, seed=7)
    report = check(trial.events, durable=True)
    assert report.good, str(report)
    assert trial.done
