#!/usr/bin/env python3
"""What is lost and doubled while nodes are killed: Openline, Socket.IO and python-socketio under the same script.

Each trial has three nodes on a Redis of its own behind HAProxy, eight stock socket.io-clients in four rooms, and two
publishers that number what they say: one whose client says again what was not acknowledged (`retries`), with a key
where the system has such, and one that says nothing twice. A seed decides which nodes get SIGKILL and when, and whose
connection is cut; each seed is played to every system in turn. Results are added to bench/results/kills.jsonl, and a
table is printed.

    python bench/kills.py                # 8 seeds, some 15 minutes
    python bench/kills.py --seeds 1      # to see that it works
    python bench/kills.py --table        # the table of everything that has been measured

Exit status: 0, 1 when Openline lost or doubled something, 2 when something has to be installed first.
"""

import argparse
import asyncio
import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from build import BUILD, HERE, build_for_comparison, build_python_peers
from kills_judge import Counts, judge, judge_lines
from kills_nodes import SYSTEMS, Cluster, clients, missing_programs
from machine import stop_cleanly_on_sigterm

RESULTS = HERE / "results" / "kills.jsonl"
NODES = 3
ROOMS = tuple(f"room:{number}" for number in range(4))
LISTENERS = {f"listener{number}": [ROOMS[number % 4], ROOMS[(number + 1) % 4]] for number in range(8)}
#: By name: how often the client itself says a message again that was not acknowledged.
PUBLISHERS = {"again": 1000, "once": 0}
#: Seconds between two messages of a publisher, without a fault.
EVERY = 0.02
#: Whoever is cut knocks again within 1 to 5 seconds; then nothing more has to come.
QUIET_SECONDS = 3.0
SETTLES_WITHIN_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Deed:
    """One line of the script, so many seconds behind the beginning."""

    at: float
    kind: str
    whom: str


def script(seed: int, seconds: float) -> list[Deed]:
    """What is done, whatever the system: one node is down at a time, for up to a second and the time that it starts."""
    chance = random.Random(seed)
    deeds, at, last = [], chance.uniform(0.5, 1.5), -1
    while at < seconds - 1:
        last = chance.choice([node for node in range(NODES) if node != last])
        down = chance.uniform(0.2, 1.0)
        deeds += [Deed(at, "kill", str(last)), Deed(at + down, "start", str(last))]
        for whom in (chance.choice([*LISTENERS]), chance.choice([*PUBLISHERS])):
            deeds.append(Deed(at + chance.uniform(-0.5, 3.0), "cut", whom))
        at += chance.uniform(2.5, 4.0)
    return sorted(deeds, key=lambda deed: deed.at)


@dataclass(slots=True)
class Trial:
    """What came of one seed at one system."""

    system: str
    seed: int
    kills: int
    cuts: int
    publishers: dict[str, Counts]
    lines: Counts


async def hold(
    system: str,
    seed: int,
    seconds: float,
    node_path: Path,
    *,
    quiet: float = QUIET_SECONDS,
    transports: Sequence[str] = ("websocket",),
) -> Trial:
    """Play the script of ``seed`` to ``system``; ``node_path`` is where the clients are installed."""
    deeds = script(seed, seconds)
    plan = {"listeners": LISTENERS, "publishers": PUBLISHERS, "rooms": ROOMS, "every": EVERY, "transports": transports}
    with tempfile.TemporaryDirectory(prefix="openline-kills-") as name:
        folder = Path(name)
        cluster = Cluster(SYSTEMS[system], NODES, folder)
        async with cluster.running(), clients(cluster.url, plan, node_path, folder / "clients.txt") as its:
            await _until(lambda: its.count("joined") >= sum(map(len, LISTENERS.values())))
            its.tell(begin=True)
            begun = time.monotonic()
            for deed in deeds:
                await asyncio.sleep(begun + deed.at - time.monotonic())
                if deed.kind == "cut":
                    its.tell(cut=deed.whom)
                else:
                    (cluster.kill if deed.kind == "kill" else cluster.start)(int(deed.whom))
            await asyncio.sleep(max(0.0, begun + seconds - time.monotonic()))
            its.tell(stop=True)
            await _until(lambda: its.count("finished") == len(PUBLISHERS))
            # Nobody is away any more, and nothing has come for a while.
            await _until(lambda: _is_everybody_back(its.events) and time.monotonic() - its.heard_at > quiet)
        publishers = {publisher: judge(its.events, publisher) for publisher in PUBLISHERS}
        kills = sum(deed.kind == "kill" for deed in deeds)
        cuts = sum(deed.kind == "cut" for deed in deeds)
        return Trial(system, seed, kills, cuts, publishers, judge_lines(its.events))


