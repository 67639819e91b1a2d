#!/usr/bin/env python3
"""Compares one process with workers: fan-out, small channels, the way of one publish, idle memory, and the spread.

    python bench/workers.py                     # about three minutes
    python bench/workers.py --workers 2 --rounds 3 --wsload bench/build/wsload

Both are measured in turn in each round, on the same cores as the load client: on a machine of two cores the load client
takes one of them, so the rates say little of what workers would give on more. `bench/build.py` builds wsload.
"""

import argparse
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from statistics import median

from build import BUILD
from servers import openline_member

PROGRAM = """
import os
from openline import Openline
line = Openline()
line.channel("bench:*", public=True)

@line.on("pid")
def pid(connection):
    return os.getpid()
"""
LOADS = {
    "one": ("fanout", "--clients", "1000", "--window", "1"),
    "burst": ("fanout", "--clients", "1000", "--window", "16"),
    "rooms": ("fanout", "--clients", "10000", "--channels", "1000", "--publishers", "10", "--window", "64"),
    "publish": ("fanout", "--clients", "2", "--window", "1", "--seconds", "1"),
    "idle": ("idle", "--clients", "2000", "--hold", "2"),
}


def start(folder: Path, workers: int) -> tuple[subprocess.Popen[bytes], int]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [
        str(Path(sys.executable).with_name("openline")),
        "serve",
        "bench:line",
        "--port",
        str(port),
        "--log-level",
        "info",
    ]
    log = (folder / "log.txt").open("wb")
    server = subprocess.Popen([*command, "--workers", str(workers)], cwd=folder, stderr=log)
    for _ in range(600):
        if b"is ready" in (folder / "log.txt").read_bytes():
            return server, port
        time.sleep(0.1)
    raise SystemExit((folder / "log.txt").read_text())


def processes(server: subprocess.Popen[bytes]) -> list[int]:
    """The server's, the one that only supervises left out where there are others."""
    path = Path(f"/proc/{server.pid}/task/{server.pid}/children")
    return [int(each) for each in path.read_text().split()] or [server.pid]


def seconds(pid: int) -> float:
    """CPU time of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def load(wsload: Path, port: int, pids: list[int], name: str) -> dict[str, float]:
    mode, *options = LOADS[name]
    given = [part for pid in pids for part in ("--pid", str(pid))]
    command = [str(wsload), "--port", str(port), "--mode", mode, *options, *openline_member("bench:%c"), *given]
    before = seconds(pids[0])
    out = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    found = [line for line in out.stdout.splitlines() if line.startswith("{")]
    if out.returncode or not found:
        raise SystemExit(f"{name}: {out.stdout} {out.stderr}")
    figures: dict[str, float] = json.loads(found[-1])
    figures.pop("mode")
    if len(pids) > 1 and "deliveries" in figures:
        # Those of the warm-up, a fifth of the time, are in both.
        figures["engine_us_per_delivery"] = (seconds(pids[0]) - before) * 1e6 / (figures["deliveries"] * 1.2)
    return figures


def spread(port: int, connections: int = 400) -> list[int]:
    """How many came to each worker."""
    counts: defaultdict[str, int] = defaultdict(int)
    head = b"GET /openline HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    head += b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    frame = json.dumps([{"type": "$connect", "id": 1}, {"type": "pid", "id": 2}]).encode()
    held = []
    for _ in range(connections):
        client = socket.create_connection(("127.0.0.1", port))
        client.sendall(head + bytes((0x81, 0x80 | len(frame))) + bytes(4) + frame)
        held.append(client)
    for client in held:
        said = b""
        while (found := re.search(rb'"id":2[^}]*"payload":(\d+)|"payload":(\d+)[^}]*"id":2', said)) is None:
            said += client.recv(65_536)
        counts[str(found[1] or found[2])] += 1
        client.close()
    return sorted(counts.values())


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--workers", type=int, default=2)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--wsload", type=Path, default=BUILD / "wsload")
    options.add_argument("--only", default="idle,one,burst,rooms,publish,spread")
    asked = options.parse_args()
    found: defaultdict[tuple[str, int], list[dict[str, float]]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "bench.py").write_text(PROGRAM)
        for _ in range(asked.rounds):
            for workers in (1, asked.workers):
                server, port = start(folder, workers)
                try:
                    for each in asked.only.split(","):
                        if each == "spread":
                            print(f"{workers}: spread {spread(port)}", flush=True)
                        else:
                            figures = load(asked.wsload, port, processes(server), each)
                            found[each, workers].append(figures)
                            print(f"{workers}: {each} {json.dumps(figures)}", flush=True)
                finally:
                    server.send_signal(signal.SIGTERM)
                    server.wait(40)
    for (each, workers), rows in found.items():
        print(each, workers, {key: median(row[key] for row in rows) for key in rows[0]})


if __name__ == "__main__":
    os.environ.setdefault("PYTHONDONTWRITEBYTECODE", "1")
    main()
