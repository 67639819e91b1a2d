"""Peer: Starlette on uvicorn and uvloop (what FastAPI users run), compression off.

usage: PORT fanout|echo|idle|channels   (channels: "+NAME" joins, "NAME text" goes to its members)
"""

import sys
from collections import defaultdict

import uvicorn
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocketDisconnect

connections = set()
channels = defaultdict(set)
mode = sys.argv[2]


def targets(websocket, message):
    if mode == "echo":
        return [websocket]
    return list(connections if mode == "fanout" else channels[message[: message.index(" ")]])


async def endpoint(websocket):
    await websocket.accept()
    connections.add(websocket)
    joined = []
    try:
        while True:
            message = await websocket.receive_text()
            if mode == "channels" and message.startswith("+"):
                channels[message[1:]].add(websocket)
                joined.append(message[1:])
                await websocket.send_text("ok")
                continue
            for target in targets(websocket, message):
                await target.send_text(message)
    except WebSocketDisconnect:
        connections.discard(websocket)
        for name in joined:
            channels[name].discard(websocket)


uvicorn.run(
    Starlette(routes=[WebSocketRoute("/", endpoint)]),
    host="127.0.0.1",
    port=int(sys.argv[1]),
    log_level="error",
    loop="uvloop",
    ws_per_message_deflate=False,
    ws_ping_interval=None,
    backlog=4096,
)
