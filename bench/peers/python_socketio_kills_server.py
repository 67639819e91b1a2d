"""Peer: python-socketio on several nodes, with its Redis manager, as its documentation has it. usage: PORT REDIS_URL"""

import sys

import socketio
import uvicorn

sio = socketio.AsyncServer(async_mode="asgi", client_manager=socketio.AsyncRedisManager(sys.argv[2]))


@sio.on("join")
async def join(sid, room):
    await sio.enter_room(sid, room)
    return True


@sio.on("say")
async def say(sid, message, key):
    await sio.emit("message", message, room=message["room"])
    return True


uvicorn.run(socketio.ASGIApp(sio), host="127.0.0.1", port=int(sys.argv[1]), log_level="error", loop="uvloop")
