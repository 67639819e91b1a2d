"""Clusters to be tried, with all that they stand on: ``with clustered(folder, "redis")``."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.chaos.cluster import Cluster
from tests.chaos.engines import Redis, Sentinels
from tests.chaos.network import Loopback, Network

__all__ = ["clustered"]

_NODES = 3


@contextmanager
def clustered(folder: Path, engine: str, *, namespaces: bool = False, window: float = 12.0) -> Iterator[Cluster]:
    """A cluster that has not begun, and ends with the block. ``engine`` as :mod:`tests.chaos.__main__` names them.

    ``window``: seconds within which a connection of several nodes may be taken up again.
    """
    with ExitStack() as stack:
        if engine in ("memory", "sqlite"):
            cluster = Cluster.of_one(folder, engine)
        else:
            network = stack.enter_context(Network(_NODES)) if namespaces else None
            places = network.places if network is not None else [Loopback()] * _NODES
            host = network.host if network is not None else ""
            fsync = "everysec" if engine == "everysec" else "always"
            made = Sentinels() if engine == "sentinel" else Redis(fsync, host)
            stack.callback(made.close)
            cluster = Cluster.of_many(folder, made, places, window=window)
        stack.callback(cluster.abandon)
        yield cluster
