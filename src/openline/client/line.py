"""A line: one connection to a server that outlives its sockets."""

import asyncio
import math
import ssl as tls
from collections.abc import AsyncIterator, Callable
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from openline.client.answers import Answers
from openline.client.attempt import Attempt, Token
from openline.client.channel import Channel, SubscribeOptions
from openline.client.ending import LineClosedError, Lost, comes_back, delay
from openline.client.events import Event, History, Presence, Retry, Status, StatusChange
from openline.client.frames import ConnectReply, Frame, away_seconds, error_of, same_epoch
from openline.client.inbox import Inbox
from openline.client.listeners import Listeners
from openline.client.outbox import Outbox, OutboxLimits
from openline.client.requests import Requests
from openline.client.socket import address_of, opener
from openline.client.subscriptions import Subscriptions
from openline.client.surroundings import Handle, Surroundings
from openline.errors import CloseCode, CommandError, SettingsError

__all__ = ["Line", "connect"]

#: The server said that it is too busy: as if so many tries had failed already.
_BUSY_TRIES: Final = 3
_STEADY_SECONDS: Final = 5.0
_PONG: Final = b'{"type":"$pong"}'

F = TypeVar("F", bound=Callable[..., Any])


def connect(
    url: str = "ws://127.0.0.1:8000/openline",
    *,
    token: Token = None,
    ssl: tls.SSLContext | None = None,
    patience: float = 10.0,
    inbox_bytes: int = 1_048_576,
    outbox: OutboxLimits | None = None,
    surroundings: Surroundings | None = None,
) -> "Line":
    """A line to the server at ``url``, to be used as ``async with connect(…) as line``.

    ``token`` may be a function, plain or async: it is asked before every attempt. Entering waits for the first
    connection; it raises :class:`GoneError` where the server turns this client away, or where none could be had within
    ``patience`` seconds. From then on the line comes back by itself, however long that takes. Leaving closes it, and
    nothing of it goes on running. ``inbox_bytes`` is what may wait for the reader, of the line and of each channel.

    Raises :class:`SettingsError`.
    """
    address = address_of(url)
    if ssl is not None and not address.startswith("wss:"):
        raise SettingsError("ssl", f"is for wss:// and https://, not for {url}")
    around = surroundings or Surroundings()
    return Line(address, token, patience, inbox_bytes, outbox or OutboxLimits(), around, ssl)


