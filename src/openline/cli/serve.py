"""``openline serve module:object``."""

import importlib
import inspect
import json
import logging
import os
import sys
from typing import Any, Final

import click
import uvicorn
from uvicorn.supervisors import ChangeReload

from openline.app.openline import Openline
from openline.app.server import Server, configure, make_server, not_listening, set_up_logging
from openline.cli.options import apply, serving_options
from openline.errors import OpenlineError, SettingsError

__all__ = ["serve"]

_RELOADED: Final = "OPENLINE_RELOADED"
_log: Final = logging.getLogger("openline")


@click.command(short_help="Serve an Openline, or an application that one is mounted in.")
@click.argument("target", metavar="MODULE:OBJECT")
@serving_options
@click.option("--reload", is_flag=True, help="Start anew whenever a file below this folder changes.")
@click.option("--certificate", type=click.Path(exists=True, dir_okay=False), help="TLS: the certificate, a PEM file.")
@click.option("--key", type=click.Path(exists=True, dir_okay=False), help="TLS: its key, a PEM file.")
def serve(
    target: str,
    host: str,
    port: int,
    log_level: str,
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
    if reload:
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


def load(target: str) -> Any:
    """The object that ``module:object`` names, as Python started here would find it, or what such a function makes.

    Raises :class:`SettingsError`.
    """
    module_name, _, attribute = target.partition(":")
    if not module_name or not attribute:
        raise SettingsError(target, "name it as module:object, such as chat:line for the object line in chat.py")
    sys.path.insert(0, os.getcwd())
    try:
        found: Any = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not module_name.startswith(error.name):
            raise
        raise SettingsError(target, f"there is no module {error.name!r} in this folder or installed") from error
    try:
        for part in attribute.split("."):
            found = getattr(found, part)
    except AttributeError as error:
        raise SettingsError(target, f"module {module_name!r} has no {attribute!r}") from error
    if inspect.isfunction(found) and not inspect.signature(found).parameters:
        found = found()
    if not callable(found):
        raise SettingsError(target, f"is a {type(found).__name__}, neither an Openline nor an ASGI application")
    return found
