"""What Openline answers over plain HTTP: health, its pages, and a clear word for everything else."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from openline.app.pages import Page, lacks_client, respond, text_page
from openline.app.runtime import Runtime
from openline.errors import CommandError, ErrorCode, RequestRefused, SettingsError
from openline.transports.asgi import Receive, Scope, Send, refuse
from openline.transports.exchange import Exchange, endpoint

if TYPE_CHECKING:
    from openline.app.served import Served

__all__ = ["serve_http", "serve_lifespan", "serve_unavailable"]

_log = logging.getLogger("openline")
_OK = text_page("ok\n")
_METHOD = text_page("This is read with GET.\n", allow="GET, HEAD")
_UNAVAILABLE = "This server cannot start; its log says why.\n"
_NOTHING = text_page("There is nothing here.\n")
_NO_CLIENT = text_page(
    "The stock Socket.IO client is not part of this installation. It comes from npm: where npm is installed, "
    "`make run` fetches it, as does `sh fetch_client.sh` in Openline's sources. Or load it from your own build: "
    "npm install socket.io-client\n"
)
_DOOR = text_page(
    "This is a door for WebSockets: new WebSocket(...) opens it.\n", upgrade="websocket", connection="upgrade"
)


async def serve_http(
    runtime: Runtime, pages: Mapping[str, Page], scope: Scope, path: str, receive: Receive, send: Send
) -> None:
    """Answer one request for ``path`` below our mount.

    A page is read with GET, as a door is visited; everything else at a path with an endpoint is that endpoint's.
    """
    read = scope["method"] in ("GET", "HEAD")
    if path == "/healthz":
        await respond(_OK, scope, send)
    elif path == "/readyz":
        trouble = runtime.trouble
        page = _OK if trouble is None else text_page(f"{trouble}\n")
        await respond(page, scope, send, status=200 if trouble is None else 503)
    elif read and path in pages:
        await respond(pages[path], scope, send)
    elif read and runtime.doors.is_door(path):
        await respond(_DOOR, scope, send, status=426)
    elif path in runtime.endpoints:
        await runtime.endpoints[path](scope, receive, send)
    elif path in pages or runtime.doors.is_door(path):
        await respond(_METHOD, scope, send, status=405)
    elif lacks_client(runtime.doors.socketio.settings.path, path):
        await respond(_NO_CLIENT, scope, send, status=404)
    elif runtime.doors.paths.is_for_programs(path):
        await endpoint(runtime.gate, path, {scope["method"]: _nothing})(scope, receive, send)
    else:
        await respond(_NOTHING, scope, send, status=404)


async def _nothing(exchange: Exchange) -> None:
    raise CommandError(ErrorCode.NOT_FOUND, "There is nothing at this path.")


async def serve_lifespan(lines: "Sequence[Served]", receive: Receive, send: Send) -> None:
    """Start with the server and stop with it (ASGI lifespan)."""
    await receive()
    try:
        for line in lines:
            line.start()
    except SettingsError as error:
        await send({"type": "lifespan.startup.failed", "message": str(error)})
        return
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await asyncio.gather(*(line.stop() for line in lines))
    await send({"type": "lifespan.shutdown.complete"})


async def serve_unavailable(error: SettingsError, scope: Scope, send: Send) -> None:
    """Answer for a server that cannot start: where we are mounted, that comes out when the first client is there."""
    _log.error("%s", error)
    if scope["type"] == "websocket":
        await refuse(scope, send, RequestRefused(503, _UNAVAILABLE))
    else:
        await respond(text_page(_UNAVAILABLE), scope, send, status=503)
