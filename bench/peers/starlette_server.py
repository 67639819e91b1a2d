"""Peer: Starlette on uvicorn and uvloop (what FastAPI users run), compression off. usage: PORT fanout|echo|idle"""

import sys

import uvicorn
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocketDisconnect

connections = set()
echo = sys.argv[2] == "echo"


async def endpoint(websocket):
    await websocket.accept()
    connections.add(websocket)
    try:
        while True:
            message = await websocket.receive_text()
            for target in [websocket] if echo else list(connections):
                await target.send_text(message)
    except WebSocketDisconnect:
        connections.discard(websocket)


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
