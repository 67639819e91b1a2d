"""One attempt to open a line, what then comes on it, and when it counts as dead."""

import asyncio
import inspect
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

from openline.client.ending import Lost, SocketLostError
from openline.client.frames import ConnectReply, Frame, UnreadableError, answer_of, read, write
from openline.client.surroundings import Clock, Socket
from openline.errors import CloseCode, CommandError, ErrorCode

__all__ = ["Attempt", "Token"]

Token = str | None | Callable[[], str | Awaitable[str | None] | None]

_log = logging.getLogger("openline.client")
_CONNECT_ID: Final = 0
_DEADLINE_SECONDS: Final = 10.0
_GRACE_SECONDS: Final = 10.0
#: What may wait to leave; a server that lets more pile up does not read.
_MOST_BYTES: Final = 8_388_608


class Attempt:
    """From the token to the reply to ``$connect``, and on until it is lost or dropped.

    ``opened`` gets the reply, ``frame`` whatever comes afterwards.
    """

    def __init__(
        self,
        dial: Callable[[], Awaitable[Socket]],
        clock: Clock,
        *,
        token: Token,
        resume: str | None,
        since: str | None,
        opened: Callable[[ConnectReply], None],
        frame: Callable[[Frame], None],
    ) -> None:
        self._dial = dial
        self._clock = clock
        self._token = token
        self._resume = resume
        self._since = since
        self._opened = opened
        self._frame = frame
        self._is_open = False
        self._is_over = False
        self._lost: asyncio.Future[Lost] = asyncio.get_running_loop().create_future()
        self._goodbye: int | None = None
        self._queue: deque[bytes] = deque()
        self._waiting = asyncio.Event()
        self._heard = 0.0
        self._silence = 0.0
        self.buffered = 0

    async def run(self) -> Lost:
        """Open the line and carry it; why it was lost. Afterwards nothing of it is left."""
        late = partial(self._end, Lost(CloseCode.ABNORMAL, "the server did not answer in time"))
        self._timer = self._clock.call_later(_DEADLINE_SECONDS, late)
        try:
            async with asyncio.TaskGroup() as tasks:
                carrier = tasks.create_task(self._carry(tasks))
                lost = await self._lost
                if not self._is_over:
                    carrier.cancel()
        finally:
            self._timer.cancel()
        return lost

    def send(self, text: bytes) -> None:
        """Queue one message; on a line that has ended it is lost."""
        if self._lost.done():
            return
        self._queue.append(text)
        self.buffered += len(text)
        self._waiting.set()
        if self.buffered > _MOST_BYTES:
            self._end(Lost(CloseCode.ABNORMAL, "the server does not read"))

    def drop(self, code: int) -> None:
        """Say goodbye; nothing is heard of this line afterwards."""
        self._goodbye = code
        self._end(Lost(code))

    def _end(self, why: Lost) -> None:
        if not self._lost.done():
            self._lost.set_result(why)

    async def _carry(self, tasks: asyncio.TaskGroup) -> None:
        socket = await self._connect()
        if socket is None:
            return
        writer = tasks.create_task(self._write(socket))
        try:
            while True:
                self._hear(await socket.receive())
        except SocketLostError as error:
            self._end(error.why)
        finally:
            self._is_over = True
            writer.cancel()
            await socket.close(self._goodbye)

    async def _connect(self) -> Socket | None:
        """The socket, with ``$connect`` on its way; None, and it is said why, where there is none."""
        try:
            token = await self._ask_for_token()
        except Exception as error:
            _log.exception("There is no token to connect with")
            self._end(Lost(CloseCode.ABNORMAL, f"there is no token: {error!r}"))
            return None
        try:
            hello = {"type": "$connect", "id": _CONNECT_ID, "token": token, "resume": self._resume}
            self.send(write({**hello, "since": self._since}))
            return await self._dial()
        except SocketLostError as error:
            self._end(error.why)
        except CommandError as error:
            self._end(Lost(CloseCode.UNAUTHORIZED, f"the token cannot be sent: {error.message}"))
        return None

    async def _ask_for_token(self) -> str | None:
        if self._token is None or isinstance(self._token, str):
            return self._token
        token = self._token()
        return await token if inspect.isawaitable(token) else token

    async def _write(self, socket: Socket) -> None:
        try:
            while True:
                await self._waiting.wait()
                while self._queue:
                    text = self._queue.popleft()
                    await socket.send(text)
                    self.buffered -= len(text)
                self._waiting.clear()
        except SocketLostError as error:
            # The reader has what came before the end, and learns more of why; but it may have nothing to read.
            _log.debug("A message could not leave: %s", error)

    def _hear(self, text: str) -> None:
        self._heard = self._clock.now()
        frame = None if self._lost.done() else read(text)
        if frame is None:
            return
        if self._is_open:
            self._frame(frame)
        elif frame.id != _CONNECT_ID:
            return
        elif frame.type == "$reply":
            self._connected(frame)
        elif frame.type == "$error":
            self._refused(frame)

    def _connected(self, frame: Frame) -> None:
        try:
            reply = answer_of(frame.payload, ConnectReply)
        except UnreadableError as error:
            self._end(Lost(CloseCode.PROTOCOL_ERROR, error.message))
            return
        self._is_open = True
        self._timer.cancel()
        self._silence = reply.ping + _GRACE_SECONDS
        self._watch()
        self._opened(reply)

    def _refused(self, frame: Frame) -> None:
        reason = f"{frame.code}: {frame.message}" if frame.message else str(frame.code)
        if frame.code == ErrorCode.UNAUTHORIZED:
            self._end(Lost(CloseCode.UNAUTHORIZED, reason))
        else:
            self._end(Lost(CloseCode.ABNORMAL, reason, refused=frame.retry is not True))

    def _watch(self) -> None:
        """One timer that looks back, not one that is set anew with every message."""
        left = self._heard + self._silence - self._clock.now()
        if left <= 0:
            self._end(Lost(CloseCode.ABNORMAL, "nothing was heard of the server any more"))
        else:
            self._timer = self._clock.call_later(left, self._watch)
