"""WebSockets under any ASGI server, message by message: what always works, where the native way is not to be had."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any

from openline.errors import CloseCode, RequestRefused
from openline.hub.connection import Connection
from openline.hub.load import Load
from openline.hub.outbox import Outbox
from openline.hub.outcome import Outcome
from openline.hub.timers import Timer
from openline.model import Request
from openline.protocol.codec import Codec
from openline.protocol.commands import Word
from openline.protocol.websocket import Opcode
from openline.transports.asgi_goodbye import goodbye, hand, say_goodbye
from openline.transports.doors import Door, Doors, subprotocol
from openline.transports.engineio_asgi import EngineAsgiLine
from openline.transports.group import DescriptorGroup
from openline.transports.underneath import answered
from openline.transports.uvicorn_host import Host
from openline.transports.uvicorn_mounted import take_over

__all__ = ["Endpoint", "Receive", "Scope", "Send", "refuse", "serve_websocket"]

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
#: Answers every HTTP request for one path below our mount, whatever its method: an ASGI application for that path.
Endpoint = Callable[[Scope, Receive, Send], Awaitable[None]]

_log = logging.getLogger("openline")
#: Not 1005, though it may be a goodbye, too: granian says it of lines that broke.
_CLEAN = (CloseCode.NORMAL, CloseCode.GOING_AWAY)


class AsgiWire:
    """See :class:`openline.hub.ports.Wire`; frames wait in an outbox until the host's ``send`` takes them."""

    def __init__(self, codec: Codec, outbox_bytes: int, close: Callable[[int, str], None]) -> None:
        self.codec = codec
        self.connection: Connection | None = None
        self.request: Request | None = None
        self.load: Load | None = None
        self.places: dict[DescriptorGroup, int] = {}
        self.descriptor = -1
        self.outbox = Outbox(outbox_bytes)
        self.something = asyncio.Event()
        self.reading = asyncio.Event()
        self.reading.set()
        self.open = True
        self._close = close
        self._drained: list[Outcome[None]] = []

    def make_group(self) -> DescriptorGroup:
        """See :class:`openline.hub.ports.Wire`."""
        return DescriptorGroup()

    def deliver(self, frames: Sequence[bytes]) -> None:
        """See :class:`openline.hub.ports.Wire`."""
        for frame in frames if self.open else ():
            if not self.outbox.put(frame):
                self.outbox.clear()
                self._close(CloseCode.SLOW, "More waited than this connection may leave unread.")
                return
        self.something.set()

    def fell_short(self, data: bytes, taken: int) -> None:
        """Never called: no descriptor of ours is written to."""

    def drained(self) -> Outcome[None]:
        """See :class:`openline.hub.ports.Wire`."""
        outcome: Outcome[None] = Outcome()
        if self.open and len(self.outbox):
            self._drained.append(outcome)
        else:
            outcome.settle(None)
        return outcome

    def emptied(self) -> None:
        """The host has taken everything."""
        drained, self._drained = self._drained, []
        for outcome in drained:
            outcome.settle(None)

    def shut(self) -> None:
        """Leave every group; nothing is written any more but what waits."""
        self.open = False
        if self.connection is not None and self.connection.alive:
            self.connection.tell_later(self.outbox.lost)
            self.outbox.lost = {}
        for group in tuple(self.places):
            group.leave(self)
        self.something.set()
        self.reading.set()
        self.emptied()

    def close(self, code: int, reason: str = "") -> None:
        """See :class:`openline.hub.ports.Wire`."""
        self._close(code, reason)

    def hold_reading(self, *, held: bool) -> None:
        """See :class:`openline.hub.ports.Wire`."""
        if held and self.open:
            self.reading.clear()
        else:
            self.reading.set()


