"""SIGTERM under load: two hundred clients on all doors, none of which loses anything without a word."""

import signal
from pathlib import Path

import pytest

from tests.chaos.checker import check
from tests.chaos.cluster import Cluster
from tests.chaos.faults import Situation
from tests.chaos.report import Kind
from tests.chaos.trial import hold

pytestmark = pytest.mark.server


@pytest.mark.timeout(240)
async def test_a_deploy_under_load_loses_nothing(tmp_path: Path) -> None:
    codes: list[int] = []

    async def deploy(situation: Situation) -> None:
        for publisher in situation.publishers:
            publisher.every = 1.0
        await situation.pause(0.5, 1.0)
        [node] = situation.cluster.nodes
        codes.append(await node.end(signal.SIGTERM, within=30.0))
        await node.start()

    async with Cluster.of_one(tmp_path, "sqlite") as cluster:
        trial = await hold(cluster, deploy, seconds=60.0, seed=11, each=17)
    report = check(trial.events, durable=True)
    assert report.good, str(report)
    assert codes == [0]
    assert report.facts["epochs"] == 1
    assert report.tried[Kind.STUCK] > 204
