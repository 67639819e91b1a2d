"""Peer: uWebSockets (C++) through socketify.py, with its own topic publish. usage: PORT fanout|echo|idle"""

import sys

from socketify import App, OpCode

echo = sys.argv[2] == "echo"


def opened(ws):
    ws.subscribe("all")


def message(ws, data, opcode):
    if not echo:
        ws.publish("all", data, OpCode.TEXT)
    ws.send(data, OpCode.TEXT)


app = App()
app.ws("/*", {"compression": 0, "max_payload_length": 1 << 20, "idle_timeout": 0, "open": opened, "message": message})
app.listen(int(sys.argv[1]), lambda config: None)
app.run()
