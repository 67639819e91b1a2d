"""One node under faults, in short: ``make chaos`` is the long version."""

from pathlib import Path

import pytest

from tests.chaos.checker import check
from tests.chaos.cluster import Cluster
from tests.chaos.cluster_faults import times
from tests.chaos.faults import FAULTS
from tests.chaos.report import Kind
from tests.chaos.trial import hold

pytestmark = pytest.mark.server


@pytest.mark.parametrize("engine", ["memory", "sqlite"])
async def test_everybody_has_everything_or_was_told_whatever_happens(tmp_path: Path, engine: str) -> None:
    async with Cluster.of_one(tmp_path, engine) as cluster:
        trial = await hold(cluster, times(1, FAULTS["everything"]), seconds=40.0, seed=7)
    report = check(trial.events, durable=cluster.engine.durable)
    assert report.good, str(report)
    assert trial.done["cuts"]
    assert trial.done["kills"] + trial.done["freezes"] + trial.done["slow"]
    for kind in (Kind.UNSIGNALLED_LOSS, Kind.ACKED_LOSS, Kind.DUP, Kind.LEAK):
        assert report.tried[kind], str(report)
