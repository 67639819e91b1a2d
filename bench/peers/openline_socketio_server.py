"""Openline for Socket.IO's clients. usage: PORT fanout|echo|idle|channels   (a channel is a room)"""

import sys

import openline

line = openline.Openline()
space = line.of("/")
echo = sys.argv[2] == "echo"


@space.on("message")
def message(socket: openline.Socket, data: str) -> None:
    (socket if echo else space).emit("message", data)


@space.on("join")
async def join(socket: openline.Socket, name: str) -> bool:
    await socket.join(name)
    return True


@space.on("say")
def say(socket: openline.Socket, name: str, data: str) -> None:
    space.to(name).emit("message", name, data)


openline.serve(line, host="127.0.0.1", port=int(sys.argv[1]))
