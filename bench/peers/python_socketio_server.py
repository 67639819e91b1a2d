"""Peer: python-socketio on uvicorn and uvloop. usage: PORT fanout|echo|idle|channels   (a channel is a room)"""

import sys

import socketio
import uvicorn

sio = socketio.AsyncServer(async_mode="asgi")
echo = sys.argv[2] == "echo"


@sio.on("message")
async def message(sid, data):
    await sio.emit("message", data, to=sid if echo else None)


@sio.on("join")
async def join(sid, name):
    await sio.enter_room(sid, name)
    return True


@sio.on("say")
async def say(sid, name, data):
    await sio.emit("message", (name, data), to=name)


uvicorn.run(
    socketio.ASGIApp(sio),
    host="127.0.0.1",
    port=int(sys.argv[1]),
    log_level="error",
    loop="uvloop",
    ws_per_message_deflate=False,
    backlog=4096,
)
