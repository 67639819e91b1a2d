"""Runs one application in this process on uvicorn, natively, with our words at start and end."""

import asyncio
import gc
import logging
import os
import threading
import time
from functools import partial
from socket import AF_INET, AF_INET6, SOCK_DGRAM, socket
from types import FrameType
from typing import Any, Final, cast

import uvicorn
from uvicorn.lifespan.on import LifespanOn, LifespanSendMessage

from openline.app.loading import load as load_target
from openline.app.runtime import running_here
from openline.errors import OpenlineError, SettingsError
from openline.transports.listener import Listener
from openline.transports.receiver import Receiver
from openline.transports.uvicorn_host import NativeHttpProtocol
from openline.version import VERSION

__all__ = [
    "EVERYWHERE",
    "Lifespan",
    "Server",
    "configure",
    "hurry",
    "load",
    "make_server",
    "not_listening",
    "own_address",
    "serve",
    "set_up_logging",
]

_log: Final = logging.getLogger("openline")
EVERYWHERE: Final = ("0.0.0.0", "::")  # noqa: S104  what is listened on, not where
#: How long requests of an application around us may go on after the signal.
GRACE_SECONDS = 18
#: How long lines may take to end once everybody has been let go.
LAST_SECONDS = 3
#: What no end takes longer than, whatever hangs: supervisors wait for 30 s.
MOST_SECONDS = 29.0
#: After how many new objects the garbage collector looks, as Python has it, and as suits a server.
_PYTHONS_THRESHOLDS: Final = (700, 10, 10)
_THRESHOLDS: Final = (10_000, 10, 10)
#: uvicorn's words, which say no more than ours.
_NOT_STARTED: Final = "Application startup failed. Exiting."


class Lifespan(LifespanOn):
    """uvicorn's, which keeps why the application does not start, where that is one line, instead of logging it."""

    reason = ""

    async def send(self, message: LifespanSendMessage) -> None:
        """See the ASGI specification, lifespan."""
        if message["type"] == "lifespan.startup.failed" and len(message.get("message", "").splitlines()) == 1:
            self.reason = message["message"]
            message = {"type": "lifespan.startup.failed", "message": ""}
        await super().send(message)


