#!/usr/bin/env python3
"""Prints what a client that stops reading costs its server, and the others: memory, and the time of a message.

200 members of one channel get 100 000 messages of 1 KB each, with and without one more member that has stopped
reading, in turns. It gives its line up every second, comes back as the same connection, and goes on not reading. In a
channel without history, in one that keeps 100, and in one where slow members get only the latest of each subject.

    python bench/slow_client.py                # some six minutes
    python bench/slow_client.py --quick        # half a minute, not for quoting

The figures: how much the server's memory (VmHWM) grew at most, from the moment that all the others were in; and the
time from sending a message to its arrival at the last of the others. Of several rounds the quietest counts, because
what disturbs only adds: the greatest growth, the least CPU, p50 and p99. Exit status: 0, 1 when something could not be
built or measured, 2 when the machine does not allow it.
"""

import argparse
import shlex
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from build import BUILD, BuildError, build_wsload
from machine import (
    MachineError,
    allow_descriptors,
    core_set,
    default_cores,
    ran_native,
    seconds_as_text,
    stop_cleanly_on_sigterm,
)
from measure import Figures, Load, MeasurementError, Places, measure
from rounds import interleave
from servers import Server, openline_member
from stalled import StalledClient

COMMAND = "{this_python} {peers}/openline_patient_server.py {port}"
MEMBERS = 200
MOST_GROWTH_KB = 4096
MOST_RATIO = 2.0
#: The members wait so long before the first message; until then the one that stops reading has to be in.
HOLD_SECONDS = 2.0
CHANNELS: Mapping[str, str] = {"no history": "bench:all", "history of 100": "kept:all", "the latest": "latest:all"}


@dataclass(frozen=True, slots=True)
class Case:
    kind: str
    stalled: bool

    def __str__(self) -> str:
        return f"{self.kind}, {'with' if self.stalled else 'without'} a client that does not read"


class Memory:
    """What a process holds."""

    def __init__(self, pid: int) -> None:
        self._folder = Path(f"/proc/{pid}")

    @property
    def descriptors(self) -> int:
        return len(list((self._folder / "fd").iterdir()))

    def begin_peak(self) -> int:
        """Let the peak begin here; the KB that are held now."""
        (self._folder / "clear_refs").write_text("5")
        return self._kb("VmRSS")

    @property
    def peak(self) -> int:
        return self._kb("VmHWM")

    def _kb(self, name: str) -> int:
        for line in (self._folder / "status").read_text().splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1])
        raise MeasurementError(f"the system does not tell {name}")


class Watch(threading.Thread):
    """Beside the load client: waits until it has opened all members, then lets the one come that stops reading."""

    def __init__(self, memory: Memory, client: StalledClient | None) -> None:
        super().__init__(daemon=True)
        self._memory = memory
        self._client = client
        self._full = memory.descriptors + MEMBERS
        self.stopped = threading.Event()
        #: KB that the server held when the members were in; 0 until then.
        self.before = 0

    def run(self) -> None:
        while self._memory.descriptors < self._full:
            if self.stopped.wait(0.01):
                return
        self.before = self._memory.begin_peak()
        if self._client is not None:
            self._client.stall_until(self.stopped)


@contextmanager
def watching(case: Case, port: int, pid: int) -> Iterator[Figures]:
    """Adds ``growth_kb``, and how often the client that stops reading ``came``."""
    memory, figures = Memory(pid), dict[str, float]()
    client = StalledClient(port, CHANNELS[case.kind]) if case.stalled else None
    watch = Watch(memory, client)
    watch.start()
    try:
        yield figures
        figures["growth_kb"] = memory.peak - watch.before
    finally:
        watch.stopped.set()
        watch.join()
    if not watch.before or (client is not None and not client.came):
        raise MeasurementError("the members were not in in time")
    figures["came"] = 0 if client is None else client.came


def measure_case(case: Case, load: Load, places: Places) -> Figures:
    server = Server("openline", COMMAND, openline_member(CHANNELS[case.kind]))
    return measure(server, load, places, partial(watching, case))


