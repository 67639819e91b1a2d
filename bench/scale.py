#!/usr/bin/env python3
"""Measures several nodes on one Redis beside as many C limits, and writes docs/scaling.md: `make scale`.

20 000 clients on four nodes: all in one channel; in channels of ten; one node is killed and its clients come back to
the others. Publishes per second on one, two and four nodes, and what a client that comes and leaves costs the engine.
Cases that are compared are measured in turns, round after round. Every client is checked: what was lost or came twice
fails the case. Servers, Redis and load share the machine's cores, the limits as the nodes do.

    python bench/scale.py                 # 8 minutes at most; use a machine that does nothing else
    python bench/scale.py --quick         # half a minute, not for quoting; the page goes to bench/results/scale
    python bench/scale.py --only rooms    # cases whose key begins so; the others stay on the page as they were
    python bench/scale.py --page-only     # writes the page anew from what is kept

Exit status: 0, 1 when something could not be built or measured, 2 when the machine does not allow it.
"""

import argparse
import json
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from shutil import which
from typing import Any

from build import BUILD, HERE, build, build_limit, build_swarm
from machine import MachineError, allow_descriptors, ran_native, stop_cleanly_on_sigterm, versions
from measure import MeasurementError
from rounds import interleave
from scale_cases import FULL, PROCESSES, QUICK, Case, Effort, cases
from scale_page import write_page

RESULTS = HERE / "results"
PAGE = HERE.parent / "docs" / "scaling.md"
MOST_MINUTES = 7.5


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--quick", action="store_true", help="a few hundred clients, one round; the page goes to bench/results/scale")
    add("--only", default="", metavar="KEYS", help="cases whose keys begin so, divided by commas (all)")
    add("--clients", type=int, default=0, help="how many (20000, quick 400)")
    add("--rounds", type=int, default=0, help="how often each case is measured (2 or 3, quick 1)")
    add("--minutes", type=float, default=MOST_MINUTES, help="begin nothing after so many (%(default)s)")
    add("--results", type=Path, default=None, help="the file of the results (bench/results/scale.json)")
    add("--page", type=Path, default=None, help="where the page goes (docs/scaling.md)")
    add("--page-only", action="store_true", help="measure nothing")
    return parser.parse_args()


def effort_of(options: argparse.Namespace) -> Effort:
    effort = QUICK if options.quick else FULL
    if options.clients:
        effort = replace(effort, clients=options.clients)
    if options.rounds:
        effort = replace(effort, rounds=options.rounds, fewer_rounds=options.rounds)
    return effort


def check_machine(effort: Effort) -> None:
    """Raises MachineError."""
    allow_descriptors(max(effort.clients // PROCESSES, effort.clients // (effort.nodes - 1)))
    if which("redis-server") is None:
        raise MachineError("there is no redis-server (Debian: apt-get install redis-server)")


def read_results(file: Path) -> dict[str, Any]:
    try:
        known: dict[str, Any] = json.loads(file.read_text())
    except FileNotFoundError:
        return {"cases": {}}
    except ValueError as error:
        raise MachineError(f"{file} cannot be read ({error}): delete it") from error
    return known


def measure(effort: Effort, options: argparse.Namespace, results: dict[str, Any], file: Path) -> list[str]:
    """Measure, keeping each figure as it comes; returns what failed."""
    wanted = {
        case: times for case, times in cases(effort).items() if case.key.startswith(tuple(options.only.split(",")))
    }
    for case in wanted:
        results["cases"].pop(case.key, None)
    results |= {
        "when": datetime.now(UTC).isoformat(timespec="minutes"),
        "versions": versions(BUILD),
        "native": ran_native(),
        "quick": options.quick,
        "clients": effort.clients,
        "nodes": effort.nodes,
    }

    def measure_case(case: Case) -> dict[str, float]:
        try:
            figures = case.measure()
        except MeasurementError as error:
            # Told at once, and again in the end: whoever watches may want to stop here.
            print(f"\nFAILED {case}: {error}", file=sys.stderr)
            raise
        results["cases"].setdefault(case.key, []).append(figures)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(results, indent=1) + "\n")
        return figures

    outcome = interleave(wanted, measure_case, 60 * options.minutes)
    missing = [str(case) for case, times in wanted.items() if case not in outcome.errors and not outcome.runs.get(case)]
    if missing:
        print(f"scale: the time was over before: {', '.join(missing)}", file=sys.stderr)
    return [f"{case}: {error}" for case, error in outcome.errors.items()]


def main() -> int:
    options = read_options()
    stop_cleanly_on_sigterm()
    effort = effort_of(options)
    kind = "quick" if options.quick else "full"
    file = options.results or RESULTS / ("scale.json" if kind == "full" else "scale-quick.json")
    page = options.page or (PAGE if kind == "full" else RESULTS / "scale" / "scaling.md")
    failed: list[str] = []
    try:
        results = read_results(file)
        if not options.page_only:
            check_machine(effort)
            problems = build(build_swarm, build_limit)
            if problems:
                print("\n".join(f"build: {problem}" for problem in problems), file=sys.stderr)
                return 1
            failed = measure(effort, options, results, file)
    except MachineError as error:
        print(f"scale: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nscale: interrupted", file=sys.stderr)
        return 130
    for problem in failed:
        print(f"FAILED {problem}", file=sys.stderr)
    for line in write_page(page, results):
        print(line)
    print(f"written: {page}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
