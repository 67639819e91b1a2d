"""A chat in ten lines: one kind of channel, one handler, one page."""

from pathlib import Path

from openline import Openline

line = Openline()
line.channel("chat:*", history=100, presence=True, public=True)
line.page("/", Path(__file__).with_name("index.html"))


@line.on("hello")
def hello(connection, name: str):
    return f"Hello, {name}."