class Server(uvicorn.Server):
    """uvicorn, which says in our words where it listens, or why it cannot, and ends with 0 when it was told to end."""

    lifespan_type = Lifespan
    _loop: asyncio.AbstractEventLoop | None = None
    _last: threading.Timer | None = None

    async def startup(self, sockets: list[socket] | None = None) -> None:
        """Listen; raises :class:`OpenlineError` where that cannot be, or the application does not start."""
        self._loop = asyncio.get_running_loop()
        self.lifespan = lifespan = self.lifespan_type(self.config)
        try:
            await super().startup(sockets)
        except SystemExit as stop:
            if lifespan.reason:
                raise OpenlineError(lifespan.reason) from None
            raise not_listening(self.config, stop) from None
        if sockets is not None:
            self._log_started_message(sockets)
        await self.listen_further()
        self.tell_application(sockets)
        self._listen_below_the_loop()

    async def listen_further(self) -> None:
        """Where this process alone is reached; nowhere but where all are."""

    def tell_application(self, sockets: list[socket] | None) -> None:
        """Let the application know where it is reached, where that is one of ours."""
        listeners = sockets or [each for server in self.servers for each in server.sockets]
        application = cast("object", self.config.loaded_app)  # pyright: ignore[reportUnknownMemberType]
        listens: object = getattr(application, "listens", None)
        if not callable(listens) or not listeners or listeners[0].family not in (AF_INET, AF_INET6):
            return
        host, port = listeners[0].getsockname()[:2]
        shown = own_address() if host in EVERYWHERE else host
        listens(f"{'https' if self.config.is_ssl else 'http'}://{f'[{shown}]' if ':' in shown else shown}:{port}")

    def _listen_below_the_loop(self) -> None:
        """Where it can be, connections are accepted and read by our receiver; TLS is for the event loop."""
        receiver = None if self.config.is_ssl else Receiver.of(asyncio.get_running_loop())
        if receiver is not None:
            make = partial(NativeHttpProtocol, self.config, self.server_state, self.lifespan.state)
            self.servers = cast("list[Any]", Listener.instead_of(self.servers, receiver, make))

    def run_reloaded(self, sockets: list[socket] | None = None) -> None:
        """Run in a child process, which ends with one line that says why when it cannot."""
        try:
            self.run(sockets)
        except OpenlineError as error:
            _log.error("%s", error)
            raise SystemExit(1) from None

    async def main_loop(self) -> None:
        """Serve. What has been made by now stays: the garbage collector need not look at it again and again.

        It looks at what is new less often, too, unless the application has said how often: what connections are made
        of is freed without it.
        """
        gc.collect()
        gc.freeze()
        if gc.get_threshold() == _PYTHONS_THRESHOLDS:
            gc.set_threshold(*_THRESHOLDS)
        await super().main_loop()

    async def shutdown(self, sockets: list[socket] | None = None) -> None:
        """Let everybody go, each at its moment; then end as uvicorn does."""
        if not self.force_exit:
            began = time.monotonic()
            async with asyncio.TaskGroup() as tasks:
                for runtime in running_here():
                    tasks.create_task(runtime.depart())
            left = GRACE_SECONDS - (time.monotonic() - began)
            self.config.timeout_graceful_shutdown = max(LAST_SECONDS, round(left))
        await super().shutdown(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop; the second time at once.

        uvicorn would raise the signal again at the end, as if nothing had been put in order.
        """
        again = self.should_exit
        super().handle_exit(sig, frame)
        self._captured_signals.clear()
        if not again:
            self._last = _end_whatever_happens()
        elif self._loop is not None:
            self.force_exit = True
            # A signal comes in the middle of anything.
            self._loop.call_soon_threadsafe(hurry)

    def let_the_process_go_on(self) -> None:
        """It has ended, and its end was not to be the process's."""
        if self._last is not None:
            self._last.cancel()

    def _log_started_message(self, listeners: Any) -> None:
        host, port = listeners[0].getsockname()[:2] if listeners else (self.config.host, self.config.port)
        shown = f"[{host}]" if ":" in str(host) else host
        scheme = "https" if self.config.is_ssl else "http"
        more = ", and starts anew at every change" if self.config.reload else ""
        _log.info("Openline %s is ready on %s://%s:%s%s (Ctrl-C ends it)", VERSION, scheme, shown, port, more)


def own_address() -> str:
    """The address from which this machine speaks to others; nothing is sent to find out."""
    with socket(AF_INET, SOCK_DGRAM) as any_way:
        try:
            any_way.connect(("192.0.2.1", 9))
        except OSError:
            return "127.0.0.1"
        return str(any_way.getsockname()[0])


def hurry() -> None:
    """Let nobody be waited for any more."""
    for runtime in running_here():
        runtime.departure.hurry()


def _end_whatever_happens() -> threading.Timer:
    """A handler that neither returns nor lets itself be cancelled may not keep the process."""
    last = threading.Timer(MOST_SECONDS, _give_up)
    last.daemon = True
    last.start()
    return last


def _give_up() -> None:
    _log.error("Something has not ended within %g s; the process ends without it", MOST_SECONDS)
    os._exit(1)


def not_listening(config: uvicorn.Config, stop: SystemExit) -> SettingsError:
    """Why uvicorn gave up with ``stop``."""
    cause = stop.__context__
    if isinstance(cause, OSError):
        reason = os.strerror(cause.errno) if cause.errno is not None and cause.errno > 0 else str(cause)
        return SettingsError(
            f"{config.host}:{config.port}", f"cannot listen there ({reason}); try another --port or --host"
        )
    return SettingsError("the application", "did not start; the first line above says why")


def serve(
    app: Any,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    log_level: str = "info",
    certificate: str | None = None,
    key: str | None = None,
    workers: int = 1,
) -> None:
    """Serve ``app``, an :class:`Openline` or any ASGI application that one is mounted in, until SIGINT or SIGTERM.

    ``certificate`` and ``key`` are PEM files for TLS. ``app`` may be named, as in ``"chat:line"``. More than one of
    ``workers`` are processes that share the port and the channels; each imports ``app`` by its name. Raises
    :class:`SettingsError` where the address cannot be had, the files are no good, or there is no such name, and
    :class:`OpenlineError` where the application does not start.
    """
    from openline.app.workers import check_workers, serve_by_name  # noqa: PLC0415  it stands on this module

    check_workers(workers)
    if workers > 1:
        serve_by_name(app, workers, host=host, port=port, log_level=log_level, certificate=certificate, keyfile=key)
        return
    if isinstance(app, str):
        app = load_target(app)
    server = make_server(app, host=host, port=port, log_level=log_level, certificate=certificate, key=key)
    try:
        server.run()
    finally:
        server.let_the_process_go_on()


def make_server(
    app: Any, *, host: str, port: int, log_level: str, certificate: str | None = None, key: str | None = None
) -> Server:
    """What :func:`serve` runs; by itself it takes the process with it, whatever hangs there."""
    set_up_logging(log_level)
    config = configure(app, host=host, port=port, ssl_certfile=certificate, ssl_keyfile=key)
    load(config)
    return Server(config)


def load(config: uvicorn.Config) -> None:
    """Read what the configuration names; raises :class:`SettingsError` where TLS cannot be had."""
    if config.ssl_keyfile is not None and config.ssl_certfile is None:
        raise SettingsError("key", "is of no use without a certificate (--certificate)")
    try:
        config.load()
    except OSError as error:  # ssl.SSLError is one
        raise SettingsError(
            f"certificate {config.ssl_certfile}", f"cannot be used, or does not fit its key: {error}"
        ) from None


def configure(app: Any, **options: Any) -> uvicorn.Config:
    """uvicorn's settings for an application of ours."""
    return uvicorn.Config(
        app,
        http=NativeHttpProtocol,
        ws="websockets-sansio",
        ws_per_message_deflate=False,
        interface="asgi3" if not options.get("factory") else "auto",
        lifespan="auto",
        access_log=False,
        log_config=None,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
        **options,
    )


def set_up_logging(level: str, process: str = "") -> None:
    """Log ours, and uvicorn's from warnings on, to standard error, one line per record.

    ``process`` is whose they are, where there are several.
    """
    handler = logging.StreamHandler()
    # Why nobody can listen there, or the application does not start, is told by whoever asked for it.
    handler.addFilter(lambda record: not isinstance(record.msg, OSError) and record.msg != _NOT_STARTED)
    handler.setFormatter(_OneLine(f"%(asctime)s %(levelname)-7s {process and f'[{process}] '}%(message)s", "%H:%M:%S"))
    for name, threshold in (("openline", level.upper()), ("uvicorn", "WARNING"), ("uvicorn.error", "WARNING")):
        logger = logging.getLogger(name)
        logger.setLevel(threshold)
        logger.handlers[:] = [handler] if name != "uvicorn.error" else []
        logger.propagate = name == "uvicorn.error"


class _OneLine(logging.Formatter):
    """Control characters of what is logged are escaped, so that no client forges a line.

    The lines of a traceback are indented: what an error quotes cannot pass for a record either.
    """

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  logging's name
        record.message = _printable(record.message)
        return super().formatMessage(record)

    def formatException(self, ei: Any) -> str:  # noqa: N802  logging's name
        return "\n".join(f"    {_printable(line)}" for line in super().formatException(ei).split("\n"))


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