class Line:
    """A connection to a server; made by :func:`connect`.

    Iterating over it gives the events that came without a channel, and the line's own words between them: ``$gap``,
    ``$subscribed``, ``$unsubscribed``, ``$error``. One reader at a time; what it leaves no room for is left out,
    counted and told with ``$gap``. The iteration ends when the line is closed here, and raises :class:`GoneError` where
    it is closed for good.
    """

    #: What its channels are.
    _kind: type[Channel] = Channel

    def __init__(
        self,
        url: str,
        token: Token,
        patience: float,
        inbox_bytes: int,
        limits: OutboxLimits,
        surroundings: Surroundings,
        ssl: tls.SSLContext | None,
    ) -> None:
        self.url = url
        self.status: Status = "connecting"
        self.connection: str | None = None
        self.user: str | None = None
        self._token = token
        self._patience = patience
        self._surroundings = surroundings
        self._clock = surroundings.clock
        self._dial = surroundings.dial or opener(url, ssl)
        self._inbox = Inbox(inbox_bytes)
        self._on_status: Listeners[StatusChange] = Listeners()
        self._on_retry: Listeners[Retry] = Listeners()
        self._outbox = Outbox(surroundings, limits, self._on_retry.tell)
        self._requests = Requests(self._outbox)
        self._channels = Subscriptions(surroundings, self._outbox, self._requests, inbox_bytes, self._kind)
        self._answers = Answers(self._outbox)
        self._attempt: Attempt | None = None
        self._rest: asyncio.Future[None] | None = None
        self._tries = 0
        self._opened_at = math.inf
        self._unauthorized = False
        #: How long the server said that it will be away.
        self._away = 0.0
        # The secret that takes the connection up again, and the last position seen.
        self._resume: str | None = None
        self._position: str | None = None
        self._running: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        if self._running is not None or self._is_closed():
            raise RuntimeError("a line is entered once; make another one with connect()")
        loop = asyncio.get_running_loop()
        self._first: asyncio.Future[None] = loop.create_future()
        self._begun = self._clock.now()
        # Its owner is this block: leaving waits for it.
        self._running = loop.create_task(self._run())
        try:
            await self._first
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    def __aiter__(self) -> AsyncIterator[Event]:
        return self

    async def __anext__(self) -> Event:
        return await self._inbox.get()

    async def subscribe(
        self, channel: str, *, last: int | None = None, since: str | None = None, presence: bool = False
    ) -> Channel:
        """Join a channel; returns when the server has let us in.

        It begins with what was said behind ``since``, or, without it or where that is lost, with the ``last`` so many.
        With ``presence`` it hears who comes and goes. Until the channel is left, every call with this name gives the
        same object, and the first call's options hold. Raises :class:`CommandError`, :class:`GoneError`.
        """
        joined = self._channels.join(channel, SubscribeOptions(since=since, last=last, presence=presence))
        await joined.subscribed()
        return joined

    async def publish(
        self,
        channel: str,
        type: str,
        payload: Any = None,
        *,
        key: str | None = None,
        volatile: bool = False,
        echo: bool = True,
    ) -> Any:
        """Publish into ``channel``, subscribed to or not.

        Returns the position, or what a handler of the application returned. It survives a broken line and is applied
        once; publications of one channel keep their order. ``key`` is made up unless given: the same key within five
        minutes is the same publication. A ``volatile`` one is dropped where it cannot leave at once, and gives None.
        ``echo=False``: not to this line itself.

        What was tried in vain for 4 minutes raises :class:`CommandError` (``unavailable``): the server may have it,
        and forgets keys. :meth:`on_retry` hears of the tries.

        Cancelled before the answer came, it may or may not have been applied. Raises :class:`CommandError`,
        :class:`GoneError`.
        """
        return await self._requests.publish(channel, type, payload, key=key, volatile=volatile, echo=echo)

    async def emit(self, type: str, payload: Any = None, *, key: str | None = None) -> Any:
        """Send an event to the server's handler; returns what it returned.

        It survives a broken line and is applied once. Where the connection itself is lost before the answer came, it
        raises :class:`CommandError` (``unavailable``): the outcome is unknown. Raises :class:`GoneError`.
        """
        return await self._requests.event(type, payload, key=key)

    async def ask(self, type: str, payload: Any = None, *, timeout: float = 10.0) -> Any:  # noqa: ASYNC109  its own clock
        """Like :meth:`emit`, but raises :class:`TimeoutError` where no answer came in time."""
        return await self._requests.event(type, payload, within=timeout)

    async def history(
        self, channel: str, *, limit: int | None = None, before: str | None = None, since: str | None = None
    ) -> History:
        """Read what was said in ``channel``: the newest, or what stands ``before`` or behind (``since``) a position.

        100 unless told, oldest first. Raises :class:`CommandError`, :class:`GoneError`.
        """
        return await self._requests.history(channel, limit=limit, before=before, since=since)

    async def presence(self, channel: str, *, limit: int | None = None, after: int | None = None) -> Presence:
        """Ask who is in ``channel``: up to 1 000 at once, from ``after`` on, the ``next`` of the page before.

        Raises :class:`CommandError`, :class:`GoneError`.
        """
        return await self._requests.presence(channel, limit=limit, after=after)

    def answer(self, type: str) -> Callable[[F], F]:
        """Decorate the function, plain or async, that answers what the server asks under ``type``; one for each.

        It takes the payload. Where it raises :class:`CommandError` the server is told so, and of anything else only
        that it failed.
        """

        def register(function: F) -> F:
            self._answers.register(type, function)
            return function

        return register

    def on_status(self, function: F) -> F:
        """Call ``function`` with every :class:`StatusChange` from now on. What it raises is logged."""
        self._on_status.add(function)
        return function

    def on_retry(self, function: F) -> F:
        """Call ``function`` with a :class:`Retry` whenever the server could not take something, and it goes again."""
        self._on_retry.add(function)
        return function

    async def close(self) -> None:
        """End the connection at once, for everybody; what was not answered raises :class:`GoneError`.

        Returns when nothing of it runs any more. Leaving the block does the same.
        """
        if self._attempt is not None:
            self._attempt.drop(CloseCode.NORMAL)
        self._end(Lost(CloseCode.NORMAL, "it was closed here"))
        # An answer to the server is ended by the line, and cannot wait for it.
        if self._running is not None and not self._answers.is_one(asyncio.current_task()):
            await self._finished(self._running)

    async def _finished(self, running: asyncio.Task[None]) -> None:
        try:
            await asyncio.wait([running])
        except asyncio.CancelledError:
            running.cancel()
            await asyncio.wait([running])
            raise
        if not running.cancelled():
            running.result()

    # -- the one task of a line

    async def _run(self) -> None:
        try:
            async with asyncio.TaskGroup() as tasks:
                self._tasks = tasks
                await self._keep()
                self._answers.cancel()
        finally:
            self._hang_up()
            self._end(Lost(CloseCode.ABNORMAL, "a fault of the client"))

    async def _keep(self) -> None:
        """Open the line, again and again, until it is closed for good."""
        while self.status != "closed":
            self._attempt = Attempt(
                self._dial,
                self._clock,
                token=self._token,
                resume=self._resume,
                since=self._position if self._resume is not None else None,
                opened=self._opened,
                frame=self._frame,
            )
            self._become("connecting")
            lost = await self._attempt.run()
            self._hang_up()
            if not self._is_closed():
                await self._lost(lost)

    def _is_closed(self) -> bool:
        return self.status == "closed"  # a function: type checkers believe that nobody else has set it meanwhile

    async def _lost(self, why: Lost) -> None:
        again = self._resume is not None if why.refused else comes_back(why.code)
        if why.refused:
            self._resume = None
        if why.code == CloseCode.UNAUTHORIZED and callable(self._token) and not self._unauthorized:
            self._unauthorized = True
            return
        # A line that breaks as soon as it is open is no success: its cause may come again at once.
        if self._clock.now() - self._opened_at >= _STEADY_SECONDS:
            self._tries = 0
        self._opened_at = math.inf
        if why.code == CloseCode.TRY_LATER:
            self._tries = max(self._tries, _BUSY_TRIES)
        pause = self._away + delay(self._tries, self._surroundings.chance)
        self._away = 0.0
        self._tries += 1
        if not self._first.done():
            again = again and not why.hopeless and self._clock.now() + pause - self._begun <= self._patience
        if again:
            self._become("waiting", retry_in=pause, code=why.code, reason=why.text)
            await self._pause(pause)
        else:
            self._end(why)

    async def _pause(self, seconds: float) -> None:
        self._rest = asyncio.get_running_loop().create_future()
        alarm: Handle = self._clock.call_later(seconds, self._wake)
        try:
            await self._rest
        finally:
            alarm.cancel()
            self._rest = None

    def _wake(self) -> None:
        if self._rest is not None and not self._rest.done():
            self._rest.set_result(None)

    def _hang_up(self) -> None:
        """No answer will come on this line."""
        self._attempt = None
        self._outbox.lost()
        self._channels.lost()

    def _end(self, why: Lost) -> None:
        if self.status == "closed":
            return
        self.status = "closed"
        error = LineClosedError(self.url, why)
        ended = None if why.code == CloseCode.NORMAL else error
        self._channels.end(ended, error)
        self._outbox.close(error)
        self._inbox.end(ended)
        self._wake()
        if self._running is not None and not self._first.done():
            self._first.set_exception(error)
            # Who entered is told; but they may have been cancelled.
            self._first.exception()
        self._become("closed", code=why.code, reason=why.text)

    def _become(self, status: Status, **details: Any) -> None:
        self.status = status
        self._on_status.tell(StatusChange(status=status, **details))

    # -- what comes

    def _opened(self, reply: ConnectReply) -> None:
        seen = self._position
        self._opened_at = self._clock.now()
        self._unauthorized = False
        self.connection, self.user = reply.connection, reply.user
        self._resume, self._position = reply.resume, reply.position
        assert self._attempt is not None
        self._outbox.carry(self._attempt)
        recovered = {kept.channel: kept.recovered for kept in reply.subscriptions} if reply.resumed else {}
        gaps = self._channels.rejoin(recovered, seen)
        self._outbox.opened(resumed=reply.resumed, message=reply.limits.message)
        restarted = seen is not None and not same_epoch(seen, reply.position)
        self._become("open", resumed=reply.resumed, restarted=restarted)
        if not self._first.done():
            self._first.set_result(None)
        if reply.resumed and reply.recovered is False:
            self._inbox.offer(Event("$gap", {"position": reply.position}, position=reply.position))
        for channel in gaps:
            channel.gap(reply.position)

    def _frame(self, frame: Frame) -> None:
        if frame.type in ("$reply", "$error"):
            if not self._outbox.answered(frame) and frame.type == "$error":
                self._inbox.offer(Event("$error", _payload(error_of(frame))))
            return
        if frame.type == "$ping":
            self._outbox.tell(_PONG)
            return
        self._position = frame.position or self._position
        if frame.channel is not None:
            self._pushed(frame, frame.channel)
        elif frame.type == "$gap":
            self._inbox.offer(frame, len(bytes(frame.payload)))
        elif frame.type == "$away":
            self._away = away_seconds(frame)
        elif frame.type.startswith("$"):
            pass
        elif frame.id is not None:
            asked = self.connection
            self._answers.asked(frame, frame.id, self._tasks, lambda: self.connection == asked)
        else:
            self._inbox.offer(frame, len(bytes(frame.payload)))

    def _pushed(self, frame: Frame, name: str) -> None:
        channel = self._channels.get(name)
        if channel is not None:
            channel.push(frame)
        if frame.type in ("$subscribed", "$unsubscribed"):
            self._inbox.offer(frame, len(bytes(frame.payload)))


def _payload(error: CommandError) -> dict[str, Any]:
    """What an event says of an error that belongs to no command."""
    said = {"code": error.code, "message": error.message, "field": error.field, "retry": error.retry or None}
    return {name: value for name, value in said.items() if value is not None}
