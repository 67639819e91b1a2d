#!/usr/bin/env python3
"""Compares servers side by side, in one run, on this machine.

Every server is started in turn, pinned to one core, and driven by wsload from another; the whole list is gone through
several times, so that a machine whose speed drifts treats all alike. What is printed is the median of each figure and
its ratio to the first server of the list. Ratios hold on a noisy machine; absolute figures do not.

    python bench/compare.py --mode fanout --clients 1000 --window 1 --repeat 5 limit openline ws
    python bench/compare.py "mine=COMMAND WITH {port} AND {mode}" --args "mine=--path /ws --hello JSON --send JSON"

A server is a name out of the list below, or NAME=COMMAND. Exit status 1 when a server fails to start or to deliver.
"""

import argparse
import json
import shlex
import sys
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from build import BUILD, build_for_comparison, can_measure
from machine import MachineError, allow_descriptors, core_set, default_cores, stop_cleanly_on_sigterm
from measure import Figures, Load, Places, measure
from rounds import Outcome, interleave, medians
from servers import KNOWN, Server

NOT_COMPARED = ("clients", "size", "window", "deliveries")


def read_options() -> argparse.Namespace:
    server_cores, load_cores = default_cores()
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=f"servers: {', '.join(KNOWN)}",
    )
    add = parser.add_argument
    add("servers", nargs="+", metavar="SERVER")
    add("--mode", choices=["fanout", "echo", "idle", "channels"], default="fanout")
    add("--clients", type=int, default=1000)
    add("--size", type=int, default=100, help="bytes of a payload")
    add("--window", type=int, default=1, help="messages in flight")
    add("--channels", type=int, default=1, help="channels in all, with mode channels")
    add("--each", type=int, default=1, help="channels of each client")
    add("--publishers", type=int, default=1, help="members of a channel that publish there in turn")
    add("--seconds", type=float, default=2.0, help="how long each measurement takes, behind its warm-up")
    add("--repeat", type=int, default=3, help="measurements per server")
    add("--args", action="append", default=[], metavar="NAME=ARGS", help="more wsload arguments for one server")
    add("--build", type=Path, default=BUILD, help="where wsload, limit and node_modules are")
    add("--python", default="", help="Python of the Python peers")
    add("--server-cores", default=server_cores)
    add("--load-cores", default=load_cores)
    add("--json", action="store_true", help="print JSON instead of a table")
    options = parser.parse_args()
    if options.repeat < 1:
        parser.error("--repeat must be at least 1")
    return options


def servers_named(entries: Iterable[str], more_arguments: Iterable[str]) -> list[Server]:
    """The servers in the order given; raises MachineError for a name that is neither known nor comes with a command."""
    extra = {name: shlex.split(text) for name, _, text in (entry.partition("=") for entry in more_arguments)}
    servers: dict[str, Server] = {}
    for entry in entries:
        name, _, command = entry.partition("=")
        if not command and name not in KNOWN:
            raise MachineError(f"no server named {name!r}; known are {', '.join(KNOWN)}")
        servers[name] = _with_load(Server(name, command) if command else KNOWN[name], extra.pop(name, []))
    if extra:
        raise MachineError(f"--args for {', '.join(extra)}, which is not among the servers")
    return list(servers.values())


def _with_load(server: Server, extra: list[str]) -> Server:
    by_mode = {mode: (*arguments, *extra) for mode, arguments in server.load_by_mode.items()}
    return replace(server, load=(*server.load, *extra), load_by_mode=by_mode)


def compare(servers: list[Server], load: Load, places: Places, repeat: int) -> Outcome[str]:
    by_name = {server.name: server for server in servers}
    return interleave(dict.fromkeys(by_name, repeat), lambda name: measure(by_name[name], load, places))


def print_table(load: Load, repeat: int, rows: Mapping[str, Figures]) -> None:
    first_name, first = next(iter(rows.items()))
    columns = [column for column in first if column not in NOT_COMPARED]
    print(f"{load.mode}, {load.clients} clients, {load.size} B, window {load.window}, median of {repeat}", end="; ")
    print(f"(x) = ratio to {first_name}")
    print(f"{'':18}" + "".join(f"{column:>26}" for column in columns))
    for name, row in rows.items():
        print(f"{name:18}" + "".join(_cell(row[column], first[column]) for column in columns))


def _cell(value: float, reference: float) -> str:
    ratio = f"{value / reference:>5.2f}x" if reference else "    -"
    return f"{value:>16.2f} ({ratio})".rjust(26)


def _print_json(load: Load, repeat: int, outcome: Outcome[str], rows: Mapping[str, Figures]) -> None:
    settings = {"mode": load.mode, "clients": load.clients, "size": load.size, "window": load.window, "repeat": repeat}
    print(json.dumps({**settings, "median": rows, "runs": outcome.runs, "errors": outcome.errors}))


def main() -> int:
    options = read_options()
    stop_cleanly_on_sigterm()
    load = Load(
        mode=options.mode,
        clients=options.clients,
        size=options.size,
        window=options.window,
        seconds=options.seconds,
        channels=options.channels,
        each=options.each,
        publishers=options.publishers,
    )
    places = Places(
        server_cores=options.server_cores,
        load_cores=options.load_cores,
        build=options.build,
        python=options.python,
    )
    try:
        servers = servers_named(options.servers, options.args)
        for cores in (options.server_cores, options.load_cores):
            core_set(cores)
        allow_descriptors(options.clients)
    except MachineError as error:
        print(f"compare: {error}", file=sys.stderr)
        return 2
    if options.build == BUILD and not build_for_comparison() and not can_measure():
        return 1
    outcome = compare(servers, load, places, options.repeat)
    for name, problem in outcome.errors.items():
        print(f"{name}: {problem}", file=sys.stderr)
    rows = {name: medians(runs) for name, runs in outcome.runs.items()}
    if options.json:
        _print_json(load, options.repeat, outcome, rows)
    elif rows:
        print_table(load, options.repeat, rows)
    return 1 if outcome.errors else 0


if __name__ == "__main__":
    sys.exit(main())
