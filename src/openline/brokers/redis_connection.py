"""One connection to a Redis server: commands out, replies in order, and what is published in between (RESP3)."""

import asyncio
import logging
import ssl
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final, cast

import hiredis

from openline.brokers.redis_url import RedisUrl
from openline.errors import BrokerError

__all__ = ["Connection", "Hear", "Reply", "pack"]

#: What an answer is: what Redis says, an :class:`hiredis.ReplyError`, or a :class:`BrokerError` where there is none.
Reply = Any
Argument = bytes | str | int | float
#: Called with the name that something was published under, and what.
Hear = Callable[[bytes, bytes], None]

_CONFIRMATIONS: Final = frozenset({b"subscribe", b"unsubscribe"})
#: Bytes that may wait to be written or, about, in the kernel's hands: beyond that nothing more is taken.
_MOST_WAITING: Final = 16 * 1024 * 1024
_WORDS_PER_COMMAND: Final = 200
_NOTHING: Final = object()
_log = logging.getLogger("openline")

#: The bytes of a command.
pack = cast("Callable[[tuple[Argument, ...]], bytes]", hiredis.pack_command)  # pyright: ignore[reportUnknownMemberType]


class _Confirmations:
    """Stands among those who wait for replies: a command about subscriptions is confirmed name by name."""

    __slots__ = ("left", "refused")

    def __init__(self, left: int, refused: Callable[[Reply], None]) -> None:
        self.left = left
        self.refused = refused


class Connection(asyncio.Protocol):
    """What is asked in one turn of the loop is written at once. Every reply is handed over once, in order, and
    everything that was published stands where it came in between.

    ``lost`` is called once, when the connection is gone, behind everybody who waited.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, hear: Hear, lost: Callable[[str], None]) -> None:
        self._loop = loop
        self._hear = hear
        self._lost = lost
        self._reader = hiredis.Reader(notEnoughData=_NOTHING)
        self._transport: asyncio.Transport | None = None
        self._waiting: deque[Callable[[Reply], None] | _Confirmations] = deque()
        self._out: list[bytes] = []
        self._reason = "the connection to it was lost"
        self.connected = False
        #: When something last came in, or was asked while nothing was awaited.
        self.heard_at = 0.0

    @classmethod
    async def open(
        cls,
        loop: asyncio.AbstractEventLoop,
        url: RedisUrl,
        address: tuple[str, int],
        tls: ssl.SSLContext | None,
        hear: Hear,
        lost: Callable[[str], None],
    ) -> "Connection":
        """Connect; raises :class:`OSError`."""

        def make() -> Connection:
            return cls(loop, hear, lost)

        if url.path:
            _, connection = await loop.create_unix_connection(make, url.path)
        else:
            _, connection = await loop.create_connection(make, *address, ssl=tls)
        return connection

    # -- asking

    @property
    def silent_for(self) -> float:
        """For how many seconds an answer has been awaited while nothing came in."""
        return self._loop.time() - self.heard_at if self._waiting else 0.0

    @property
    def full(self) -> bool:
        """Whether so much waits to be written that nothing should be added."""
        return self._transport is None or self._transport.get_write_buffer_size() > _MOST_WAITING

    def send(self, command: bytes, done: Callable[[Reply], None]) -> None:
        """Ask; ``done`` gets the answer, once."""
        if not self.connected:
            done(BrokerError(self._reason))
            return
        self._await(done)
        self._write(command)

    async def ask(self, *command: Argument) -> Reply:
        """Ask, and wait; raises :class:`hiredis.ReplyError` and :class:`BrokerError`."""
        answer: asyncio.Future[Reply] = self._loop.create_future()

        def done(reply: Reply) -> None:
            if answer.done():
                return
            if isinstance(reply, Exception):
                answer.set_exception(reply)
            else:
                answer.set_result(reply)

        self.send(pack(command), done)
        return await answer

    def change(self, word: str, names: Sequence[bytes], refused: Callable[[Reply], None]) -> None:
        """``SUBSCRIBE`` or ``UNSUBSCRIBE``, for ``names``: in effect for everything that is asked behind it."""
        for start in range(0, len(names) if self.connected else 0, _WORDS_PER_COMMAND):
            some = names[start : start + _WORDS_PER_COMMAND]
            self._await(_Confirmations(len(some), refused))
            self._write(pack((word, *some)))

    def _await(self, one: Callable[[Reply], None] | _Confirmations) -> None:
        if not self._waiting:
            self.heard_at = self._loop.time()
        self._waiting.append(one)

    def _write(self, data: bytes) -> None:
        if not self._out:
            self._loop.call_soon(self.flush)
        self._out.append(data)

    def flush(self) -> None:
        """Write what was asked in this turn."""
        out, self._out = self._out, []
        if out and self._transport is not None:
            self._transport.write(b"".join(out))

    def abort(self, reason: str) -> None:
        """End it at once: nothing more is sent or taken; who waits is told a moment later."""
        if self.connected:
            self._reason = reason
        self.connected = False
        if self._transport is not None:
            self._transport.abort()

    # -- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See :class:`asyncio.Protocol`."""
        # uvloop's are no subclasses.
        self._transport = cast("asyncio.Transport", transport)
        self.connected = True
        self.heard_at = self._loop.time()

    def connection_lost(self, exc: Exception | None) -> None:
        """See :class:`asyncio.Protocol`."""
        self._transport = None
        if exc is not None and self.connected:
            self._reason = f"the connection to it was lost: {exc}"
        self.connected = False
        error = BrokerError(self._reason)
        while self._waiting:
            one = self._waiting.popleft()
            if not isinstance(one, _Confirmations):
                one(error)
        self._lost(self._reason)

    def data_received(self, data: bytes) -> None:
        """See :class:`asyncio.Protocol`."""
        self.heard_at = self._loop.time()
        reader = self._reader
        try:
            reader.feed(data)
            while self.connected and (item := reader.gets(False)) is not _NOTHING:  # noqa: FBT003  bytes stay bytes
                try:
                    if type(item) is hiredis.PushNotification:
                        self._pushed(item)
                    else:
                        self._answered(item)
                except Exception:
                    # One that fails never takes the others' answers with it.
                    _log.exception("What follows from an answer of the engine failed")
        except hiredis.ProtocolError as error:
            self.abort(f"it does not speak as Redis does: {error}")

    def _answered(self, reply: Reply) -> None:
        if not self._waiting:
            self.abort(f"it answered what was not asked: {reply!r:.100}")
            return
        one = self._waiting.popleft()
        if isinstance(one, _Confirmations):
            one.refused(reply)
        else:
            one(reply)

    def _pushed(self, push: list[Any]) -> None:
        kind = push[0]
        if kind == b"message":
            self._hear(push[1], push[2])
        elif kind in _CONFIRMATIONS:
            one = self._waiting[0] if self._waiting else None
            if isinstance(one, _Confirmations):
                one.left -= 1
                if not one.left:
                    self._waiting.popleft()
