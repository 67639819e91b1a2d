"""What is under way to the server: kept until it is answered, sent again after a reconnect, applied once."""

import asyncio
import math
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Protocol

import msgspec

from openline.client.ending import delay
from openline.client.events import Retry
from openline.client.frames import Frame, error_of, wrap, write
from openline.client.surroundings import Handle, Surroundings
from openline.errors import CommandError, ErrorCode
from openline.protocol.commands import CommandId

__all__ = ["EVENT", "PUBLICATION", "READ", "Kind", "Outbox", "OutboxLimits", "Transport"]

#: Room for `"id":…,` and what surrounds a key, in front of a frame.
_ROOM: Final = 48
#: A volatile publication is dropped rather than queued behind so many others, or so many bytes.
_PASSING: Final = 256
_BUFFERED: Final = 1_048_576


@dataclass(frozen=True, slots=True)
class Kind:
    """How commands are kept: how many of a lane may be under way, with a key or not, who remembers it and how long.

    ``bound``: the connection does, so that the key is worth nothing on another one. ``life``: for so many seconds.
    """

    width: int
    keyed: bool = True
    bound: bool = False
    life: float = math.inf


#: One at a time in a channel: if the engine did not answer the first, the second must not overtake its repetition.
#: The server knows its key for 5 minutes; one of them is for what is under way, and for its clock.
PUBLICATION: Final = Kind(width=1, life=240.0)
#: The server remembers the last 256 keys of a connection: no more may be under way when the line breaks.
EVENT: Final = Kind(width=128, bound=True)
READ: Final = Kind(width=128, keyed=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxLimits:
    """How much may wait for its answer."""

    bytes: int = 1_048_576
    entries: int = 1000


class Transport(Protocol):
    """The line as it is now."""

    @property
    def buffered(self) -> int:
        """Bytes that wait to leave."""
        ...

    def send(self, text: bytes) -> None:
        """Queue one message; on a line that has ended it is lost."""
        ...


Answer = Callable[[Frame | None], None]


class _Entry:
    """A command that is kept."""

    __slots__ = ("answer", "away", "id", "key", "kind", "lane", "rest", "text", "tried", "tries")

    def __init__(self, text: bytes, kind: Kind, lane: str, key: str, answer: asyncio.Future[Frame]) -> None:
        self.text = text
        self.kind = kind
        self.lane = lane
        self.key = key
        self.answer = answer
        self.away = False
        self.tried: float | None = None
        self.tries = 0
        self.id = 0
        self.rest: Handle | None = None


def _settle(answered: asyncio.Future[Frame | None], frame: Frame | None) -> None:
    if not answered.done():
        answered.set_result(frame)


def _new_key() -> str:
    return secrets.token_hex(16)


def _unknown(reason: str) -> CommandError:
    return CommandError(ErrorCode.UNAVAILABLE, f"{reason}; the outcome is unknown.", retry=True)


def _too_large() -> CommandError:
    return CommandError(ErrorCode.TOO_LARGE, "It would not fit into a message.")


class Outbox:
    """Sends commands when there is a line, the oldest of a lane first, and gives the answers to who waits for them."""

    def __init__(self, surroundings: Surroundings, limits: OutboxLimits, tell: Callable[[Retry], None]) -> None:
        self._clock = surroundings.clock
        self._chance = surroundings.chance
        self._limits = limits
        self._tell = tell
        self._transport: Transport | None = None
        self._last_id = 0
        self._waiting: dict[CommandId, Answer] = {}
        # By lane, each in the order in which they were made.
        self._lanes: dict[str, dict[_Entry, None]] = {}
        self._busy: dict[str, int] = {}
        self._count = 0
        self._bytes = 0
        self._passing = 0
        self._message = 65_536
        self._closed: Exception | None = None

    @property
    def empty(self) -> bool:
        """Whether everything was answered, and nobody waits."""
        return not (self._count or self._bytes or self._lanes or self._busy or self._waiting or self._passing)

    async def submit(
        self, kind: Kind, frame: dict[str, Any], *, lane: str, key: str | None = None, within: float | None = None
    ) -> Frame:
        """Keep a command until it is answered; the reply.

        Raises :class:`CommandError` where it is refused or does not fit, and :class:`TimeoutError` after ``within``
        seconds. Late or cancelled, it is given up: what has not left yet never does.
        """
        text = self.write(frame)
        key = _new_key() if key is None else key
        if len(text) + len(msgspec.json.encode(key)) + _ROOM > self._message:
            raise _too_large()
        if self._count >= self._limits.entries or self._bytes + len(text) > self._limits.bytes:
            raise CommandError(ErrorCode.TOO_MANY, "The outbox is full.", retry=True)
        entry = _Entry(text, kind, lane, key, asyncio.get_running_loop().create_future())
        self._lanes.setdefault(lane, {})[entry] = None
        self._count += 1
        self._bytes += len(text)
        self._flush(lane)
        alarm = None if within is None else self._clock.call_later(within, partial(self._late, entry, within))
        try:
            return await entry.answer
        finally:
            self._give_up(entry)
            if alarm is not None:
                alarm.cancel()

    async def drop_or_send(self, frame: dict[str, Any]) -> Frame | None:
        """Send a publication that nobody keeps; None where it cannot leave at once, or its line broke."""
        text = self.write(frame)
        if self._transport is None or self._passing >= _PASSING or self._transport.buffered > _BUFFERED:
            return None
        answered: asyncio.Future[Frame | None] = asyncio.get_running_loop().create_future()
        self._passing += 1
        try:
            self._send(self._transport, text, partial(_settle, answered))
            answer = await answered
        finally:
            self._passing -= 1
        if answer is not None and answer.type == "$error":
            raise error_of(answer)
        return answer

    def call(self, frame: dict[str, Any], answer: Callable[[Frame], None]) -> None:
        """Ask on the line as it is now; no answer comes if there is none, or if it breaks."""
        if self._transport is None:
            return
        try:
            text = self.write(frame)
        except CommandError as error:
            answer(Frame("$error", code=error.code, message=error.message, field=error.field))
        else:
            self._send(self._transport, text, lambda frame: None if frame is None else answer(frame))

    def tell(self, text: bytes) -> None:
        """Send a frame that nobody answers."""
        if self._transport is not None:
            self._transport.send(text)

    def reply(self, ask: CommandId, payload: Any) -> bytes:
        """The text of an answer to the server; raises :class:`CommandError` where it would not fit."""
        return self.write({"type": "$reply", "id": ask, **wrap(payload)})

    def answered(self, frame: Frame) -> bool:
        """Give a ``$reply`` or an ``$error`` to who waits for it; False if nobody does."""
        answer = None if frame.id is None else self._waiting.pop(frame.id, None)
        if answer is not None:
            answer(frame)
        return answer is not None

    def carry(self, transport: Transport) -> None:
        """``transport`` is the line that is open now."""
        self._transport = transport

    def opened(self, *, resumed: bool, message: int) -> None:
        """Let everything leave that waits; ``message`` is the longest that the server takes."""
        self._message = message
        for lane in tuple(self._lanes):
            for entry in tuple(self._lanes[lane]):
                if len(entry.text) + len(msgspec.json.encode(entry.key)) + _ROOM > message:
                    self._refuse(entry, _too_large())
                elif not resumed and entry.tried is not None and entry.kind.bound:
                    self._refuse(entry, _unknown("The connection was lost"))
            self._flush(lane)

    def lost(self) -> None:
        """The line broke: what was not answered waits again."""
        self._transport = None
        waiting, self._waiting = self._waiting, {}
        self._busy.clear()
        for lane in self._lanes.values():
            for entry in lane:
                entry.away = False
                self._wake(entry)
        for answer in waiting.values():
            answer(None)

    def close(self, error: Exception) -> None:
        """Refuse everything that waits, and all that still comes, with ``error``."""
        self._closed = error
        for lane in tuple(self._lanes.values()):
            for entry in tuple(lane):
                self._refuse(entry, error)

    def write(self, frame: dict[str, Any]) -> bytes:
        """The text of a frame, if the server takes one so long; raises :class:`CommandError`."""
        if self._closed is not None:
            raise self._closed
        text = write(frame)
        if len(text) + _ROOM > self._message:
            raise _too_large()
        return text

    def _send(self, transport: Transport, text: bytes, answer: Answer) -> int:
        # An id is never used again, so an answer that comes late finds nobody.
        self._last_id += 1
        self._waiting[self._last_id] = answer
        transport.send(b'{"id":%d,%b' % (self._last_id, text[1:]))
        return self._last_id

    def _flush(self, lane: str) -> None:
        if self._transport is None:
            return
        now = self._clock.now()
        for entry in tuple(self._lanes.get(lane, ())):
            busy = self._busy.get(lane, 0)
            if busy >= entry.kind.width:
                return
            # One that was cancelled this moment is still here.
            if entry.away or entry.answer.done():
                continue
            if entry.tried is not None and now - entry.tried >= entry.kind.life:
                self._refuse(entry, _unknown("It was tried in vain for too long"))
            else:
                self._busy[lane] = busy + 1
                entry.away = True
                entry.tried = now if entry.tried is None else entry.tried
                entry.id = self._send(self._transport, self._text(entry), partial(self._settle, entry))

    @staticmethod
    def _text(entry: _Entry) -> bytes:
        if not entry.kind.keyed:
            return entry.text
        return b'{"key":%b,%b' % (msgspec.json.encode(entry.key), entry.text[1:])

    def _settle(self, entry: _Entry, frame: Frame | None) -> None:
        if frame is None:  # the line broke
            return
        if frame.type == "$reply":
            self._remove(entry)
            if not entry.answer.done():
                entry.answer.set_result(frame)
        elif frame.retry is True:
            self._rest(entry, error_of(frame))
        else:
            self._refuse(entry, error_of(frame))
        self._flush(entry.lane)

    def _rest(self, entry: _Entry, error: CommandError) -> None:
        """It keeps its place meanwhile, and the lane waits for it."""
        # A handler's answer is remembered under its key: only a new one makes the server try again.
        if entry.kind.bound:
            entry.key = _new_key()
        pause = delay(entry.tries, self._chance)
        entry.rest = self._clock.call_later(pause, partial(self._again, entry))
        entry.tries += 1
        self._tell(Retry(code=error.code, message=error.message, seconds=pause))

    def _again(self, entry: _Entry) -> None:
        entry.rest = None
        self._release(entry)
        self._flush(entry.lane)

    @staticmethod
    def _late(entry: _Entry, within: float) -> None:
        if not entry.answer.done():
            entry.answer.set_exception(TimeoutError(f"no answer within {within:g} s"))

    def _give_up(self, entry: _Entry) -> None:
        """Nobody waits for it any more."""
        if entry in self._lanes.get(entry.lane, ()):
            self._waiting.pop(entry.id, None)
            self._remove(entry)
            self._flush(entry.lane)

    def _refuse(self, entry: _Entry, error: Exception) -> None:
        self._remove(entry)
        if not entry.answer.done():
            entry.answer.set_exception(error)

    def _remove(self, entry: _Entry) -> None:
        self._wake(entry)
        self._release(entry)
        lane = self._lanes[entry.lane]
        del lane[entry]
        if not lane:
            del self._lanes[entry.lane]
        self._count -= 1
        self._bytes -= len(entry.text)

    def _release(self, entry: _Entry) -> None:
        """It is not under way any more."""
        if entry.away:
            entry.away = False
            self._busy[entry.lane] -= 1
            if not self._busy[entry.lane]:
                del self._busy[entry.lane]

    @staticmethod
    def _wake(entry: _Entry) -> None:
        if entry.rest is not None:
            entry.rest.cancel()
            entry.rest = None
