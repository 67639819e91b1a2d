"""Owns the servers of the scale measurements: Redis and the nodes on it, or as many C limits; what each has used."""

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from build import BUILD, PEERS
from measure import Figures, MeasurementError

STARTS_WITHIN_SECONDS = 60.0
KEY = "a key for measurements, of no worth"


def free_ports(count: int) -> list[int]:
    """Different ones."""
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


def cpu_seconds_of(pid: int) -> float:
    """Of all its threads, in user and kernel mode (clock_getcpuclockid(3): the clock of a process)."""
    try:
        return time.clock_gettime((~pid << 3) | 2)
    except OSError:
        return 0.0


def resident_kb_of(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    return 0


@dataclass(slots=True)
class Program:
    """A server under measurement: its process, its port, and what it says when something is wrong."""

    process: "subprocess.Popen[bytes]"
    port: int
    log: IO[bytes]

    @property
    def pid(self) -> int:
        return self.process.pid

    def wait_until_it_listens(self) -> None:
        deadline = time.monotonic() + STARTS_WITHIN_SECONDS
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", self.port), 0.2).close()
                return
            except OSError:
                time.sleep(0.05)
        raise MeasurementError(f"a server did not start{self.last_words()}")

    def last_words(self) -> str:
        self.log.seek(0)
        text = self.log.read().decode(errors="replace").strip()
        return f"\n  its last words: {text[-600:]}" if text else ""

    def end(self) -> None:
        """At once: nobody waits for it to say goodbye to thousands."""
        self.process.kill()
        self.process.wait()
        self.log.close()


def start(command: Sequence[str], port: int) -> Program:
    log = tempfile.TemporaryFile()  # noqa: SIM115  closed with the program
    environment = dict(os.environ, OPENLINE_CLUSTER_KEY=KEY)
    try:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
    except OSError as error:
        raise MeasurementError(f"cannot start {command[0]}: {error.strerror}") from error
    return Program(process, port, log)


def redis_version() -> str:
    """Out of ``Redis server v=7.0.15 sha=…``."""
    told = subprocess.run(("redis-server", "--version"), capture_output=True, text=True, check=True).stdout
    return next((word.removeprefix("v=") for word in told.split() if word.startswith("v=")), told.strip())


@dataclass(slots=True)
class Redis:
    """A server of its own, without a disk, and what it counts."""

    program: Program

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.program.port}"

    def figures(self) -> Figures:
        """What it has done since it was started: commands (those of scripts, too), scripts, bytes, CPU, memory."""
        facts = self._info()
        return {
            "commands": float(facts["total_commands_processed"]),
            "scripts": sum(_calls(facts, name) for name in ("evalsha", "eval")),
            "bytes_in": float(facts["total_net_input_bytes"]),
            "bytes_out": float(facts["total_net_output_bytes"]),
            "cpu_us": 1e6 * cpu_seconds_of(self.program.pid),
            "memory": float(facts["used_memory"]),
        }

    def _info(self) -> dict[str, str]:
        with socket.create_connection(("127.0.0.1", self.program.port), 5) as end, end.makefile("rb") as answers:
            end.sendall(b"INFO all\r\n")
            size = int(answers.readline()[1:])
            lines = answers.read(size).decode().splitlines()
        return dict(line.split(":", 1) for line in lines if ":" in line)


def _calls(facts: dict[str, str], command: str) -> float:
    """``cmdstat_NAME:calls=12,usec=…``"""
    told = facts.get(f"cmdstat_{command}", "calls=0")
    return float(told.partition(",")[0].removeprefix("calls="))


@dataclass(slots=True)
class Servers:
    """The nodes, and their Redis where they have one."""

    nodes: list[Program]
    redis: Redis | None = None
    killed: set[int] = field(default_factory=set)

    @property
    def addresses(self) -> list[str]:
        return [f"127.0.0.1:{node.port}" for node in self.nodes]

    def cpu_seconds(self) -> float:
        """Of the living nodes, without Redis."""
        return sum(cpu_seconds_of(node.pid) for number, node in enumerate(self.nodes) if number not in self.killed)

    def resident_kb(self) -> int:
        return sum(resident_kb_of(node.pid) for node in self.nodes)

    def kill(self, number: int) -> None:
        """SIGKILL for one node."""
        self.killed.add(number)
        self.nodes[number].process.kill()
        self.nodes[number].process.wait()


@contextmanager
def openline_nodes(count: int, history: int) -> Iterator[Servers]:
    """Nodes on a Redis of their own; all end with the block."""
    with ExitStack() as stack:
        redis_port, *ports = free_ports(1 + count)
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        options = ("--port", str(redis_port), "--bind", "127.0.0.1", "--save", "", "--dir", folder)
        redis = Redis(_running(stack, ("redis-server", *options, "--appendonly", "no"), redis_port))
        redis.program.wait_until_it_listens()
        script = str(PEERS / "openline_node.py")
        commands = [(sys.executable, script, str(port), redis.url, str(history)) for port in ports]
        nodes = [_running(stack, command, port) for command, port in zip(commands, ports, strict=True)]
        for node in nodes:
            node.wait_until_it_listens()
        # Each has its lease, and knows the others.
        time.sleep(1.0)
        try:
            yield Servers(nodes, redis)
        except MeasurementError as error:
            words = "".join(node.last_words() for node in nodes)
            raise MeasurementError(f"{error}{words}") from error


@contextmanager
def limits(count: int) -> Iterator[Servers]:
    """Loops in C that know nothing of each other; all end with the block."""
    with ExitStack() as stack:
        ports = free_ports(count)
        nodes = [_running(stack, (str(BUILD / "limit"), str(port), "channels"), port) for port in ports]
        for node in nodes:
            node.wait_until_it_listens()
        yield Servers(nodes)


def _running(stack: ExitStack, command: Sequence[str], port: int) -> Program:
    program = start(command, port)
    stack.callback(program.end)
    return program
