"""What waits for a client that does not read it, of an answer over HTTP or a pipe: after a while it is cut off."""

import os
import socket
from asyncio import BaseProtocol, Transport
from collections.abc import Callable
from typing import Any, Final

from openline.hub.ports import Handle

__all__ = ["Unread"]

#: Where ``tcpi_bytes_acked`` is in what TCP_INFO tells (Linux, tcp(7), linux/tcp.h).
_ACKNOWLEDGED: Final = slice(120, 128)
#: How often it is looked at in the time that it may stand still.
_LOOKS: Final = 8


class Unread:
    """Watches ``transport`` while something waits in it, which is until ``protocol`` is told to resume writing.

    Where nothing of it moves for ``seconds`` the transport is aborted. ``after`` calls back later, as
    :meth:`openline.hub.timers.Timers.after` does.
    """

    def __init__(
        self,
        transport: Transport,
        protocol: BaseProtocol,
        seconds: float,
        after: Callable[[float, Callable[[], None]], Handle],
    ) -> None:
        self._transport = transport
        self._protocol = protocol
        self._seconds = seconds
        self._after = after
        self._least = transport.get_write_buffer_size()
        self._acknowledged: bytes = _acknowledged(transport)
        self._looks = 0
        self._next = after(seconds / _LOOKS, self._look)

    def cancel(self) -> None:
        """Nothing waits any more."""
        self._next.cancel()

    def _look(self) -> None:
        # Whoever has got the transport in the meantime sees to it.
        if self._transport.get_protocol() is not self._protocol:
            return
        self._looks = 0 if self._moves() else self._looks + 1
        if self._looks < _LOOKS:
            self._next = self._after(self._seconds / _LOOKS, self._look)
        else:
            self._transport.abort()

    def _moves(self) -> bool:
        """Whether anything has gone out; a slow client acknowledges some long before the system takes more of us."""
        waiting, acknowledged = self._transport.get_write_buffer_size(), _acknowledged(self._transport)
        moves = waiting < self._least or acknowledged != self._acknowledged
        self._least, self._acknowledged = min(waiting, self._least), acknowledged
        return moves


def _acknowledged(transport: Transport) -> bytes:
    """What tells how much the client has; ``b""`` where the system does not say."""
    option: int | None = getattr(socket, "TCP_INFO", None)
    raw: Any = transport.get_extra_info("socket")
    if option is None or raw is None:
        return b""
    try:
        with socket.socket(fileno=os.dup(raw.fileno())) as ours:
            told = ours.getsockopt(socket.IPPROTO_TCP, option, _ACKNOWLEDGED.stop)
            return told[_ACKNOWLEDGED]
    except OSError:  # gone already, or no TCP
        return b""
