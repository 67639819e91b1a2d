"""Three nodes, each in a network of its own, that are cut off without a word: from Redis, or from their clients.

Needs root, ``iproute2`` and ``nftables``; where namespaces are refused these tests fail and say so.
"""

from collections.abc import Iterator

import pytest

from tests.chaos.cluster import Cluster
from tests.chaos.short import begun, try_out

pytestmark = [pytest.mark.server, pytest.mark.redis, pytest.mark.netns, pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with begun(tmp_path_factory.mktemp("parted"), "redis", namespaces=True) as cluster:
        yield cluster


@pytest.mark.parametrize(("fault", "seed"), [("part-from-engine", 1), ("part-from-clients", 2)])
async def test_everybody_has_everything_whoever_is_cut_off(cluster: Cluster, fault: str, seed: int) -> None:
    await try_out(cluster, fault, seed)
