"""``openline publish CHANNEL TEXT``: one publication, or one for each line of the standard input."""

import asyncio
import json
import os
import sys
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

import click

from openline.cli.client import Weather, client_options, printable, run
from openline.client import Line, connect
from openline.errors import CommandError

__all__ = ["publish"]

_CHUNK: Final = 65_536
#: Longer than any message: a line that does not end is refused instead of being kept.
_LONGEST: Final = 1_048_576


@click.command(short_help="Publish into a channel.")
@click.argument("channel")
@click.argument("text")
@client_options
@click.option("--type", "event_type", default="message", show_default=True, help="The event's name.")
@click.option("--json", "as_json", is_flag=True, help="TEXT is JSON, and so is each line of the standard input.")
@click.option("--key", default=None, help="The same key within five minutes is the same publication.")
def publish(channel: str, text: str, as_json: bool, key: str | None, **options: Any) -> None:  # noqa: FBT001
    """Publish TEXT into CHANNEL and print its position. With - for TEXT, publish each line of the standard input.

    \b
    openline publish chat:lobby "Hello, all"
    openline publish game:42 '{"x": 1}' --json --type move
    tail -f app.log | openline publish logs:app -
    """
    payload = _from_json if as_json else str
    if text == "-":
        if key is not None:
            raise click.UsageError("--key is for one publication, not for each line of the standard input.")
        run(_publish_lines(channel, payload, **options))
    else:
        try:
            value = payload(text)
        except ValueError as error:
            raise click.UsageError(f"TEXT is not JSON: {error}") from None
        run(_publish_one(channel, value, key, **options))


def _from_json(text: str) -> Any:
    return json.loads(text, parse_constant=_no_number)


def _no_number(word: str) -> Any:
    raise ValueError(f"{word} is no JSON")


async def _publish_one(
    channel: str, payload: Any, key: str | None, *, url: str, token: str | None, event_type: str
) -> None:
    async with connect(url, token=token, patience=0.0) as line:
        _watch(line)
        _print(await line.publish(channel, event_type, payload, key=key))


async def _publish_lines(
    channel: str, payload: Callable[[str], Any], *, url: str, token: str | None, event_type: str
) -> None:
    async with connect(url, token=token, patience=0.0) as line, _lines() as lines:
        weather = _watch(line)
        number = 0
        async for text in lines:
            number += 1
            await _publish_line(line, channel, event_type, payload, text, number)
            weather.clear_up()


def _watch(line: Line) -> Weather:
    """What keeps a publication waiting is told."""
    weather = Weather()
    line.on_status(weather.tell)
    line.on_retry(weather.tell_retry)
    return weather


async def _publish_line(
    line: Line, channel: str, event_type: str, payload: Callable[[str], Any], text: bytes, number: int
) -> None:
    try:
        value = payload(text.decode())
    except ValueError as error:
        raise click.ClickException(printable(f"Line {number} cannot be published: {error}")) from None
    try:
        _print(await line.publish(channel, event_type, value))
    except CommandError as error:
        raise click.ClickException(printable(f"The server refused line {number}: {error}")) from error


def _print(outcome: Any) -> None:
    """The position; or as JSON what a handler of the application returned."""
    click.echo(printable(outcome) if isinstance(outcome, str) else json.dumps(outcome, default=repr))
    sys.stdout.flush()


@asynccontextmanager
async def _lines() -> AsyncGenerator[AsyncIterator[bytes]]:
    """The lines of the standard input; the next is read when the one before was taken."""
    source = _Input(asyncio.get_running_loop())
    # A daemon, because nothing interrupts a read of a terminal but the end of the program.
    threading.Thread(target=source.read, daemon=True).start()
    try:
        yield source.lines()
    finally:
        source.end()


class _Input:
    """Hands the lines of the standard input from a thread that blocks to the loop that must not."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._arrived = asyncio.Event()
        self._line: bytes | None = None
        self._taken = threading.Event()
        self._over = False

    def end(self) -> None:
        """Nobody takes lines any more."""
        self._over = True
        self._taken.set()

    async def lines(self) -> AsyncIterator[bytes]:
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            if self._line is None:
                return
            yield self._line
            self._taken.set()

    def read(self) -> None:
        """In the thread: until the end of the input, or until nobody takes lines any more."""
        # Not by way of sys.stdin, whose lock a thread that is left behind would hold at the end.
        rest = b""
        while len(rest) <= _LONGEST and (chunk := os.read(0, _CHUNK)):
            *complete, rest = (rest + chunk).split(b"\n")
            for line in complete:
                self._hand_over(line.removesuffix(b"\r"))
        if rest:
            self._hand_over(rest.removesuffix(b"\r"))
        self._hand_over(None)

    def _hand_over(self, line: bytes | None) -> None:
        self._taken.clear()
        if self._over:
            return
        self._loop.call_soon_threadsafe(self._arrive, line)
        if line is not None:
            self._taken.wait()

    def _arrive(self, line: bytes | None) -> None:
        self._line = line
        self._arrived.set()
