"""Openline on several nodes, for Socket.IO's clients. usage: PORT REDIS_URL"""

import sys
from typing import Any

import openline

settings = openline.Settings(
    engine=sys.argv[2],
    cluster_key="a secret that these nodes share",
    socketio=openline.SocketIoSettings(recovery=True),
)
line = openline.Openline(settings=settings)
space = line.of("/")


@space.on("join")
async def join(socket: openline.Socket, room: str) -> bool:
    await socket.join(room)
    return True


@space.on("say")
async def say(socket: openline.Socket, message: dict[str, Any], key: str) -> bool:
    await line.publish(message["room"], "message", message, key=key)
    return True


openline.serve(line, host="127.0.0.1", port=int(sys.argv[1]))
