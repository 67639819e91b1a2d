"""A site in front of the demo, as many have one: it has the pages itself, and passes only the lines on."""

import contextlib
import socket
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from openline.app.pages import Page

__all__ = ["Site"]


class Site:
    """Serves ``pages`` whether the server at port ``target`` is up or not; WebSockets are passed on, or end at once."""

    def __init__(self, target: int, pages: Mapping[str, Page]) -> None:
        handler = type("Handler", (_Handler,), {"target": target, "pages": pages})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self.port: int = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)


class _Handler(BaseHTTPRequestHandler):
    target: int
    pages: Mapping[str, Page]

    def do_GET(self) -> None:
        if self.headers.get("upgrade", "").lower() == "websocket":
            self._pass_on()
            return
        page = self.pages.get(self.path.partition("?")[0])
        body = b"" if page is None else page.body
        self.send_response(404 if page is None else 200)
        for name, value in ({} if page is None else page.headers).items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Nobody reads it."""

    def _pass_on(self) -> None:
        self.close_connection = True
        try:
            server = socket.create_connection(("127.0.0.1", self.target), 2)
        except OSError:
            return
        server.settimeout(None)
        head = f"{self.requestline}\r\n{self.headers}"
        back = threading.Thread(target=_copy, args=(server, self.connection), daemon=True)
        back.start()
        with contextlib.suppress(OSError):
            server.sendall(head.encode().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"))
        _copy(self.connection, server)
        back.join(5)
        server.close()


def _copy(source: socket.socket, target: socket.socket) -> None:
    """Pass bytes on until either side ends; then both have."""
    with contextlib.suppress(OSError):
        while data := source.recv(65_536):
            target.sendall(data)
    for side in (source, target):
        with contextlib.suppress(OSError):
            side.shutdown(socket.SHUT_RDWR)
