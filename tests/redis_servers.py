"""Real Redis servers for tests: child processes with a folder of their own, ended by their id."""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import redis

PATIENCE = 10.0


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


class RedisServer:
    """One ``redis-server`` on a free port of loopback; ``options`` are its own, with ``_`` for ``-``."""

    def __init__(self, *words: str, config: str = "", **options: str) -> None:
        self.folder = Path(mkdtemp(prefix="openline-redis-"))
        (self.folder / "redis.conf").write_text(config)
        self.port = int(options.pop("port", free_port()))
        self.password = options.get("requirepass", "")
        self._words = words
        kept = {} if "--sentinel" in words else {"save": "", "appendonly": "no", "dbfilename": "dump.rdb"}
        self._options = {**kept, **options}
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def url(self) -> str:
        login = f":{self.password}@" if self.password else ""
        return f"redis://{login}127.0.0.1:{self.port}"

    @property
    def client(self) -> Any:
        """Another client of the server: what an operator types, and what an attacker may."""
        return redis.Redis(port=self.port, password=self.password or None, protocol=2)

    def start(self) -> None:
        options = {"port": str(self.port), "bind": "127.0.0.1", "dir": str(self.folder), **self._options}
        words = [word for name, value in options.items() for word in (f"--{name.replace('_', '-')}", value)]
        log = (self.folder / "log").open("ab")
        self._process = subprocess.Popen(
            ["redis-server", str(self.folder / "redis.conf"), *self._words, *words],
            stdout=log,
            stderr=log,
            cwd=self.folder,
        )
        log.close()
        self._wait_until_there()

    def _wait_until_there(self) -> None:
        end = time.monotonic() + PATIENCE
        while True:
            try:
                with self.client as client:
                    client.ping()
                    return
            except (redis.ConnectionError, redis.exceptions.BusyLoadingError):
                assert time.monotonic() < end, (self.folder / "log").read_text()
                time.sleep(0.01)

    def signal(self, number: int) -> None:
        assert self._process is not None
        os.kill(self._process.pid, number)

    def freeze(self) -> None:
        self.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.signal(signal.SIGCONT)

    def kill(self) -> None:
        """SIGKILL: nothing is saved at the end."""
        if self._process is not None:
            self.signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    def close(self) -> None:
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def do(self, *command: Any) -> Any:
        """One command, as somebody else."""
        with self.client as client:
            return client.execute_command(*command)


@contextmanager
def redis_server(*words: str, config: str = "", **options: str) -> Iterator[RedisServer]:
    server = RedisServer(*words, config=config, **options)
    try:
        yield server
    finally:
        server.close()
