"""Engine.IO's WebSockets under any ASGI server, where the native way is not to be had."""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import TYPE_CHECKING, Any

from openline.errors import CloseCode
from openline.protocol.frames import read_header
from openline.protocol.websocket import Opcode
from openline.transports.asgi_goodbye import hand, say_goodbye
from openline.transports.engineio_wire import EngineWire

if TYPE_CHECKING:
    from openline.transports.doors import Door, Doors

__all__ = ["EngineAsgiLine"]

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class EngineAsgiLine:
    """One WebSocket: what its wire keeps is taken from it, frame by frame, as fast as the host's ``send`` goes."""

    def __init__(self, doors: "Doors", door: "Door", receive: Receive, send: Send) -> None:
        self.door = door
        self._doors = doors
        self._receive = receive
        self._send = send
        self._something = asyncio.Event()
        self._farewell: tuple[int, str] | None = None
        self._rest = b""
        self._writer: asyncio.Task[None] | None = None
        self.wire = EngineWire(door.codec, self, outbox_bytes=doors.settings.outbox_bytes)
        self.wire.something = self._something.set

    def adopt(self, wire: EngineWire) -> None:
        """From now on ``wire`` writes here; what it had kept comes first."""
        self._rest = _all(self.wire)
        self.wire = wire
        wire.something = self._something.set
        self._something.set()

    async def run(self) -> None:
        """Serve until either side ends."""
        self.door.opened(self)
        try:
            async with asyncio.TaskGroup() as tasks:
                self._writer = writer = tasks.create_task(self._write())
                reader = tasks.create_task(self._read())
                await asyncio.wait((writer, reader), return_when=asyncio.FIRST_COMPLETED)
                writer.cancel()
                reader.cancel()
        finally:
            self.wire.shut()
            self.door.lost(self, clean=False)

    async def _read(self) -> None:
        while True:
            while self.wire.held and self.wire.open:
                released = asyncio.Event()
                self.wire.released = released.set
                await released.wait()
            event = await self._receive()
            if event["type"] == "websocket.disconnect":
                return
            text = event.get("text")
            opcode, payload = (
                (Opcode.BINARY, event["bytes"]) if text is None else (Opcode.TEXT, text.encode("utf-8", "replace"))
            )
            if len(payload) > self.door.max_message_bytes:
                self.close(CloseCode.TOO_BIG, "The message is too large.")
            elif self._farewell is None:
                self.door.message(self, opcode, payload)

    async def _write(self) -> None:
        while True:
            while frames := self._take():
                for message in _messages(frames):
                    if not await hand(self._send, {"type": "websocket.send", **message}):
                        return
            if self._farewell is not None:
                await say_goodbye(self._send, *self._farewell)
                return
            await self._something.wait()
            self._something.clear()

    def _take(self) -> bytes:
        rest, self._rest = self._rest, b""
        return rest or (self.wire.take_frames() if self.wire.open else b"")

    def close(self, code: int, reason: str = "") -> None:
        """Say goodbye behind everything queued, as long as that takes no longer than it may.

        Later calls change nothing.
        """
        if self._farewell is None:
            self._doors.tick.flush()
            self._farewell = (code, reason)
            self._rest += _all(self.wire)
            self.wire.shut()
            self._something.set()
            self._doors.timers.after(self._doors.settings.close_within_seconds, self._hang_up)
            self.door.lost(self, clean=False)

    def wire_closes(self, code: int, reason: str) -> None:
        """See :class:`openline.transports.wire.Owner`."""
        self.close(code, reason)

    def too_slow(self) -> None:
        """See :class:`openline.transports.wire.Owner`."""
        self.close(CloseCode.SLOW, "More waited than this connection may leave unread.")

    def _hang_up(self) -> None:
        if self._writer is not None:
            self._writer.cancel()


def _all(wire: EngineWire) -> bytes:
    frames = b""
    while more := wire.take_frames():
        frames += more
    return frames


def _messages(frames: bytes) -> list[dict[str, Any]]:
    """Whole frames of ours as the messages in them."""
    found: list[dict[str, Any]] = []
    start = 0
    while start < len(frames):
        header = read_header(frames, start, masked=False)
        if header is None:
            raise ValueError("half a frame")
        body = start + header.size
        start = body + header.length
        data = frames[body:start]
        found.append({"text": data.decode()} if header.opcode is Opcode.TEXT else {"bytes": data})
    return found
