"""Reaches into uvicorn, as ``uvicorn_host`` and ``underneath`` do: takes WebSockets from under their ASGI call.

Under a plain ``uvicorn app:app`` that call has arrived already. All that is used of uvicorn is undocumented, so it is
looked for first, and plain ASGI serves where it is not found.
"""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from openline.protocol.handshake import read_upgrade
from openline.protocol.websocket import Opcode
from openline.transports.uvicorn_host import Headers, Host, admit, make_line

__all__ = ["take_over"]


async def take_over(
    host: Host, scope: MutableMapping[str, Any], receive: Callable[[], Awaitable[Any]], path: str
) -> bool:
    """Take a WebSocket from under its ASGI call, and return when its line has ended.

    False, and nothing touched, where the server is not one we know. Raises :class:`RequestRefused` before anything is
    taken.
    """
    protocol = getattr(receive, "__self__", None)
    if not isinstance(protocol, WebSocketsSansIOProtocol) or not all(hasattr(protocol, name) for name in _NEEDED):
        return False
    if protocol.handshake_complete or protocol.initial_response is not None:
        return False
    headers: Headers = scope["headers"]
    upgrade = read_upgrade("GET", "1.1", headers)
    await receive()
    if protocol.disconnected:
        return True
    query = scope["query_string"].decode("latin-1")
    request = admit(host, protocol.transport, path=path, query=query, upgrade=upgrade, headers=headers)
    more = await host.doors.ask(request)
    if protocol.disconnected:
        return True
    early = _messages(protocol)
    # From here on uvicorn believes that the handshake is done and leaves the transport alone until the ASGI call
    # returns.
    connections = protocol.connections
    line = make_line(host.doors, protocol.transport, request, upgrade, connections, more)
    protocol.handshake_complete = True
    connections.discard(protocol)
    line.begin()
    for opcode, payload in early:
        line.door.message(line, opcode, payload)
    await line.gone
    return True


#: What of uvicorn's WebSocket protocol is used; the connection's own state besides.
_NEEDED: Final = ("transport", "connections", "handshake_complete", "initial_response", "disconnected", "queue", "conn")


def _messages(protocol: WebSocketsSansIOProtocol) -> list[tuple[Opcode, bytes]]:
    """What the client sent before the upgrade was answered, which uvicorn has parsed already."""
    found: list[tuple[Opcode, bytes]] = []
    while not protocol.queue.empty():
        event: dict[str, Any] = dict(protocol.queue.get_nowait())
        if event["type"] == "websocket.receive":
            text = event.get("text")
            found.append((Opcode.BINARY, event["bytes"]) if text is None else (Opcode.TEXT, text.encode()))
    if protocol.read_paused:
        protocol.read_paused = False
        protocol.transport.resume_reading()
    return found
