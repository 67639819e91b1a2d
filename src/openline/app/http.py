"""What Openline answers over plain HTTP: health, its pages, and a clear word for everything else."""

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import TYPE_CHECKING, Any

from openline.app.pages import Page, respond, text_page
from openline.app.runtime import Runtime
from openline.errors import SettingsError

if TYPE_CHECKING:
    from openline.app.openline import Openline

__all__ = ["serve_http", "serve_lifespan"]

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_OK = text_page("ok\n")
_DRAINING = text_page("draining\n")
_METHOD = text_page("This is read with GET.\n", allow="GET, HEAD")
_NOTHING = text_page("There is nothing here.\n")
_DOOR = text_page(
    "This is a door for WebSockets: new WebSocket(...) opens it.\n", upgrade="websocket", connection="upgrade"
)


async def serve_http(runtime: Runtime, pages: Mapping[str, Page], scope: Scope, path: str, send: Send) -> None:
    """Answer one request for ``path`` below our mount."""
    if path == "/healthz":
        await respond(_OK, scope, send)
    elif path == "/readyz":
        await respond(_DRAINING if runtime.draining else _OK, scope, send, status=503 if runtime.draining else 200)
    elif scope["method"] not in ("GET", "HEAD"):
        await respond(_METHOD, scope, send, status=405)
    elif path in pages:
        await respond(pages[path], scope, send)
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
