"""The way between a client and the doors of an application in the same process: no network, but lines that can break.

What happens at the application's end is real: the line that any ASGI server's WebSockets get, its outbox, its pings.
"""

import asyncio
import logging
from collections import deque
from collections.abc import MutableMapping
from typing import Any, Final

from openline.client.ending import Lost, SocketLostError
from openline.client.surroundings import Socket
from openline.errors import CloseCode
from openline.hub.outcome import Outcome
from openline.model import Request
from openline.transports.asgi import AsgiLine
from openline.transports.doors import Doors

__all__ = ["Network"]

_BROKEN: Final = Lost(CloseCode.ABNORMAL, "the test broke the line")
_log = logging.getLogger("openline.testing")


class _Pipe:
    """Text messages one way, one at a time: who puts waits until the one before has been taken."""

    def __init__(self) -> None:
        self._messages: deque[str] = deque()
        self._moved = asyncio.Event()
        self._held = False
        self._ended: Lost | None = None

    async def put(self, message: str) -> None:
        """Add a message; raises :class:`SocketLostError` where the pipe has ended."""
        while self._messages and self._ended is None:
            await self._change()
        if self._ended is not None:
            raise SocketLostError(self._ended)
        self._messages.append(message)
        self._moved.set()

    async def take(self) -> str:
        """The oldest message; raises :class:`SocketLostError` where no more comes."""
        while self._held or not self._messages:
            if self._ended is not None and not self._held:
                raise SocketLostError(self._ended)
            await self._change()
        message = self._messages.popleft()
        self._moved.set()
        return message

    async def _change(self) -> None:
        self._moved.clear()
        await self._moved.wait()

    def hold(self, *, held: bool) -> None:
        """Let nothing be taken, not even the end."""
        self._held = held
        self._moved.set()

    def end(self, why: Lost) -> None:
        """No more comes than what waits; later calls change nothing."""
        self._ended = self._ended or why
        self._moved.set()

    def cut(self) -> None:
        """No more comes, and what waits is lost: that is noticed even by who reads nothing."""
        self._messages.clear()
        self._held = False
        self.end(_BROKEN)


class _Line:
    """Both ends of one line: the client's, a :class:`~openline.client.surroundings.Socket`, and the application's."""

    def __init__(self) -> None:
        self.up = _Pipe()
        self.down = _Pipe()

    # -- the client's end

    async def send(self, text: bytes) -> None:
        """See :class:`~openline.client.surroundings.Socket`."""
        await self.up.put(text.decode())

    async def receive(self) -> str:
        """See :class:`~openline.client.surroundings.Socket`."""
        return await self.down.take()

    async def close(self, code: int | None) -> None:
        """See :class:`~openline.client.surroundings.Socket`."""
        self.up.end(Lost(CloseCode.ABNORMAL if code is None else code))
        self.down.cut()

    # -- the application's end, as ASGI has it

    async def hear(self) -> MutableMapping[str, Any]:
        """ASGI's ``receive``."""
        try:
            return {"type": "websocket.receive", "text": await self.up.take()}
        except SocketLostError as error:
            return {"type": "websocket.disconnect", "code": error.why.code}

    async def say(self, event: MutableMapping[str, Any]) -> None:
        """ASGI's ``send``; raises :class:`OSError` where the client has gone."""
        if event["type"] == "websocket.close":
            self._end(Lost(event["code"], event["reason"]))
            return
        try:
            await self.down.put(event["text"])
        except SocketLostError as error:
            raise ConnectionResetError(error.why.text) from error

    def over(self, outcome: Outcome[None]) -> None:
        """The application is through with the line."""
        self._end(Lost(CloseCode.ABNORMAL, "the application ended the line without a word"))
        try:
            outcome.result()
        except Exception:
            _log.exception("A line failed")

    def _end(self, why: Lost) -> None:
        self.up.end(why)
        self.down.end(why)


class Network:
    """One client's way to the JSON door, one line at a time."""

    def __init__(self, doors: Doors, request: Request) -> None:
        """``request`` opens every line."""
        self._doors = doors
        self._request = request
        self._is_cut = self._is_held = False
        self._passable = asyncio.Event()
        self._passable.set()
        self._line: _Line | None = None

    async def dial(self) -> Socket:
        """Open a line, as soon as there is a way, and a client that reads."""
        await self._passable.wait()
        line = self._line = _Line()
        end = AsgiLine(self._doors, self._doors.door(self._request, native=False), line.hear, line.say)
        end.wire.request = self._request
        self._doors.hub.tasks.start(end.run()).then(line.over)
        return line

    def cut(self) -> None:
        """Break the line, lose what is under way, and let nobody through."""
        self._is_cut = True
        self._look()
        if self._line is not None:
            self._line.up.cut()
            self._line.down.cut()

    def mend(self) -> None:
        """There is a way again."""
        self._is_cut = False
        self._look()

    def hold(self, *, held: bool) -> None:
        """Whether the client reads nothing."""
        self._is_held = held
        self._look()
        if self._line is not None:
            self._line.down.hold(held=held)

    def _look(self) -> None:
        if self._is_cut or self._is_held:
            self._passable.clear()
        else:
            self._passable.set()
