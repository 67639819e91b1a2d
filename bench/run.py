#!/usr/bin/env python3
"""Measures Openline against its goals and its peers, side by side, and writes docs/benchmarks.md: `make bench`.

Every case is measured in turns, round after round, so that a machine whose speed drifts treats all alike. What has
been measured is kept in bench/results as it comes: an interrupted run goes on with --resume, and a run of some rows
leaves the others on the page as they were.

    python bench/run.py                       # everything: at most 40 minutes; use a machine that does nothing else
    python bench/run.py --rows fanout,echo    # some rows; a wrong name prints which there are
    python bench/run.py --resume              # what an interrupted run has left over
    python bench/run.py --resume --rounds 9   # more rounds, beside those that are there: for a noisy machine
    python bench/run.py --quick               # one short round of each, at most 6 minutes, not for quoting
    python bench/run.py --page-only           # writes the page anew from what is kept

Exit status: 0 also where goals are missed, 1 when something could not be built, started or measured, 2 when the machine
does not allow it.
"""

import argparse
import sys
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from build import BUILD, HERE, build_for_comparison, build_python_peers, can_measure
from machine import (
    MachineError,
    allow_descriptors,
    core_set,
    default_cores,
    ran_native,
    stop_cleanly_on_sigterm,
    versions,
)
from measure import Figures, Places, measure
from page import verdict_lines, write_page
from plans import FULL, QUICK, Plan, Row
from results import Results
from rounds import interleave
from rows import rows, rows_named
from servers import KNOWN

RESULTS = HERE / "results"
PAGE = HERE.parent / "docs" / "benchmarks.md"
MOST_MINUTES = 40.0
MOST_MINUTES_QUICK = 6.0


@dataclass(frozen=True, slots=True)
class Case:
    plan: Plan
    server: str

    def __str__(self) -> str:
        return f"{self.plan.title}: {self.server}"

    def __hash__(self) -> int:
        return hash((self.plan.key, self.server))


def read_options() -> argparse.Namespace:
    server_cores, load_cores = default_cores()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--rows", default="", metavar="NAMES", help="which rows, divided by commas (all)")
    add("--quick", action="store_true", help="one short round, smaller sizes; the page goes to bench/results")
    add("--resume", action="store_true", help="keep what an earlier run has measured, and go on")
    add("--page-only", action="store_true", help="measure nothing")
    add("--rounds", type=int, default=0, metavar="N", help="of those that goals are close to (5; 3 of large loads)")
    add("--minutes", type=float, default=0.0, help="begin nothing after so many (40, quick 6)")
    add("--server-cores", default=server_cores, help="cores of the server under test (%(default)s)")
    add("--load-cores", default=load_cores, help="cores of the load client (%(default)s)")
    return parser.parse_args()


def measure_rows(wanted: tuple[Row, ...], results: Results, options: argparse.Namespace) -> list[str]:
    """Measure what is missing, keeping each figure as it comes; returns what failed."""
    places = Places(server_cores=options.server_cores, load_cores=options.load_cores)
    setup = {"versions": versions(BUILD), "native": ran_native(), "quick": options.quick}
    when = datetime.now(UTC).isoformat(timespec="minutes")
    cases = {
        Case(plan, server): repeat - (results.plans[plan.key].rounds(server) if plan.key in results.plans else 0)
        for row in wanted
        for plan in row.plans
        for server, repeat in plan.servers.items()
    }

    def measure_case(case: Case) -> Figures:
        figures = measure(KNOWN[case.server], case.plan.load, places)
        known = results.of(case.plan, when, setup)
        known.runs.setdefault(case.server, []).append(figures)
        known.errors.pop(case.server, None)
        results.write()
        return figures

    minutes = options.minutes or (MOST_MINUTES_QUICK if options.quick else MOST_MINUTES)
    outcome = interleave({case: count for case, count in cases.items() if count > 0}, measure_case, 60 * minutes)
    for case, error in outcome.errors.items():
        results.of(case.plan, when, setup).errors[case.server] = error
    results.write()
    return [f"{case}: {error}" for case, error in outcome.errors.items()]


def prepare(options: argparse.Namespace, wanted: tuple[Row, ...], results: Results) -> None:
    """Raises MachineError."""
    for cores in (options.server_cores, options.load_cores):
        core_set(cores)
    allow_descriptors(max(plan.load.clients for row in wanted for plan in row.plans))
    results.read()
    plans = [plan for row in wanted for plan in row.plans]
    if options.resume or options.page_only:
        results.forget_what_changed(plans)
    else:
        results.forget(plans)


def main() -> int:
    options = read_options()
    stop_cleanly_on_sigterm()
    effort = QUICK if options.quick else FULL
    if options.rounds:
        effort = replace(effort, close=options.rounds, large=options.rounds)
    results = Results(RESULTS / ("quick.json" if options.quick else "full.json"))
    page: Path = RESULTS / "quick.md" if options.quick else PAGE
    try:
        wanted = rows_named(options.rows, effort)
        prepare(options, wanted, results)
    except MachineError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    failed: list[str] = []
    if not options.page_only:
        if not build_for_comparison() and not can_measure():
            return 1
        build_python_peers()
        try:
            failed = measure_rows(wanted, results, options)
        except KeyboardInterrupt:
            print("\nbench: interrupted; RESUME=1 goes on from here", file=sys.stderr)
            return 130
    write_page(page, rows(effort), results)
    print("\n".join(verdict_lines(wanted, results)))
    for problem in failed:
        print(f"FAILED {problem}", file=sys.stderr)
    print(f"written: {page}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
