"""One worker of a server: the application on the shared port, and a port of its own where the other workers reach it.

``python -m openline.app.worker``: the supervisor starts it, and says when to end.
"""

import asyncio
import json
import logging
import os
import signal
from collections.abc import Callable
from functools import partial
from socket import AF_INET6, SO_REUSEADDR, SOL_SOCKET, socket
from types import FrameType
from typing import Any, Final

from openline.app.engine_process import ORDER
from openline.app.loading import load as load_target
from openline.app.runtime import running_here
from openline.app.seat import Seat, take_seat
from openline.app.server import EVERYWHERE, Lifespan, Server, configure, hurry, load, own_address, set_up_logging
from openline.errors import OpenlineError
from openline.transports.uvicorn_host import NativeHttpProtocol

__all__ = ["main", "run"]

#: How long a worker waits until the others know it, before it listens.
KNOWN_SECONDS: Final = 5.0
_log: Final = logging.getLogger("openline")


class _WorkerLifespan(Lifespan):
    """Nobody is let in before the engine and the other workers know of this one."""

    async def startup(self) -> None:
        """See the ASGI specification, lifespan."""
        await super().startup()
        loop = asyncio.get_running_loop()
        until = loop.time() + KNOWN_SECONDS
        # Nobody says when it is so.
        while not self.should_exit and loop.time() < until and not _known():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def _known() -> bool:
    return all(each.ready for each in running_here())


class WorkerServer(Server):
    """Listens at ``own``, too, and ends when the supervisor says so over ``control``, or is gone."""

    lifespan_type = _WorkerLifespan

    def __init__(self, config: Any, own: socket, control: socket) -> None:
        super().__init__(config)
        self._own = own
        self._control = control

    async def listen_further(self) -> None:
        """See :class:`Server`: other workers come without TLS, and say whether their client had it."""
        loop = asyncio.get_running_loop()
        make = partial(NativeHttpProtocol, self.config, self.server_state, self.lifespan.state)
        self.servers.append(await loop.create_server(make, sock=self._own))

    async def startup(self, sockets: list[socket] | None = None) -> None:
        """See :class:`Server`."""
        await super().startup(sockets)
        self._control.settimeout(0.0)
        asyncio.get_running_loop().add_reader(self._control, self._hear)
        self._control.send(b"r")

    def _hear(self) -> None:
        said = self._control.recv(64)
        if not said:
            asyncio.get_running_loop().remove_reader(self._control)
            if not self.should_exit:
                _log.error("The supervisor is gone: this worker ends")
        if b"h" in said:
            self.force_exit = True
            hurry()
        self.handle_exit(signal.SIGTERM, None)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop; the second time nothing changes: a terminal and whatever supervises the server tell everybody."""
        if not self.should_exit:
            super().handle_exit(sig, frame)

    def tell_application(self, sockets: list[socket] | None) -> None:
        """It knows already where it is reached."""

    def _log_started_message(self, listeners: Any) -> None:
        """The supervisor says it once for all."""


def run(make: Callable[[dict[str, Any]], Any]) -> None:
    """Serve what ``make`` makes of the order, until told to end.

    Ends the process with 1, behind one line that says why, where that cannot be.
    """
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    order: dict[str, Any] = json.loads(os.environ.pop(ORDER))
    set_up_logging(order["log_level"], f"worker {order['number']}")
    control, listener = socket(fileno=order["control"]), socket(fileno=order["listener"])
    own = _listen(order["host"])
    host, port = own.getsockname()[:2]
    shown = own_address() if host in EVERYWHERE else host
    address = f"http://{f'[{shown}]' if ':' in shown else shown}:{port}"
    take_seat(Seat(engine=order["engine"], key=order["key"], address=address, supervisor=os.getppid()))
    try:
        app = make(order)
        config = configure(app, ssl_certfile=order["certificate"], ssl_keyfile=order["keyfile"])
        load(config)
        WorkerServer(config, own, control).run([listener])
    except OpenlineError as error:
        _log.error("%s", error)
        raise SystemExit(1) from None


def _listen(host: str) -> socket:
    own = socket(AF_INET6) if ":" in host else socket()
    own.setsockopt(SOL_SOCKET, SO_REUSEADDR, 1)
    own.bind((host, 0))
    own.listen(1024)
    return own


def _make(order: dict[str, Any]) -> Any:
    return load_target(order["target"], order["folder"])


def main() -> None:
    """What ``serve(…, workers=N)`` starts."""
    run(_make)


if __name__ == "__main__":
    main()
