"""The WebSocket that carries a line, by way of the websockets library."""

import asyncio
import os
import ssl as tls
from collections.abc import Awaitable, Callable
from ipaddress import ip_address
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, WebSocketException

from openline.client.ending import Lost, SocketLostError
from openline.client.surroundings import Socket
from openline.errors import CloseCode, SettingsError
from openline.protocol.json_codec import SUBPROTOCOL

__all__ = ["address_of", "is_here", "opener", "why_not"]

_CLOSE_SECONDS: Final = 2.0
#: A page of history may be long: a server that sends more at once is none of ours.
_MOST_BYTES: Final = 134_217_728
_REASON: Final = 200
#: The same request may be answered otherwise soon (408, 425, 429), or the request was never the trouble (5xx).
_PASSING: Final = (408, 425, 429)


def address_of(url: str) -> str:
    """``url`` as a WebSocket's: ``http`` means ``ws``, and without a path it is ``/openline``.

    Raises :class:`SettingsError`.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise SettingsError("url", f"{url!r} is no address: {error}") from None
    scheme = {"http": "ws", "https": "wss"}.get(parts.scheme, parts.scheme)
    if scheme not in ("ws", "wss") or not host or parts.username is not None:
        raise SettingsError("url", f"{url!r} is no address of a server; write ws://127.0.0.1:8000/openline")
    return urlunsplit((scheme, parts.netloc, parts.path or "/openline", parts.query, ""))


def opener(url: str, ssl: tls.SSLContext | None) -> Callable[[], Awaitable[Socket]]:
    """What opens a WebSocket to ``url``, a result of :func:`address_of`."""
    options: dict[str, Any] = {
        "subprotocols": [SUBPROTOCOL],
        "compression": None,
        "ping_interval": None,
        "open_timeout": None,
        "close_timeout": _CLOSE_SECONDS,
        "max_size": _MOST_BYTES,
    }
    if ssl is not None:
        options["ssl"] = ssl
    if is_here(urlsplit(url).hostname or ""):
        options["proxy"] = None  # no proxy leads to this machine itself

    async def dial() -> Socket:
        try:
            return _WebSocket(await connect(url, **options))
        except (OSError, WebSocketException, UnicodeError, ImportError) as error:
            raise SocketLostError(why_not(error)) from error

    return dial


def is_here(host: str) -> bool:
    """Whether ``host`` is this machine, to which no proxy leads."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def why_not(error: Exception) -> Lost:
    """Why there is no WebSocket, by what opening one has raised."""
    if isinstance(error, InvalidStatus):
        response = error.response
        said = (response.body or b"")[:_REASON].decode(errors="replace").strip().partition("\n")[0]
        reason = f"the server answered HTTP {response.status_code}" + (f": {said}" if said else "")
        hopeless = 300 <= response.status_code < 500 and response.status_code not in _PASSING
        return Lost(CloseCode.ABNORMAL, reason, hopeless=hopeless)
    if isinstance(error, tls.SSLError):
        return Lost(CloseCode.ABNORMAL, f"TLS failed: {error}", hopeless=True)
    if isinstance(error, OSError):
        known = os.strerror(error.errno) if error.errno is not None and error.errno > 0 else error.strerror
        return Lost(CloseCode.ABNORMAL, known or str(error) or type(error).__name__)
    if isinstance(error, InvalidHandshake):
        return Lost(CloseCode.ABNORMAL, f"what answers there is no WebSocket server: {error}")
    return Lost(CloseCode.ABNORMAL, f"no connection can be made: {error}", hopeless=True)


class _WebSocket:
    """See :class:`~openline.client.surroundings.Socket`."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket

    async def send(self, text: bytes) -> None:
        try:
            await self._socket.send(text, text=True)
        except ConnectionClosed as error:
            raise SocketLostError(self._why()) from error

    async def receive(self) -> str:
        try:
            while not isinstance(text := await self._socket.recv(), str):
                pass
        except ConnectionClosed as error:
            raise SocketLostError(self._why()) from error
        return text

    async def close(self, code: int | None) -> None:
        try:
            if code is not None:
                async with asyncio.TaskGroup() as tasks:
                    # The server's goodbye stands behind all that it has sent.
                    tasks.create_task(self._drain())
                    await self._socket.close(code)
        finally:
            self._socket.transport.abort()
            await self._socket.wait_closed()

    async def _drain(self) -> None:
        async for _ in self._socket:
            pass

    def _why(self) -> Lost:
        code = self._socket.close_code
        return Lost(CloseCode.ABNORMAL if code is None else code, self._socket.close_reason or "")
