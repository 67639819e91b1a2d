"""ASGI servers of others as child processes, each serving one program of ours as its own command line does it."""

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.programs import HOSTED
from tests.server import Process, own_port

#: The arguments that serve ``hosted:line`` at a port of 127.0.0.1.
ARGUMENTS = {
    "hypercorn": "hosted:line --bind 127.0.0.1:{port}",
    "granian": "hosted:line --interface asgi --host 127.0.0.1 --port {port}",
    "daphne": "hosted:line -b 127.0.0.1 -p {port}",
}
HOSTS = tuple(ARGUMENTS)
#: How each says that it takes connections.
_READY = re.compile(r"Running on http://|Started worker-|Listening on TCP address ")


class Hosted:
    """A program under one of these servers."""

    def __init__(self, host: str, port: int, process: Process) -> None:
        self.host = host
        self.port = port
        self.process = process
        self.ws = f"ws://127.0.0.1:{port}"
        self.http = f"http://127.0.0.1:{port}"


@contextmanager
def hosted(host: str, folder: Path) -> Iterator[Hosted]:
    """The program ``HOSTED`` under ``host``, on a port of its own."""
    (folder / "hosted.py").write_text(HOSTED)
    port = own_port()
    arguments = ARGUMENTS[host].format(port=port).split()
    with Process([sys.executable, "-m", host, *arguments], folder) as process:
        process.wait_for(_READY)
        try:
            yield Hosted(host, port, process)
        finally:
            # Killed, it would leave the workers that it has started behind.
            process.end()
