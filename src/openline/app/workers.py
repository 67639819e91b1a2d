"""The supervisor of a server with workers: it owns the port, starts processes, replaces what dies, ends them all."""

import asyncio
import json
import logging
import os
import secrets
import signal
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from socket import (
    AI_PASSIVE,
    SO_REUSEADDR,
    SO_REUSEPORT,
    SOCK_STREAM,
    SOL_SOCKET,
    getaddrinfo,
    socket,
    socketpair,
)
from typing import Any, Final

from openline.app.engine_process import ORDER
from openline.app.loading import name_of
from openline.app.seat import seat
from openline.app.server import set_up_logging
from openline.errors import SettingsError
from openline.version import VERSION

__all__ = ["Supervisor", "check_workers", "serve_by_name"]

_log: Final = logging.getLogger("openline")
_LOOPBACK: Final = "127.0.0.1"
_ENGINE: Final = (sys.executable, "-m", "openline.app.engine_process")
_BACKLOG: Final = 2048
#: After which all that is left is killed: whatever supervises us waits for 30 s.
_MOST_SECONDS: Final = 29.3
#: How long what does not start, or ends at once, is not tried again.
_PAUSE_SECONDS: Final = 2.0


def check_workers(count: int) -> None:
    """Raises :class:`SettingsError` for a number of workers that cannot be."""
    if count < 1:
        raise SettingsError("workers", f"{count} is not a number of processes: 1 or more, such as one for each core")
    if count > 1 and sys.platform == "win32":
        raise SettingsError("workers", "need Linux or macOS: on Windows, serve with one process")


def serve_by_name(app: Any, count: int, *, host: str, port: int, **order: Any) -> None:
    """Serve ``app``, or what it names, by ``count`` workers that import it.

    Raises :class:`SettingsError` where it has no name, or this is one of the workers.
    """
    if seat() is not None:
        raise SettingsError(
            "workers",
            "serve(…) was called while a worker imported this program: put it below if __name__ == '__main__':",
        )
    target, folder = (app, "") if isinstance(app, str) else name_of(app)
    engine = getattr(getattr(app, "settings", None), "engine", "")
    command = (sys.executable, "-m", "openline.app.worker")
    Supervisor(
        command, {**order, "target": target, "folder": folder}, count=count, host=host, port=port, engine=engine
    ).run()


