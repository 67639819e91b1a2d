"""A line over plain HTTP, for whoever cannot open a WebSocket: what the server says in an event stream or in answers
to polls, what the client says in requests that name the line by its token.

The JSON door and the hub serve it as any other line.
"""

import secrets
from collections import Counter
from http import HTTPStatus
from typing import Final

import msgspec

from openline.errors import CloseCode, CommandError, ErrorCode
from openline.hub.connection import Connection, State
from openline.model import JsonBytes
from openline.protocol import sse
from openline.protocol.commands import Word
from openline.protocol.json_codec import JsonCodec
from openline.protocol.websocket import Opcode
from openline.transports.doors import Doors, JsonDoor, Line
from openline.transports.event_stream import stream_headers
from openline.transports.exchange import Exchange
from openline.transports.polled_line import Batch, PolledLine
from openline.transports.settings import HttpSettings
from openline.transports.stream import AsgiStream, NativeStream, open_stream
from openline.transports.waiting import Waiting

__all__ = ["HttpLines"]

_TOKEN_BYTES: Final = 24
_GOODBYE_SECONDS: Final = 5.0
#: Which line a request refers to: not in the URL, where logs would keep it.
_HEADER: Final = "openline-line"


class _StreamedLine:
    """A line whose downstream is an event stream; see :class:`openline.transports.stream.Manners`.

    A client that has said nothing since our last ping when the next is due is gone.
    """

    leaves = False
    stream: NativeStream | AsgiStream

    def __init__(self, door: JsonDoor) -> None:
        self._door = door
        self._heard = True

    def hear(self) -> None:
        """Its client is there."""
        self._heard = True

    def heartbeat(self, stream: Line) -> bytes:
        """The ping that scripts see; a comment for those who have not said ``$connect``."""
        ping = self._door.ping(stream)
        if not ping:
            return sse.COMMENT
        if not self._heard:
            stream.close(CloseCode.NO_PONG, "Nothing was heard for too long.")
            return b""
        self._heard = False
        return ping

    def farewell(self, code: int, reason: str) -> bytes:
        """What the close code of a WebSocket would say."""
        return sse.farewell(code, reason)


