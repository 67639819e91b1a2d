"""Event streams of channels, for stock ``EventSource``: ``GET /events?channel=…``."""

import asyncio
import logging
import random
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Final

from openline.errors import BrokerError, CloseCode, CommandError, ErrorCode
from openline.hub.following import Following
from openline.hub.names import new_name
from openline.hub.outcome import Outcome, drive
from openline.hub.policy import Action
from openline.hub.visits import Visits
from openline.model import Position
from openline.protocol import sse
from openline.protocol.sse import SseCodec
from openline.transports.doors import Doors, Line
from openline.transports.exchange import Exchange
from openline.transports.settings import HttpSettings
from openline.transports.stream import open_stream
from openline.transports.tickets import Tickets

__all__ = ["EventStreams", "stream_headers"]

_log: Final = logging.getLogger("openline")
#: A client that was told to stay away, and comes back all the same, takes its time.
_AWAY_SECONDS: Final = 3600.0
#: The position of no engine: whoever brings it has missed whatever there was.
_NOWHERE: Final = Position("-", 0)


class _ListenersManners:
    """Heartbeats carry the position, so that even who hears nothing for long comes back to where it stood."""

    leaves = True

    def __init__(self, doors: Doors, *, named: bool) -> None:
        self._doors = doors
        self._named = named

    def heartbeat(self, stream: Line) -> bytes:
        """See :class:`openline.transports.stream.Manners`."""
        connection = stream.wire.connection
        live = connection is not None and connection.wire is stream.wire and connection.hold is None
        return sse.COMMENT + sse.standing(self._doors.hub.broker.position) if live else sse.COMMENT

    def farewell(self, code: int, reason: str) -> bytes:
        """See :class:`openline.transports.stream.Manners`; who is to come back hears nothing but the end."""
        final = code == CloseCode.NORMAL or 4000 <= code < 4500
        return sse.farewell(code, reason, named=self._named) + sse.retry(_AWAY_SECONDS) if final else b""


class EventStreams:
    """Opens them; ``lobby`` is what a request means that names no channel."""

    def __init__(
        self, doors: Doors, visits: Visits, tickets: Tickets, settings: HttpSettings, lobby: str | None
    ) -> None:
        self._doors = doors
        self._tickets = tickets
        self._visits = visits
        self._settings = settings
        self._lobby = () if lobby is None else (lobby,)
        self._plain = SseCodec(), _ListenersManners(doors, named=False)
        self._named = SseCodec(named=True), _ListenersManners(doors, named=True)

    async def get(self, exchange: Exchange) -> None:
        """Answer with a stream that goes on until either side ends it.

        Raises :class:`CommandError` where it cannot begin; while the server drains, and while the engine does not
        answer, it is an empty one that says when to come back, because ``EventSource`` gives up for ever on anything
        but 200.
        """
        loan = new_name(9)
        try:
            if not self._doors.hub.lifecycle.closing:
                await self._open(exchange, loan)
                return
        except (CommandError, BrokerError) as error:
            temporary = isinstance(error, BrokerError) or error.code == ErrorCode.UNAVAILABLE
            if not temporary and not self._doors.hub.lifecycle.closing:
                raise
            # It comes back with the same URL.
            self._tickets.give_back(exchange, loan)
        await exchange.answer(self._opening(), content_type=sse.CONTENT_TYPE, headers=stream_headers())

    async def head(self, exchange: Exchange) -> None:
        """Answer with the head of a stream that could begin; raises :class:`CommandError` where it could not."""
        _since(exchange)
        visitor = await drive(self._visits.visitor(self._tickets.who(exchange)))
        await drive(self._visits.demand(visitor, self._channels(exchange), Action.SUBSCRIBE))
        await exchange.answer(content_type=sse.CONTENT_TYPE, headers=stream_headers())

    def _channels(self, exchange: Exchange) -> Sequence[str]:
        return exchange.query.get("channel") or self._lobby

    async def _open(self, exchange: Exchange, loan: str) -> None:
        since = _since(exchange)
        codec, manners = self._named if exchange.parameter("named") not in (None, "", "0") else self._plain
        stream = open_stream(self._doors, codec, manners, exchange)
        following = Following(self._doors.hub, stream.wire, self._channels(exchange), since)
        await self._judged(stream, drive(following.judge(self._tickets.who(exchange, loan))))
        headers = exchange.head(sse.CONTENT_TYPE, stream_headers())
        give_back = partial(self._tickets.give_back, exchange, loan)
        await stream.run(headers, self._opening(), partial(self._follow, stream, following, give_back))

    async def _judged(self, stream: Line, judged: Outcome[None]) -> None:
        """Wait for the verdict; a host that gives the request up in the meantime gives the connection up."""
        try:
            await judged
        except asyncio.CancelledError:
            self._doors.line_lost(stream.wire, clean=True)
            judged.then(_take_note)
            raise

    def _follow(self, stream: Line, following: Following, give_back: Callable[[], None]) -> None:
        drive(following.begin()).then(partial(self._begun, stream, following, give_back))

    def _begun(self, stream: Line, following: Following, give_back: Callable[[], None], outcome: Outcome[None]) -> None:
        try:
            outcome.result()
        except (CommandError, BrokerError):
            give_back()
            stream.close(CloseCode.TRY_LATER, "The history cannot be read just now.")
            return
        except Exception:
            _log.exception("An event stream could not begin")
            stream.close(CloseCode.INTERNAL_ERROR)
            return
        if following.live:
            self._doors.tick.to_wire(stream.wire, sse.standing(self._doors.hub.broker.position))

    def _opening(self) -> bytes:
        return sse.retry(self._settings.retry_seconds * random.uniform(0.5, 1.5))  # noqa: S311  so that not all come at once


def stream_headers() -> dict[str, str]:
    """What keeps proxies from holding a stream back, changing it, or keeping it."""
    return {"cache-control": "no-store, no-transform", "x-accel-buffering": "no"}


def _take_note(outcome: Outcome[None]) -> None:
    """Nobody is there any more to be told of a failure."""
    with suppress(Exception):
        outcome.result()


def _since(exchange: Exchange) -> Position | None:
    """Where the client stands. What it last heard counts more than what its page began with."""
    heard = exchange.request.headers.get("last-event-id")
    if heard:
        try:
            return Position.parse(heard)
        except CommandError:
            # EventSource would give up for ever: it is told of a gap instead.
            return _NOWHERE
    since = exchange.parameter("since")
    return None if since is None else Position.parse(since)
