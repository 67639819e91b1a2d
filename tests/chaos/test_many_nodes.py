"""Three nodes on one Redis, that are killed, stopped and started anew, in short: ``make chaos`` is the long version."""

from collections.abc import Iterator

import pytest

from tests.chaos.cluster import Cluster
from tests.chaos.report import Kind
from tests.chaos.short import begun, try_out

pytestmark = [pytest.mark.server, pytest.mark.redis, pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with begun(tmp_path_factory.mktemp("nodes"), "redis") as cluster:
        yield cluster


@pytest.mark.parametrize(("fault", "seed"), [("kill", 1), ("freeze", 2), ("stand-still", 3)])
async def test_everybody_has_everything_whatever_happens_to_a_node(cluster: Cluster, fault: str, seed: int) -> None:
    await try_out(cluster, fault, seed)


async def test_a_rolling_restart_loses_nothing_and_everybody_ends_once(cluster: Cluster) -> None:
    _, report = await try_out(cluster, "roll", 4, 3, ends_within=30.0)
    assert report.facts["epochs"] == 1
    assert report.tried[Kind.NEVER_ENDED]