def summary(runs: list[Figures]) -> Figures:
    return {
        "growth_kb": max(run["growth_kb"] for run in runs),
        "p50": min(run["last_client_ms_p50"] for run in runs),
        "p99": min(run["last_client_ms_p99"] for run in runs),
        "cpu_us": min(run["cpu_us_per_delivery"] for run in runs),
        "worst_p99": max(run["last_client_ms_p99"] for run in runs),
        "messages_per_s": max(run["deliveries_per_s"] for run in runs) / MEMBERS,
        "came": min(run["came"] for run in runs),
    }


def report(kind: str, without: list[Figures], with_it: list[Figures]) -> None:
    print(f"{kind}: {MEMBERS} members, messages of 1 KB, {len(with_it)} rounds")
    titles = ("memory KB", "CPU µs/delivery", "p50 ms", "p99 ms", "worst p99", "messages/s", "came")
    print(f"  {'':31}" + "".join(f"{title:>{len(title) + 2}}" for title in titles))
    for title, runs in (("without one that does not read", without), ("with one that does not read", with_it)):
        figures = summary(runs)
        print(
            f"  {title:31}{figures['growth_kb']:>+11,.0f}{figures['cpu_us']:>17.2f}{figures['p50']:>8.2f}"
            f"{figures['p99']:>8.2f}{figures['worst_p99']:>11.2f}{figures['messages_per_s']:>12,.0f}"
            f"{figures['came']:>6.0f}"
        )
    growth, ratio = summary(with_it)["growth_kb"], summary(with_it)["p99"] / summary(without)["p99"]
    print(f"  memory: {growth:+,.0f} KB, the goal is {MOST_GROWTH_KB:+,} at most: {_verdict(growth <= MOST_GROWTH_KB)}")
    print(f"  p99: {ratio:.2f} x, the goal is less than {MOST_RATIO:g} x: {_verdict(ratio < MOST_RATIO)}\n")


def _verdict(met: bool) -> str:
    return "met" if met else "MISSED"


def read_options() -> argparse.Namespace:
    server_cores, load_cores = default_cores()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one short run of each: to see that it works")
    parser.add_argument(
        "--messages", type=int, default=100_000, help="in all, a sixth of them to warm up (%(default)s)"
    )
    parser.add_argument("--window", type=int, default=8, help="messages in flight (%(default)s)")
    parser.add_argument("--repeat", type=int, default=3, help="rounds (%(default)s)")
    parser.add_argument("--server-cores", default=server_cores, help="cores of the server (%(default)s)")
    parser.add_argument("--load-cores", default=load_cores, help="cores of the load client (%(default)s)")
    return parser.parse_args()


def run(options: argparse.Namespace) -> int:
    messages, repeat = (10_000, 1) if options.quick else (options.messages, options.repeat)
    load = Load(
        mode="fanout",
        clients=MEMBERS,
        size=1024,
        window=options.window,
        messages=messages * 5 // 6,
        hold=HOLD_SECONDS,
    )
    places = Places(server_cores=options.server_cores, load_cores=options.load_cores)
    cases = {Case(kind, stalled): repeat for kind in CHANNELS for stalled in (False, True)}
    began = time.monotonic()
    outcome = interleave(cases, lambda case: measure_case(case, load, places))
    for kind in CHANNELS:
        pair = [outcome.runs.get(Case(kind, stalled)) for stalled in (False, True)]
        if pair[0] and pair[1]:
            report(kind, pair[0], pair[1])
    for case, error in outcome.errors.items():
        print(f"FAILED {case}: {error}", file=sys.stderr)
    how = "native" if ran_native() else "as pure Python"
    print(f"openline ran {how}; {messages:,} messages, {options.window} in flight")
    print(f"took {seconds_as_text(time.monotonic() - began)}; repeat: {shlex.join(['python', *sys.argv])}")
    return 1 if outcome.errors else 0


def main() -> int:
    options = read_options()
    stop_cleanly_on_sigterm()
    try:
        core_set(options.server_cores)
        core_set(options.load_cores)
        allow_descriptors(MEMBERS)
        BUILD.mkdir(exist_ok=True)
        build_wsload()
    except MachineError as error:
        print(f"slow_client: {error}", file=sys.stderr)
        return 2
    except BuildError as error:
        print(f"slow_client: {error}", file=sys.stderr)
        return 1
    return run(options)


if __name__ == "__main__":
    sys.exit(main())
