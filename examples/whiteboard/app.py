"""A whiteboard for everybody: finished strokes are kept for who comes later, what moves is only news."""

from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from openline import Connection, History, Openline

HERE = Path(__file__).parent
Point = tuple[Annotated[int, Meta(ge=0, le=1600)], Annotated[int, Meta(ge=0, le=1000)]]


class Stroke(msgspec.Struct):
    id: Annotated[str, Meta(max_length=40)]
    colour: Annotated[int, Meta(ge=0, le=5)]
    width: Annotated[int, Meta(ge=1, le=40)]
    points: Annotated[list[Point], Meta(min_length=1, max_length=500)]


line = Openline()
line.channel("board", history=History(count=2000, size=8 << 20), presence=True, public=True)
line.page("/", HERE / "index.html")
line.page("/look.css", HERE.parent / "look.css")


@line.on("stroke", channel="board")
async def stroke(connection: Connection, stroke: Stroke, channel: str):
    """Nobody keeps here what is no stroke; cursors and "clear" need no code."""
    return await line.publish(channel, "stroke", msgspec.to_builtins(stroke), sender=connection)
