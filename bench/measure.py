"""Owns one measurement: starts a server on its core, drives it with wsload from another, ends it again."""

import json
import os
import shlex
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, fields
from pathlib import Path
from typing import IO

from build import BUILD, PEERS, VENV
from machine import core_set, pinned
from servers import Server

STARTS_WITHIN_SECONDS = 15.0
SETTLES_IN_SECONDS = 0.3
ENDS_WITHIN_SECONDS = 5.0
LOAD_ENDS_WITHIN_SECONDS = 180.0

Figures = dict[str, float]
#: What goes on beside the load, given the server's port and process id: it may add figures once the load has ended.
Beside = Callable[[int, int], AbstractContextManager[Figures]]


class MeasurementError(Exception):
    """A server did not start, or did not deliver; the text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What the load client does; `wsload --help` says what the words mean.

    ``messages``, where it is not 0, ends a load by their number, and ``seconds`` are not looked at. ``held`` is a load
    of mode hold: connections that are there already, and stay, while this one is measured.
    """

    mode: str
    clients: int
    size: int = 100
    window: int = 1
    seconds: float = 2.0
    messages: int = 0
    channels: int = 1
    each: int = 1
    stride: int = 1
    publishers: int = 1
    active: int = 0  # 0: all channels
    every: float = 1.0  # mode paced: seconds between messages
    hold: float = 0.2
    held: "Load | None" = None

    def arguments(self) -> list[str]:
        """For the load client, whose fan-out goes to channels anyway."""
        values = {
            **{field.name: getattr(self, field.name) for field in fields(self) if field.name != "held"},
            "mode": "fanout" if self.mode == "channels" else self.mode,
            "active": self.active or self.channels,
        }
        return [part for name, value in values.items() for part in (f"--{name}", str(value))]


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Where programs are and on which cores they run."""

    server_cores: str
    load_cores: str
    build: Path = BUILD
    python: str = ""  # of the Python peers; empty: the one of build.py --python-peers if it is there, else this one

    def peer_python(self) -> str:
        installed = VENV / "bin" / "python"
        return self.python or (str(installed) if installed.exists() else sys.executable)


def _nothing(port: int, pid: int) -> AbstractContextManager[Figures]:
    return nullcontext({})


def measure(server: Server, load: Load, places: Places, beside: Beside = _nothing) -> Figures:
    """Start the server anew and return what wsload, and what goes on beside it, say about it.

    Raises MeasurementError.
    """
    port = _free_port()
    with tempfile.TemporaryFile() as log:
        try:
            with (
                _running(_command(server, load, places, port), port, log, places) as pid,
                _held(server, load, places, port),
            ):
                with beside(port, pid) as more:
                    figures = _drive(server, load, places, port, pid)
                return {**figures, **more}
        except MeasurementError as error:
            raise MeasurementError(f"{error}{_end_of(log)}") from error


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _command(server: Server, load: Load, places: Places, port: int) -> list[str]:
    values = {
        "port": port,
        "mode": load.mode,
        "python": places.peer_python(),
        "this_python": sys.executable,
        "peers": PEERS,
        "build": places.build,
    }
    try:
        return [part.format(**values) for part in shlex.split(server.command)]
    except (KeyError, IndexError, ValueError) as error:
        raise MeasurementError(f"cannot fill in the command {server.command!r}: {error}") from error


@contextmanager
def _running(command: list[str], port: int, log: IO[bytes], places: Places) -> Iterator[int]:
    environment = dict(os.environ, NODE_PATH=str(places.build / "node_modules"))
    try:
        with pinned(core_set(places.server_cores)):
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=log, env=environment)
    except OSError as error:
        raise MeasurementError(f"cannot start {command[0]}: {error.strerror}") from error
    try:
        _wait_until_it_listens(process, port)
        yield process.pid
    finally:
        _end(process)


def _wait_until_it_listens(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + STARTS_WITHIN_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise MeasurementError(f"did not start: exit status {process.returncode}")
        try:
            socket.create_connection(("127.0.0.1", port), 0.2).close()
        except OSError:
            time.sleep(0.05)
        else:
            time.sleep(SETTLES_IN_SECONDS)
            return
    raise MeasurementError(f"did not listen within {STARTS_WITHIN_SECONDS:.0f} s")


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(ENDS_WITHIN_SECONDS)
    except subprocess.TimeoutExpired:
        # Its children are still its own here, so none of these ids can have been reused.
        for pid in reversed(_with_descendants(process.pid)[1:]):
            os.kill(pid, 9)
        process.kill()
        process.wait()


def _with_descendants(pid: int) -> list[int]:
    found = [pid]
    for parent in found:
        for task in Path(f"/proc/{parent}/task").glob("*/children"):
            found += [int(child) for child in task.read_text().split() if int(child) not in found]
    return found


def _load_command(server: Server, load: Load, places: Places, port: int, mode: str) -> list[str]:
    return [str(places.build / "wsload"), "--port", str(port), *load.arguments(), *server.load_arguments(mode)]


@contextmanager
def _held(server: Server, load: Load, places: Places, port: int) -> Iterator[None]:
    """The connections of ``load.held`` are there in this block."""
    if load.held is None:
        yield
        return
    command = _load_command(server, load.held, places, port, load.mode)
    with pinned(core_set(places.load_cores)):
        holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        assert holder.stdout is not None
        if holder.stdout.readline() != b"ready\n":
            raise MeasurementError(f"the connections that are held: {holder.communicate()[1].decode().strip()}")
        yield
    finally:
        holder.communicate()


def _drive(server: Server, load: Load, places: Places, port: int, pid: int) -> Figures:
    command = _load_command(server, load, places, port, load.mode)
    for process in _with_descendants(pid):
        command += ["--pid", str(process)]
    try:
        with pinned(core_set(places.load_cores)):
            result = subprocess.run(
                command, capture_output=True, text=True, check=False, timeout=LOAD_ENDS_WITHIN_SECONDS
            )
    except subprocess.TimeoutExpired:
        raise MeasurementError(f"took longer than {LOAD_ENDS_WITHIN_SECONDS:.0f} s: ask for less") from None
    except OSError as error:
        raise MeasurementError(f"cannot run wsload ({error.strerror}): python bench/build.py") from error
    if result.returncode:
        raise MeasurementError(f"wsload: {result.stderr.strip()}")
    return {key: float(value) for key, value in json.loads(result.stdout).items() if key != "mode"}


def _end_of(log: IO[bytes]) -> str:
    log.seek(0)
    text = log.read().decode(errors="replace").strip()
    return f"\n  the server's last words: {text[-600:]}" if text else ""
