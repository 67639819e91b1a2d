"""One connection of a run: lean enough that thousands of them fit into one process, and one core."""

import asyncio
import json
import os
from collections.abc import Callable, Mapping
from typing import Any, Final, cast

import msgspec
from websockets.client import ClientProtocol
from websockets.protocol import State
from websockets.typing import Subprotocol
from websockets.uri import parse_uri

from openline.cli.bench.tally import Stream
from openline.client.ending import Lost
from openline.client.socket import why_not
from openline.errors import CloseCode, CommandError, GoneError
from openline.protocol.json_codec import SUBPROTOCOL
from openline.protocol.websocket import FrameReader, Opcode, decode_close, encode_masked

__all__ = ["Member", "Message"]

_MOST_BYTES: Final = 16_777_216
_CONNECT_ID: Final = 0
_PONG: Final = b'{"type":"$pong"}'
_TEXT: Final = Opcode.TEXT
_UNREADABLE: Final = (msgspec.MsgspecError, UnicodeError, RecursionError)


class Message(msgspec.Struct, gc=False):
    """As much of a frame of the server as a run looks at."""

    type: str
    id: int | str | None = None
    channel: str | None = None
    payload: msgspec.Raw = msgspec.Raw()
    code: str | None = None
    message: str | None = None


_read: Final = msgspec.json.Decoder(Message).decode


def _look_at(ready: "asyncio.Future[None]") -> None:
    if not ready.cancelled():
        ready.exception()


class Member(asyncio.Protocol):
    """Opens a line, says ``$connect``, subscribes, and hands on what then comes.

    ``streams`` are its channels, by name. :attr:`ready` is done when all of that is answered; it raises
    :class:`CommandError` where the server refuses, :class:`GoneError` where there is no line. Later, ``heard`` gets
    every message but pings, and ``ended`` why the line ended, once, unless :meth:`leave` was called. :attr:`gone` is
    done when the socket is closed.
    """

    def __init__(
        self,
        url: str,
        token: str | None,
        streams: Mapping[str, Stream],
        heard: Callable[["Member", Message], None],
        ended: Callable[[Lost], None],
    ) -> None:
        self.streams = streams
        self.paused = False
        loop = asyncio.get_running_loop()
        self.ready: asyncio.Future[None] = loop.create_future()
        # Nobody waits for it any more where another one has failed first.
        self.ready.add_done_callback(_look_at)
        self.gone: asyncio.Future[None] = loop.create_future()
        self._token = token
        self._heard = heard
        self._ended = ended
        self._handshake: ClientProtocol | None = ClientProtocol(
            parse_uri(url), subprotocols=[Subprotocol(SUBPROTOCOL)], max_size=_MOST_BYTES
        )
        self._reader = FrameReader(max_message=_MOST_BYTES, masked=False)
        self._awaited = 0
        self._why: Lost | None = None
        self._left = False
        self._transport: asyncio.Transport | None = None

    # -- what asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket is open: ask for a WebSocket."""
        # uvloop's are no subclasses.
        self._transport = cast("asyncio.Transport", transport)
        if self._handshake is not None:
            self._handshake.send_request(self._handshake.connect())
            self._transport.writelines(self._handshake.data_to_send())

    def data_received(self, data: bytes) -> None:
        """Bytes have come."""
        if self._handshake is not None:
            data = self._shake_hands(self._handshake, data)
        for opcode, payload in self._reader.feed(data):
            if opcode is _TEXT:
                self._take(payload)
            elif opcode is Opcode.PING:
                self._write(Opcode.PONG, payload)
            elif opcode is Opcode.CLOSE:
                code, reason = decode_close(payload)
                self._lose(Lost(code or CloseCode.NO_STATUS, reason))
        if self._reader.failure is not None:
            self._lose(
                Lost(CloseCode.PROTOCOL_ERROR, f"the server's frames are no WebSocket's: {self._reader.failure}")
            )

    def eof_received(self) -> None:
        """The server has ended."""
        if self._handshake is not None:
            self._handshake.receive_eof()
            self._judge(self._handshake)

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is closed."""
        if not self.gone.done():
            self.gone.set_result(None)
        self._lose(why_not(exc) if exc is not None else Lost(CloseCode.ABNORMAL))

    def pause_writing(self) -> None:
        """The server reads too slowly."""
        self.paused = True

    def resume_writing(self) -> None:
        """It has caught up."""
        self.paused = False

    # -- what a run does

    @property
    def is_lost(self) -> bool:
        """Whether the line has ended without :meth:`leave`: nothing is sent any more."""
        return self._why is not None

    def publish(self, text: bytes) -> None:
        """Send one command."""
        self._write(_TEXT, text)

    def leave(self) -> None:
        """Say goodbye."""
        self._left = True
        self.ready.cancel()
        if self._transport is None:
            self.gone.cancel()
        else:
            self._write(Opcode.CLOSE, CloseCode.NORMAL.to_bytes(2))
            self._transport.close()

    def abort(self) -> None:
        """Close the socket at once."""
        if self._transport is not None:
            self._transport.abort()

    # -- opening

    def _shake_hands(self, handshake: ClientProtocol, data: bytes) -> bytes:
        """Take what belongs to the HTTP response; what comes behind it is returned."""
        head, end, rest = data.partition(b"\r\n\r\n")
        is_whole = data.startswith(b"HTTP/1.1 101 ") and bool(end)
        handshake.receive_data(head + end if is_whole else data)
        self._judge(handshake)
        return rest if is_whole else b""

    def _judge(self, handshake: ClientProtocol) -> None:
        if handshake.handshake_exc is not None:
            self._lose(why_not(handshake.handshake_exc))
        elif handshake.state is State.OPEN:
            self._handshake = None
            self._awaited = 1
            self._say({"type": "$connect", "id": _CONNECT_ID, **({"token": self._token} if self._token else {})})

    def _say(self, command: dict[str, Any]) -> None:
        self._write(_TEXT, json.dumps(command).encode())

    def _answered(self, message: Message) -> None:
        if message.type == "$error":
            self._fail(CommandError(message.code or "failed", message.message or ""))
            return
        self._awaited -= 1
        if message.id == _CONNECT_ID:
            self._awaited = len(self.streams)
            for number, name in enumerate(self.streams, _CONNECT_ID + 1):
                self._say({"type": "$subscribe", "channel": name, "id": number})
        elif self._awaited == 0:
            self.ready.set_result(None)

    # -- what comes

    def _take(self, text: bytes) -> None:
        try:
            message = _read(text)
        except _UNREADABLE as error:
            self._lose(Lost(CloseCode.PROTOCOL_ERROR, f"the server sent what is no frame: {error}"))
            return
        if message.type == "$ping":
            self._write(_TEXT, _PONG)
        elif self.ready.done():
            self._heard(self, message)
        elif message.type in ("$reply", "$error") and message.id is not None:
            self._answered(message)
        else:
            self._heard(self, message)

    def _write(self, opcode: Opcode, payload: bytes) -> None:
        if self._transport is not None and self._why is None:
            self._transport.write(encode_masked(opcode, payload, os.urandom(4)))

    def _lose(self, why: Lost) -> None:
        if self._why is not None or self._left:
            return
        self._why = why
        if self._transport is not None:
            self._transport.abort()
        if self.ready.done():
            self._ended(why)
        else:
            self._fail(GoneError(why.text))

    def _fail(self, error: Exception) -> None:
        if not self.ready.done():
            self.ready.set_exception(error)
