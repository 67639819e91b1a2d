"""``openline tail CHANNEL``: what is published, as it comes."""

import base64
import io
import json
import sys
from collections.abc import Callable
from datetime import datetime
from typing import Any, BinaryIO, cast

import click
import msgspec

from openline.cli.client import Weather, client_options, printable, run, say
from openline.client import Event, Member, connect

__all__ = ["tail"]


@click.command(short_help="Print what is published into a channel, as it comes.")
@click.argument("channel")
@client_options
@click.option("--last", type=click.IntRange(min=0), default=None, metavar="N", help="Begin with the newest N.")
@click.option(
    "--since",
    default=None,
    metavar="POSITION",
    help="Begin with everything behind this position; where it is lost, with --last.",
)
@click.option("--count", type=click.IntRange(min=1), default=None, metavar="N", help="End after so many.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per line, in the form of the protocol.")
def tail(channel: str, last: int | None, since: str | None, as_json: bool, **options: Any) -> None:  # noqa: FBT001
    """Print what is published into CHANNEL, as it comes, until Ctrl-C.

    A broken line is taken up again where it broke; what could not be recovered is told on stderr.

    \b
    openline tail chat:lobby --last 10
    openline tail chat:lobby --json | jq .payload
    """
    # Not every terminal can write everything.
    cast("io.TextIOWrapper[BinaryIO]", sys.stdout).reconfigure(errors="backslashreplace")
    run(_follow(channel, last, since, _json_form if as_json else _human_form, **options))


async def _follow(
    channel: str,
    last: int | None,
    since: str | None,
    form: Callable[[Event], str],
    *,
    url: str,
    token: str | None,
    count: int | None,
) -> None:
    async with connect(url, token=token, patience=0.0) as line:
        line.on_status(Weather().tell)
        chat = await line.subscribe(channel, last=last, since=since)
        seen = 0
        async for event in chat:
            if event.type.startswith("$"):
                _tell(event)
                continue
            click.echo(form(event))
            sys.stdout.flush()
            seen += 1
            if seen == count:
                return


def _tell(event: Event) -> None:
    if event.type == "$unsubscribed":
        raise click.ClickException(printable(f"The server ended the subscription: {_told(event, 'reason')}"))
    if event.type == "$gap":
        lost, place = _told(event, "lost"), _told(event, "position")
        many = "Publications were" if lost is None else f"{lost} publications were"
        say(f"$gap: {many} lost" + (f" in front of {place}." if place else "."))


def _told(event: Event, field: str) -> Any:
    try:
        return event.payload.get(field)
    except AttributeError:  # no object, whatever the server meant by it
        return None


def _human_form(event: Event) -> str:
    now = datetime.now().astimezone().strftime("%H:%M:%S")
    return f"{now} {printable(_name(event.sender))} {printable(event.type)} {printable(_text(event.payload))}"


def _name(sender: Member | None) -> str:
    if sender is None:
        return "(server)"
    return sender.connection if sender.user is None else sender.user


def _text(payload: Any) -> str:
    if isinstance(payload, str):
        return payload
    if isinstance(payload, bytes):
        return f"base64:{base64.b64encode(payload).decode()}"
    return json.dumps(payload, ensure_ascii=False)


def _json_form(event: Event) -> str:
    binary = isinstance(event.payload, bytes)
    fields = {
        "type": event.type,
        "channel": event.channel,
        "payload": base64.b64encode(event.payload).decode() if binary else event.payload,
        "encoding": "base64" if binary else None,
        "position": event.position,
        "from": msgspec.to_builtins(event.sender),
        "recovered": event.recovered or None,
    }
    return json.dumps({name: value for name, value in fields.items() if value is not None or name == "payload"})
