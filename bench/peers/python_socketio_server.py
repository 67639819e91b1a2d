"""Peer: python-socketio on uvicorn and uvloop. usage: PORT fanout|echo|idle"""

import sys

import socketio
import uvicorn

sio = socketio.AsyncServer(async_mode="asgi")
echo = sys.argv[2] == "echo"


@sio.on("message")
async def message(sid, data):
    await sio.emit("message", data, to=sid if echo else None)


uvicorn.run(
    socketio.ASGIApp(sio),
    host="127.0.0.1",
    port=int(sys.argv[1]),
    log_level="error",
    loop="uvloop",
    ws_per_message_deflate=False,
    backlog=4096,
)
