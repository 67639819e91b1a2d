"""Peer: the websockets library (asyncio API) on uvloop, compression off.

usage: PORT fanout|echo|idle|channels   (channels: "+NAME" joins, "NAME text" goes to its members)
"""

import sys
from collections import defaultdict

import uvloop
from websockets.asyncio.server import broadcast, serve

connections = set()
channels = defaultdict(set)
mode = sys.argv[2]


async def handler(connection):
    connections.add(connection)
    joined = []
    try:
        async for message in connection:
            if mode == "echo":
                await connection.send(message)
            elif mode == "fanout":
                broadcast(connections, message)
            elif message.startswith("+"):
                channels[message[1:]].add(connection)
                joined.append(message[1:])
                await connection.send("ok")
            else:
                broadcast(channels[message[: message.index(" ")]], message)
    finally:
        connections.discard(connection)
        for name in joined:
            channels[name].discard(connection)


async def main():
    port = int(sys.argv[1])
    async with serve(handler, "127.0.0.1", port, compression=None, ping_interval=None, backlog=4096) as server:
        await server.serve_forever()


uvloop.run(main())
