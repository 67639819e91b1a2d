"""Reaches into uvicorn, as ``uvicorn_host`` and ``uvicorn_mounted`` do: what is under a request that has arrived."""

from collections.abc import Awaitable, Callable
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from openline.transports.uvicorn_host import NativeHttpProtocol

__all__ = ["Underneath", "answered"]


class Underneath:
    """The transport under an HTTP request whose ASGI call has arrived, to be taken for an answer that stays open."""

    def __init__(self, cycle: RequestResponseCycle, protocol: HttpToolsProtocol) -> None:
        self._cycle = cycle
        self._protocol = protocol
        self.transport = protocol.transport
        self.connections: set[Any] = protocol.connections
        #: Whether the server tells the application of its end, so that the ASGI call may return ahead of that.
        self.told_of_end = isinstance(protocol, NativeHttpProtocol) and protocol.serves_openline

    @classmethod
    def of(cls, receive: Callable[[], Awaitable[Any]]) -> "Underneath | None":
        """What is under the ``receive`` of an ASGI call; None where the server is not one we know."""
        cycle = getattr(receive, "__self__", None)
        if not isinstance(cycle, RequestResponseCycle) or not all(hasattr(cycle, name) for name in _NEEDED_OF_CYCLE):
            return None
        protocol = getattr(cycle.on_response, "__self__", None)
        if not isinstance(protocol, HttpToolsProtocol) or not all(hasattr(protocol, n) for n in _NEEDED_OF_HTTP):
            return None
        # An answer before this one that is still on its way out goes first, through the transport.
        return None if protocol.transport.get_write_buffer_size() else cls(cycle, protocol)

    def take(self) -> bool:
        """Take it: the server lets go of it, and its call may return. False where the client has gone meanwhile."""
        cycle, protocol = self._cycle, self._protocol
        there = not (cycle.disconnected or self.transport.is_closing())
        # From here on uvicorn believes that the client has gone, and says nothing of an answer that it does not see.
        cycle.disconnected = True
        if not there:
            return False
        protocol.pipeline.clear()
        protocol._unset_keepalive_if_required()  # pyright: ignore[reportPrivateUsage]
        self.connections.discard(protocol)
        if isinstance(protocol, NativeHttpProtocol):
            protocol.let_go()
        return True


#: What of uvicorn's HTTP protocol and of one request on it is used.
_NEEDED_OF_HTTP: Final = ("transport", "connections", "pipeline", "_unset_keepalive_if_required")
_NEEDED_OF_CYCLE: Final = ("on_response", "disconnected")


def answered(receive: Callable[[], Awaitable[Any]]) -> None:
    """The upgrade of the ASGI call with this ``receive`` has been refused with an answer of its own.

    uvicorn sends such answers, and then writes into the log that there was no handshake. Its word for "there is nothing
    more to be answered" is that there was one.
    """
    protocol = getattr(receive, "__self__", None)
    if isinstance(protocol, WebSocketsSansIOProtocol) and getattr(protocol, "close_sent", False):
        protocol.handshake_complete = True
