"""What one POST of an Engine.IO client brings, packet by packet: some at a time, so that others have their turn."""

import asyncio
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import TYPE_CHECKING, Final

from openline.errors import ProtocolError
from openline.protocol.engineio import Fault, Packet, decode_payload, fault

if TYPE_CHECKING:
    from openline.transports.engineio import Session

__all__ = ["Payload"]

#: How long the packets of one payload hold the event loop at a time.
_SLICE_SECONDS: Final = 0.005


class Payload:
    """The packets of one ``body``, which ``session`` takes in order.

    What ends the session ends its POST, too: everything here raises :func:`fault`.
    """

    __slots__ = ("_packets", "_session")

    def __init__(self, session: "Session", body: bytes) -> None:
        self._session = session
        self._packets: Iterator[Packet] | None = None
        with self._ending():
            self._packets = decode_payload(body)
            self._read_on()

    @contextmanager
    def _ending(self) -> Generator[None]:
        try:
            yield
        except ProtocolError as error:
            self._packets = None
            self._session.close("parse error", error.code, error.reason)
            raise fault(Fault.REQUEST, error.reason) from error

    def _read_on(self) -> None:
        """Have some more packets taken, and no more than may wait: what is not decoded yet costs least."""
        until = perf_counter() + _SLICE_SECONDS
        for packet in self._packets or ():
            if not self._session.take_posted(packet):
                break
            if self._session.wire.held or perf_counter() >= until:
                return
        self._packets = None

    async def rest(self) -> None:
        """Take the rest, as the session may be read, and come back once it may be read again."""
        await self._session.wire.readable()
        while self._packets is not None:
            if self._session.line is not None:
                raise fault(Fault.REQUEST, "The session went on before its payload was read")
            await asyncio.sleep(0)
            with self._ending():
                self._read_on()
            await self._session.wire.readable()
