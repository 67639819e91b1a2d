"""Real servers for tests: in the test's own event loop, or as child processes that are ended by their id."""

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import uvicorn

from openline.app.server import Server, configure

READY = re.compile(r"ready on (https?)://([^ :]+|\[[^ ]+\]):(\d+)")
#: What no step of a test may take longer than.
PATIENCE = 60.0
#: Nor may the start of a process, on a machine that has other things to do.
START_PATIENCE = 60.0


class Served:
    """A server that runs in this loop."""

    def __init__(self, server: uvicorn.Server, scheme: str) -> None:
        self.server = server
        self.port: int = server.servers[0].sockets[0].getsockname()[1]
        self.secure = scheme == "https"
        self.http = f"{scheme}://127.0.0.1:{self.port}"
        self.ws = self.http.replace("http", "ws", 1)

    @property
    def connections(self) -> set[Any]:
        return self.server.server_state.connections

    async def until(self, true: Callable[[], object]) -> None:
        await until(true)

    async def stop(self) -> None:
        """What uvicorn does at the end, less its pauses."""
        for listener in self.server.servers:
            listener.close()
        for connection in list(self.connections):
            connection.shutdown()
        await self.server.lifespan.shutdown()
        for connection in list(self.connections):
            transport = getattr(connection, "_transport", None) or connection.transport
            transport.abort()
        for task in list(self.server.server_state.tasks):
            task.cancel()
        await until(lambda: not self.connections and not self.server.server_state.tasks)


async def until(true: Callable[[], object]) -> None:
    """Let the loop run until ``true()``; fails after a deadline."""
    async with asyncio.timeout(PATIENCE):
        while not true():
            await asyncio.sleep(0.005)


@asynccontextmanager
async def running(config: uvicorn.Config, kind: type[uvicorn.Server] = Server) -> AsyncIterator[Served]:
    """A uvicorn server with ``config`` in this loop."""
    config.load()
    server = kind(config)
    server.lifespan = config.lifespan_class(config)
    await server.startup()
    served = Served(server, "https" if config.is_ssl else "http")
    try:
        yield served
    finally:
        await served.stop()


@asynccontextmanager
async def serving(app: Any, **options: Any) -> AsyncIterator[Served]:
    """``openline serve`` of ``app`` in this loop, on a free port."""
    async with running(configure(app, host="127.0.0.1", port=0, **options)) as served:
        yield served


@asynccontextmanager
async def plainly_serving(app: Any, **options: Any) -> AsyncIterator[Served]:
    """A plain ``uvicorn app:app`` in this loop, on a free port."""
    config = uvicorn.Config(app, host="127.0.0.1", port=0, log_config=None, access_log=False, **options)
    async with running(config, uvicorn.Server) as served:
        yield served


class Process:
    """A command of ours as a child process: its log, its address, its end."""

    def __init__(self, arguments: list[str], folder: Path, environment: dict[str, str] | None = None) -> None:
        self.log = folder / f"log-{time.monotonic_ns()}.txt"
        known = {name: value for name, value in os.environ.items() if name not in ("HOST", "PORT")}
        with self.log.open("wb") as output:
            self.child = subprocess.Popen(
                arguments,
                cwd=folder,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**known, "PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1", **(environment or {})},
            )

    @property
    def said(self) -> str:
        return self.log.read_text(errors="replace")

    def wait_for(self, pattern: re.Pattern[str], beyond: int = 0) -> re.Match[str]:
        """Wait until ``pattern`` stands in the log behind its first ``beyond`` characters."""
        deadline = time.monotonic() + START_PATIENCE
        while time.monotonic() < deadline:
            found = pattern.search(self.said, beyond)
            if found is not None:
                return found
            if self.child.poll() is not None:
                break
            time.sleep(0.02)
        raise AssertionError(f"{pattern.pattern!r} is not in the log:\n{self.said}")

    def address(self) -> tuple[str, int]:
        """The URL and the port, as the line says that it is ready."""
        found = self.wait_for(READY)
        return f"{found[1]}://{found[2]}:{found[3]}", int(found[3])

    def end(self, with_signal: int = signal.SIGTERM, within: float = PATIENCE) -> int:
        """Send the signal and return the exit code."""
        if self.child.poll() is None:
            self.child.send_signal(with_signal)
        return self.wait(within)

    def wait(self, within: float = PATIENCE) -> int:
        return self.child.wait(within)

    def __enter__(self) -> "Process":
        return self

    def __exit__(self, *_: object) -> None:
        if self.child.poll() is None:
            self.child.kill()
        self.child.wait(PATIENCE)


def openline(folder: Path, *arguments: str, environment: dict[str, str] | None = None) -> Process:
    """``openline …`` as a child process, in ``folder``."""
    return Process([str(Path(sys.executable).with_name("openline")), *arguments], folder, environment)


def plain_uvicorn(folder: Path, *arguments: str) -> Process:
    """``uvicorn …`` as a child process, in ``folder``."""
    return Process([sys.executable, "-m", "uvicorn", *arguments], folder)


def own_port() -> int:
    """A port of 127.0.0.1 that nobody else is given while these tests run; servers may listen there in turn."""
    place = socket.socket()
    # Bound and not listening, it keeps the port for whoever shares it.
    place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    place.bind(("127.0.0.1", 0))
    port: int = place.getsockname()[1]
    place.detach()  # open until this process ends
    return port


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate that vouches for itself and for this machine, and its key."""
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    command = "openssl req -x509 -nodes -days 1 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -subj /CN=localhost"
    names = "subjectAltName=DNS:localhost,IP:127.0.0.1"
    files = ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*command.split(), "-addext", names, *files], check=True, capture_output=True)
    return certificate, key
