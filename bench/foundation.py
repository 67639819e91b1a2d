#!/usr/bin/env python3
"""Prints the two figures that Openline's foundation stands on, against its peers, in one run on this machine.

Fan-out to 1 000 members, one message in flight and sixteen: CPU per delivery, as a ratio to the C loop `limit` and to
ws on Node. And 5 000 idle connections, each subscribed to one channel: memory per connection. bench/README.md says
what the figures mean.

    python bench/foundation.py                 # three to four minutes
    python bench/foundation.py --quick         # twenty seconds, not for quoting
    python bench/foundation.py --json FILE     # the same figures, every run of them, for a program

Exit status: 0, 1 when something could not be built, started or measured, 2 when the machine does not allow it.
"""

import argparse
import json
import shlex
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from build import BUILD, build_for_comparison, can_measure
from foundation_report import Report, Section, print_report, report_as_json
from machine import (
    MachineError,
    allow_descriptors,
    core_set,
    default_cores,
    ran_native,
    stop_cleanly_on_sigterm,
    versions,
)
from measure import Figures, Load, Places, measure
from rounds import in_order, interleave
from servers import KNOWN


@dataclass(frozen=True, slots=True)
class Plan:
    """A section of the report: what is done to which servers, the first of which is the reference."""

    title: str
    load: Load
    servers: tuple[str, ...]
    repeat: int


@dataclass(frozen=True, slots=True)
class Case:
    plan: Plan
    server: str

    def __str__(self) -> str:
        return f"{self.plan.title}: {self.server}"


def plans(*, quick: bool) -> tuple[Plan, ...]:
    members, idle = 1000, 1000 if quick else 5000
    repeat, idle_repeat, seconds = (1, 1, 0.5) if quick else (7, 3, 2.0)
    one = Load(mode="fanout", clients=members, window=1, seconds=seconds)
    sixteen = Load(mode="fanout", clients=members, window=16, seconds=seconds)
    return (
        Plan(f"fan-out to {members:,} members, 1 in flight", one, ("limit", "openline", "ws"), repeat),
        Plan(f"fan-out to {members:,} members, 16 in flight", sixteen, ("limit_corked", "openline", "ws"), repeat),
        Plan(f"{idle:,} idle connections", Load(mode="idle", clients=idle, hold=1.0), ("openline", "ws"), idle_repeat),
    )


def measure_all(plans: tuple[Plan, ...], places: Places) -> tuple[list[Section], list[str]]:
    """The sections, and what failed, all measured in turns."""
    cases = {Case(plan, server): plan.repeat for plan in plans for server in plan.servers}

    def measure_case(case: Case) -> Figures:
        return measure(KNOWN[case.server], case.plan.load, places)

    outcome = interleave(cases, measure_case)
    sections = []
    for plan in plans:
        runs = in_order([case for case in cases if case.plan is plan], outcome)
        by_server = {case.server: figures for case, figures in runs.items()}
        sections.append(Section(plan.title, plan.load, plan.servers[0], by_server))
    return sections, [f"{case}: {error}" for case, error in outcome.errors.items()]


def read_options() -> argparse.Namespace:
    server_cores, load_cores = default_cores()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one short run of each: to see that it works")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures, every run of them")
    parser.add_argument("--server-cores", default=server_cores, help="cores of the server under test (%(default)s)")
    parser.add_argument("--load-cores", default=load_cores, help="cores of the load client (%(default)s)")
    return parser.parse_args()


def check_machine(options: argparse.Namespace, wanted: tuple[Plan, ...]) -> None:
    core_set(options.server_cores)
    core_set(options.load_cores)
    allow_descriptors(max(plan.load.clients for plan in wanted))
    if options.json and not options.json.absolute().parent.is_dir():
        raise MachineError(f"there is no folder for {options.json}")


def run(options: argparse.Namespace, wanted: tuple[Plan, ...]) -> Report:
    began, when = time.monotonic(), datetime.now(UTC)
    places = Places(server_cores=options.server_cores, load_cores=options.load_cores)
    sections, errors = measure_all(wanted, places)
    return Report(
        sections=sections,
        problems=errors,
        native=ran_native(),
        quick=options.quick,
        when=when.isoformat(timespec="seconds"),
        took_seconds=time.monotonic() - began,
        versions=versions(BUILD),
        server_cores=options.server_cores,
        load_cores=options.load_cores,
        command=shlex.join(["python", "bench/foundation.py", *sys.argv[1:]]),
    )


def main() -> int:
    options = read_options()
    stop_cleanly_on_sigterm()
    wanted = plans(quick=options.quick)
    try:
        check_machine(options, wanted)
    except MachineError as error:
        print(f"foundation: {error}", file=sys.stderr)
        return 2
    if not build_for_comparison() and not can_measure():
        return 1
    report = run(options, wanted)
    print_report(report)
    if options.json:
        options.json.write_text(json.dumps(report_as_json(report), indent=2) + "\n")
    return 1 if report.problems else 0


if __name__ == "__main__":
    sys.exit(main())
