"""Owns how the figures of the foundation are shown: as tables for people, as JSON for programs."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from machine import seconds_as_text
from measure import Figures, Load
from rounds import medians, ratio_range

IDLE_GOAL_KB = 8.0
# Below this share of its core a server was waiting for a load client that something else had slowed down.
QUIET_MACHINE_CPU_PERCENT = 75.0

Runs = dict[str, list[Figures]]
Cell = Callable[["Section", str], str]


@dataclass(frozen=True, slots=True)
class Section:
    """One load, put on several servers; a server that failed is not among the runs."""

    title: str
    load: Load
    reference: str
    runs: Runs

    def median(self, server: str, key: str) -> float:
        return medians(self.runs[server])[key]

    def ratio(self, server: str, other: str, key: str) -> float | None:
        if other not in self.runs or not self.median(other, key):
            return None
        return self.median(server, key) / self.median(other, key)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Everything that one run has found out, and what is needed to repeat it."""

    sections: list[Section]
    problems: list[str]
    native: bool
    quick: bool
    when: str
    took_seconds: float
    versions: dict[str, str]
    server_cores: str
    load_cores: str
    command: str


def _figure(key: str, digits: int) -> Cell:
    return lambda section, server: f"{section.median(server, key):,.{digits}f}"


def _ratio(key: str, other: str = "") -> Cell:
    def cell(section: Section, server: str) -> str:
        ratio = section.ratio(server, other or section.reference, key)
        return "-" if ratio is None else f"{ratio:.2f}"

    return cell


def _ratio_range(key: str) -> Cell:
    """How far single rounds lie apart: the noise of this run."""

    def cell(section: Section, server: str) -> str:
        if server == section.reference or section.reference not in section.runs:
            return "-"
        found = ratio_range(section.runs[server], section.runs[section.reference], key)
        return f"{found[0]:.2f}..{found[1]:.2f}" if found else "-"

    return cell


CPU = "cpu_us_per_delivery"
MEMORY = "rss_kb_per_conn"

FANOUT_COLUMNS: dict[str, Cell] = {
    "CPU µs/delivery": _figure(CPU, 2),
    "x limit": _ratio(CPU),
    "of rounds": _ratio_range(CPU),
    "x ws": _ratio(CPU, "ws"),
    "deliveries/s": _figure("deliveries_per_s", 0),
    "server CPU %": _figure("server_cpu_percent", 0),
    "last member ms": _figure("last_client_ms_p50", 1),
    "p99 ms": _figure("last_client_ms_p99", 1),
}
IDLE_COLUMNS: dict[str, Cell] = {
    "KB/connection": _figure(MEMORY, 2),
    "x ws": _ratio(MEMORY, "ws"),
    "CPU µs/connect": _figure("cpu_us_per_connect", 0),
    "connects/s": _figure("connects_per_s", 0),
}


def print_report(report: Report) -> None:
    for section in report.sections:
        _print_section(section)
    for problem in report.problems:
        print(f"FAILED {problem}", file=sys.stderr)
    if report.quick:
        print("A quick run: too short to quote.")
    print(f"openline {_how_openline_ran(report)}")
    print("versions: " + ", ".join(f"{name} {version}" for name, version in report.versions.items()))
    shared = " (THE SAME: figures mean little)" if report.server_cores == report.load_cores else ""
    print(f"pinning: server on core {report.server_cores}, load client on core {report.load_cores}{shared}")
    print(f"took {seconds_as_text(report.took_seconds)}, begun {report.when}")
    print(f"repeat: {report.command}")


def _how_openline_ran(report: Report) -> str:
    if not any("openline" in section.runs for section in report.sections):
        return "was not measured"
    return "ran native" if report.native else "ran as pure Python"


def _print_section(section: Section) -> None:
    rounds = max((len(runs) for runs in section.runs.values()), default=0)
    payload = "" if section.load.mode == "idle" else f", {section.load.size} B"
    print(f"{section.title}{payload} (median of {rounds})")
    columns = IDLE_COLUMNS if section.load.mode == "idle" else FANOUT_COLUMNS
    print(f"  {'':14}" + "".join(f"{name:>17}" for name in columns))
    for server in section.runs:
        print(f"  {server:14}" + "".join(f"{cell(section, server):>17}" for cell in columns.values()))
    if section.load.mode != "idle":
        _print_disturbed(section)
    elif "openline" in section.runs:
        kept = section.median("openline", MEMORY) <= IDLE_GOAL_KB
        print(f"  goal: openline at most {IDLE_GOAL_KB:.0f} KB per connection: {'kept' if kept else 'MISSED'}")
    print()


def _print_disturbed(section: Section) -> None:
    share = {server: section.median(server, "server_cpu_percent") for server in section.runs}
    disturbed = [server for server, percent in share.items() if percent < QUIET_MACHINE_CPU_PERCENT]
    if disturbed:
        print(f"  DISTURBED: {', '.join(disturbed)} had to wait for the load client: is something else running?")


def report_as_json(report: Report) -> dict[str, Any]:
    return {
        "when": report.when,
        "took_seconds": round(report.took_seconds, 1),
        "command": report.command,
        "quick": report.quick,
        "native": report.native,
        "versions": report.versions,
        "cores": {"server": report.server_cores, "load": report.load_cores},
        "sections": [_section_as_json(section) for section in report.sections],
        "problems": report.problems,
    }


def _section_as_json(section: Section) -> dict[str, Any]:
    load = section.load
    return {
        "title": section.title,
        "mode": load.mode,
        "clients": load.clients,
        "size": load.size,
        "window": load.window,
        "reference": section.reference,
        "median": {server: medians(runs) for server, runs in section.runs.items()},
        "runs": section.runs,
    }
