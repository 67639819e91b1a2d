"""What Openline answers over plain HTTP: health, its pages, and a clear word for everything else."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from openline.app.pages import Page, respond, text_page
from openline.app.runtime import Runtime
from openline.errors import SettingsError
from openline.transports.asgi import Receive, Scope, Send

if TYPE_CHECKING:
    from openline.app.openline import Openline

__all__ = ["serve_http", "serve_lifespan"]

_OK = text_page("ok\n")
_DRAINING = text_page("draining\n")
_METHOD = text_page("This is read with GET.\n", allow="GET, HEAD")
_NOTHING = text_page("There is nothing here.\n")
_DOOR = text_page(
    "This is a door for WebSockets: new WebSocket(...) opens it.\n", upgrade="websocket", connection="upgrade"
)


async def serve_http(
    runtime: Runtime, pages: Mapping[str, Page], scope: Scope, path: str, receive: Receive, send: Send
) -> None:
    """Answer one request for ``path`` below our mount.

    A page is read with GET; everything else at a path that has an endpoint is that endpoint's.
    """
    read = scope["method"] in ("GET", "HEAD")
    if path == "/healthz":
        await respond(_OK, scope, send)
    elif path == "/readyz":
        await respond(_DRAINING if runtime.draining else _OK, scope, send, status=503 if runtime.draining else 200)
    elif read and path in pages:
        await respond(pages[path], scope, send)
    elif path in runtime.endpoints:
        await runtime.endpoints[path](scope, receive, send)
    elif not read:
        await respond(_METHOD, scope, send, status=405)
    elif runtime.doors.is_door(path):
        await respond(_DOOR, scope, send, status=426)
    else:
        await respond(_NOTHING, scope, send, status=404)


async def serve_lifespan(line: "Openline", receive: Receive, send: Send) -> None:
    """Start with the server and stop with it (ASGI lifespan)."""
    await receive()
    try:
        line.start()
    except SettingsError as error:
        await send({"type": "lifespan.startup.failed", "message": str(error)})
        return
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await line.stop()
    await send({"type": "lifespan.shutdown.complete"})
