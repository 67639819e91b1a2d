"""A WebSocket that another node serves: its bytes pass through this one in both directions, unread."""

import asyncio
import ssl
from typing import Any, Final, cast
from urllib.parse import urlsplit

from openline.errors import RequestRefused
from openline.hub.timers import Timers
from openline.protocol.handshake import refusal
from openline.transports.unread import Unread
from openline.transports.vouching import HEADER

__all__ = ["Pipe", "with_voucher"]

_CONNECT_SECONDS: Final = 3.0
#: How long the client may take nothing while something waits for it: as long as one that answers no ping.
_STALLED_SECONDS: Final = 45.0


def with_voucher(head: bytes, voucher: str) -> bytes:
    """The ``head`` of a request with what the other node is told of its client."""
    line, end, rest = head.partition(b"\r\n")
    return line + end + f"{HEADER}: {voucher}\r\n".encode("latin-1") + rest


class _End(asyncio.Protocol):
    """One of two; what comes in here goes out at the other."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.other: _End | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        if self.other is not None:
            self.other.end()

    def end(self) -> None:
        """Nothing more comes from the other end."""
        if self.transport is not None:
            self.transport.close()

    # A slow reader at one end stops the reading at the other, so what waits here is bounded by the transports.

    def pause_writing(self) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.resume_reading()


class Pipe(_End):
    """The client's end; uvicorn knows it among its ``connections``."""

    def __init__(self, transport: asyncio.Transport, connections: set[Any], timers: Timers) -> None:
        super().__init__()
        self.transport = transport
        self._timers = timers
        self._unread: Unread | None = None
        self._connections = connections
        connections.add(self)
        transport.set_protocol(self)
        transport.pause_reading()

    async def open(self, address: str, head: bytes, otherwise: RequestRefused) -> None:
        """Connect to the node at ``address``; where that cannot be, the client is told ``otherwise``."""
        url = urlsplit(address)
        tls = ssl.create_default_context() if url.scheme == "https" else None
        host, port = url.hostname or "", url.port or (443 if tls else 80)
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                _, other = await loop.create_connection(_End, host, port, ssl=tls)
        except (OSError, TimeoutError):
            if self.transport is not None:
                self.transport.write(refusal(otherwise))
                self.transport.close()
            return
        if self.transport is None or other.transport is None:
            # The client has gone meanwhile.
            if other.transport is not None:
                other.transport.close()
            return
        other.other, self.other = self, other
        other.transport.write(head)
        self.transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client has gone, or is to."""
        self._connections.discard(self)
        self._wait_no_longer()
        super().connection_lost(exc)

    # While the client takes nothing, nobody else would notice: its node is not read from, nor is it heard.

    def pause_writing(self) -> None:
        """See :class:`asyncio.Protocol`."""
        super().pause_writing()
        self._wait_for_the_client()

    def resume_writing(self) -> None:
        """See :class:`asyncio.Protocol`."""
        self._wait_no_longer()
        super().resume_writing()

    def end(self) -> None:
        """The node has gone, and the client takes what is left."""
        super().end()
        self._wait_for_the_client()

    def _wait_for_the_client(self) -> None:
        if self._unread is None and self.transport is not None:
            self._unread = Unread(self.transport, self, _STALLED_SECONDS, self._timers.after)

    def _wait_no_longer(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    def shutdown(self) -> None:
        """The server stops: the client finds another way to its node."""
        if self.transport is not None:
            self.transport.close()
