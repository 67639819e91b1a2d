"""``openline serve module:object``."""

import json
import logging
import os
import sys
from typing import Any, Final

import click
import uvicorn
from uvicorn.supervisors import ChangeReload

from openline.app.loading import load
from openline.app.openline import Openline
from openline.app.server import Server, configure, make_server, not_listening, set_up_logging
from openline.app.workers import Supervisor
from openline.cli.options import apply, serving_options, workers_option
from openline.errors import OpenlineError, SettingsError

__all__ = ["prepare", "serve"]

_RELOADED: Final = "OPENLINE_RELOADED"
_log: Final = logging.getLogger("openline")


@click.command(short_help="Serve an Openline, or an application that one is mounted in.")
@click.argument("target", metavar="MODULE:OBJECT")
@serving_options
@workers_option
@click.option("--reload", is_flag=True, help="Start anew whenever a file below this folder changes.")
@click.option("--certificate", type=click.Path(exists=True, dir_okay=False), help="TLS: the certificate, a PEM file.")
@click.option("--key", type=click.Path(exists=True, dir_okay=False), help="TLS: its key, a PEM file.")
def serve(
    target: str,
    host: str,
    port: int,
    log_level: str,
    workers: int,
    reload: bool,  # noqa: FBT001  click's way
    certificate: str | None,
    key: str | None,
    **options: Any,
) -> None:
    """Serve OBJECT of MODULE: an Openline, or an ASGI application that one is mounted in.

    For example, for what chat.py in this folder calls line:

    \b
    openline serve chat:line
    openline serve chat:line --host 0.0.0.0 --allow-host chat.example.com
    """
    if reload and workers > 1:
        raise click.UsageError("--reload is for development, with one process: leave --workers out.")
    if workers > 1:
        serve_with_workers(
            target, host, port, workers, log_level=log_level, certificate=certificate, key=key, options=options
        )
    elif reload:
        configuration = configure(
            "openline.cli.serve:reloaded",
            factory=True,
            reload=True,
            host=host,
            port=port,
            ssl_certfile=certificate,
            ssl_keyfile=key,
        )
        serve_reloading(configuration, target, log_level=log_level, options=options)
    else:
        app = prepare(target, options)
        make_server(app, host=host, port=port, log_level=log_level, certificate=certificate, key=key).run()


def prepare(target: str, options: dict[str, Any]) -> Any:
    """The application that ``target`` names, with the command line's ``options``; raises :class:`SettingsError`."""
    app = load(target)
    if isinstance(app, Openline):
        apply(app, **options)
    elif any(value or value == 0 for value in options.values()):
        raise SettingsError(
            target,
            "is no Openline object; what --engine, --cluster-key, --advertise, --allow-…, --trust-proxy, --api-key and "
            "--drain-… say, say it where the Openline in it is made: Openline(allow_origins=[…])",
        )
    return app


def serve_with_workers(
    target: str,
    host: str,
    port: int,
    count: int,
    *,
    log_level: str,
    options: dict[str, Any],
    certificate: str | None = None,
    key: str | None = None,
) -> None:
    """Serve ``target`` in ``count`` processes; what they are told goes through the environment.

    Raises :class:`SettingsError` where the address cannot be had.
    """
    order = {
        "target": target,
        "options": options,
        "log_level": log_level,
        "certificate": certificate,
        "keyfile": key,
    }
    command = (sys.executable, "-m", "openline.cli.worker")
    Supervisor(command, order, count=count, host=host, port=port, engine=options["engine"] or "").run()


def serve_reloading(config: uvicorn.Config, target: str, *, log_level: str, options: dict[str, Any]) -> None:
    """Serve ``target`` in a child process that is started anew at every change.

    What it is told goes through the environment. Raises :class:`SettingsError` where the address cannot be had.
    """
    set_up_logging(log_level)
    try:
        listener = config.bind_socket()
    except SystemExit as stop:
        raise not_listening(config, stop) from None
    os.environ[_RELOADED] = json.dumps({"target": target, "log_level": log_level, "options": options})
    ChangeReload(config, target=Server(config).run_reloaded, sockets=[listener]).run()


def reloaded() -> Any:
    """The application of a child that :func:`serve_reloading` started."""
    told = json.loads(os.environ[_RELOADED])
    set_up_logging(told["log_level"])
    try:
        return prepare(told["target"], told["options"])
    except OpenlineError as error:
        _log.error("%s", error)
        raise SystemExit(1) from None
