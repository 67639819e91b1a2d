"""Openline, as a user would run it. usage: PORT fanout|echo|idle"""

import sys
from typing import Any

import openline

# The load client answers no pings.
line = openline.Openline(settings=openline.Settings(line=openline.LineSettings(pong_within_seconds=600.0)))
line.channel("bench:*", public=True)
line.channel("kept:*", history=100, public=True)
line.channel("latest:*", when_slow="latest", public=True)

if sys.argv[2] == "echo":

    @line.on("echo")
    def echo(connection: openline.Connection, payload: Any) -> Any:
        return payload


openline.serve(line, host="127.0.0.1", port=int(sys.argv[1]))
