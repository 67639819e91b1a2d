"""A TCP relay whose line can be cut and mended: the network between a browser and the server."""

import contextlib
import selectors
import socket
import threading

__all__ = ["Relay"]


class Relay:
    """Listens on ``port`` and passes bytes on to ``target``; ``cut`` ends every line and refuses new ones."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._pairs: dict[socket.socket, socket.socket] = {}
        self._is_cut = False
        self._lock = threading.Lock()
        self._ended = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def cut(self) -> None:
        """End every line without a goodbye; new ones end as soon as they are used."""
        with self._lock:
            self._is_cut = True
            pairs, self._pairs = self._pairs, {}
        for side in pairs:
            self._drop(side)

    def mend(self) -> None:
        """Let lines through again."""
        with self._lock:
            self._is_cut = False

    def close(self) -> None:
        """End for good."""
        self._ended = True
        self._thread.join(5)
        self.cut()
        self._listener.close()

    @staticmethod
    def _drop(side: socket.socket) -> None:
        with contextlib.suppress(OSError):
            side.shutdown(socket.SHUT_RDWR)
        side.close()

    def _run(self) -> None:
        while not self._ended:
            with selectors.DefaultSelector() as selector:
                selector.register(self._listener, selectors.EVENT_READ)
                with self._lock:
                    for side in self._pairs:
                        selector.register(side, selectors.EVENT_READ)
                for key, _ in selector.select(0.05):
                    if key.fileobj is self._listener:
                        self._accept()
                    else:
                        self._pass_on(key.fileobj)

    def _accept(self) -> None:
        client, _ = self._listener.accept()
        try:
            server = None if self._is_cut else socket.create_connection(("127.0.0.1", self._target), 2)
        except OSError:
            server = None
        if server is None:
            # A fetch of Node's whose line ends before it has asked never settles.
            client.settimeout(0.2)
            with contextlib.suppress(OSError):
                client.recv(65_536)
            client.close()
            return
        with self._lock:
            self._pairs[client], self._pairs[server] = server, client

    def _pass_on(self, side: object) -> None:
        assert isinstance(side, socket.socket)
        other = self._pairs.get(side)
        if other is None:
            return
        try:
            data = side.recv(65_536)
            if data:
                other.sendall(data)
                return
        except OSError:
            pass
        with self._lock:
            self._pairs.pop(side, None)
            self._pairs.pop(other, None)
        self._drop(side)
        self._drop(other)
