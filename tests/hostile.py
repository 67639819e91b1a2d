"""A proxy that stands between clients and a server and lets through what it pleases; lines can be cut at any time."""

import contextlib
import socket
import threading
from types import TracebackType

__all__ = ["Hostile"]


class Hostile:
    """Listens on ``port`` and passes requests on to ``target``, each over a connection of its own.

    ``sockets`` is what becomes of WebSockets: ``pass``, ``refuse`` (403), ``swallow`` (no answer, ever), ``cut`` (as
    soon as they are open), ``mute`` (they open, and nothing passes). ``streams`` is what becomes of event streams:
    ``pass``, ``hold`` (until they end), ``head`` (only the head passes). Both may be changed at any time.
    """

    def __init__(self, target: int, *, sockets: str = "pass", streams: str = "pass") -> None:
        self.sockets = sockets
        self.streams = streams
        #: What was asked for, in order: "socket", "stream", or the method.
        self.asked: list[str] = []
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> "Hostile":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()

    def cut(self) -> None:
        """End everything that is under way, without a word."""
        with self._lock:
            sides, self._open = self._open, set()
        for side in sides:
            _end(side)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._keep(client)
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _keep(self, side: socket.socket) -> None:
        with self._lock:
            self._open.add(side)

    def _drop(self, side: socket.socket) -> None:
        with self._lock:
            self._open.discard(side)
        _end(side)
        side.close()

    def _serve(self, client: socket.socket) -> None:
        server: socket.socket | None = None
        try:
            head, rest = _head(client)
            if not head:
                return
            how = self._how(head)
            if how == "refuse":
                client.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 3\r\nConnection: close\r\n\r\nno\n")
            elif how == "swallow":
                client.recv(1)
            else:
                server = socket.create_connection(("127.0.0.1", self._target), 5)
                server.settimeout(None)
                self._keep(server)
                server.sendall(head + rest)
                self._pass_on(client, server, how)
        except OSError:
            pass
        finally:
            for side in (client, server):
                if side is not None:
                    self._drop(side)

    def _how(self, head: bytes) -> str:
        request = head.partition(b"\r\n")[0]
        if b"\r\nupgrade: websocket" in head.lower():
            self.asked.append("socket")
            return self.sockets
        if b"/events" in request:
            self.asked.append("stream")
            return self.streams
        self.asked.append(request.partition(b" ")[0].decode())
        return "pass"

    def _pass_on(self, client: socket.socket, server: socket.socket, how: str) -> None:
        if how in ("cut", "mute", "head"):
            client.sendall(_head(server)[0])
        if how == "cut":
            return
        up = threading.Thread(target=_copy, args=(client, server if how != "mute" else None), daemon=True)
        up.start()
        held = _copy(server, client if how == "pass" else None)
        if how == "hold":
            client.sendall(held)


def _head(side: socket.socket) -> tuple[bytes, bytes]:
    """The head of a message, which says that nothing follows it on this connection, and what came behind."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = side.recv(65_536)
        if not more:
            return b"", b""
        data += more
    head, end, rest = data.partition(b"\r\n\r\n")
    lines = [line for line in head.split(b"\r\n") if line.lower() != b"connection: keep-alive"]
    if not any(line.lower().startswith(b"connection:") for line in lines):
        lines.append(b"Connection: close")
    return b"\r\n".join(lines) + end, rest


def _copy(source: socket.socket, target: socket.socket | None) -> bytes:
    """Pass bytes on until either side ends, and then end both; what is not passed on is returned."""
    held = b""
    with contextlib.suppress(OSError):
        while data := source.recv(65_536):
            if target is None:
                held += data
            else:
                target.sendall(data)
    if target is not None:
        _end(target)
    return held


def _end(side: socket.socket) -> None:
    with contextlib.suppress(OSError):
        side.shutdown(socket.SHUT_RDWR)
