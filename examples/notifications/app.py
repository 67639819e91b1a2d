"""Notifications for one person: on all their tabs at once, and kept while they are away."""

import re
from pathlib import Path
from typing import Annotated

import msgspec

from openline import Openline

HERE = Path(__file__).parent
NAME = r"^[a-z0-9-]{1,20}\Z"
Name = Annotated[str, msgspec.Meta(pattern=NAME)]
Text = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]


class Note(msgspec.Struct):
    to: Name
    text: Text


def own(connection, channel: str) -> bool:
    return channel == f"inbox:{connection.user.id}"


line = Openline()
line.channel("inbox:*", history=50, subscribe=own, publish=own, see_history=own)
line.page("/", HERE / "index.html")
line.page("/look.css", HERE.parent / "look.css")


@line.authenticate
def who(token: str | None, request) -> str | None:
    return token if re.match(NAME, token or "") else None  # your own asks for more than a name


@line.on("notify")
async def notify(connection, note: Note):
    return await line.publish(f"inbox:{note.to}", "note", note.text, sender=connection)
