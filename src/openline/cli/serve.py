"""``openline serve module:object``."""

import importlib
import json
import logging
import os
import sys
from typing import Any

import click
from uvicorn.supervisors import ChangeReload

from openline.app.openline import Openline
from openline.app.server import Server, configure, set_up_logging
from openline.app.server import serve as run
from openline.cli.options import apply, serving_options
from openline.errors import SettingsError
from openline.version import VERSION

__all__ = ["serve"]

_RELOADED = "OPENLINE_RELOADED"


@click.command()
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

    \b
    openline serve chat:line
    openline serve myproject.main:app --host 0.0.0.0 --port 80
    """
    if reload:
        serve_reloading(target, host=host, port=port, log_level=log_level, options=options)
        return
    app = load(target)
    if isinstance(app, Openline):
        apply(app, **options)
    elif any(options.values()):
        raise SettingsError(
            target, "is no Openline object; give --engine and --allow-… options to the Openline inside it"
        )
    run(app, host=host, port=port, log_level=log_level, certificate=certificate, key=key)


def serve_reloading(target: str, *, host: str, port: int, log_level: str, options: dict[str, Any]) -> None:
    """Serve ``target`` in a child process that is started anew at every change.

    What it is told goes through the environment.
    """
    os.environ[_RELOADED] = json.dumps({"target": target, "log_level": log_level, "options": options})
    set_up_logging(log_level)
    config = configure("openline.cli.serve:reloaded", factory=True, reload=True, host=host, port=port)
    ChangeReload(config, target=Server(config).run, sockets=[config.bind_socket()]).run()


def reloaded() -> Any:
    """The application of a child that :func:`serve_reloading` started."""
    told = json.loads(os.environ[_RELOADED])
    set_up_logging(told["log_level"])
    app = load(told["target"])
    if isinstance(app, Openline):
        apply(app, **told["options"])
    logging.getLogger("openline").info(
        "Openline %s serves %s, and starts anew at every change", VERSION, told["target"]
    )
    return app


def load(target: str) -> Any:
    """The object that ``module:object`` names, as Python started here would find it.

    Raises :class:`SettingsError`.
    """
    module_name, _, attribute = target.partition(":")
    if not module_name or not attribute:
        raise SettingsError(target, "name it as module:object, such as chat:line for the object line in chat.py")
    sys.path.insert(0, os.getcwd())
    try:
        found: Any = importlib.import_module(module_name)
        for part in attribute.split("."):
            found = getattr(found, part)
    except ModuleNotFoundError as error:
        if error.name is None or not module_name.startswith(error.name):
            raise
        raise SettingsError(target, f"there is no module {error.name!r} in this folder or installed") from error
    except AttributeError as error:
        raise SettingsError(target, f"module {module_name!r} has no {attribute!r}") from error
    return found
