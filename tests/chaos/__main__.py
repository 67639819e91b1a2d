"""``make chaos``: every fault, so many trials of so many seconds each, and a table of what was found.

Seeds are printed: ``SEED=`` runs one of them again.
"""

import argparse
import asyncio
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.chaos.checker import check
from tests.chaos.cluster import Cluster
from tests.chaos.events import write
from tests.chaos.faults import FAULTS
from tests.chaos.report import Kind, Report, added
from tests.chaos.trial import hold

ENGINES = ("memory", "sqlite")


async def run(engine: str, fault: str, seconds: float, seed: int, each: int) -> tuple[Report, Counter[str]]:
    """One trial in a folder of its own, which stays where something was found."""
    folder = Path(tempfile.mkdtemp(prefix="openline-chaos-"))
    async with Cluster.of_one(folder, engine) as cluster:
        trial = await hold(cluster, FAULTS[fault], seconds=seconds, seed=seed, each=each)
    report = check(trial.events, durable=cluster.engine.durable)
    if report.good:
        shutil.rmtree(folder)
    else:
        write(trial.events, folder / "history.jsonl")
        print(f"  the history is in {folder}", flush=True)
    return report, trial.done


def main() -> int:
    """Run what the command line asks for; 1 where something was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--trials", type=int, default=3)
    parser.add_argument("--seed", type=int, default=None, help="of the first trial; at random unless told")
    parser.add_argument("--each", type=int, default=2, help="clients per door and tenant")
    parser.add_argument("--engines", default=",".join(ENGINES))
    parser.add_argument("--faults", default=",".join(FAULTS))
    told = parser.parse_args()
    first = int(time.time()) if told.seed is None else told.seed
    reports: list[Report] = []
    rows: list[str] = []
    for engine in told.engines.split(","):
        for fault in told.faults.split(","):
            own: list[Report] = []
            done: Counter[str] = Counter()
            for trial in range(told.trials):
                seed = first + trial
                report, faults = asyncio.run(run(engine, fault, told.seconds, seed, told.each))
                said = "nothing found" if report.good else ", ".join(sorted(report.kinds))
                print(f"{engine} {fault} seed {seed}: {dict(faults)}; {said}", flush=True)
                own.append(report)
                done += faults
            total = added(own)
            rows.append(_row(engine, fault, done, total))
            reports += own
    print("\n| engine | fault | done | found / deliveries | found / acknowledged | told of a break | unknown |")
    print("|---|---|---|---|---|---|---|")
    print("\n".join(rows))
    everything = added(reports)
    print("\n" + str(everything))
    return 0 if everything.good else 1


def _row(engine: str, fault: str, done: Counter[str], report: Report) -> str:
    deeds = ", ".join(f"{count} {name}" for name, count in sorted(done.items()))
    bad = sum(count for kind, count in report.found.items() if kind is not Kind.ACKED_LOSS)
    heard = f"{bad} / {report.tried[Kind.UNSIGNALLED_LOSS]}"
    kept = f"{report.found[Kind.ACKED_LOSS]} / {report.tried[Kind.ACKED_LOSS]}"
    told = report.facts["told of a break"]
    return f"| {engine} | {fault} | {deeds} | {heard} | {kept} | {told} | {report.unknown_rate:.2%} |"


if __name__ == "__main__":
    sys.exit(main())
