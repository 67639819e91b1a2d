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
line.channel("board", history=History(count=2000, size=8 << 20), subscribe=True, see_history=True)
line.channel("hands", volatile=True, presence=True, public=True)
line.page("/", HERE / "index.html")
line.page("/look.css", HERE.parent / "look.css")


@line.on("stroke", channel="hands")
async def stroke(connection: Connection, stroke: Stroke):
    """Nothing comes onto the board but by these two; where the hands are needs no code."""
    return await line.publish("board", "stroke", msgspec.to_builtins(stroke), sender=connection)


@line.on("clear", channel="hands")
async def clear(connection: Connection):
    return await line.publish("board", "clear", sender=connection)
