"""``openline drain``: asks a running server to let everybody go and end, or what that would come to."""

import json
import urllib.error
import urllib.request
from collections import Counter
from typing import Any, Final

import click

from openline.cli.client import printable
from openline.errors import OpenlineError

__all__ = ["drain"]

_PATIENCE_SECONDS: Final = 10.0


@click.command(short_help="Ask a running server to end in order.")
@click.option(
    "--url",
    default="http://127.0.0.1:8000",
    show_default=True,
    envvar="OPENLINE_HTTP_URL",
    show_envvar=True,
    help="Where the server is; with the path where it is mounted.",
)
@click.option(
    "--api-key",
    required=True,
    envvar="OPENLINE_API_KEY",
    show_envvar=True,
    help="One of the server's keys; in the environment it is out of other users' sight.",
)
@click.option("--dry-run", is_flag=True, help="Change nothing; say what it would come to.")
def drain(url: str, api_key: str, dry_run: bool) -> None:  # noqa: FBT001  click's way
    """End a running server as SIGTERM does.

    Newcomers are refused, clients are told to come back, each at its moment, what is under way is brought to an end;
    what hangs is cancelled.
    """
    plan = _ask(f"{url.rstrip('/')}/api/v1/drain", api_key, dry_run=dry_run)
    for line in _lines(plan, dry_run=dry_run):
        click.echo(printable(line))


def _ask(url: str, key: str, *, dry_run: bool) -> dict[str, Any]:
    if not url.startswith(("http://", "https://")):
        raise click.UsageError(f"--url {url}: write it as http://… or https://…")
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    request = urllib.request.Request(url, None if dry_run else b"{}", headers)  # noqa: S310  see above
    try:
        with urllib.request.urlopen(request, timeout=_PATIENCE_SECONDS) as answer:  # noqa: S310
            plan: dict[str, Any] = json.load(answer)
            return plan
    except urllib.error.HTTPError as error:
        raise OpenlineError(f"The server refused ({error.code}): {_detail(error)}") from None
    except (OSError, ValueError) as error:
        raise OpenlineError(f"There is no server at {url}: {getattr(error, 'reason', error)}") from None


def _detail(error: urllib.error.HTTPError) -> str:
    try:
        detail: str = json.loads(error.read())["detail"]
    except (ValueError, KeyError, TypeError):
        return error.reason
    return detail


def _lines(plan: dict[str, Any], *, dry_run: bool) -> list[str]:
    connections, waiting, grace = plan["connections"], plan["waiting"], plan["grace_seconds"]
    yet = "would be" if dry_run else "are"
    who = f"{connections} connection{'s' * (connections != 1)}" + (f" and {waiting} long polls" if waiting else "")
    lines = [f"{who} {yet} told to come back, over {plan['window_seconds']:.1f} s."]
    lines.append(f"Newcomers {yet} refused " + (f"after {grace:g} s." if grace else "at once."))
    names: list[str] = plan["handlers"]
    if names:
        shown = ", ".join(f"{name} ({count} times)" if count > 1 else name for name, count in Counter(names).items())
        lines.append(f"Running: {shown}. What has not ended within {plan['end_seconds']:g} s {yet} cancelled.")
    else:
        lines.append(f"No handler runs. The server ends within {plan['end_seconds']:g} s, or as soon as all have gone.")
    return lines
