"""Owns the page that a measurement writes: docs/benchmarks.md, its tables, and where its plots stand."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from build import HERE
from charts import charts_of
from plans import BUSY, CONNECT, CPU, DOWN, MEMORY, P99, RATE, REQUESTS, UP, Plan, Row
from results import Measured, Results
from verdicts import NAMES, Verdict, ratio, verdicts

REMARKS = HERE / "remarks.md"
P50 = "last_client_ms_p50"
# Below this share of its core a server had to wait for the load client.
BUSY_PERCENT = 75.0

Cell = Callable[[Measured, str], str]
Columns = Mapping[str, Cell]

OPENING = """# Benchmarks

What Openline costs, beside other servers and beside a loop in C that does nothing but the system calls ("the limit").
Written by `make bench`; how it is measured, and what the words mean, stands in [bench/README.md](../bench/README.md).
Each figure is the median of interleaved rounds: all servers in turns, each started anew, pinned to one core, with the
load client on another. Ratios are quotients of medians of the same run; in brackets are the least and the greatest
ratio of single rounds, which is the noise. Openline speaks its full JSON protocol, with `$connect`, limits, heartbeats
and order on; all others but Socket.IO relay the bare payload. Payloads are 100 B.
"""


def write_page(file: Path, rows: Iterable[Row], results: Results) -> None:
    """Write the page, and its plots into ``images`` beside it."""
    images = file.parent / "images"
    images.mkdir(parents=True, exist_ok=True)
    rows = list(rows)
    parts = [OPENING, _setup(results.plans), _goals(rows, results.plans)]
    parts += [_section(row, results.plans, images) for row in rows if _is_there(row, results.plans)]
    if REMARKS.exists():
        parts.append(REMARKS.read_text())
    file.write_text("\n".join(parts))


def verdict_lines(rows: Iterable[Row], results: Results) -> list[str]:
    """For a terminal: each goal of these rows, and what came of it."""
    found = [verdict for row in rows for verdict in verdicts(row, results.plans)]
    return [
        f"{verdict.word:12} {verdict.goal.text}: {verdict.shown.replace('*', '')}, wanted {verdict.wanted}"
        for verdict in found
    ]


def _is_there(row: Row, measured: Mapping[str, Measured]) -> bool:
    return any(plan.key in measured for plan in row.plans)


def _setup(measured: Mapping[str, Measured]) -> str:
    """Machine and versions, said once for each set of them."""
    groups: dict[str, list[str]] = {}
    for plan in measured.values():
        setup = plan.setup
        versions = ", ".join(f"{name} {version}" for name, version in setup["versions"].items())
        how = "Openline's native part was used" if setup["native"] else "Openline ran as pure Python"
        quick = " **A quick run: too short to quote.**" if setup["quick"] else ""
        groups.setdefault(f"{versions}. {how}.{quick}", []).append(plan.when)
    return (
        "## Machine and versions\n\n"
        + "\n".join(
            f"* Measured {min(times)}{'' if min(times) == max(times) else f' to {max(times)}'} (UTC): {text}"
            for text, times in groups.items()
        )
        + "\n"
    )


def _goals(rows: list[Row], measured: Mapping[str, Measured]) -> str:
    found = [verdict for row in rows for verdict in verdicts(row, measured)]
    count = Counter(verdict.word for verdict in found)
    said = ", ".join(f"{number} {word}" for word, number in count.most_common())
    says = "The last figure is what the C limit itself got of the same goal, in the same rounds."
    heads = ["| figure | goal | got | | the limit |", "|---|---|---|---|---|"]
    lines = ["## Goals", "", f"Of {len(found)} goals: {said}. {says}", "", *heads]
    return "\n".join(lines + [_goal_line(verdict) for verdict in found]) + "\n"


def _goal_line(verdict: Verdict) -> str:
    word = f"**{verdict.word}**" if verdict.reached is False else verdict.word
    return f"| {verdict.goal.text} | {verdict.wanted} | {verdict.shown} | {word} | {verdict.limit_shown} |"


def _section(row: Row, measured: Mapping[str, Measured], images: Path) -> str:
    parts = [f"## {row.title}\n\n{row.says}\n"]
    for name, alt, picture in charts_of(row, measured):
        (images / name).write_text(picture)
        parts.append(f"![{alt}](images/{name})\n")
    for plan in row.plans:
        if plan.key in measured:
            parts.append(_table(plan, measured[plan.key]))
    return "\n".join(parts)


def _table(plan: Plan, measured: Measured) -> str:
    columns = _columns(plan)
    servers = [server for server in plan.servers if server in measured.runs]
    heads = ["server", *columns, "rounds"]
    lines = [f"### {plan.title}", "", f"| {' | '.join(heads)} |", "|---" + "|---:" * (len(heads) - 1) + "|"]
    for server in servers:
        cells = [cell(measured, server) for cell in columns.values()]
        lines.append(f"| {' | '.join([NAMES[server], *cells, str(measured.rounds(server))])} |")
    notes = [] if plan.load.mode in ("idle", "paced") else _waiting(measured, servers)
    notes += [f"{NAMES[server]} failed: {error.splitlines()[0]}" for server, error in measured.errors.items()]
    return "\n".join([*lines, "", *(f"{note}\n" for note in notes)])


def _waiting(measured: Measured, servers: list[str]) -> list[str]:
    waited = [NAMES[server] for server in servers if (measured.median(server, BUSY) or 0) < BUSY_PERCENT]
    if not waited:
        return []
    return [f"Not busy all the time, so that more deliveries/s were possible: {', '.join(waited)}."]


def _columns(plan: Plan) -> Columns:
    if plan.load.mode == "idle":
        return {
            "KB per connection": _figure(MEMORY, 2),
            "CPU µs per connect": _figure(CONNECT, 1),
            f"× {NAMES[plan.reference]}": _ratio(CONNECT, plan.reference),
            "connects/s": _figure("connects_per_s", 0),
        }
    if plan.load.mode == "paced":
        return {
            "requests/s": _figure(REQUESTS, 0),
            "KB/s from clients": _figure(UP, 1, 1e3),
            "KB/s to clients": _figure(DOWN, 1, 1e3),
            "server CPU %": _figure(BUSY, 1),
            "CPU µs per delivery": _figure(CPU, 1),
            f"× {NAMES[plan.reference]}": _ratio(CPU, plan.reference),
        }
    what = "message" if plan.load.mode == "echo" else "delivery"
    columns: dict[str, Cell] = {
        f"CPU µs per {what}": _figure(CPU, 2),
        f"× {NAMES[plan.reference]}": _ratio(CPU, plan.reference),
        f"{'messages' if what == 'message' else 'deliveries'}/s": _figure(RATE, 0),
        "server CPU %": _figure(BUSY, 0),
    }
    if plan.load.mode != "echo":
        columns |= {"last member ms": _figure(P50, 2), "p99 ms": _figure(P99, 2)}
    return columns


def _figure(figure: str, digits: int, unit: float = 1.0) -> Cell:
    def cell(measured: Measured, server: str) -> str:
        found = measured.median(server, figure)
        return "–" if found is None else f"{found / unit:,.{digits}f}"

    return cell


def _ratio(figure: str, other: str) -> Cell:
    def cell(measured: Measured, server: str) -> str:
        found = ratio(measured, figure, server, other)
        return "–" if found is None else f"{found:.2f}"

    return cell
