"""Openline, as a user would run it. usage: PORT fanout|echo|idle|channels [HISTORY]"""

import sys
from typing import Any

import openline

line = openline.Openline()
line.channel("bench:*", history=int(sys.argv[3]) if len(sys.argv) > 3 else 0, public=True)

if sys.argv[2] == "echo":

    @line.on("echo")
    def echo(connection: openline.Connection, payload: Any) -> Any:
        return payload


openline.serve(line, host="127.0.0.1", port=int(sys.argv[1]))
