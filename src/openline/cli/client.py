"""What the commands that talk to a server share: where it is, who we are, and how troubles and ends are told."""

import asyncio
import signal
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

import click

from openline.client import LineClosedError, Retry, StatusChange
from openline.errors import CloseCode, CommandError, OpenlineError

__all__ = ["Weather", "client_options", "printable", "run", "say"]

F = TypeVar("F", bound=Callable[..., Any])

_OPTIONS: Final = (
    click.option(
        "--url",
        default="ws://127.0.0.1:8000/openline",
        show_default=True,
        envvar="OPENLINE_URL",
        show_envvar=True,
        help="Where the server is.",
    ),
    click.option(
        "--token",
        default=None,
        envvar="OPENLINE_TOKEN",
        show_envvar=True,
        help="Who we are; in the environment it is out of other users' sight.",
    ),
)
#: What ends a program by a signal leaves with 128 and its number, as shells do.
_INTERRUPTED: Final = 128 + signal.SIGINT
_TERMINATED: Final = 128 + signal.SIGTERM
#: It joins emoji and moves nothing.
_JOINER: Final = "\u200d"


def client_options(function: F) -> F:
    """Add them to a command."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


def printable(text: str) -> str:
    """``text`` in one line that moves no cursor and turns no direction: what does not print is written as an escape."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() or char == _JOINER else _escape(char) for char in text)


def _escape(char: str) -> str:
    return ascii(char)[1:-1]


def say(text: str) -> None:
    """Tell whoever watches, beside the output."""
    click.echo(printable(text), err=True)


class Weather:
    """Tells that the line is broken and that it is back, and that the server takes nothing: each once."""

    def __init__(self) -> None:
        self._broken = False
        self._refusing = False

    def tell(self, change: StatusChange) -> None:
        """What the line says of itself."""
        if change.status == "waiting" and not self._broken:
            self._broken = True
            say(f"The line broke ({_clause(change.reason)}); trying again.")
        elif change.status == "open" and self._broken:
            self._broken = False
            say("The line is back.")

    def tell_retry(self, retry: Retry) -> None:
        """What the server says when it cannot take something."""
        if not self._refusing:
            self._refusing = True
            reason = f"{retry.code}: {_clause(retry.message)}" if retry.message else retry.code
            say(f"The server cannot take it now ({reason}); trying again, for 4 minutes at most.")

    def clear_up(self) -> None:
        """The server has taken something."""
        self._refusing = False


def _clause(reason: str) -> str:
    """``reason`` inside of a sentence of ours."""
    return reason.removesuffix(".")


def run(work: Coroutine[Any, Any, None], loop: Callable[[], asyncio.AbstractEventLoop] | None = None) -> None:
    """Do ``work``; what goes wrong is said in one line, and a signal ends it quietly, with a goodbye to the server.

    ``loop`` makes the event loop that it runs on, where it should not be asyncio's own.
    Raises :class:`click.ClickException` and :class:`SystemExit`.
    """
    try:
        with asyncio.Runner(loop_factory=loop) as runner:
            runner.run(_terminable(work))
    except KeyboardInterrupt:
        raise SystemExit(_INTERRUPTED) from None
    except asyncio.CancelledError:
        raise SystemExit(_TERMINATED) from None
    except OpenlineError as error:
        raise click.ClickException(printable(_sentence(error))) from error


async def _terminable(work: Coroutine[Any, Any, None]) -> None:
    task = asyncio.current_task()
    try:
        if task is not None:
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    except NotImplementedError:  # on Windows there is no such signal
        pass
    await work


def _sentence(error: OpenlineError) -> str:
    if isinstance(error, CommandError):
        return f"The server refused: {error}"
    if not isinstance(error, LineClosedError):
        return str(error)
    if error.code == CloseCode.UNAUTHORIZED:
        return f"The server wants another token ({_clause(error.reason)}); give one with --token or in OPENLINE_TOKEN."
    if error.code == CloseCode.ABNORMAL:
        return (
            f"There is no line to {error.url}: {_clause(error.reason)}. "
            "Start a server with openline demo or openline serve, or say with --url where one is."
        )
    return f"The line was closed: {_clause(error.reason)}."
