"""The writing end of one socket: straight to the descriptor, or through an outbox while that is full."""

import os
from asyncio import Transport
from collections.abc import MutableMapping, Sequence
from typing import Final, Protocol

from openline.hub.connection import Connection
from openline.hub.few import Few
from openline.hub.load import Load
from openline.hub.outbox import Outbox
from openline.hub.outcome import Outcome
from openline.model import Request
from openline.protocol.codec import Codec
from openline.transports.group import DescriptorGroup
from openline.transports.socket_transport import SocketTransport

__all__ = ["Owner", "SocketWire"]

#: What is handed to the transport at a time, so that the rest stays ours to judge.
CHUNK_BYTES: Final = 65_536
_DONE: Final[Outcome[None]] = Outcome.of(None)


class Owner(Protocol):
    """The line that a wire is the writing end of."""

    def wire_closes(self, code: int, reason: str) -> None:
        """The hub ends the connection that has this wire, with ``code``."""
        ...

    def too_slow(self) -> None:
        """The outbox would overflow, or the peer turned out to be gone. Called once."""
        ...


class SocketWire:
    """See :class:`openline.hub.ports.Wire`; owned by a line (see ``transports.websocket``), which closes it.

    While the transport has bytes queued nobody writes to the descriptor beside it: the wire stands aside in every
    group, and its frames wait in the outbox.
    """

    __slots__ = (
        "_drained",
        "_limit",
        "_outbox",
        "_owner",
        "_stalled",
        "_transport",
        "codec",
        "connection",
        "descriptor",
        "load",
        "open",
        "places",
        "request",
    )

    def __init__(
        self, transport: Transport, codec: Codec, owner: Owner, *, outbox_bytes: int, begun: bool = True
    ) -> None:
        """``begun``: the transport is ours; otherwise it is nobody's to write to until :meth:`begin`."""
        self._limit = outbox_bytes
        self._owner = owner
        self._outbox: Outbox | None = None
        self._drained: Outcome[None] | None = None
        self._stalled = False
        self.codec = codec
        self.connection: Connection | None = None
        self.request: Request | None = None
        self.load: Load | None = None
        self.places: MutableMapping[DescriptorGroup, int] = Few()
        self.open = True
        if not begun:
            self._transport = transport
            self._stalled = True
            self.descriptor = -1
            return
        self._take(transport)
        if transport.get_write_buffer_size():
            # An answer before ours, to a request that came down the same connection, is still on its way out.
            self._stalled = True
            self.descriptor = -1

    def _take(self, transport: Transport) -> None:
        self._transport = transport
        #: Where groups may write; -1 while bytes wait in the transport, and once the wire is shut.
        self.descriptor = _descriptor(transport)
        transport.set_write_buffer_limits(high=0)

    def begin(self, first: bytes) -> None:
        """Write ``first``, and behind it what has waited; the transport is ours from now on."""
        self._transport.set_write_buffer_limits(high=0)
        self._transport.write(first)
        self.resume_writing()

    @property
    def late(self) -> bool:
        """Whether what the peer has sent may be untold for no other reason than that we are late."""
        return isinstance(self._transport, SocketTransport) and self._transport.behind

    def make_group(self) -> DescriptorGroup:
        """See :class:`openline.hub.ports.Wire`."""
        return DescriptorGroup()

    @property
    def waiting(self) -> int:
        """Bytes that wait here and in the transport."""
        return self._transport.get_write_buffer_size() + (self._outbox.size if self._outbox else 0)

    def deliver(self, frames: Sequence[bytes]) -> None:
        """See :class:`openline.hub.ports.Wire`."""
        if not self.open:
            return
        if self._stalled:
            self._queue(frames)
            return
        data = frames[0] if len(frames) == 1 else b"".join(frames)
        if self.descriptor < 0:
            self._hand_over(data)
            return
        try:
            taken = os.write(self.descriptor, data)
        except BlockingIOError:
            taken = 0
        except OSError:
            taken = -1
        if taken != len(data):
            self.fell_short(data, taken)

    def fell_short(self, data: bytes, taken: int) -> None:
        """The descriptor took only the first ``taken`` bytes of ``data``.

        -1: the peer is gone, which the transport will report.
        """
        if not self.open:
            return
        if len(data) - taken <= self._limit and taken >= 0:
            self._hand_over(data[taken:])
        elif taken <= 0:
            self._give_up()
        else:
            # The peer has half a frame: whatever we said now, it would take for the other half.
            self.shut()
            self._transport.abort()

    def _hand_over(self, data: bytes) -> None:
        self._transport.write(data)
        if self._transport.get_write_buffer_size():
            self._stalled = True
            if self.descriptor >= 0:
                self.descriptor = -1
                for group in self.places:
                    group.stand_aside(self)
        if self.waiting > self._limit:
            self._give_up()

    def _queue(self, frames: Sequence[bytes]) -> None:
        if self._outbox is None:
            self._outbox = Outbox(self._limit)
        for frame in frames:
            if not self._outbox.put(frame, self._limit - self.waiting):
                self._give_up()
                return

    def _give_up(self) -> None:
        self.shut()
        self._owner.too_slow()

    def resume_writing(self) -> None:
        """The transport has written everything it had: hand over the next chunk, or go back to the descriptor."""
        if not self._stalled:
            return
        while self._outbox and not self._transport.get_write_buffer_size():
            self._transport.write(self._outbox.take(CHUNK_BYTES))
        if self._transport.get_write_buffer_size():
            return
        if self._outbox is not None and self._tell_losses(self._outbox):
            return
        self._outbox = None
        self._stalled = False
        if self.open and (descriptor := _descriptor(self._transport)) >= 0:
            self.descriptor = descriptor
            for group in self.places:
                group.step_back(self)
        drained, self._drained = self._drained, None
        if drained is not None:
            drained.settle(None)

    def _tell_losses(self, outbox: Outbox) -> bool:
        """Tell what was dropped, behind what was not; whether that waits in the transport now."""
        for gap in outbox.take_gaps(self.codec):
            self._transport.write(gap)
        return bool(self._transport.get_write_buffer_size())

    def drained(self) -> Outcome[None]:
        """See :class:`openline.hub.ports.Wire`."""
        if not self._stalled or not self.open:
            return _DONE
        if self._drained is None:
            self._drained = Outcome()
        return self._drained

    def shut(self) -> bytes:
        """Leave every group and write nothing more.

        Returns what still waits in the outbox, whole frames. Comes before the descriptor is closed.
        """
        self.open = False
        self.descriptor = -1
        for group in tuple(self.places):
            group.leave(self)
        rest = self._outbox.take(self._limit) if self._outbox else b""
        if self._outbox is not None and self.connection is not None:
            self.connection.tell_later(self._outbox.lost)
        self._outbox = None
        drained, self._drained = self._drained, None
        if drained is not None:
            drained.settle(None)
        return rest

    def close(self, code: int, reason: str = "") -> None:
        """See :class:`openline.hub.ports.Wire`."""
        self._owner.wire_closes(code, reason)

    def hold_reading(self, *, held: bool) -> None:
        """See :class:`openline.hub.ports.Wire`."""
        if self.open:
            if held:
                self._transport.pause_reading()
            else:
                self._transport.resume_reading()


def _descriptor(transport: Transport) -> int:
    """Where a transport writes, -1 if that is not ours to write to: TLS encrypts in the transport."""
    if isinstance(transport, SocketTransport):
        return transport.descriptor
    socket = None if transport.get_extra_info("ssl_object") else transport.get_extra_info("socket")
    return -1 if socket is None else int(socket.fileno())
