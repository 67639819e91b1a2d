"""Peer: picows on uvloop.

usage: PORT fanout|echo|idle|channels   (channels: "+NAME" joins, "NAME text" goes to its members)
"""

import sys
from collections import defaultdict

import uvloop
from picows import WSListener, WSMsgType, ws_create_server

clients = set()
channels = defaultdict(set)
mode = sys.argv[2]


class Listener(WSListener):
    def on_ws_connected(self, transport):
        clients.add(transport)
        self.joined = []

    def on_ws_frame(self, transport, frame):
        if frame.msg_type == WSMsgType.TEXT:
            message = frame.get_payload_as_bytes()
            if mode == "channels" and message.startswith(b"+"):
                self.join(transport, message[1:])
                return
            for target in self.targets(transport, message):
                target.send(WSMsgType.TEXT, message)
        elif frame.msg_type == WSMsgType.CLOSE:
            transport.disconnect()

    def targets(self, transport, message):
        if mode == "echo":
            return (transport,)
        return clients if mode == "fanout" else channels[message[: message.index(b" ")]]

    def join(self, transport, name):
        channels[name].add(transport)
        self.joined.append(name)
        transport.send(WSMsgType.TEXT, b"ok")

    def on_ws_disconnected(self, transport):
        clients.discard(transport)
        for name in self.joined:
            channels[name].discard(transport)


async def main():
    server = await ws_create_server(
        lambda request: Listener(),
        "127.0.0.1",
        int(sys.argv[1]),
        backlog=4096,
        read_buffer_init_size=2048,
    )
    await server.serve_forever()


uvloop.run(main())
