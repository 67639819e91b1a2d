"""An Openline with others below it, each at a path of its own, in one server."""

from collections.abc import Mapping

from openline.app.http import serve_lifespan
from openline.app.openline import Openline
from openline.app.pages import respond, text_page
from openline.transports.admission import Gate
from openline.transports.asgi import Receive, Scope, Send
from openline.transports.doors import Doors

__all__ = ["Mounts"]


class Mounts:
    """The ASGI application. What is ``below`` is nobody's but its own: channels, users and history.

    The one at the top is hosted natively, as if there were no other; the rest as in any application that mounts them.
    """

    def __init__(self, top: Openline, below: Mapping[str, Openline]) -> None:
        """``below`` holds them by their paths, such as ``/examples/game``."""
        self._top = top
        self._below = dict(below)

    @property
    def mounts(self) -> tuple[str, ...]:
        """The paths below which the others answer."""
        return tuple(self._below)

    @property
    def doors(self) -> Doors:
        """The doors at the top."""
        return self._top.doors

    @property
    def gate(self) -> Gate:
        """The gate in front of them."""
        return self._top.gate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand the call to whoever answers at its path."""
        if scope["type"] == "lifespan":
            await serve_lifespan((self._top, *self._below.values()), receive, send)
            return
        path: str = scope["path"]
        if scope["type"] == "http" and path in self._below:
            # What its pages name stands beside them.
            await respond(text_page("It is one / further.\n", location=f"{path}/"), scope, send, status=308)
            return
        for mount, line in self._below.items():
            if path.startswith(f"{mount}/"):
                await line({**scope, "root_path": scope.get("root_path", "") + mount}, receive, send)
                return
        await self._top(scope, receive, send)