class AsgiLine:
    """One WebSocket of an ASGI host.

    WebSocket's own pings are the host's; those that scripts see are ours.
    """

    def __init__(self, doors: Doors, door: Door, receive: Receive, send: Send) -> None:
        self._doors = doors
        self._door = door
        self._receive = receive
        self._send = send
        self._farewell: tuple[int, str] | None = None
        self._writer: asyncio.Task[None] | None = None
        self._reader: asyncio.Task[bool] | None = None
        self._timer: Timer | None = None
        self._heard = False
        self.wire = AsgiWire(door.codec, doors.settings.outbox_bytes, self.close)

    async def run(self) -> None:
        """Serve until either side ends."""
        self._set_timer(self._doors.settings.ping_every_seconds, self._ping)
        self._door.opened(self)
        clean = False
        try:
            async with asyncio.TaskGroup() as tasks:
                self._writer = writer = tasks.create_task(self._write())
                self._reader = reader = tasks.create_task(self._read())
                await self._ended(reader, writer)
                clean = reader.done() and not reader.cancelled() and reader.result()
                writer.cancel()
                reader.cancel()
        finally:
            self._set_timer(None, None)
            self.wire.shut()
            self._door.lost(self, clean=clean)

    async def _ended(self, reader: asyncio.Task[bool], writer: asyncio.Task[None]) -> None:
        """Wait until either has ended; where the writer has stopped the reader, for its last word, too."""
        try:
            await asyncio.wait((reader, writer), return_when=asyncio.FIRST_COMPLETED)
            if reader.cancelled():
                await asyncio.wait((writer,))
        except asyncio.CancelledError:
            # The host stops, and waits no longer: this is all that it lets us know of it.
            self.close(CloseCode.RESTART, "The server restarts.")
            # The loop's own time: our timers may have been stopped already.
            await asyncio.wait((writer,), timeout=self._doors.settings.close_within_seconds)
            raise

    async def _read(self) -> bool:
        while True:
            await self.wire.reading.wait()
            event = await self._receive()
            self._heard = True
            if event["type"] == "websocket.disconnect":
                return event.get("code", CloseCode.NO_STATUS) in _CLEAN
            text = event.get("text")
            opcode, payload = (
                (Opcode.BINARY, event["bytes"]) if text is None else (Opcode.TEXT, text.encode("utf-8", "replace"))
            )
            if len(payload) > self._door.max_message_bytes:
                self.close(CloseCode.TOO_BIG, "The message is too large.")
            elif self.wire.open:
                self._door.message(self, opcode, payload)

    async def _write(self) -> None:
        while self._farewell is None or len(self.wire.outbox):
            await self.wire.something.wait()
            self.wire.something.clear()
            while len(self.wire.outbox):
                if not await hand(self._send, _message(self.wire.outbox.take(1))):
                    return
            if not await self._tell_losses():
                return
            self.wire.emptied()
        await self._stop_reading()
        code, reason = self._farewell
        await say_goodbye(self._send, code, reason)

    async def _tell_losses(self) -> bool:
        """Tell what was dropped, behind what was not; False as in :func:`hand`."""
        lost, self.wire.outbox.lost = self.wire.outbox.lost, {}
        for channel, count in lost.items():
            notice = self.wire.codec.notice(Word.GAP, channel, b'{"lost":%d}' % count)
            if notice and not await hand(self._send, _message(notice)):
                return False
        return True

    async def _stop_reading(self) -> None:
        """Give up what is being received: granian closes only when nobody waits for a message any more."""
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.wait((self._reader,))

    # -- liveness

    def _ping(self) -> None:
        ping = self._door.ping(self)
        if not ping:
            self._set_timer(self._doors.settings.ping_every_seconds, self._ping)
            return
        self._heard = False
        self._doors.tick.to_wire(self.wire, ping)
        self._set_timer(self._doors.settings.pong_within_seconds, self._judge)

    def _judge(self) -> None:
        settings = self._doors.settings
        # While nothing is read, nothing can be heard.
        if self._heard or not self.wire.reading.is_set():
            self._set_timer(max(0.0, settings.ping_every_seconds - settings.pong_within_seconds), self._ping)
        else:
            self.close(CloseCode.NO_PONG, "Nothing was heard for too long.")

    # -- ending

    def close(self, code: int, reason: str = "") -> None:
        """Say goodbye behind everything queued, as long as that takes no longer than it may.

        Later calls change nothing.
        """
        if self._farewell is None:
            self._doors.tick.flush()
            self._farewell = (code, reason)
            self.wire.shut()
            self._set_timer(self._doors.settings.close_within_seconds, self._give_up)
            self._door.lost(self, clean=False)

    def _give_up(self) -> None:
        if self._writer is not None:
            self._writer.cancel()

    def _set_timer(self, seconds: float | None, callback: Callable[[], None] | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if seconds is None or callback is None else self._doors.timers.after(seconds, callback)


def _message(frame: bytes) -> dict[str, Any]:
    if frame[0] == Opcode.TEXT:
        return {"type": "websocket.send", "text": frame[1:].decode()}
    return {"type": "websocket.send", "bytes": frame[1:]}


async def serve_websocket(host: Host, scope: Scope, receive: Receive, send: Send, path: str) -> None:
    """Serve one WebSocket at ``path`` below our mount: natively where the server lets us, over ASGI otherwise."""
    try:
        if not await take_over(host, scope, receive, path):
            await _serve_plain(host, scope, receive, send, path)
    except RequestRefused as error:
        await refuse(scope, send, error)
        answered(receive)


async def _serve_plain(host: Host, scope: Scope, receive: Receive, send: Send, path: str) -> None:
    doors = host.doors
    offered: list[str] = scope.get("subprotocols", [])
    request = host.gate.admit(
        path=path,
        query=scope["query_string"].decode("latin-1"),
        headers=scope["headers"],
        peer=(scope.get("client") or ("",))[0],
        secure=scope.get("scheme") == "wss",
        subprotocols=offered,
    )
    more = await doors.ask(request)
    door = doors.door(request, native=False)
    await receive()
    headers = [(name.lower().encode(), value.encode()) for name, value in more]
    try:
        await send({"type": "websocket.accept", "subprotocol": subprotocol(door, offered), "headers": headers})
    except (OSError, RuntimeError) as error:
        _log.debug("The client did not wait for the answer: %r", error)
        return
    if doors.is_engine(path):
        await EngineAsgiLine(doors, door, receive, send).run()
        return
    line = AsgiLine(doors, door, receive, send)
    line.wire.request = request
    await line.run()


async def refuse(scope: Scope, send: Send, error: RequestRefused) -> None:
    """Answer the upgrade that ``scope`` asks for with ``error``."""
    if "websocket.http.response" not in scope.get("extensions", {}):
        await send(goodbye(CloseCode.POLICY_VIOLATION, error.reason))
        return
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"x-content-type-options", b"nosniff"),
        *((n.lower().encode(), v.encode()) for n, v in error.headers),
    ]
    await send({"type": "websocket.http.response.start", "status": error.status, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": error.reason.encode()})
