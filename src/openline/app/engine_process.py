"""The engine process of a server with workers: it keeps logs and directory for all of them, and serves nobody else.

``python -m openline.app.engine_process``: the supervisor starts it, and it ends when the supervisor says so or is gone.
"""

import asyncio
import json
import os
import signal
from contextlib import suppress
from socket import socket
from typing import Final

from openline.app.engine import make_broker
from openline.app.runtime import LoopClock
from openline.app.server import set_up_logging
from openline.brokers.link_server import LinkServer
from openline.hub.ports import Broker
from openline.hub.timers import Timers

__all__ = ["ORDER", "main"]

#: The variable of the environment that tells a child of the supervisor what it is.
ORDER: Final = "OPENLINE_CHILD"
_READY: Final = b"r"


async def _serve(path: str, control: socket) -> None:
    loop = asyncio.get_running_loop()
    timers = Timers(LoopClock(loop))

    def make(url: str) -> Broker:
        return make_broker(url, loop=loop, timers=timers)

    server = LinkServer(make, loop.time)
    with suppress(FileNotFoundError):
        os.unlink(path)
    await server.listen(path)
    control.settimeout(0.0)
    told = b""
    # The supervisor may be gone at any time.
    with suppress(ConnectionError):
        await loop.sock_sendall(control, _READY)
        while data := await loop.sock_recv(control, 4096):
            # Lines of process ids: workers that have ended.
            *lines, told = (told + data).split(b"\n")
            for line in lines:
                server.ended(int(line))
    await server.close()


def main() -> None:
    """Run until the other end of the control socket is closed; signals are the supervisor's to judge."""
    for each in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(each, signal.SIG_IGN)
    order = json.loads(os.environ.pop(ORDER))
    set_up_logging(order["log_level"], "engine")
    with socket(fileno=order["control"]) as control:
        runner = asyncio.Runner(loop_factory=_loop_factory())
        with runner:
            runner.run(_serve(order["engine"], control))


def _loop_factory() -> "type[asyncio.AbstractEventLoop] | None":
    try:
        import uvloop  # noqa: PLC0415  not on every system
    except ImportError:
        return None
    return uvloop.Loop


if __name__ == "__main__":
    main()
