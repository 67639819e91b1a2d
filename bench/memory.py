#!/usr/bin/env python3
"""Prints where the bytes of an idle connection go: one that has said $connect, is in one channel, and is silent.

    python bench/memory.py                      # half a minute
    python bench/memory.py --connections 10000

The first figure is the growth of the server's resident memory per connection. The table behind it is Python's own
account of the same, from a second server that keeps one (tracemalloc), by what the bytes are for. Exit status: 0, or 1
when the clients could not connect.
"""

import argparse
import asyncio
import gc
import socket
import subprocess
import sys
import time
import tracemalloc
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import uvloop

from openline import Openline
from openline.app.server import Server, configure
from openline.protocol.frames import Opcode, encode_masked

COMMANDS = b'[{"type":"$connect","id":1},{"type":"$subscribe","channel":"idle:1","id":2}]'
HEAD = (
    b"GET /openline HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
#: Longer than the deadline for $connect, whose timer is let go then.
SETTLES_IN_SECONDS = 11.0
#: What is allocated in C is counted where Python was left: in the loop that runs.
OWNERS: Mapping[str, str] = {
    "transports/listener.py": "the transport: the number of its descriptor, what waits to be written",
    "transports/socket_transport.py": "the transport: the number of its descriptor, what waits to be written",
    "transports/receiver.py": "the transport: the number of its descriptor, what waits to be written",
    "asyncio/runners.py": "what the event loop or its caller allocated",
    "transports/uvicorn_host.py": "the line and its wire: what reads, what writes",
    "transports/websocket.py": "the line and its wire: what reads, what writes",
    "transports/wire.py": "the number of its descriptor, and where its places stand",
    "transports/group.py": "its place in two groups, its channel's and everybody's",
    "hub/few.py": "two small mappings: places in groups, subscriptions",
    "hub/connection.py": "the connection",
    "hub/lifecycle.py": "the connection",
    "hub/names.py": "its id, and the secret that takes it up again",
    "hub/membership.py": "two subscriptions, to its channel and to everybody's",
    "hub/timers.py": "the timer of the next ping",
}


@dataclass(frozen=True)
class Account:
    """What one connection costs, in bytes: resident, and by owner as Python counts."""

    resident: float
    by_owner: Mapping[str, float]


def resident_bytes() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise SystemExit("memory: /proc/self/status is needed, so this runs on Linux only")


def owner_of(file: str) -> str:
    return next((owner for end, owner in OWNERS.items() if file.endswith(end)), "the rest")


async def clients(port: int, count: int) -> "asyncio.subprocess.Process":
    """A process that holds ``count`` connections until its standard input ends."""
    arguments = (sys.executable, __file__, "--clients-of", str(port), "--connections", str(count))
    pipe = asyncio.subprocess.PIPE
    return await asyncio.create_subprocess_exec(*arguments, stdin=pipe, stdout=pipe)


async def connected(process: "asyncio.subprocess.Process") -> None:
    if process.stdout is None or await process.stdout.readline() != b"connected\n":
        raise SystemExit(1)
    await asyncio.sleep(SETTLES_IN_SECONDS)
    gc.collect()


async def let_go(process: "asyncio.subprocess.Process") -> None:
    if process.stdin is not None:
        process.stdin.close()
    await process.wait()


async def measure(count: int, *, traced: bool) -> Account:
    line = Openline()
    line.channel("idle:*", public=True)
    config = configure(line, host="127.0.0.1", port=0)
    config.load()
    server = Server(config)
    server.lifespan = config.lifespan_class(config)
    await server.startup()
    port = server.servers[0].sockets[0].getsockname()[1]
    # Whatever is made once is made now.
    first = await clients(port, 200)
    await connected(first)
    if traced:
        tracemalloc.start()
    before = resident_bytes()
    process = await clients(port, count)
    await connected(process)
    after = resident_bytes()
    found: dict[str, float] = defaultdict(float)
    if traced:
        for entry in tracemalloc.take_snapshot().statistics("filename"):
            found[owner_of(entry.traceback[0].filename)] += entry.size / count
        tracemalloc.stop()
    await let_go(process)
    await let_go(first)
    await server.shutdown()
    return Account((after - before) / count, found)


def measure_in_child(count: int, *, traced: bool) -> None:
    """In a process of its own: what one server leaves behind is not the next one's."""
    account = uvloop.run(measure(count, traced=traced))
    if not traced:
        print(f"Resident memory per idle connection: {account.resident:.0f} bytes ({account.resident / 1024:.2f} KB)")
        return
    print(f"\n{'bytes':>7}  what for")
    for owner, size in sorted(account.by_owner.items(), key=lambda item: -item[1]):
        print(f"{size:7.0f}  {owner}")
    print(f"{sum(account.by_owner.values()):7.0f}  in all, as Python counts")


def hold(port: int, count: int) -> None:
    """Be ``count`` clients, until standard input ends."""
    ends = []
    for _ in range(count):
        end = socket.create_connection(("127.0.0.1", port))
        end.sendall(HEAD + encode_masked(Opcode.TEXT, COMMANDS, b"mask"))
        ends.append(end)
    for end in ends:
        heard = b""
        while b'"id":2' not in heard:
            heard += (data := end.recv(65_536))
            if not data:
                raise SystemExit("memory: the server closed a connection")
    print("connected", flush=True)
    sys.stdin.read()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--connections", type=int, default=5000)
    parser.add_argument("--clients-of", type=int, metavar="PORT", help=argparse.SUPPRESS)
    parser.add_argument("--child", choices=["resident", "traced"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.clients_of is not None:
        hold(options.clients_of, options.connections)
        return 0
    if options.child is not None:
        measure_in_child(options.connections, traced=options.child == "traced")
        return 0
    began = time.monotonic()
    for kind in ("resident", "traced"):
        command = (sys.executable, __file__, "--child", kind, "--connections", str(options.connections))
        if subprocess.run(command, check=False).returncode:
            return 1
    print(f"\n{options.connections} connections, {time.monotonic() - began:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
