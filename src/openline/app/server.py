"""Runs one application in this process on uvicorn, natively, with our words at start and end."""

import logging
from typing import Any

import uvicorn

from openline.errors import SettingsError
from openline.transports.uvicorn_host import NativeHttpProtocol
from openline.version import VERSION

__all__ = ["Server", "configure", "serve", "set_up_logging"]

#: How long handlers and lines may take to end after the first signal.
GRACE_SECONDS = 15


class Server(uvicorn.Server):
    """uvicorn, which says where it listens in our words."""

    def _log_started_message(self, listeners: Any) -> None:
        host, port = listeners[0].getsockname()[:2] if listeners else (self.config.host, self.config.port)
        shown = f"[{host}]" if ":" in str(host) else host
        scheme = "https" if self.config.ssl else "http"
        logging.getLogger("openline").info(
            "Openline %s is ready on %s://%s:%s (Ctrl-C ends it)", VERSION, scheme, shown, port
        )


def serve(
    app: Any,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    log_level: str = "info",
    certificate: str | None = None,
    key: str | None = None,
) -> None:
    """Serve ``app``, an :class:`Openline` or any ASGI application that one is mounted in, until SIGINT or SIGTERM.

    ``certificate`` and ``key`` are PEM files for TLS. Raises :class:`SettingsError` where the address cannot be had.
    """
    set_up_logging(log_level)
    config = configure(app, host=host, port=port, ssl_certfile=certificate, ssl_keyfile=key)
    try:
        Server(config).run()
    except KeyboardInterrupt:
        pass
    except SystemExit as stop:
        if stop.code:
            raise SettingsError(f"{host}:{port}", "cannot listen there; see the line above (another --port?)") from None


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


def set_up_logging(level: str) -> None:
    """Log ours, and uvicorn's from warnings on, to standard error, one line per record."""
    handler = logging.StreamHandler()
    handler.setFormatter(_OneLine("%(asctime)s %(levelname)-7s %(message)s", "%H:%M:%S"))
    for name, threshold in (("openline", level.upper()), ("uvicorn", "WARNING"), ("uvicorn.error", "WARNING")):
        logger = logging.getLogger(name)
        logger.setLevel(threshold)
        logger.handlers[:] = [handler] if name != "uvicorn.error" else []
        logger.propagate = name == "uvicorn.error"


class _OneLine(logging.Formatter):
    """Control characters of what is logged are escaped, so that no client forges a line.

    Our own traceback keeps its lines.
    """

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  logging's name
        record.message = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in record.message)
        return super().formatMessage(record)
