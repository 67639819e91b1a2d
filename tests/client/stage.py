"""What the tests put in place of time and of the network: sockets and a clock that are moved by hand."""

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from openline.client import Channel, Event, Line, StatusChange, Surroundings, connect
from openline.client.ending import Lost, SocketLostError

#: What no test on a stage may take longer than.
PATIENCE = 20.0
URL = "ws://server.test/openline"


async def settle() -> None:
    """Let everything run that waits for nothing but its turn."""
    for _ in range(30):
        await asyncio.sleep(0)


class Handle:
    def __init__(self, timers: dict[int, tuple[float, Callable[[], None]]], number: int) -> None:
        self._timers = timers
        self._number = number

    def cancel(self) -> None:
        self._timers.pop(self._number, None)


class StandingClock:
    """Time that stands still until it is told to go on, with all that follows from each moment."""

    def __init__(self) -> None:
        self._now = 1000.0
        self._timers: dict[int, tuple[float, Callable[[], None]]] = {}
        self._last = 0

    def now(self) -> float:
        return self._now

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Handle:
        self._last += 1
        self._timers[self._last] = (self._now + seconds, callback)
        return Handle(self._timers, self._last)

    @property
    def timers(self) -> int:
        return len(self._timers)

    async def advance(self, seconds: float) -> None:
        end = self._now + seconds
        await settle()
        while due := sorted((at, number) for number, (at, _) in self._timers.items() if at <= end + 1e-9):
            at, number = due[0]
            self._now = max(at, self._now)
            self._timers.pop(number)[1]()
            await settle()
        self._now = end


class FakeSocket:
    """The server's end of a socket."""

    def __init__(self) -> None:
        self.sent: deque[dict[str, Any]] = deque()
        self.stalled = False
        self.closed = False
        self.goodbye: int | None = None
        self._down: deque[str] = deque()
        self._lost: Lost | None = None
        self._news = asyncio.Event()

    async def send(self, text: bytes) -> None:
        while self.stalled:
            await asyncio.sleep(0)
        if self._lost:
            raise SocketLostError(self._lost)
        self.sent.append(json.loads(text))

    async def receive(self) -> str:
        while not self._down:
            if self._lost:
                raise SocketLostError(self._lost)
            self._news.clear()
            await self._news.wait()
        return self._down.popleft()

    async def close(self, code: int | None) -> None:
        self.closed, self.goodbye = True, code

    @property
    def alive(self) -> bool:
        return not self.closed and self._lost is None

    def push(self, *frames: Any) -> None:
        self._down.extend(frame if isinstance(frame, str) else json.dumps(frame) for frame in frames)
        self._news.set()

    def end(self, code: int = 1006, reason: str = "") -> None:
        """The line breaks, or the server closes it; what is still under way is lost."""
        self._down.clear()
        self._lost = Lost(code, reason)
        self._news.set()

    def take(self, type: str) -> dict[str, Any]:
        """The oldest frame of this type that the client sent."""
        frame = next(frame for frame in self.sent if frame["type"] == type)
        self.sent.remove(frame)
        return frame

    def reply(self, type: str, payload: Any = None) -> dict[str, Any]:
        frame = self.take(type)
        self.push({"type": "$reply", "id": frame["id"], "payload": payload})
        return frame

    def refuse(self, type: str, **error: Any) -> dict[str, Any]:
        frame = self.take(type)
        self.push({"type": "$error", "id": frame["id"], "message": "no", **error})
        return frame


class Stage:
    """One line on a stage where everything is moved by hand."""

    def __init__(self, **options: Any) -> None:
        self.clock = StandingClock()
        self.luck = 1.0
        self.sockets: list[FakeSocket] = []
        self.statuses: list[StatusChange] = []
        self.failures: deque[Lost | None] = deque()
        around = Surroundings(clock=self.clock, chance=lambda: self.luck, dial=self._dial)
        self.line: Line = connect(URL, surroundings=around, **options)
        self.line.on_status(self.statuses.append)

    async def _dial(self) -> FakeSocket:
        if self.failures and (failure := self.failures.popleft()):
            raise SocketLostError(failure)
        self.sockets.append(FakeSocket())
        return self.sockets[-1]

    @property
    def socket(self) -> FakeSocket:
        """The newest."""
        return self.sockets[-1]

    async def open(self, **reply: Any) -> dict[str, Any]:
        """Answer ``$connect``; gives what the client asked for."""
        await settle()
        payload = {
            "connection": "c1",
            "resume": f"secret-{len(self.sockets)}",
            "window": 30,
            "position": "e.10",
            "resumed": False,
            "ping": 25,
            "limits": {"message": 65_536},
            **reply,
        }
        frame = self.socket.reply("$connect", payload)
        await settle()
        return frame

    async def again(self, code: int = 1006, **reply: Any) -> dict[str, Any]:
        """The line breaks and comes back; gives what the client asked for."""
        self.socket.end(code)
        await settle()
        await self.clock.advance(self.statuses[-1].retry_in or 0.0)
        return await self.open(**reply)

    async def join(self, name: str = "chat:lobby", /, reply: dict[str, Any] | None = None, **options: Any) -> Channel:
        """Subscribe, and answer it."""
        task = asyncio.get_running_loop().create_task(self.line.subscribe(name, **options))
        await settle()
        self.socket.reply("$subscribe", {"channel": name, "position": "e.10", "publications": [], **(reply or {})})
        return await task


@asynccontextmanager
async def on_stage(**options: Any) -> AsyncIterator[Stage]:
    """A line that is being entered. At the end nothing of it may be left."""
    others = asyncio.all_tasks()
    stage = Stage(**options)
    entering = asyncio.get_running_loop().create_task(stage.line.__aenter__())
    try:
        async with asyncio.timeout(PATIENCE):
            await settle()
            yield stage
    finally:
        await stage.line.close()
        await asyncio.wait([entering])
    entering.exception()
    await settle()
    assert stage.clock.timers == 0
    assert asyncio.all_tasks() <= others
    assert all(socket.closed for socket in stage.sockets)


@asynccontextmanager
async def opened(reply: dict[str, Any] | None = None, **options: Any) -> AsyncIterator[Stage]:
    """A line that is open."""
    async with on_stage(**options) as stage:
        await stage.open(**(reply or {}))
        yield stage


def start(work: Any) -> asyncio.Task[Any]:
    """Do ``work`` beside the test."""
    return asyncio.get_running_loop().create_task(work)


def said(stamp: int, payload: Any = None, channel: str = "chat:lobby", **more: Any) -> dict[str, Any]:
    """A publication in the form of a push."""
    payload = stamp if payload is None else payload
    fields = {"type": "message", "channel": channel, "payload": payload, "position": f"e.{stamp}"}
    return {**fields, "from": {"connection": "c2"}, **more}


async def heard(source: Channel | Line) -> list[Event]:
    """What has come and nobody has read."""
    events: list[Event] = []
    while True:
        task = start(source.__anext__())
        await settle()
        if not task.done():
            task.cancel()
            await asyncio.wait([task])
            return events
        try:
            events.append(task.result())
        except StopAsyncIteration:
            return events