class HttpLines:
    """All lines over HTTP, by token."""

    def __init__(self, doors: Doors, waiting: Waiting, settings: HttpSettings) -> None:
        self._doors = doors
        self._waiting = waiting
        self._settings = settings
        # A poll that ends empty is what a ping is elsewhere: a client that hears nothing for longer gives up.
        self._poll_seconds = min(settings.max_wait_seconds, doors.settings.ping_every_seconds)
        self._lines: dict[str, _StreamedLine | PolledLine] = {}
        self._broken: dict[str, Connection] = {}
        self._polled_in_all = 0
        self._by_client: Counter[str] = Counter()
        self._streamed = JsonDoor(doors, JsonCodec(sse.data_event), patient=True)
        self._polled = JsonDoor(doors, JsonCodec(lambda text: text), patient=True)

    def __len__(self) -> int:
        return len(self._lines)

    # -- downstream

    async def events(self, exchange: Exchange) -> None:
        """Open a line whose downstream is this answer, an event stream."""
        self._refuse_when_closing()
        manners = _StreamedLine(self._streamed)
        stream = open_stream(self._doors, self._streamed.codec, manners, exchange)
        headers = exchange.head(sse.CONTENT_TYPE, stream_headers())
        await stream.run(headers, sse.COMMENT, lambda: self._begin(manners, stream, exchange))

    def _begin(self, manners: _StreamedLine, stream: NativeStream | AsgiStream, exchange: Exchange) -> None:
        stream.wire.request = exchange.request
        manners.stream = stream
        token = self._enter(manners)
        stream.gone.then(lambda _: self._broke(token, stream))
        self._doors.tick.to_wire(stream.wire, sse.data_event(_told(token)))
        self._streamed.opened(stream)

    async def poll(self, exchange: Exchange) -> None:
        """Open a line whose downstream are answers like this one, or answer with what it has to say by now."""
        if _HEADER in exchange.request.headers:
            line = self._line(exchange)
            if not isinstance(line, PolledLine):
                raise CommandError(ErrorCode.BAD_FIELD, "What this line says comes in its event stream.", field="line")
            batch = await line.poll(exchange, _after(exchange), self._waiting, self._poll_seconds)
        else:
            batch = self._open_polled(exchange)
        body = b"[%b]" % b",".join(batch.messages)
        await exchange.answer(body, headers={"openline-batch": str(batch.number)})

    def _open_polled(self, exchange: Exchange) -> Batch:
        self._refuse_when_closing()
        client = exchange.subscriber
        settings = self._settings
        # They live without a socket of their own: whoever asks for more and more of them would have them.
        if self._polled_in_all >= settings.max_waiting or self._by_client[client] >= settings.max_waiting_per_client:
            raise CommandError(ErrorCode.TOO_MANY, "Too many lines are polled already.", retry=True)
        line = PolledLine(self._doors, self._polled.codec)
        line.wire.request = exchange.request
        self._by_client[client] += 1
        self._polled_in_all += 1
        token = self._enter(line)
        line.gone.then(lambda _: self._leave_polled(token, client))
        self._polled.opened(line)
        return line.first(_told(token))

    def _leave_polled(self, token: str, client: str) -> None:
        self._leave(token)
        self._polled_in_all -= 1
        self._by_client[client] -= 1
        if not self._by_client[client]:
            del self._by_client[client]

    def _enter(self, line: "_StreamedLine | PolledLine") -> str:
        token = self._doors.hub.mark + secrets.token_urlsafe(_TOKEN_BYTES)
        self._lines[token] = line
        return token

    def _leave(self, token: str) -> None:
        self._lines.pop(token, None)

    def _broke(self, token: str, stream: NativeStream | AsgiStream) -> None:
        """A page that goes says goodbye in a request of its own, which may come behind the end of its stream."""
        self._leave(token)
        connection = stream.wire.connection
        if connection is not None and connection.stage is State.DETACHED:
            self._broken[token] = connection
            self._doors.timers.after(_GOODBYE_SECONDS, self._forget, token)

    def _forget(self, token: str) -> None:
        self._broken.pop(token, None)

    def _refuse_when_closing(self) -> None:
        if self._doors.hub.lifecycle.closing:
            raise CommandError(ErrorCode.UNAVAILABLE, "The server restarts.", retry=True)

    # -- upstream

    async def post(self, exchange: Exchange) -> None:
        """Take one message of a client, as a WebSocket does; what there is to answer comes downstream."""
        exchange.demand_json()
        self._line(exchange)
        body = await exchange.body(self._doors.settings.max_message_bytes, self._settings.body_within_seconds)
        line = self._line(exchange)
        line.hear()
        end = line if isinstance(line, PolledLine) else line.stream
        connection = end.wire.connection
        if connection is None or connection.backlog_bytes > self._doors.hub.settings.backlog_bytes:
            raise CommandError(ErrorCode.TOO_MANY, "Too much waits to be carried out already.", retry=True)
        try:
            body.decode()
        except UnicodeDecodeError as error:
            raise CommandError(ErrorCode.BAD_MESSAGE, "A message is UTF-8 text.") from error
        door = self._polled if isinstance(line, PolledLine) else self._streamed
        door.message(end, Opcode.TEXT, body)
        await exchange.answer(status=HTTPStatus.NO_CONTENT)

    async def delete(self, exchange: Exchange) -> None:
        """End a line, and with it its connection: the client says goodbye."""
        broken = self._broken.pop(exchange.request.headers.get(_HEADER, ""), None)
        if broken is not None and broken.stage is State.DETACHED:
            self._doors.hub.lifecycle.end(broken, "closed")
            await exchange.answer(status=HTTPStatus.NO_CONTENT)
            return
        line = self._line(exchange)
        end = line if isinstance(line, PolledLine) else line.stream
        self._doors.tick.flush()
        self._doors.line_lost(end.wire, clean=True)
        end.close(CloseCode.NORMAL)
        await exchange.answer(status=HTTPStatus.NO_CONTENT)

    def _line(self, exchange: Exchange) -> "_StreamedLine | PolledLine":
        line = self._lines.get(exchange.request.headers.get(_HEADER, ""))
        if line is None:
            raise CommandError(ErrorCode.UNKNOWN_LINE, "This line is no more; open another and resume.")
        return line


def _told(token: str) -> JsonBytes:
    return msgspec.json.encode({"type": Word.LINE, "token": token})


def _after(exchange: Exchange) -> int:
    """The number of the last batch that the client has received."""
    text = exchange.parameter("after")
    if text is None or not (text.isascii() and text.isdigit() and len(text) < 16):
        raise CommandError(ErrorCode.BAD_FIELD, "Say which batch came last: ?after=NUMBER.", field="after")
    return int(text)
