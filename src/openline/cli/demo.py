"""``openline demo``: the chat, and the examples below it."""

import os
from importlib.resources import files
from pathlib import Path
from typing import Any

import click

from openline.app.mounts import Mounts
from openline.app.openline import Openline
from openline.app.pages import Page, tree
from openline.app.server import make_server
from openline.app.settings import Paths, Settings
from openline.app.socketio import Socket
from openline.cli.examples import FOLDER, examples, gallery
from openline.cli.options import apply, serving_options
from openline.errors import CommandError, SettingsError
from openline.hub.policy import History
from openline.model import Request, User
from openline.protocol.strict_json import encode_json

__all__ = ["demo", "demo_line"]

LOBBY = "chat:lobby"
#: What a text is called in a channel, and for Socket.IO's clients.
TEXT = "message"
SPOKEN = (TEXT, "chat message")


def demo_line() -> Openline:
    """The demo: every ``chat:*`` channel is open to anybody on every door; a token is the name somebody chose."""
    line = Openline(anonymous=True, settings=Settings(paths=Paths(lobby=LOBBY)))
    line.channel("chat:*", history=History(count=500), presence=True, public=True)

    @line.authenticate
    def who(token: str | None, request: Request) -> User | None:  # pyright: ignore[reportUnusedFunction]
        name = (token or "").strip()
        if not name:
            return None
        if len(name) > 32 or not name.isprintable():
            raise CommandError("unauthorized", "A name has 1 to 32 printable characters.")
        return User(name, {"name": name})

    line.add_pages(demo_pages())
    let_socketio_in(line)
    return line


def let_socketio_in(line: Openline) -> None:
    """Socket.IO's clients are in the lobby; ``message`` and ``chat message`` are what is said there, in and out."""
    space = line.of("/")

    @space.on_connect
    def connected(socket: Socket) -> None:  # pyright: ignore[reportUnusedFunction]
        if socket.handshake is not None:
            socket.join(LOBBY)

    def say(socket: Socket, text: str) -> None:
        line.publish(LOBBY, TEXT, text, sender=socket.connection)

    def spelled(type: str, payload: Any) -> list[tuple[str, str]] | None:
        if type != TEXT:
            return None
        text = payload if isinstance(payload, str) else _readable(payload)
        return [(name, text) for name in SPOKEN]

    for name in SPOKEN:
        space.on(name)(say)
    line.spell(LOBBY, spelled)


def _readable(payload: Any) -> str:
    """What is no text, as the chat page shows it."""
    return f"[{len(payload)} bytes]" if isinstance(payload, bytes) else encode_json(payload).decode()


def demo_pages() -> dict[str, Page]:
    """The chat page at ``/``, its files below ``/demo/``."""
    pages = tree(files("openline").joinpath("web", "demo"), "/demo/")
    pages["/"] = pages["/demo/index.html"]
    return pages


def chat_file() -> Path:
    """Where the chat is kept: below the user's state folder (XDG base directories), which is made where it is missing.

    Raises :class:`SettingsError` where it cannot be made.
    """
    home = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    folder = Path(home) / "openline"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(str(folder), f"cannot be made ({error.strerror}); --engine memory needs no file") from error
    return folder / "chat.db"


@click.command()
@serving_options
def demo(host: str, port: int, log_level: str, engine: str | None, **options: Any) -> None:
    """Run the chat, and the examples: open it in two browser windows.

    It remembers what was said in a file of your own; --engine memory forgets it at the end.
    """
    line, below = demo_line(), examples()
    apply(line, engine=engine or f"sqlite:{chat_file()}", **options)
    line.add_pages(gallery(below))
    for example in below.values():
        # What is drawn and noted there is not the chat's, and ends with the server.
        apply(example, engine=None, **options)
    mounts = Mounts(line, {f"{FOLDER}/{name}": example for name, example in below.items()})
    make_server(mounts, host=host, port=port, log_level=log_level).run()
