"""A line whose downstream is polled: what is said waits until a request asks for it, and until the next acknowledges.

An answer may be lost on its way. So each batch has a number, and is kept until a poll names it.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple

import msgspec

from openline.errors import CommandError, ErrorCode
from openline.hub.outcome import Outcome
from openline.hub.timers import Timer
from openline.model import JsonBytes
from openline.protocol.codec import Codec
from openline.protocol.commands import Word
from openline.transports.asgi import AsgiWire
from openline.transports.doors import Doors
from openline.transports.exchange import Exchange
from openline.transports.waiting import Waiting

__all__ = ["Batch", "PolledLine"]

_BATCH_BYTES: Final = 262_144


class Batch(NamedTuple):
    """What one poll is answered: whole messages, and the number that the next poll names."""

    number: int
    messages: Sequence[JsonBytes]


class _Wire(AsgiWire):
    """Says when something has come, or nothing will any more."""

    def __init__(
        self, codec: Codec, outbox_bytes: int, close: Callable[[int, str], None], came: Callable[[], None]
    ) -> None:
        super().__init__(codec, outbox_bytes, close)
        self._came = came

    def deliver(self, frames: Sequence[bytes]) -> None:
        """See :class:`openline.hub.ports.Wire`."""
        super().deliver(frames)
        self._came()

    def shut(self) -> None:
        """Leave every group."""
        super().shut()
        self._came()


class PolledLine:
    """See :class:`openline.transports.doors.Line`.

    It is lost when no poll comes for ``pong_within_seconds``; ``gone`` is settled when nothing of it is left.
    """

    def __init__(self, doors: Doors, codec: Codec) -> None:
        self._doors = doors
        self._number = 0
        # The last batch, until it is acknowledged.
        self._batch: Sequence[JsonBytes] = ()
        self._farewell: JsonBytes | None = None
        self._polling: Outcome[None] | None = None
        self._timer: Timer | None = None
        self.gone: Outcome[None] = Outcome()
        self.wire = _Wire(codec, doors.settings.outbox_bytes, self.close, self._came)

    def first(self, message: JsonBytes) -> Batch:
        """The answer to the request that opened it."""
        self._number, self._batch = 1, (message,)
        self.hear()
        return Batch(1, self._batch)

    def hear(self) -> None:
        """Its client is there: it has some more time for the next poll."""
        if self._polling is None and self._farewell is None:
            self._set_timer(self._doors.settings.pong_within_seconds, self._lost)

    # -- downstream

    async def poll(self, exchange: Exchange, after: int, waiting: Waiting, seconds: float) -> Batch:
        """What there is to say behind batch ``after``, as soon as there is something; empty after ``seconds``.

        A newer poll ends this one, which is answered empty. Raises :class:`CommandError` for a batch that is no more,
        or never was, and behind the last one.
        """
        number = self._number
        if after not in (number, number - 1):
            raise CommandError(ErrorCode.BAD_FIELD, f"The last batch was {number}.", field="after")
        if after == number:
            self._batch = ()
            if self._farewell == b"":
                self.gone.settle(None)
                raise CommandError(ErrorCode.UNKNOWN_LINE, "This line has ended.")
        if self._polling is not None:
            self._polling.settle(None)
        mine = self._polling = Outcome()
        if self._farewell is None:
            self._set_timer(None, None)
        try:
            if not self._ready:
                await waiting.wait(exchange, seconds, lambda enough: _either(mine, enough))
            if self._polling is not mine:
                return Batch(number, ())
            return self._take()
        finally:
            if self._polling is mine:
                self._polling = None
                self.hear()

    @property
    def _ready(self) -> bool:
        return bool(self._batch) or len(self.wire.outbox) > 0 or self._farewell is not None

    def _came(self) -> None:
        if self._polling is not None:
            self._polling.settle(None)

    def _take(self) -> Batch:
        """The next batch, or the one that was not acknowledged."""
        if not self._batch:
            self._batch = tuple(self._messages())
            self._number += bool(self._batch)
        return Batch(self._number, self._batch)

    def _messages(self) -> Iterator[JsonBytes]:
        outbox, room = self.wire.outbox, _BATCH_BYTES
        while len(outbox) and room > 0:
            message = outbox.take(1)
            room -= len(message)
            yield message
        if len(outbox):
            return
        lost, outbox.lost = outbox.lost, {}
        for channel, count in lost.items():
            yield self.wire.codec.notice(Word.GAP, channel, b'{"lost":%d}' % count)
        self.wire.emptied()
        if self._farewell and not len(outbox):
            yield self._farewell
            self._farewell = b""

    # -- ending

    def close(self, code: int, reason: str = "") -> None:
        """End it behind everything queued; who does not poll for a while does not hear of it.

        Later calls change nothing.
        """
        if self._farewell is not None:
            return
        self._doors.tick.flush()
        # Looked at again: what was flushed may have been too much for this very line.
        if self._farewell is None:
            said = {"type": Word.CLOSED, "payload": {"code": int(code), "reason": reason}}
            self._end(msgspec.json.encode(said))

    def _end(self, farewell: JsonBytes) -> None:
        self._farewell = farewell
        self._set_timer(self._doors.settings.close_within_seconds, lambda: self.gone.settle(None))
        self.wire.shut()
        self._doors.line_lost(self.wire, clean=False)

    def _lost(self) -> None:
        self.wire.outbox.clear()
        self._batch = ()
        self._end(b"")
        self.gone.settle(None)

    def _set_timer(self, seconds: float | None, callback: Callable[[], None] | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if seconds is None or callback is None else self._doors.timers.after(seconds, callback)


async def _either(mine: Outcome[None], enough: Outcome[None]) -> None:
    enough.then(lambda _: mine.settle(None))
    await mine
