"""Listening sockets below the event loop: who comes is accepted by the receiver, and served by it from then on."""

import logging
import os
from asyncio import BaseProtocol, Server
from collections.abc import Callable, Iterable, Sequence
from socket import AF_INET, AF_INET6, IPPROTO_TCP, TCP_NODELAY, socket
from typing import Any, Final

from openline.transports.receiver import Receiver
from openline.transports.socket_transport import SocketTransport

__all__ = ["Listener"]

_log: Final = logging.getLogger("openline")
#: How long nobody is accepted when there are no descriptors left.
_PAUSE_SECONDS: Final = 1.0


class Listener:
    """As ``asyncio.Server``, as far as servers use it: each who comes gets a protocol of ``make_protocol``."""

    def __init__(self, receiver: Receiver, sockets: Sequence[socket], make_protocol: Callable[[], Any]) -> None:
        self._receiver = receiver
        self._make_protocol = make_protocol
        self.sockets: tuple[socket, ...] = tuple(sockets)
        for each in self.sockets:
            receiver.seat(each.fileno(), self, listens=True)

    @classmethod
    def instead_of(
        cls, servers: Iterable[Server], receiver: Receiver, make_protocol: Callable[[], BaseProtocol]
    ) -> "list[Server | Listener]":
        """Take the listening sockets of ``servers``; one that does not listen for TCP alone stays as it is.

        Who waits to be accepted is not lost: a socket goes on listening while it has two descriptors.
        """
        return [cls._instead_of(server, receiver, make_protocol) for server in servers]

    @classmethod
    def _instead_of(
        cls, server: Server, receiver: Receiver, make_protocol: Callable[[], BaseProtocol]
    ) -> "Server | Listener":
        if any(each.family not in (AF_INET, AF_INET6) for each in server.sockets):
            return server
        own = [socket(fileno=os.dup(each.fileno())) for each in server.sockets]
        for each in own:
            each.settimeout(0.0)
            # Those who are accepted there inherit it: what is written leaves at once.
            each.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)
        server.close()
        return cls(receiver, own, make_protocol)

    def found(self, what: Any, more: Any) -> None:
        """See :class:`~openline.transports.receiver.Reader`: somebody has come, or could not be accepted."""
        if what < 0:
            self._rest(-what)
            return
        if not self.sockets:
            # It was accepted before the end, and is told of after it.
            os.close(what)
            return
        try:
            protocol = self._make_protocol()
            transport = SocketTransport(self._receiver, what, protocol, more)
        except Exception:
            os.close(what)
            raise
        try:
            protocol.connection_made(transport)
        except Exception as error:
            transport.failed(error)

    def failed(self, error: Exception) -> None:
        """See :class:`~openline.transports.receiver.Reader`."""
        self._receiver.loop.call_exception_handler({"message": "Nobody could be served", "exception": error})

    def _rest(self, code: int) -> None:
        """Accept nobody for a while: whoever waits would be reported again and again."""
        _log.warning("Nobody can be accepted for %g s: %s", _PAUSE_SECONDS, os.strerror(code))
        self._watch(reading=False)
        self._receiver.loop.call_later(_PAUSE_SECONDS, lambda: self._watch(reading=True))

    def _watch(self, *, reading: bool) -> None:
        for each in self.sockets:
            self._receiver.watch(each.fileno(), reading=reading, writing=False)

    def close(self) -> None:
        """Accept nobody any more; later calls change nothing."""
        sockets, self.sockets = self.sockets, ()
        for each in sockets:
            self._receiver.unseat(each.fileno())
            each.close()

    async def wait_closed(self) -> None:
        """Returns at once: what has been accepted has an end of its own."""
