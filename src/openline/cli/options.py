"""The options that every serving command has."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

import click

from openline.app.openline import Openline

__all__ = ["apply", "serving_options", "workers_option"]

F = TypeVar("F", bound=Callable[..., Any])

_OPTIONS = (
    click.option(
        "--host",
        default="127.0.0.1",
        show_default=True,
        envvar="HOST",
        show_envvar=True,
        help="Address to listen on; 0.0.0.0 for every one.",
    ),
    click.option(
        "--port",
        default=8000,
        show_default=True,
        envvar="PORT",
        show_envvar=True,
        type=click.IntRange(0, 65535),
        help="Port to listen on; 0 for a free one.",
    ),
    click.option(
        "--log-level",
        default="info",
        show_default=True,
        type=click.Choice(["debug", "info", "warning", "error"]),
        help="What is worth a line.",
    ),
    click.option(
        "--engine",
        default=None,
        envvar="OPENLINE_ENGINE",
        show_envvar=True,
        metavar="URL",
        help="What keeps history and links the nodes: memory (the default), sqlite:PATH, sqlite:PATH?synced=1 to wait "
        "for the disk, redis://HOST, rediss://HOST, or redis+sentinel://HOST,HOST/MASTER.",
    ),
    click.option(
        "--cluster-key",
        default=None,
        metavar="KEY",
        help="A secret that all nodes share: they believe nothing in the engine that is not signed with it. "
        "OPENLINE_CLUSTER_KEY in the environment does the same, out of other users' sight.",
    ),
    click.option(
        "--advertise",
        default=None,
        metavar="URL",
        help="Where the other nodes reach this one, such as http://10.0.0.7:8000; otherwise where it listens. "
        "OPENLINE_ADVERTISE in the environment does the same.",
    ),
    click.option(
        "--allow-origin",
        multiple=True,
        envvar="OPENLINE_ALLOW_ORIGIN",
        show_envvar=True,
        metavar="ORIGIN",
        help="Let pages of this origin connect, such as https://app.example.com; repeatable.",
    ),
    click.option(
        "--allow-host",
        multiple=True,
        envvar="OPENLINE_ALLOW_HOST",
        show_envvar=True,
        metavar="NAME",
        help="A name that this server has, beside localhost and addresses; repeatable.",
    ),
    click.option(
        "--trust-proxy",
        multiple=True,
        envvar="OPENLINE_TRUST_PROXY",
        show_envvar=True,
        metavar="ADDRESS",
        help="Believe X-Forwarded-* of this address or network; repeatable.",
    ),
    click.option(
        "--api-key",
        multiple=True,
        metavar="KEY",
        help="Open the backend API to who has this key; repeatable. OPENLINE_API_KEYS in the environment, with commas "
        "between keys, does the same, out of other users' sight.",
    ),
    click.option(
        "--drain-grace",
        default=None,
        type=click.FloatRange(0),
        metavar="SECONDS",
        help="At SIGTERM, let newcomers in for so long while /readyz says 503 already; 0 unless told.",
    ),
    click.option(
        "--drain-window",
        default=None,
        type=click.FloatRange(0),
        metavar="SECONDS",
        help="At SIGTERM, tell clients to come back over this time at most; 10 unless told.",
    ),
    click.option(
        "--drain-handlers",
        default=None,
        type=click.FloatRange(0),
        metavar="SECONDS",
        help="At SIGTERM, give what is under way so long before it is cancelled; 10 unless told.",
    ),
)


#: For what can be served by several processes.
workers_option = click.option(
    "--workers",
    default=1,
    show_default=True,
    envvar="OPENLINE_WORKERS",
    show_envvar=True,
    type=click.IntRange(1),
    metavar="N",
    help="Processes that share the port, such as one for each core; they share channels, too.",
)


def serving_options(function: F) -> F:
    """Add them to a command."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


def apply(
    line: Openline,
    *,
    engine: str | None,
    cluster_key: str | None,
    advertise: str | None,
    allow_origin: tuple[str, ...],
    allow_host: tuple[str, ...],
    trust_proxy: tuple[str, ...],
    api_key: tuple[str, ...],
    **drain: float | None,
) -> None:
    """Let the command line's options hold beside the program's own.

    Raises :class:`~openline.errors.SettingsError`.
    """
    line.allow(origins=allow_origin, hosts=allow_host, proxies=trust_proxy)
    line.add_api_keys(api_key)
    if engine is not None:
        line.configure(replace(line.settings, engine=engine))
    if cluster_key is not None:
        line.configure(replace(line.settings, cluster_key=cluster_key))
    if advertise is not None:
        line.configure(replace(line.settings, advertise=advertise))
    told = {f"{name.removeprefix('drain_')}_seconds": each for name, each in drain.items() if each is not None}
    line.configure(replace(line.settings, drain=replace(line.settings.drain, **told)))
