"""A client of an application in the same process: the Python client, over lines that a test breaks and stalls."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import cast

from openline.client import Channel, Event, Line, OutboxLimits, StatusChange, Surroundings
from openline.client.attempt import Token
from openline.client.ending import LineClosedError, Lost
from openline.client.inbox import Inbox
from openline.errors import CloseCode
from openline.model import Request, User
from openline.testing.clock import FakeClock, settle
from openline.testing.network import Network
from openline.testing.stage import App, Introduction, Running, stage

__all__ = ["Client", "ClientChannel", "client"]

_INBOX_BYTES = 1_048_576


class _Reader:
    """What a test wants of whatever gives events."""

    _inbox: Inbox

    @property
    def _place(self) -> str:
        return "beside the channels"

    async def next(self, *, patience: float = 1.0) -> Event:
        """The next event.

        Raises :class:`AssertionError` where nothing has come when everything has settled, and nothing comes within
        ``patience`` real seconds: handlers in threads and engines in files may still be at work.
        """
        await settle()
        try:
            async with asyncio.timeout(patience):
                return await self._inbox.get()
        except TimeoutError:
            raise AssertionError(f"nothing has come {self._place}") from None
        except StopAsyncIteration:
            raise AssertionError(f"nothing more comes {self._place}: it was left, or the line is closed") from None

    async def heard(self) -> list[Event]:
        """Everything that has come and was not read, when everything has settled."""
        events: list[Event] = []
        await settle()
        while self._inbox.has_news:
            events.append(await self._inbox.get())
            # Room may have been made for more.
            await settle()
        return events


class ClientChannel(_Reader, Channel):
    """A :class:`openline.client.Channel`, with :meth:`next` and :meth:`heard`."""

    @property
    def _place(self) -> str:
        return f"in {self.name}"


class Client(_Reader, Line):
    """A :class:`openline.client.Line` to an application in the same process; made by :func:`client`.

    What it does to its line is over, and has had all its effects, when it returns.
    """

    _kind = ClientChannel

    def __init__(self, running: Running, request: Request, token: Token, clock: FakeClock) -> None:
        self._network = Network(running.doors, request)
        around = Surroundings(clock=clock, chance=lambda: 0.5, dial=self._network.dial)
        super().__init__("openline.testing", token, 0.0, _INBOX_BYTES, OutboxLimits(), around, None)

    async def subscribe(
        self, channel: str, *, last: int | None = None, since: str | None = None, presence: bool = False
    ) -> ClientChannel:
        """See :meth:`openline.client.Line.subscribe`."""
        return cast("ClientChannel", await super().subscribe(channel, last=last, since=since, presence=presence))

    async def lose_line(self) -> None:
        """Break the line without a word: what is under way is lost, and no other can be had before :meth:`come_back`.

        The application waits for the client's return, as long as it always does.
        """
        self._network.cut()
        await settle()

    async def come_back(self) -> StatusChange:
        """Let the client have a line again, at once, and read what comes; returns how it came back.

        ``resumed`` says whether the same connection goes on. Where the application turns it down for now, the client
        is ``waiting`` for its next try. Raises :class:`~openline.errors.GoneError` where it is turned away for good,
        and :class:`RuntimeError` where no line was lost.
        """
        if self.status in ("open", "closed"):
            raise RuntimeError(f"the line is {self.status}: there is nothing to come back from")
        tried: asyncio.Future[StatusChange] = asyncio.get_running_loop().create_future()

        def look(change: StatusChange) -> None:
            if change.status != "connecting" and not tried.done():
                tried.set_result(change)

        self._on_status.add(look)
        try:
            self._network.mend()
            self._network.hold(held=False)
            # Who has a network again does not wait for the next try.
            self._wake()
            change = await tried
        finally:
            self._on_status.remove(look)
        if change.status == "closed":
            raise LineClosedError(self.url, Lost(change.code or CloseCode.ABNORMAL, change.reason))
        await settle()
        return change

    async def stall(self) -> None:
        """Read nothing any more: what is sent to the client piles up at the application's end, and answers do, too."""
        self._network.hold(held=True)
        await settle()

    async def drain(self) -> None:
        """Read what waits, and whatever comes from now on."""
        self._network.hold(held=False)
        await settle()

    async def close(self) -> None:
        """Say goodbye; see :meth:`openline.client.Line.close`."""
        await super().close()
        await settle()


@asynccontextmanager
async def client(
    app: App,
    *,
    user: str | User | None = None,
    token: Token = None,
    headers: Mapping[str, str] | None = None,
    clock: FakeClock | None = None,
) -> AsyncGenerator[Client, None]:
    """A client of ``app``, an :class:`openline.Openline`, connected: ``async with client(line) as ada``.

    No server runs, and no time passes but on the clock, which is one for all clients of an application: ``clock``, or
    one that :func:`~openline.testing.stage` makes. ``user`` is let in as who it says, without being asked for a token;
    ``token`` and ``headers`` are judged by the application's own gate and ``authenticate``, as from a program on this
    machine.

    Raises :class:`~openline.errors.GoneError` where the client is turned away,
    :class:`~openline.errors.RequestRefused` where the gate does so, and :class:`ValueError` for a user with a token.
    """
    if user is not None and token is not None:
        raise ValueError("a user needs no token: give one of them")
    async with stage(app, clock=clock) as moved:
        running = app.start()
        request = _request(running, headers or {}, User(user) if isinstance(user, str) else user)
        async with Client(running, request, token, moved) as entered:
            yield entered


def _request(running: Running, headers: Mapping[str, str], user: User | None) -> Request:
    given = {"host": "localhost", **{name.lower(): value for name, value in headers.items()}}
    request = running.gate.admit(
        path=running.doors.paths.json,
        query="",
        headers=[(name.encode(), value.encode()) for name, value in given.items()],
        peer="127.0.0.1",
        secure=False,
    )
    if user is None:
        return request
    return Introduction(path=request.path, host=request.host, client=request.client, headers=request.headers, user=user)
