"""Peer: uWebSockets (C++) through socketify.py, with its own topic publish.

usage: PORT fanout|echo|idle|channels   (channels: "+NAME" joins, "NAME text" goes to its members)
"""

import sys

from socketify import App, OpCode

mode = sys.argv[2]


def opened(ws):
    if mode != "channels":
        ws.subscribe("all")


def to_all(ws, data, opcode):
    ws.publish("all", data, OpCode.TEXT)


def back(ws, data, opcode):
    ws.send(data, OpCode.TEXT)


def to_channel(ws, data, opcode):
    if data[0] == "+":
        ws.subscribe(data[1:])
        ws.send("ok", OpCode.TEXT)
    else:
        ws.publish(data[: data.index(" ")], data, OpCode.TEXT)


message = {"echo": back, "channels": to_channel}.get(mode, to_all)
app = App()
app.ws("/*", {"compression": 0, "max_payload_length": 1 << 20, "idle_timeout": 0, "open": opened, "message": message})
app.listen(int(sys.argv[1]), lambda config: None)
app.run()
