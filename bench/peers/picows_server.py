"""Peer: picows on uvloop. usage: PORT fanout|echo|idle"""

import sys

import uvloop
from picows import WSListener, WSMsgType, ws_create_server

clients = set()
echo = sys.argv[2] == "echo"


class Listener(WSListener):
    def on_ws_connected(self, transport):
        clients.add(transport)

    def on_ws_frame(self, transport, frame):
        if frame.msg_type == WSMsgType.TEXT:
            message = frame.get_payload_as_bytes()
            for target in (transport,) if echo else clients:
                target.send(WSMsgType.TEXT, message)
        elif frame.msg_type == WSMsgType.CLOSE:
            transport.disconnect()

    def on_ws_disconnected(self, transport):
        clients.discard(transport)


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
