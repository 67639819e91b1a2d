"""Peer: the websockets library (asyncio API) on uvloop, compression off. usage: PORT fanout|echo|idle"""

import sys

import uvloop
from websockets.asyncio.server import broadcast, serve

connections = set()
echo = sys.argv[2] == "echo"


async def handler(connection):
    connections.add(connection)
    try:
        async for message in connection:
            if echo:
                await connection.send(message)
            else:
                broadcast(connections, message)
    finally:
        connections.discard(connection)


async def main():
    port = int(sys.argv[1])
    async with serve(handler, "127.0.0.1", port, compression=None, ping_interval=None, backlog=4096) as server:
        await server.serve_forever()


uvloop.run(main())
