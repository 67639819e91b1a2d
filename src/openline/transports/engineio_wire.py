"""The writing end of an Engine.IO session: polled at first, or at once, or later, straight to a socket."""

from asyncio import Transport
from collections.abc import Callable, Sequence
from typing import Any, Final

from openline.hub.outcome import Outcome
from openline.protocol.codec import Codec
from openline.protocol.engineio import split_frames
from openline.transports.wire import Owner, SocketWire

__all__ = ["EngineWire"]

_DONE: Final[Outcome[None]] = Outcome.of(None)


class _Nowhere(Transport):
    """What a session that is polled writes to: nothing goes out by itself."""

    def get_write_buffer_size(self) -> int:
        return 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """There is no buffer."""

    def write(self, data: Any) -> None:
        raise RuntimeError("a polled session is taken from, not written for")

    def pause_reading(self) -> None:
        """Whoever reads asks ``held``."""

    def resume_reading(self) -> None:
        """Whoever reads asks ``held``."""


_NOWHERE: Final = _Nowhere()


class EngineWire(SocketWire):
    """See :class:`openline.transports.wire.SocketWire`.

    Until it is attached to a transport its frames wait in the outbox for who takes them; ``something`` is called
    whenever there are any. ``held``: nothing is to be read just now; ``released`` is called when that is over.
    ``deaf``: it was held at some time since its owner took that away.
    """

    __slots__ = ("_rest", "deaf", "held", "released", "something")

    def __init__(self, codec: Codec, owner: Owner, *, outbox_bytes: int) -> None:
        super().__init__(_NOWHERE, codec, owner, outbox_bytes=outbox_bytes)
        self._stalled = True
        self._rest = b""
        self.held = self.deaf = False
        self.something: Callable[[], None] | None = None
        self.released: Callable[[], None] | None = None

    @property
    def waiting(self) -> int:
        """See :class:`SocketWire`."""
        return super().waiting + len(self._rest)

    def _queue(self, frames: Sequence[bytes]) -> None:
        super()._queue(frames)
        if self.something is not None and self.open:
            self.something()

    def take_packets(self, most: int) -> list[bytes]:
        """Up to ``most`` packets that wait, in the form of a payload."""
        packets: list[bytes] = []
        while len(packets) < most and (self._rest or self._outbox):
            frames = self._rest or (self._outbox.take(1) if self._outbox else b"")
            more, self._rest = split_frames(frames, most - len(packets))
            packets += more
        self._settle_drained()
        return packets

    def take_frames(self) -> bytes:
        """Some frames that wait, joined; empty when nothing does."""
        frames, self._rest = self._rest or (self._outbox.take(1) if self._outbox else b""), b""
        if not frames:
            self._settle_drained()
        return frames

    def _settle_drained(self) -> None:
        if not self.waiting and self._drained is not None:
            drained, self._drained = self._drained, None
            drained.settle(None)

    def attach(self, transport: Transport) -> None:
        """From now on what is delivered goes out over ``transport``, behind what waits here."""
        self.something = None
        self._take(transport)
        if self.held:
            transport.pause_reading()
        rest, self._rest = self._rest, b""
        if rest:
            transport.write(rest)
        # Nobody writes to the descriptor before the transport has taken everything that came first.
        self.descriptor = -1
        self.resume_writing()

    def drained(self) -> Outcome[None]:
        """See :class:`openline.hub.ports.Wire`."""
        return super().drained() if self.waiting else _DONE

    def hold_reading(self, *, held: bool) -> None:
        """See :class:`openline.hub.ports.Wire`."""
        self.held = held
        self.deaf = self.deaf or held
        super().hold_reading(held=held)
        if not held and self.released is not None:
            self.released()

    async def readable(self) -> None:
        """Come back when nothing holds the reading, or whoever holds on to ``released`` has to look again."""
        if self.held and self.open:
            released: Outcome[None] = Outcome()
            mine = self.released = lambda: released.settle(None)
            await released
            # A WebSocket that goes on with the session may wait by now, too.
            if self.released is mine:
                self.released = None

    def shut(self) -> bytes:
        """See :class:`SocketWire`."""
        rest, self._rest = self._rest, b""
        rest += super().shut()
        if self.released is not None:
            self.released()
        return rest
