"""A real Chromium, the real demo server in a process of its own, and a network between them that can be cut."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from tests.server import own_port

from .relay import Relay


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)


class Demo:
    """``openline demo`` as a process; it may be ended in any way and started again on the same port.

    It keeps its chat in ``folder``, or forgets it with ``engine``.
    """

    def __init__(self, folder: Path, *engine: str) -> None:
        self.port = own_port()
        self._folder = folder
        self._engine = engine
        self._log = folder / "demo.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [str(Path(sys.executable).parent / "openline"), "demo", "--port", str(self.port)]
        environment = {**os.environ, "XDG_STATE_HOME": str(self._folder)}
        with self._log.open("ab") as log:
            self._process = subprocess.Popen([*command, *self._engine], stderr=log, stdout=log, env=environment)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", self.port), 0.2).close()
            except OSError:
                assert self._process.poll() is None, self._log.read_text()
            else:
                return
        raise AssertionError(f"the demo did not start: {self._log.read_text()}")

    def send(self, which: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(which)

    def end(self, how: signal.Signals = signal.SIGTERM) -> None:
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(60)
            self._process = None


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Demo]:
    demo = Demo(tmp_path)
    demo.start()
    yield demo
    demo.end()


@pytest.fixture
def forgetful_demo(tmp_path: Path) -> Iterator[Demo]:
    """One whose history is in memory."""
    demo = Demo(tmp_path, "--engine", "memory")
    demo.start()
    yield demo
    demo.end()


@pytest.fixture
def relay(demo: Demo) -> Iterator[Relay]:
    relay = Relay(demo.port)
    yield relay
    relay.close()


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Callable[[str], Page]]:
    """Open a page in a browser profile of its own; an exception in its scripts fails the test."""
    contexts = []
    errors: list[str] = []

    def open_page(url: str) -> Page:
        context = browser.new_context()
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(url)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert errors == []
