"""Owns the page that the scale measurements write: docs/scaling.md, its tables and plots."""

import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from rounds import medians
from scale_arithmetic import Costs, arithmetic
from svg import Bar, bars

GOAL = 1.5

Results = dict[str, Any]

OPENING = """# How far it scales

Four nodes on one Redis, beside four loops in C that do nothing but the system calls ("the limits"). Written by

    make scale             # 8 minutes at most, on a machine that does nothing else
    make scale QUICK=1     # a minute, to see that it works; the page goes to bench/results/scale

Figures are medians of rounds in which nodes and limits took turns, with the least and the greatest round in brackets.
Everything runs on one machine: the nodes, Redis and the clients **share its two cores**, and so do the limits and
theirs. So times say how much longer than the least possible it took there, not how long it takes on machines of your
own; CPU, bytes and commands are what they are anywhere. Nodes sign everything (a cluster key is set), keep a history of
100, and speak the JSON protocol; a payload has 100 bytes.
"""

#: What each figure is called on the page, and its digits.
SAID = {
    "last p50 ms": ("time to the last client, p50 ms", 1),
    "last p99 ms": ("time to the last client, p99 ms", 1),
    "node µs per delivery": ("CPU of the servers per delivery, µs", 2),
    "KB per connection": ("memory of a connection at its server, KB", 2),
    "node µs per connect": ("CPU of the servers per connect, µs", 0),
    "connects/s": ("connects/s", 0),
    "messages/s": ("messages/s", 0),
}


def write_page(file: Path, results: Results) -> list[str]:
    """Write the page and its plots; returns what came of the goal, for a terminal."""
    known: dict[str, list[dict[str, float]]] = results["cases"]
    images = file.parent / "images"
    images.mkdir(parents=True, exist_ok=True)
    parts = [OPENING, _setup(results)]
    verdict = _ratio(known, "all", "all limit", "last p99 ms")
    parts += _together(known, images, results)
    parts += _storm(known, results)
    parts += _publishing(known, images)
    parts += _visits(known)
    if {"all", "rooms", "visits", "flood 4 4", "flood 4 1"} <= known.keys():
        parts.append(arithmetic(_costs(known)))
    file.write_text("\n".join(parts))
    if verdict is None:
        return []
    word = "reached" if verdict <= GOAL else "missed"
    return [f"{word}: time to the last client, p99: {verdict:.2f} × the limits, wanted ≤ {GOAL}"]


def _setup(results: Results) -> str:
    told = ", ".join(f"{name} {version}" for name, version in results["versions"].items() if version != "missing")
    quick = " **A quick run: not for quoting.**" if results["quick"] else ""
    return f"Measured {results['when']} (UTC): {told}.{quick}\n"


def _median(known: dict[str, list[dict[str, float]]], key: str, figure: str) -> float | None:
    runs = [run[figure] for run in known.get(key, ()) if figure in run]
    return statistics.median(runs) if runs else None


def _ratio(known: dict[str, list[dict[str, float]]], key: str, other: str, figure: str) -> float | None:
    mine, its = _median(known, key, figure), _median(known, other, figure)
    return mine / its if mine is not None and its else None


def _cell(runs: Sequence[dict[str, float]] | None, figure: str, digits: int) -> str:
    values = [run[figure] for run in runs or () if figure in run]
    if not values:
        return "–"
    text = f"{statistics.median(values):,.{digits}f}"
    return f"{text} ({min(values):,.{digits}f} to {max(values):,.{digits}f})" if len(values) > 1 else text


