"""A fault in short, as the test suite tries it: a few deeds, and everybody has everything, or was told."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.chaos.checker import check
from tests.chaos.cluster import Cluster
from tests.chaos.cluster_faults import CLUSTER_FAULTS, SETTINGS, times
from tests.chaos.clustered import clustered
from tests.chaos.faults import FAULTS
from tests.chaos.report import Kind, Report
from tests.chaos.trial import Trial, hold

__all__ = ["begun", "try_out"]

#: What no fault takes longer than, on a machine that has other things to do.
_MOST_SECONDS = 60.0
#: How much longer than by itself everything may take there.
_BUSY_SECONDS = 10.0
#: How long a connection may be taken up again, so that one can wait for the end of all.
_WINDOW_SECONDS = 6.0


@contextmanager
def begun(folder: Path, engine: str, *, namespaces: bool = False) -> Iterator[Cluster]:
    """A cluster that serves, for a fixture of a module."""
    with clustered(folder, engine, namespaces=namespaces, window=_WINDOW_SECONDS) as cluster:
        asyncio.run(cluster.begin())
        yield cluster


async def try_out(
    cluster: Cluster, fault: str, seed: int, deeds: int = 1, *, ends_within: float | None = None
) -> tuple[Trial, Report]:
    """What became of it; fails where something was found, or too little was tried."""
    setting = SETTINGS[fault]
    doing = times(deeds, (FAULTS | CLUSTER_FAULTS)[fault])
    trial = await hold(cluster, doing, seconds=_MOST_SECONDS, seed=seed, ends_within=ends_within)
    durable = cluster.engine.durable and setting.durable
    report = check(trial.events, durable=durable, ghost_seconds=setting.ghost_seconds + _BUSY_SECONDS)
    assert report.good, str(report)
    assert trial.done.total() - trial.done["cuts"] >= deeds
    for kind in (Kind.UNSIGNALLED_LOSS, Kind.ACKED_LOSS, Kind.DUP, Kind.LEAK):
        assert report.tried[kind], str(report)
    return trial, report
