"""Owns what a measurement must know and set on this machine: cores, descriptors, signals, versions."""

import importlib.metadata
import importlib.util
import json
import os
import platform
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SPARE_DESCRIPTORS = 100


class MachineError(Exception):
    """The machine does not allow what is to be measured."""


def default_cores() -> tuple[str, str]:
    """One core for the server, another for the load; the same for both where there is only one."""
    allowed = sorted(os.sched_getaffinity(0))
    return str(allowed[0]), str(allowed[1 % len(allowed)])


def core_set(text: str) -> set[int]:
    """The cores that a list such as ``0,2-3`` names."""
    cores: set[int] = set()
    try:
        for part in text.split(","):
            first, _, last = part.partition("-")
            cores |= set(range(int(first), int(last or first) + 1))
    except ValueError:
        raise MachineError(f"not a list of cores: {text!r} (write 0 or 0,2-3)") from None
    missing = cores - os.sched_getaffinity(0)
    if missing:
        raise MachineError(f"this process may not use core {min(missing)}")
    return cores


@contextmanager
def pinned(cores: set[int]) -> Iterator[None]:
    """What is started in this block runs on these cores only."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def allow_descriptors(clients: int) -> None:
    """Raise the soft limit, which servers and load client inherit, so that each can hold this many connections."""
    needed = clients + SPARE_DESCRIPTORS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and needed > hard:
        raise MachineError(f"{clients} clients need {needed} descriptors, the hard limit is {hard} (see ulimit -Hn)")
    if soft != resource.RLIM_INFINITY and soft < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


def stop_cleanly_on_sigterm() -> None:
    """Turn SIGTERM into SystemExit, so that the server under test is ended too."""

    def leave(number: int, _frame: object) -> None:
        raise SystemExit(128 + number)

    signal.signal(signal.SIGTERM, leave)


def ran_native() -> bool:
    """Whether Openline's compiled part is there and was not turned off by OPENLINE_PURE."""
    if os.environ.get("OPENLINE_PURE", "") not in {"", "0"}:
        return False
    try:
        return importlib.util.find_spec("openline._native") is not None
    except ImportError:
        return False


def _python_version_of(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "missing"


def _node_version_of(package: str, build: Path) -> str:
    try:
        return str(json.loads((build / "node_modules" / package / "package.json").read_text())["version"])
    except OSError:
        return "missing"


def _first_line_of(*command: str) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[0]
    except (OSError, subprocess.CalledProcessError, IndexError):
        return "missing"


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _peer_versions(build: Path) -> dict[str, str]:
    """Of the Python peers that are installed."""
    folders = [str(folder) for folder in (build / "venv").glob("lib/python*/site-packages")]
    known = {found.name.lower(): found.version for found in importlib.metadata.distributions(path=folders)}
    names = ("socketify", "picows", "websockets", "starlette", "python-socketio")
    return {name: known[name] for name in names if name in known}


def versions(build: Path) -> dict[str, str]:
    """What was measured on what."""
    python_packages = ("openline", "uvicorn", "uvloop")
    return {
        "processor": f"{os.cpu_count()} x {_processor()}",
        "linux": platform.release(),
        "python": platform.python_version(),
        **{package: _python_version_of(package) for package in python_packages},
        "node": _first_line_of("node", "--version").removeprefix("v"),
        **{package: _node_version_of(package, build) for package in ("ws", "bufferutil", "socket.io")},
        **_peer_versions(build),
        "compiler": _first_line_of("cc", "--version"),
    }


def seconds_as_text(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"


def is_terminal() -> bool:
    return sys.stderr.isatty()