def _is_everybody_back(events: Iterable[Any]) -> bool:
    away = dict.fromkeys(LISTENERS, True)
    for event in events:
        if event["what"] in ("cut", "connected"):
            away[event["who"]] = event["what"] == "cut"
    return not any(away[name] for name in LISTENERS)


async def _until(true: Any) -> None:
    async with asyncio.timeout(SETTLES_WITHIN_SECONDS):
        while not true():  # noqa: ASYNC110  of a child's lines and of the clock
            await asyncio.sleep(0.05)


def table(trials: Iterable[Trial]) -> str:
    """What has been found, by system and publisher, in Markdown."""
    heads = ("system", "publisher", "acknowledged", "unknown", "due", "lost", "untold", "doubled", "out of order")
    rows = [heads, ("---",) * len(heads)]
    lines = [("system", "kills", "cuts", "came back", "as who it was", "as somebody new", "median s", "worst s")]
    lines.append(("---",) * len(lines[0]))
    by_system: dict[str, list[Trial]] = {}
    for trial in trials:
        by_system.setdefault(trial.system, []).append(trial)
    for system, its in by_system.items():
        for publisher in PUBLISHERS:
            found = sum((trial.publishers[publisher] for trial in its), Counts())
            lost = found.lost_told + found.lost_untold
            numbers = (found.acknowledged, found.unknown, found.due, lost, found.lost_untold)
            rows.append((system, publisher, *map(str, (*numbers, found.doubled, found.reordered))))
        all_lines = sum((trial.lines for trial in its), Counts())
        away = all_lines.away or [0.0]
        deeds = (sum(trial.kills for trial in its), sum(trial.cuts for trial in its))
        times = (f"{statistics.median(away):.1f}", f"{max(away):.1f}")
        lines.append((system, *map(str, (*deeds, len(all_lines.away), all_lines.recovered, all_lines.anew)), *times))
    return "\n".join(f"| {' | '.join(row)} |" if row else "" for row in [*rows, (), *lines])


def _read(path: Path) -> list[Trial]:
    trials = [Trial(**json.loads(line)) for line in path.read_text().splitlines()] if path.exists() else []
    for trial in trials:
        trial.publishers = {name: Counts(**found) for name, found in dict(trial.publishers).items()}  # type: ignore[arg-type]
        trial.lines = Counts(**trial.lines)  # type: ignore[arg-type]
    return trials


def is_bad(trial: Trial) -> bool:
    """Whether it broke what Openline promises."""
    return trial.system == "openline" and any(
        found.lost_untold or found.lost_told or found.doubled or found.reordered for found in trial.publishers.values()
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=8, help="how many")
    parser.add_argument("--first", type=int, default=1, help="the first of them")
    parser.add_argument("--seconds", type=float, default=20.0, help="how long a script lasts")
    parser.add_argument("--systems", default=",".join(SYSTEMS))
    parser.add_argument(
        "--transports",
        default="websocket",
        help="polling, or polling,websocket: for openline, which needs no stickiness",
    )
    parser.add_argument("--table", action="store_true", help="measure nothing")
    options = parser.parse_args()
    if options.table:
        print(table(_read(RESULTS)))
        return 0
    stop_cleanly_on_sigterm()
    missing = missing_programs()
    if missing or not (build_for_comparison() and build_python_peers()):
        print("".join(f"kills: there is no {each}\n" for each in missing), end="", file=sys.stderr)
        return 2
    RESULTS.parent.mkdir(exist_ok=True)
    trials = []
    for seed in range(options.first, options.first + options.seeds):
        for system in options.systems.split(","):
            transports = options.transports.split(",")
            trial = asyncio.run(hold(system, seed, options.seconds, BUILD / "node_modules", transports=transports))
            with RESULTS.open("a") as results:
                results.write(json.dumps(asdict(trial)) + "\n")
            trials.append(trial)
            print(f"seed {seed}\n{table([trial])}", flush=True)
    print(f"\n{table(trials)}")
    return int(any(map(is_bad, trials)))


if __name__ == "__main__":
    sys.exit(main())
