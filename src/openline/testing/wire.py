"""A line without a network: it remembers what was written, and stalls and breaks when a test says so."""

from collections.abc import Sequence
from typing import Final

from openline.errors import CloseCode
from openline.hub.connection import Connection
from openline.hub.hub import Hub
from openline.hub.load import Load
from openline.hub.outbox import Outbox
from openline.hub.outcome import Outcome
from openline.model import Request
from openline.protocol.codec import Codec
from openline.transports.group import DescriptorGroup

__all__ = ["FakeWire"]

_DONE: Final[Outcome[None]] = Outcome.of(None)


class FakeWire:
    """See :class:`openline.hub.ports.Wire`; with a ``hub``, it tells it when the line is gone, as real lines do.

    What its channels let go while the peer is slow, the peer is told with a ``$gap`` when it has read all the rest, or
    when its connection comes back. ``written`` holds the frames that the peer has read. ``closed`` is the code and the
    reason with which the line was ended from our side, None while it was not. ``reading`` is false while the hub wants
    to hear nothing.
    """

    def __init__(self, codec: Codec, *, hub: Hub | None = None, outbox_bytes: int = 1_048_576) -> None:
        self.codec = codec
        self.connection: Connection | None = None
        self.request: Request | None = Request("/")
        self.load: Load | None = None
        self.written: list[bytes] = []
        self.closed: tuple[int, str] | None = None
        self.open = True
        self.reading = True
        self.places: dict[DescriptorGroup, int] = {}
        # There is no descriptor: groups let it take its bytes itself.
        self.descriptor = -1
        self._hub = hub
        self._stalled = False
        self._outbox = Outbox(outbox_bytes)
        self._drained: Outcome[None] | None = None

    @property
    def waiting(self) -> int:
        """Bytes that a stalled peer has not read."""
        return self._outbox.size

    def make_group(self) -> DescriptorGroup:
        """See :class:`openline.hub.ports.Wire`."""
        return DescriptorGroup()

    def deliver(self, frames: Sequence[bytes]) -> None:
        """See :class:`openline.hub.ports.Wire`; more than the outbox may hold closes the line with 4500."""
        if not self.open:
            return
        if not self._stalled:
            self.written += frames
            return
        for frame in frames:
            if not self._outbox.put(frame):
                self._outbox.clear()
                self._end(CloseCode.SLOW, "More waited than this connection may leave unread.")
                return

    def fell_short(self, data: bytes, taken: int) -> None:
        """Never called: there is no descriptor."""

    def drained(self) -> Outcome[None]:
        """See :class:`openline.hub.ports.Wire`."""
        if not self.open or not len(self._outbox):
            return _DONE
        if self._drained is None:
            self._drained = Outcome()
        return self._drained

    def close(self, code: int, reason: str = "") -> None:
        """See :class:`openline.hub.ports.Wire`."""
        if self.open:
            if self._hub is not None:
                self._hub.tick.flush()
            self._end(code, reason)

    def hold_reading(self, *, held: bool) -> None:
        """See :class:`openline.hub.ports.Wire`."""
        self.reading = not held

    # -- what a test does

    def stall(self) -> None:
        """From now on the peer reads nothing, and frames wait in the outbox."""
        self._stalled = True

    def drain(self) -> None:
        """The peer reads what waits, and whatever comes from now on."""
        self._stalled = False
        self.read(len(self._outbox))

    def read(self, frames: int) -> None:
        """The peer, as slow as before, reads ``frames`` of what waits."""
        for _ in range(min(frames, len(self._outbox))):
            self.written.append(self._outbox.take(1))
        if not len(self._outbox):
            self.written += self._outbox.take_gaps(self.codec)
            self._settle_drained()

    def lose(self, *, clean: bool = False) -> None:
        """The line breaks, and what the peer has not read is lost; ``clean``: its client said goodbye."""
        if self.open:
            self._outbox.clear()
            self._shut()
            self._tell_hub(clean=clean)

    def _end(self, code: int, reason: str) -> None:
        if self.open:
            self.closed = (int(code), reason)
            self._shut()
            self._tell_hub(clean=False)

    def _shut(self) -> None:
        self.open = False
        for group in tuple(self.places):
            group.leave(self)
        if self.connection is not None:
            self.connection.tell_later(self._outbox.lost)
        self._settle_drained()

    def _settle_drained(self) -> None:
        drained, self._drained = self._drained, None
        if drained is not None:
            drained.settle(None)

    def _tell_hub(self, *, clean: bool) -> None:
        if self._hub is not None:
            self._hub.lifecycle.line_lost(self, clean=clean)
