"""A server that is ended in any way and started again where it was, while somebody goes on publishing."""

import signal
import threading
import time
from pathlib import Path
from types import TracebackType

import httpx

from tests.server import Process, openline, own_port

PROGRAM = """
from openline import HttpSettings, Openline, Settings

line = Openline(settings=Settings(engine="sqlite:kept.db", http=HttpSettings(retry_seconds=0.2)))
line.channel("chat:*", history=10_000, public=True)
"""


class Restarting:
    """``openline serve`` with its history in a file, always at the same port."""

    def __init__(self, folder: Path, *options: str, program: str = PROGRAM) -> None:
        (folder / "program.py").write_text(program)
        self.port = own_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._folder = folder
        self._options = options
        self._process: Process
        self.start()

    def start(self) -> None:
        self._process = openline(self._folder, "serve", "program:line", "--port", str(self.port), *self._options)
        self._process.address()

    def end(self, how: signal.Signals = signal.SIGTERM) -> None:
        self._process.end(how)

    def restart(self, how: signal.Signals) -> None:
        self.end(how)
        self.start()

    def tell_to_end(self) -> None:
        self._process.child.send_signal(signal.SIGTERM)

    def __enter__(self) -> "Restarting":
        return self

    def __exit__(self, *_: object) -> None:
        self.end()


class Publisher:
    """Publishes 0, 1, 2, … into ``chat:1``, each until it is acknowledged, whatever the server does."""

    def __init__(self, url: str) -> None:
        self._url = f"{url}/api/messages"
        self._thread = threading.Thread(target=self._run)
        self._ending = threading.Event()
        self.count = 0

    def _run(self) -> None:
        with httpx.Client(trust_env=False, timeout=5) as client:
            while not self._ending.is_set():
                said = {"channel": "chat:1", "type": "n", "payload": self.count, "key": f"k{self.count}"}
                try:
                    done = client.post(self._url, json=said).status_code == 200
                except httpx.TransportError:
                    done = False
                self.count += done
                time.sleep(0.002)

    def until(self, count: int) -> None:
        deadline = time.monotonic() + 60
        while self.count < count:
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def __enter__(self) -> "Publisher":
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._ending.set()
        self._thread.join()
