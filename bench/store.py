#!/usr/bin/env python3
"""What history in a file costs: the SQLite engine against memory, history of 100 on and off, in one run.

Appends per second with so many publications waiting at a time; fan-out to 1 000 members through a server; and how long
an append takes while 200 000 old rows are pruned. Everything is measured in turns, round after round.

    python bench/store.py                  # three to four minutes
    python bench/store.py --quick          # half a minute, not for quoting
    python bench/store.py --folder /data   # on the disk that matters; it is that of temporary files unless told

Exit status: 0, 1 when something could not be built, started or measured, 2 when the machine does not allow it.
"""

import argparse
import sqlite3
import sys
import tempfile
from pathlib import Path

from build import BUILD, build, build_wsload
from machine import MachineError, allow_descriptors, default_cores, stop_cleanly_on_sigterm, versions
from measure import Figures, Places
from rounds import interleave, medians
from store_cases import ENGINES, HISTORIES, OLD_CHANNELS, OLD_ROWS, PAYLOAD, PER_SECOND, Appends, FanOut, Pruning

Case = Appends | FanOut | Pruning
WAITING = (1, 10, 100, 1000)
#: Messages in flight, and how many are sent in all.
WINDOWS = {1: 100, 16: 640}
TOLD = ("processor", "linux", "python")


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--folder", type=Path, default=Path(tempfile.gettempdir()), help="where the stores are made")
    add("--rounds", type=int, default=3, help="how often each figure is measured")
    add("--seconds", type=float, default=0.5, help="how long each measurement of appends takes")
    add("--channels", type=int, default=10, help="over how many channels appends go")
    add("--keyed", action="store_true", help="every append has a key of its own")
    add("--quick", action="store_true", help="one short round")
    return parser.parse_args()


def plan(options: argparse.Namespace) -> dict[Case, int]:
    rounds = 1 if options.quick else options.rounds
    seconds = 0.2 if options.quick else options.seconds
    cases: list[Case] = [
        Appends(engine, history, waiting, options.channels, options.keyed, seconds)
        for engine in ENGINES
        for history in HISTORIES
        for waiting in WAITING
    ]
    cases += [
        FanOut(engine, history, window, messages // (5 if options.quick else 1))
        for engine in ("memory", "sqlite")
        for history in HISTORIES
        for window, messages in WINDOWS.items()
    ]
    return dict.fromkeys([*cases, Pruning()], rounds)


def print_appends(found: dict[Case, Figures], options: argparse.Namespace) -> None:
    keys = "with" if options.keyed else "without"
    print(f"\nappends per second, {len(PAYLOAD)} bytes each, {options.channels} channels, {keys} keys")
    print(f"{'engine':<14}{'history':>8}" + "".join(f"{f'{n} waiting':>14}" for n in WAITING))
    for engine in ENGINES:
        for history in HISTORIES:
            rates = [
                figures["appends_per_s"]
                for case, figures in found.items()
                if isinstance(case, Appends) and (case.engine, case.history) == (engine, history)
            ]
            print(f"{engine:<14}{history:>8}" + "".join(f"{rate:>14,.0f}" for rate in rates))


def print_fan_out(found: dict[Case, Figures]) -> None:
    print("\nfan-out to 1 000 members, 100 bytes each")
    print(f"{'engine':<14}{'history':>8}{'in flight':>11}{'CPU µs/delivery':>17}{'x memory':>10}{'p99 ms':>9}")
    for case, figures in found.items():
        if isinstance(case, FanOut):
            memory = found.get(FanOut("memory", case.history, case.window, case.rounds), {})
            cost = figures["cpu_us_per_delivery"]
            ratio = cost / memory["cpu_us_per_delivery"] if memory else float("nan")
            print(
                f"{case.engine:<14}{case.history:>8}{case.window:>11}{cost:>17.2f}{ratio:>10.2f}"
                f"{figures['last_client_ms_p99']:>9.1f}"
            )


def print_pruning(figures: Figures) -> None:
    rows = f"{OLD_ROWS:,} rows of {OLD_CHANNELS} channels"
    print(f"\nan append, {PER_SECOND} a second, while {rows} leave the file ({figures['seconds']:.0f} s)")
    print(f"{'':<14}{'p50 ms':>10}{'p99 ms':>10}{'max ms':>10}")
    for name in ("quiet", "pruning"):
        print(f"{name:<14}" + "".join(f"{figures[f'{name}_{key}_ms']:>10.2f}" for key in ("p50", "p99", "max")))


def main() -> int:
    options = read_options()
    stop_cleanly_on_sigterm()
    try:
        allow_descriptors(1000)
    except MachineError as error:
        print(f"store: {error}", file=sys.stderr)
        return 2
    problems = build(build_wsload)
    server_cores, load_cores = default_cores()
    places = Places(server_cores=server_cores, load_cores=load_cores)
    cases = plan(options)
    outcome = interleave(cases, lambda case: case.measure(options.folder, places))
    problems += [f"{case}: {error}" for case, error in outcome.errors.items()]
    found = {case: medians(outcome.runs[case]) for case in cases if case in outcome.runs}
    on = ", ".join(f"{name} {version}" for name, version in versions(BUILD).items() if name in TOLD)
    print(f"medians of {max(cases.values())} rounds, SQLite {sqlite3.sqlite_version}, {on}")
    print_appends(found, options)
    print_fan_out(found)
    if Pruning() in found:
        print_pruning(found[Pruning()])
    for problem in problems:
        print(f"store: {problem}", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
