"""Owns the systems whose nodes are killed: how each is started, what stands in front of it, what speaks with it."""

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from build import BUILD, PEERS, VENV
from kills_judge import Event

STARTS_WITHIN_SECONDS = 60.0
#: A balancer as the documentation of each has it; clients use WebSockets only, so that nobody needs stickiness.
BALANCER = """
global
    maxconn 1000

defaults
    mode http
    timeout connect 2s
    timeout client 60s
    timeout server 60s
    timeout tunnel 60s

frontend all
    bind 127.0.0.1:{port}
    default_backend nodes

backend nodes
    balance leastconn
    {check}
    retries 3
    option redispatch 1
    retry-on conn-failure empty-response 503
    http-request disable-l7-retry unless METH_GET
    default-server check inter 500ms fall 1 rise 1
"""


@dataclass(frozen=True, slots=True)
class System:
    """``command`` is run with a port and the URL of a Redis behind it; ``check`` is how the balancer looks at one."""

    name: str
    command: tuple[str, ...]
    check: str = ""


SYSTEMS = {
    system.name: system
    for system in (
        System("openline", (sys.executable, str(PEERS / "openline_kills_server.py")), "option httpchk GET /readyz"),
        System("socketio", ("node", str(PEERS / "socketio_kills_server.js")), "option httpchk GET /health"),
        System("python_socketio", (str(VENV / "bin" / "python"), str(PEERS / "python_socketio_kills_server.py"))),
    )
}


def missing_programs() -> list[str]:
    """What has to be installed first, with the way to get it."""
    wanted = {"redis-server": "redis-server", "haproxy": "haproxy", "node": "nodejs"}
    return [f"{name} (Debian: apt-get install {package})" for name, package in wanted.items() if not _which(name)]


def _which(name: str) -> str | None:
    # Debian has haproxy where only root looks.
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


class Child:
    """A program of ours, ended by its id."""

    def __init__(self, *command: str, log: Path, environment: Mapping[str, str] | None = None) -> None:
        self._log = log
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                command, stdout=output, stderr=output, cwd=log.parent, env={**os.environ, **(environment or {})}
            )

    def kill(self) -> None:
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    async def listens(self, port: int) -> None:
        """Return when it does."""
        until = time.monotonic() + STARTS_WITHIN_SECONDS
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 0.2).close()
            except OSError:
                if self._process.poll() is not None or time.monotonic() > until:
                    raise RuntimeError(f"{self._log.stem} did not start:\n{self._log.read_text()[-2000:]}") from None
                await asyncio.sleep(0.02)
            else:
                return


class Cluster:
    """Nodes of one system on one Redis, with a balancer in front; each node has its port for good."""

    def __init__(self, system: System, nodes: int, folder: Path) -> None:
        self._system = system
        self._folder = folder
        self._ports = [_free_port() for _ in range(nodes)]
        self._redis_port, self._front_port = _free_port(), _free_port()
        self._nodes: dict[int, Child] = {}
        self.url = f"http://127.0.0.1:{self._front_port}"

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with AsyncExitStack() as ending:
            options = ("--port", str(self._redis_port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no")
            redis = Child("redis-server", *options, log=self._folder / "redis.txt")
            ending.callback(redis.kill)
            await redis.listens(self._redis_port)
            ending.callback(self._kill_all)
            for node in range(len(self._ports)):
                self.start(node)
            for node, port in enumerate(self._ports):
                await self._nodes[node].listens(port)
            command = (_which("haproxy") or "haproxy", "-db", "-f", self._settings())
            balancer = Child(*command, log=self._folder / "front.txt")
            ending.callback(balancer.kill)
            await balancer.listens(self._front_port)
            yield

    def start(self, node: int) -> None:
        url = f"redis://127.0.0.1:{self._redis_port}"
        command = (*self._system.command, str(self._ports[node]), url)
        log = self._folder / f"node{node}.txt"
        self._nodes[node] = Child(*command, log=log, environment={"NODE_PATH": str(BUILD / "node_modules")})

    def kill(self, node: int) -> None:
        self._nodes.pop(node).kill()

    def _kill_all(self) -> None:
        for node in list(self._nodes):
            self.kill(node)

    def _settings(self) -> str:
        lines = [f"    server node{node} 127.0.0.1:{port}" for node, port in enumerate(self._ports)]
        path = self._folder / "haproxy.cfg"
        shown = BALANCER.format(port=self._front_port, check=self._system.check)
        path.write_text(shown + "\n".join(lines) + "\n")
        return str(path)


class Clients:
    """The program in Node that all systems have as their clients."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.events: list[Event] = []
        self.heard_at = time.monotonic()

    def tell(self, **words: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(words).encode() + b"\n")

    async def read(self) -> None:
        """Until it ends."""
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            self.events.append(json.loads(line))
            self.heard_at = time.monotonic()

    def count(self, what: str) -> int:
        return sum(event["what"] == what for event in self.events)


@asynccontextmanager
async def clients(url: str, plan: Mapping[str, Any], node_path: Path, log: Path) -> AsyncIterator[Clients]:
    """Stock clients of ``url``; ``node_path`` is where ``socket.io-client`` is installed."""
    pipe = asyncio.subprocess.PIPE
    command: Sequence[str] = ("node", str(PEERS / "kills_clients.js"), url, json.dumps(plan))
    with log.open("wb") as errors:
        process = await asyncio.create_subprocess_exec(
            *command, stdin=pipe, stdout=pipe, stderr=errors, env={**os.environ, "NODE_PATH": str(node_path)}
        )
    its = Clients(process)
    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(its.read())
            try:
                yield its
            finally:
                process.kill()
    finally:
        await process.wait()
