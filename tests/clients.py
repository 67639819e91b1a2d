"""Clients for tests: the JSON protocol by hand, and bytes over a bare socket."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from openline.protocol.websocket import FrameReader, Opcode, encode_masked

PATIENCE = 60.0
KEY = b"dGhlIHNhbXBsZSBub25jZQ=="


class JsonClient:
    """Says commands and hears answers; what comes unasked waits in ``pushes``."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.pushes: list[dict[str, Any]] = []
        self._number = 0

    async def say(self, **command: Any) -> None:
        await self.socket.send(json.dumps(command))

    async def ask(self, type: str, **fields: Any) -> dict[str, Any]:
        """The whole answer, a reply or an error."""
        self._number += 1
        number = self._number
        await self.say(type=type, id=number, **fields)
        while True:
            frame = await self._next()
            if frame.get("id") == number and frame["type"] in ("$reply", "$error", "$pong"):
                return frame
            self.pushes.append(frame)

    async def get(self, type: str, **fields: Any) -> Any:
        """The payload of a reply; an error fails the test."""
        answer = await self.ask(type, **fields)
        assert answer["type"] == "$reply", answer
        return answer["payload"]

    async def push(self) -> dict[str, Any]:
        return self.pushes.pop(0) if self.pushes else await self._next()

    async def _next(self) -> dict[str, Any]:
        async with asyncio.timeout(PATIENCE):
            return json.loads(await self.socket.recv())

    async def close_code(self) -> int | None:
        """Wait for the end; what came before it goes to ``pushes``."""
        try:
            while True:
                self.pushes.append(await self._next())
        except ConnectionClosed:
            return self.socket.close_code

    def cut(self) -> None:
        """Break the line without a word."""
        self.socket.transport.abort()


@asynccontextmanager
async def opened(url: str, *, within: float = PATIENCE, **options: Any) -> AsyncIterator[ClientConnection]:
    """A WebSocket, open ``within`` seconds, closed at the end; no proxy, no compression, no origin unless given."""
    async with connect(url, compression=None, proxy=None, open_timeout=within, close_timeout=1, **options) as socket:
        yield socket


@asynccontextmanager
async def json_client(url: str, **options: Any) -> AsyncIterator[JsonClient]:
    """A client at the JSON door of a server at ``url``."""
    async with opened(f"{url}/openline", **options) as socket:
        yield JsonClient(socket)


class BareSocket:
    """A TCP connection, for what no library sends."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self._frames = FrameReader(max_message=2**40, max_fragments=2**40, masked=False)
        self._items: list[tuple[Opcode, bytes]] = []

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    def send_text(self, text: str | bytes) -> None:
        data = text.encode() if isinstance(text, str) else text
        self.send(encode_masked(Opcode.TEXT, data, b"mask"))

    async def head(self) -> bytes:
        """The head of a response."""
        async with asyncio.timeout(PATIENCE):
            return await self.reader.readuntil(b"\r\n\r\n")

    async def status(self) -> int:
        return int((await self.head()).split(b" ", 2)[1])

    async def rest(self, within: float = PATIENCE) -> bytes:
        """Everything until the server closes; fails where it does not."""
        came = bytearray()
        async with asyncio.timeout(within):
            # A reset that follows the answer, because we went on sending, must not take the answer with it.
            with suppress(ConnectionError):
                while data := await self.reader.read(65_536):
                    came += data
        return bytes(came)

    async def item(self, within: float = PATIENCE) -> tuple[Opcode, bytes]:
        """The next message or control frame."""
        async with asyncio.timeout(within):
            while not self._items:
                data = await self.reader.read(65_536)
                assert data, "the server closed without a Close frame"
                self._items += self._frames.feed(data)
        return self._items.pop(0)

    async def close_code(self, within: float = PATIENCE) -> int:
        """The code of the server's Close frame; what comes before it is passed over."""
        while True:
            opcode, payload = await self.item(within)
            if opcode is Opcode.CLOSE:
                return int.from_bytes(payload[:2])

    async def close(self) -> None:
        self.writer.close()
        with suppress(ConnectionError, ssl.SSLError):
            await self.writer.wait_closed()


@asynccontextmanager
async def bare_socket(port: int, *, limit: int = 65_536, **options: Any) -> AsyncIterator[BareSocket]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=limit, **options)
    socket = BareSocket(reader, writer)
    try:
        yield socket
    finally:
        await socket.close()


def upgrade_head(path: str | bytes = "/openline", *lines: str | bytes, host: str | None = "127.0.0.1") -> bytes:
    """The head of an upgrade, with more header lines."""
    target = path.encode() if isinstance(path, str) else path
    head = [b"GET " + target + b" HTTP/1.1", b"Upgrade: websocket", b"Connection: Upgrade"]
    head += [b"Sec-WebSocket-Key: " + KEY, b"Sec-WebSocket-Version: 13"]
    if host is not None:
        head.append(b"Host: " + host.encode("latin-1"))
    head += [line.encode("latin-1") if isinstance(line, str) else line for line in lines]
    return b"\r\n".join(head) + b"\r\n\r\n"


@asynccontextmanager
async def bare_line(port: int, path: str = "/openline", *lines: str, **options: Any) -> AsyncIterator[BareSocket]:
    """A bare socket whose upgrade has been accepted."""
    async with bare_socket(port, **options) as socket:
        socket.send(upgrade_head(path, *lines))
        head = await socket.head()
        assert head.startswith(b"HTTP/1.1 101 "), head
        yield socket


async def fetch(port: int, head: str, body: bytes = b"") -> tuple[int, dict[str, str], bytes]:
    """One HTTP/1.1 request over a connection of its own: status, headers, body."""
    async with bare_socket(port) as socket:
        lines = [head, "Host: 127.0.0.1", "Connection: close"]
        socket.send("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        raw = (await socket.head()).decode("latin-1").split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in raw[1:] if line)
        return int(raw[0].split(" ")[1]), headers, await socket.rest()
