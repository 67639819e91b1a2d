"""``openline demo``: the chat."""

from importlib.resources import files
from typing import Any

import click

from openline.app.openline import Openline
from openline.app.pages import Page, tree
from openline.app.server import serve as run
from openline.app.settings import Paths, Settings
from openline.cli.options import apply, serving_options
from openline.errors import CommandError
from openline.hub.policy import History
from openline.model import Request, User

__all__ = ["demo", "demo_line"]

LOBBY = "chat:lobby"


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
    return line


def demo_pages() -> dict[str, Page]:
    """The chat page at ``/``, its files below ``/demo/``."""
    pages = tree(files("openline").joinpath("web", "demo"), "/demo/")
    pages["/"] = pages["/demo/index.html"]
    return pages


@click.command()
@serving_options
def demo(host: str, port: int, log_level: str, **options: Any) -> None:
    """Run the chat: open it in two browser windows."""
    line = demo_line()
    apply(line, **options)
    run(line, host=host, port=port, log_level=log_level)
