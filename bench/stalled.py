"""Owns the client that stops reading: it joins a channel, reads nothing more, and comes back from time to time."""

import json
import socket
import threading
from typing import Any

from openline.protocol.websocket import FrameReader, Opcode, encode_masked

PATIENCE_SECONDS = 5.0
RECEIVE_BUFFER_BYTES = 4096
#: It learns nothing of the end of its line, which comes behind what it does not read.
RETURNS_EVERY_SECONDS = 1.0
TRIES_AGAIN_SECONDS = 0.05
UPGRADE = (
    b"GET /openline HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


class StalledClient:
    """One client of the server at ``port``, in ``channel``."""

    def __init__(self, port: int, channel: str) -> None:
        self._port = port
        self._channel = channel
        self._resume: str | None = None
        self._since: str | None = None
        #: How often it has come.
        self.came = 0

    def stall_until(self, stopped: threading.Event) -> None:
        """Join and read no more; give the line up and come back on another, over and over, until ``stopped``."""
        while not stopped.is_set():
            try:
                line = self._come()
            except (OSError, EOFError):
                stopped.wait(TRIES_AGAIN_SECONDS)
            else:
                stopped.wait(RETURNS_EVERY_SECONDS)
                line.close()

    def _come(self) -> socket.socket:
        line = socket.socket()
        try:
            line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
            line.settimeout(PATIENCE_SECONDS)
            line.connect(("127.0.0.1", self._port))
            self._join(line)
        except (OSError, EOFError):
            line.close()
            raise
        self.came += 1
        return line

    def _join(self, line: socket.socket) -> None:
        line.sendall(UPGRADE)
        reader = FrameReader(max_message=1 << 24, masked=False)
        # Behind its head a response to an upgrade holds nothing before we have spoken.
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += _some(line)
        told = _ask(line, reader, type="$connect", resume=self._resume, since=self._since)
        self._resume = told["resume"]
        self._since = self._since or told["position"]
        if not told["resumed"]:
            _ask(line, reader, type="$subscribe", channel=self._channel)


def _some(line: socket.socket) -> bytes:
    data = line.recv(4096)
    if not data:
        raise EOFError("the server has closed the line")
    return data


def _ask(line: socket.socket, reader: FrameReader, **command: str | None) -> Any:
    line.sendall(encode_masked(Opcode.TEXT, json.dumps({"id": 1, **command}).encode(), b"mask"))
    while True:
        for opcode, payload in reader.feed(_some(line)):
            frame = json.loads(payload) if opcode is Opcode.TEXT else {}
            if frame.get("type") == "$reply":
                return frame["payload"]