class _Child:
    """A process, and our end of the socket over which it says that it is ready and is told to end."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, control: socket) -> None:
        self.name = name
        self.process = process
        self.began = asyncio.get_running_loop().time()
        self.ready: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._control = control
        control.settimeout(0.0)
        asyncio.get_running_loop().add_reader(control, self._hear)

    def _hear(self) -> None:
        try:
            said = self._control.recv(64)
        except ConnectionError:
            said = b""
        if not said:
            self.let_go()
        elif not self.ready.done():
            self.ready.set_result(True)

    def tell(self, said: bytes) -> None:
        """Say something to it, if it is there."""
        with suppress(OSError):
            self._control.send(said)

    def let_go(self) -> None:
        """Close the socket: an engine process ends, and so does a worker."""
        if self._control.fileno() >= 0:
            asyncio.get_running_loop().remove_reader(self._control)
            self._control.close()
        if not self.ready.done():
            self.ready.set_result(False)

    def kill(self) -> None:
        """Do not wait for it any longer."""
        with suppress(ProcessLookupError):
            self.process.kill()


class Supervisor:
    """Runs ``count`` workers of ``command`` until SIGTERM or SIGINT; SIGHUP replaces one after the other.

    ``order`` is what each is told. Workers share the engine process, unless the ``engine`` named is one that is
    elsewhere, such as Redis.
    """

    def __init__(
        self, command: Sequence[str], order: dict[str, Any], *, count: int, host: str, port: int, engine: str = ""
    ) -> None:
        check_workers(count)
        self._command = command
        self._count = count
        self._elsewhere = "://" in engine
        self._listeners = _listen(host, port, count)
        # Workers are reached by those of other machines only where there are such.
        self._order = {**order, "host": host if self._elsewhere else _LOOPBACK, "key": secrets.token_hex(32)}
        self._workers: dict[int, _Child] = {}
        self._children: set[_Child] = set()
        self._engine: _Child | None = None
        self._ending = self._failed = False
        self._rolling: asyncio.Task[None] | None = None

    def run(self) -> None:
        """Serve; raises :class:`SystemExit` where something did not end in order, or a worker does not start."""
        set_up_logging(self._order["log_level"])
        # Nobody else may read or write what goes to the engine process: the folder is for this user alone.
        with tempfile.TemporaryDirectory(prefix="openline-") as folder:
            self._order["engine"] = os.path.join(folder, "engine")
            asyncio.run(self._run())
        if self._failed:
            raise SystemExit(1)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        for each in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(each, self._end)
        loop.add_signal_handler(signal.SIGHUP, self._replace_all)
        try:
            async with asyncio.TaskGroup() as tasks:
                self._tasks = tasks
                await self._begin()
        finally:
            for child in self._children:
                child.kill()
            for child in tuple(self._children):
                await child.process.wait()
            for listener in self._listeners:
                listener.close()

    async def _begin(self) -> None:
        if not self._elsewhere:
            self._engine = await self._start(_ENGINE, "the engine process", {})
            self._tasks.create_task(self._keep_engine(self._engine))
        # One alone says what is wrong with the application, and not all of them.
        for numbers in ([1], range(2, self._count + 1)):
            started = [await self._start_worker(number) for number in numbers if not self._ending]
            for child in started:
                if not await child.ready and not self._ending:
                    self._fail()
        if not self._ending:
            _log.info("Openline %s is ready on %s with %d workers (Ctrl-C ends it)", VERSION, self._shown, self._count)

    @property
    def _shown(self) -> str:
        host, port = self._listeners[0].getsockname()[:2]
        return f"{'https' if self._order['certificate'] else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"

    async def _start(self, command: Sequence[str], name: str, order: dict[str, Any]) -> _Child:
        ours, theirs = socketpair()
        told = {**self._order, **order, "control": theirs.fileno()}
        passed = (theirs.fileno(), *([order["listener"]] if "listener" in order else []))
        with theirs:
            process = await asyncio.create_subprocess_exec(
                *command, env={**os.environ, ORDER: json.dumps(told)}, pass_fds=passed
            )
        child = _Child(name, process, ours)
        self._children.add(child)
        return child

    async def _start_worker(self, number: int) -> _Child:
        listener = self._listeners[(number - 1) % len(self._listeners)].fileno()
        child = await self._start(self._command, f"worker {number}", {"number": number, "listener": listener})
        self._workers[number] = child
        self._tasks.create_task(self._keep_worker(number, child))
        return child

    async def _wait(self, child: _Child) -> int:
        code = await child.process.wait()
        child.let_go()
        self._children.discard(child)
        return code

    # -- replacing

    async def _keep_engine(self, child: _Child) -> None:
        while True:
            code = await self._wait(child)
            if self._ending:
                return
            if not child.ready.result() and not any(each.ready.done() for each in self._workers.values()):
                self._fail()
                return
            _log.error(
                "The engine process has ended (%s) and is started again: history in memory is lost, and clients are "
                "told; history in a file goes on",
                _shown(code),
            )
            if not child.ready.result():
                await asyncio.sleep(_PAUSE_SECONDS)
            self._engine = child = await self._start(_ENGINE, "the engine process", {})
            self._end_engine()

    async def _keep_worker(self, number: int, child: _Child) -> None:
        code = await self._wait(child)
        if self._engine is not None:
            self._engine.tell(b"%d\n" % child.process.pid)
        self._failed = self._failed or (self._ending and code != 0)
        if self._workers.get(number) is not child or self._ending:
            # Another one has its place by now, or nobody is to.
            self._end_engine()
            return
        _log.error("%s has ended (%s): another one takes its place", child.name, _shown(code))
        if asyncio.get_running_loop().time() - child.began < _PAUSE_SECONDS or not child.ready.result():
            await asyncio.sleep(_PAUSE_SECONDS)
        if not self._ending:
            await self._start_worker(number)

    def _replace_all(self) -> None:
        if not self._ending and (self._rolling is None or self._rolling.done()):
            _log.info("Told to replace the workers, one after the other")
            self._rolling = self._tasks.create_task(self._roll())

    async def _roll(self) -> None:
        """Start another, let the old one go when it is there: the port is never without somebody who listens."""
        for number in range(1, self._count + 1):
            old = self._workers[number]
            new = await self._start_worker(number)
            if not await new.ready and not self._ending:
                _log.error("%s could not be replaced; the others stay as they are", old.name)
                return
            old.tell(b"d")
            await old.process.wait()
            if self._ending:
                return

    # -- ending

    def _fail(self) -> None:
        self._failed = True
        self._end()

    def _end(self) -> None:
        """Let all workers drain; the second time at once."""
        said = b"h" if self._ending else b"d"
        if not self._ending:
            self._ending = True
            asyncio.get_running_loop().call_later(_MOST_SECONDS, self._give_up)
        for child in self._children:
            if child is not self._engine:
                child.tell(said)
        self._end_engine()

    def _end_engine(self) -> None:
        """What keeps the logs ends last."""
        if self._ending and self._engine is not None and not self._children - {self._engine}:
            self._engine.let_go()

    def _give_up(self) -> None:
        for child in self._children:
            _log.error("%s has not ended within %g s: it is killed", child.name, _MOST_SECONDS)
            self._failed = True
            child.kill()


def _shown(code: int) -> str:
    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


def _listen(host: str, port: int, count: int) -> list[socket]:
    """The sockets of the workers, which the supervisor keeps open, so that nobody who waits at one is lost with its
    worker. Raises :class:`SettingsError`.

    On Linux each has one of its own: the kernel spreads who comes, evenly. Elsewhere they share one.
    """
    spreads = sys.platform == "linux"
    listeners: list[socket] = []
    try:
        # Without SO_REUSEPORT: another server that listens there is noticed, even if it would share the port.
        with _bound(host, port) as first:
            port = first.getsockname()[1]
            first.listen()
        for _ in range(count if spreads else 1):
            listener = _bound(host, port, spreads=spreads)
            listeners.append(listener)
        for listener in listeners:
            listener.listen(_BACKLOG)
    except OSError as error:
        for listener in listeners:
            listener.close()
        reason = os.strerror(error.errno) if error.errno is not None and error.errno > 0 else str(error)
        raise SettingsError(f"{host}:{port}", f"cannot listen there ({reason}); try another --port or --host") from None
    return listeners


def _bound(host: str, port: int, *, spreads: bool = False) -> socket:
    family, *_, address = getaddrinfo(host, port, type=SOCK_STREAM, flags=AI_PASSIVE)[0]
    listener = socket(family)
    try:
        listener.setsockopt(SOL_SOCKET, SO_REUSEADDR, 1)
        if spreads:
            listener.setsockopt(SOL_SOCKET, SO_REUSEPORT, 1)
        listener.bind(address)
    except OSError:
        listener.close()
        raise
    return listener
