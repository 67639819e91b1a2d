"""Three nodes, and faults of the Redis between them, in short: ``make chaos`` is the long version."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.cluster import Cluster
from tests.chaos.clustered import clustered
from tests.chaos.short import begun, try_out

pytestmark = [pytest.mark.server, pytest.mark.redis, pytest.mark.timeout(240)]
#: A publish that Redis does not answer fails within 5 s; on a busy machine that takes a moment more.
ANSWERED_WITHIN = 7.0


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with begun(tmp_path_factory.mktemp("engine"), "redis") as cluster:
        yield cluster


async def test_a_redis_that_is_killed_comes_back_with_everything(cluster: Cluster) -> None:
    _, report = await try_out(cluster, "kill-engine", 1)
    assert report.facts["epochs"] == 1


async def test_a_redis_that_stands_still_makes_nobody_wait_or_miss_or_end(cluster: Cluster) -> None:
    trial, report = await try_out(cluster, "freeze-engine", 2)
    assert report.facts["epochs"] == 1
    assert trial.slowest < ANSWERED_WITHIN


async def test_everybody_is_told_when_everything_is_deleted(cluster: Cluster) -> None:
    _, report = await try_out(cluster, "flush", 3)
    assert report.facts["epochs"] == 2


async def test_a_failover_loses_nothing_without_a_word(tmp_path: Path) -> None:
    with clustered(tmp_path, "sentinel") as cluster:
        await cluster.begin()
        await try_out(cluster, "fail-over", 4)
