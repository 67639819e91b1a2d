"""``make chaos``: every fault, so many trials of so many seconds each, and a table of what was found.

Seeds are printed: ``SEED=`` runs one of them again. Engines: ``memory`` and ``sqlite`` in one node; between three,
``redis`` (each write on disk before it is answered), ``everysec`` (a disk that is a second behind), ``sentinel`` (two
that a Sentinel watches). A trial that ends in an error is printed, counts as found, and the others go on.
"""

import argparse
import asyncio
import shutil
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path

from tests.chaos.checker import check
from tests.chaos.cluster import Cluster
from tests.chaos.cluster_faults import CLUSTER_FAULTS, SETTINGS
from tests.chaos.clustered import clustered
from tests.chaos.events import write
from tests.chaos.faults import FAULTS
from tests.chaos.report import Kind, Report, added
from tests.chaos.trial import Trial, hold

ENGINES = ("memory", "sqlite", "redis", "everysec", "sentinel")
ALL_FAULTS = FAULTS | CLUSTER_FAULTS
#: How much later than everybody handlers of disconnect have run at last.
_ENDS_WITHIN = 45.0
#: How much longer than its fault a trial takes at most: whatever is stuck for so long is found.
_MOST_SECONDS = 240.0


async def _hold(cluster: Cluster, fault: str, told: argparse.Namespace, seed: int) -> Trial:
    async with cluster, asyncio.timeout(told.seconds + _MOST_SECONDS):
        ends = _ENDS_WITHIN if len(cluster.nodes) > 1 else None
        return await hold(cluster, ALL_FAULTS[fault], seconds=told.seconds, seed=seed, each=told.each, ends_within=ends)


def run(engine: str, fault: str, told: argparse.Namespace, seed: int) -> tuple[Report, Trial]:
    """One trial in a folder of its own, which stays where something was found."""
    folder = Path(tempfile.mkdtemp(prefix="openline-chaos-"))
    setting = SETTINGS[fault]
    try:
        with clustered(folder, engine, namespaces=setting.namespaces) as cluster:
            trial = asyncio.run(_hold(cluster, fault, told, seed))
            durable = cluster.engine.durable
    except Exception:
        traceback.print_exc()
        report, trial = Report(), Trial([])
        report.find(Kind.STUCK, f"the trial of {engine}, {fault}, seed {seed} ended in an error; see {folder}")
        return report, trial
    report = check(trial.events, durable=durable and setting.durable, ghost_seconds=setting.ghost_seconds)
    if report.good:
        shutil.rmtree(folder)
    else:
        write(trial.events, folder / "history.jsonl")
        print(f"  the history is in {folder}", flush=True)
    return report, trial


def main() -> int:
    """Run what the command line asks for; 1 where something was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--trials", type=int, default=3)
    parser.add_argument("--seed", type=int, default=None, help="of the first trial; at random unless told")
    parser.add_argument("--each", type=int, default=2, help="clients per door and tenant")
    parser.add_argument("--engines", default=",".join(ENGINES))
    parser.add_argument("--faults", default=",".join(ALL_FAULTS), help="those that fit the engine are tried")
    told = parser.parse_args()
    if {"redis", "everysec", "sentinel"} & set(told.engines.split(",")) and shutil.which("redis-server") is None:
        print("redis-server is not there (Debian, as root: apt-get install redis-server): try ENGINES=memory,sqlite")
        return 2
    first = int(time.time()) if told.seed is None else told.seed
    reports: list[Report] = []
    rows: list[str] = []
    for engine in told.engines.split(","):
        for fault in told.faults.split(","):
            if engine not in SETTINGS[fault].engines:
                continue
            own: list[Report] = []
            done: Counter[str] = Counter()
            slowest = 0.0
            for seed in range(first, first + told.trials):
                report, trial = run(engine, fault, told, seed)
                said = "nothing found" if report.good else ", ".join(sorted(report.kinds))
                print(f"{engine} {fault} seed {seed}: {dict(trial.done)}; {said}", flush=True)
                for line in () if report.good else report.lines()[-12:]:
                    print(f"    {line}", flush=True)
                own.append(report)
                done += trial.done
                slowest = max(slowest, trial.slowest)
            rows.append(_row(engine, fault, done, added(own), slowest))
            reports += own
    print(
        "\n| engine | fault | done | found / deliveries | found / acknowledged | told of a break | unknown | slowest |"
    )
    print("|---|---|---|---|---|---|---|---|")
    print("\n".join(rows))
    everything = added(reports)
    print("\n" + str(everything))
    return 0 if everything.good else 1


def _row(engine: str, fault: str, done: Counter[str], report: Report, slowest: float) -> str:
    deeds = ", ".join(f"{count} {name}" for name, count in sorted(done.items()))
    bad = sum(count for kind, count in report.found.items() if kind is not Kind.ACKED_LOSS)
    heard = f"{bad} / {report.tried[Kind.UNSIGNALLED_LOSS]}"
    kept = f"{report.found[Kind.ACKED_LOSS]} / {report.tried[Kind.ACKED_LOSS]}"
    told = report.facts["told of a break"]
    return f"| {engine} | {fault} | {deeds} | {heard} | {kept} | {told} | {report.unknown_rate:.2%} | {slowest:.1f} s |"


if __name__ == "__main__":
    sys.exit(main())