def _table(heads: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    rule = "|---" + "|---:" * (len(heads) - 1) + "|"
    return "\n".join([f"| {' | '.join(heads)} |", rule, *(f"| {' | '.join(line)} |" for line in lines), ""])


def _together(known: dict[str, list[dict[str, float]]], images: Path, results: Results) -> list[str]:
    clients, nodes = results["clients"], results["nodes"]
    titles = {
        "all": (
            f"## {clients:,} clients on {nodes} nodes, all in one channel",
            "Every message goes to everybody; the next one is published when the last client has the one before. To\n"
            "the limits a message is said by four clients at the same moment, one at each, because nothing links\n"
            "them: what Redis does for the nodes costs the limits nothing. They have no heartbeats, checks, history.\n"
            f"The goal is {GOAL} × the limits' time at most.\n",
        ),
        "rooms": (
            f"## The same clients in {clients // 10:,} channels of 10",
            "The members of each are spread over all nodes; 64 messages are in flight, each in another channel, and\n"
            "what is timed is the last of its ten. Ten deliveries take a limit ten sends, and four nodes a script in\n"
            "Redis and four receipts beside them: most of the cost is no longer that of sending.\n",
        ),
    }
    parts: list[str] = []
    for key, (title, says) in titles.items():
        mine, its = known.get(key), known.get(f"{key} limit")
        if not mine:
            continue
        lines = []
        for figure, (name, digits) in SAID.items():
            if figure in mine[0]:
                ratio = _ratio(known, key, f"{key} limit", figure)
                times = "–" if ratio is None or figure == "KB per connection" else f"**{ratio:.2f}**"
                lines.append((name, _cell(its, figure, digits), _cell(mine, figure, digits), times))
        parts += [title, "", says]
        if key == "all" and its:
            picture = "scaling-last.svg"
            (images / picture).write_text(_last_plot(known, clients))
            parts.append(f"![Time to the last client](images/{picture})\n")
        parts.append(_table(("", f"{nodes} limits", f"{nodes} nodes", "×"), lines))
        parts.append(_engine_sentence(mine))
    return parts


def _engine_sentence(runs: Sequence[dict[str, float]]) -> str:
    f = medians(list(runs))
    return (
        f"Redis, for each of these messages: {f['engine scripts per publish']:.1f} scripts "
        f"({f['engine commands per publish']:.0f} commands, those within scripts counted), "
        f"{f['engine bytes_in per publish']:.0f} bytes in, {f['engine bytes_out per publish']:,.0f} bytes out, "
        f"{f['engine cpu_us per publish']:.0f} µs of CPU, less what the nodes do anyway.\n"
    )


def _last_plot(known: dict[str, list[dict[str, float]]], clients: int) -> str:
    data = [
        Bar(f"{who}, {share}", value, ours=key == "all")
        for share in ("p50", "p99")
        for key, who in (("all limit", "four C limits"), ("all", "four nodes and Redis"))
        if (value := _median(known, key, f"last {share} ms"))
    ]
    return bars(f"{clients:,} clients: when the last one has it", "ms, all on two cores; less is better", data)


def _storm(known: dict[str, list[dict[str, float]]], results: Results) -> list[str]:
    runs = {name: known[key] for key, name in (("all", "one channel"), ("rooms", "channels of 10")) if key in known}
    if not runs:
        return []
    rows = (
        ("lost their node at once", "lost their node", 0),
        ("until all were back, s", "back after s", 2),
        ("deliveries to the rest meanwhile, p50 ms", "rest p50 ms", 1),
        ("deliveries to the rest meanwhile, p99 ms", "rest p99 ms", 1),
        ("the same pace just before, p99 ms", "before p99 ms", 1),
        ("deliveries in all", "storm deliveries", 0),
        ("**lost**", "storm lost", 0),
        ("**came twice**", "storm doubled", 0),
        ("told that something is missing, or began anew", "unrecovered", 0),
    )
    lines = [(name, *(_cell(each, figure, digits) for each in runs.values())) for name, figure, digits in rows]
    return [
        "## A node is killed",
        "",
        "The same clients; messages go on at a pace (2 a second in the one channel, 400 in the many) while one of\n"
        "the nodes is killed (SIGKILL). Its clients come to the others at once, without the second or so by which a\n"
        "client of ours would be late at random, each with its secret and position. Each message has a number: what\n"
        "any client has not got in the end, or got twice, is counted.\n",
        _table(("", *runs), lines),
    ]


def _publishing(known: dict[str, list[dict[str, float]]], images: Path) -> list[str]:
    keys = [key for key in known if key.startswith("flood")]
    if not keys:
        return []
    lines, data = [], []
    for key in keys:
        _, nodes, listening = key.split()
        name = f"{nodes} node{'s' if nodes != '1' else ''}, listeners on {'all' if nodes == listening else listening}"
        figures = (
            ("publishes/s", 0),
            ("node µs per publish", 0),
            ("engine cpu_us per publish", 1),
            ("engine commands per publish", 1),
            ("engine bytes_in per publish", 0),
            ("engine bytes_out per publish", 0),
        )
        lines.append((name, *(_cell(known[key], f, d) for f, d in figures)))
        rate = _median(known, key, "publishes/s")
        if rate:
            data.append(Bar(name, rate, ours=nodes == listening))
    picture = "scaling-publishes.svg"
    (images / picture).write_text(bars("Publishes per second", "nodes, Redis and clients on two cores", data))
    heads = ("", "publishes/s", "µs of all nodes", "µs of Redis", "commands", "bytes in", "bytes out")
    return [
        "## Publishing",
        "",
        "Sixteen publishers, spread over the nodes, each in a channel of its own with sixteen publishes unanswered;\n"
        "a listener of each channel at every node, or at one node only. What stands behind the rate is per publish.\n"
        "More nodes make no more of two cores, so the rates do not grow here; the costs tell what they would be.\n",
        f"![Publishes per second](images/{picture})\n",
        _table(heads, lines),
    ]


def _visits(known: dict[str, list[dict[str, float]]]) -> list[str]:
    runs = known.get("visits")
    if not runs:
        return []
    rows = (
        ("commands (those of scripts counted)", "commands", 1),
        ("scripts", "scripts", 1),
        ("bytes in", "bytes_in", 0),
        ("bytes out", "bytes_out", 0),
        ("µs of Redis", "cpu_us", 0),
    )
    lines = [
        (name, *(_cell(runs, f"engine {what} per {unit}", digits) for unit in ("connect", "visit", "node and s")))
        for name, what, digits in rows
    ]
    memory = _median(known, "all", "engine memory per connect")
    kept = f" Redis keeps {memory:,.0f} bytes for a connection that is there.\n" if memory else "\n"
    return [
        "## What a client costs Redis",
        "",
        "A client that connects and subscribes to one channel; the same and its leaving, less what nodes do without\n"
        f"clients; and that, for each node and second.{kept}",
        _table(("", "comes", "comes and leaves", "a node alone, per s"), lines),
    ]


def _costs(known: dict[str, list[dict[str, float]]]) -> Costs:
    def of(key: str, figure: str) -> float:
        return _median(known, key, figure) or 0.0

    everywhere, one = (medians(known[key]) for key in ("flood 4 4", "flood 4 1"))

    def copy(figure: str) -> float:
        """What each further node that listens adds."""
        return max(0.0, (everywhere[figure] - one[figure]) / 3)

    return Costs(
        connection_kb=of("all", "KB per connection"),
        engine_bytes=of("all", "engine memory per connect"),
        delivery_us=of("all", "node µs per delivery"),
        connect_us=of("all", "node µs per connect"),
        engine_connect_us=of("visits", "engine cpu_us per visit"),
        publish_us=one["node µs per publish"] - copy("node µs per publish"),
        hear_us=copy("node µs per publish"),
        engine_publish_us=one["engine cpu_us per publish"] - copy("engine cpu_us per publish"),
        engine_copy_us=copy("engine cpu_us per publish"),
        engine_bytes_in=one["engine bytes_in per publish"],
        engine_copy_bytes=copy("engine bytes_out per publish"),
        engine_node_us=of("visits", "engine cpu_us per node and s"),
    )
