"""The link to the engine's Redis: one connection that is up as often as can be, for all who ask and listen over it.

Everything goes through it in order: what is asked, what is answered, and what is published. So whoever has the answer
to a question has also heard everything that was published before the answer was made.
"""

import asyncio
import logging
import random
import secrets
from collections.abc import Callable, Sequence
from functools import partial
from hashlib import sha1
from typing import Final, Protocol

import hiredis

from openline.brokers.redis_connection import Argument, Connection, Hear, Reply, pack
from openline.brokers.redis_server import Server, open_server
from openline.brokers.redis_url import RedisUrl
from openline.errors import BrokerError
from openline.hub.outcome import Outcome
from openline.hub.timers import Timer, Timers

__all__ = ["Guest", "Link", "Refused", "Script"]

#: Silence, with an answer due, after which those who need not wait go on alone, and after which the line is given up.
STALL_SECONDS: Final = 1.0
SILENT_SECONDS: Final = 3.0
_WATCH_SECONDS: Final = 0.25
_BACKOFF_SECONDS: Final = 0.05
_MOST_BACKOFF_SECONDS: Final = 1.0

_log = logging.getLogger("openline")


class Refused(BrokerError):  # noqa: N818  an answer
    """Redis answered with an error: what was asked has not been done. ``kind`` is its first word, such as ``OOM``."""

    def __init__(self, text: str) -> None:
        super().__init__(f"the engine refuses: {text}")
        self.kind = text.partition(" ")[0]


class Script:
    """A Lua script; every server that the link comes to is given it first."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.sha = sha1(text.encode()).hexdigest()  # noqa: S324  how Redis names them

    def command(self, keys: Sequence[Argument], arguments: Sequence[Argument]) -> bytes:
        """The bytes that run it."""
        return pack(("EVALSHA", self.sha, len(keys), *keys, *arguments))


class Guest(Protocol):
    """Who uses a link."""

    @property
    def scripts(self) -> Sequence[Script]:
        """What it will run."""
        ...

    async def greet(self, server: Server) -> None:
        """A new connection is there, with the subscriptions of the old: make sure of what may have been missed.

        Only guests that greet use it until all have. Whatever is raised ends the connection, and another is made.
        """
        ...

    def went_up(self) -> None:
        """The link may be used."""
        ...

    def went_down(self, reason: str) -> None:
        """It may not, until it is up again; whoever waited for an answer has been told."""
        ...


class Link:
    """Owns the one task that connects, again and again, from :meth:`start` to :meth:`close`.

    ``name`` is this link's own, and under ``ear`` everybody can reach it.
    """

    def __init__(self, url: RedisUrl, *, loop: asyncio.AbstractEventLoop, timers: Timers) -> None:
        self.url = url
        self.name = secrets.token_hex(6)
        self.ear = f"{url.prefix}:to:{self.name}"
        #: Whether the engine owes an answer for so long that nobody should wait for it.
        self.stalled = False
        self.reason = "it has not been reached yet"
        self._loop = loop
        self._timers = timers
        self._guests: list[Guest] = []
        self._ears: dict[bytes, Hear] = {}
        #: The number of the connection, while one is made or there.
        self.turn = 0
        self._up = False
        self._connection: Connection | None = None
        self._gone: asyncio.Future[str] = loop.create_future()
        self._task: asyncio.Task[None] | None = None
        self._watch: Timer | None = None
        self._told = ""
        self._nonce = self._probed = 0
        self._suspected = False

    @property
    def up(self) -> bool:
        """Whether it may be used."""
        return self._up and self._connection is not None and self._connection.connected

    @property
    def trouble(self) -> str | None:
        """Why the engine cannot be used just now, for people; None where it can."""
        if not self.up:
            return f"the engine is not there: {self.reason}"
        return "the engine does not answer" if self.stalled else None

    def add(self, guest: Guest) -> None:
        """Have a guest; before :meth:`start`."""
        self._guests.append(guest)

    def start(self) -> None:
        """Begin to connect."""
        self.listen(self.ear, self._hear_own)
        if self.url.open_to_others:
            _log.warning(
                "SECURITY: the engine at %s is on another machine and asks for no password: whoever reaches it reads "
                "and writes everything. Set a password there (see docs/redis.md), and use rediss://",
                self.url.shown,
            )
        self._task = self._loop.create_task(self._run())

    async def close(self) -> None:
        """End, and wait for it."""
        if self._watch is not None:
            self._watch.cancel()
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
        if self._connection is not None:
            self._connection.abort("the engine is closed")
            self._connection = None
        self._up = False

    # -- asking

    @property
    def full(self) -> bool:
        """Whether so much waits to be sent that nothing should be added."""
        return self._connection is None or self._connection.full

    def send(self, command: bytes, done: Callable[[Reply], None]) -> None:
        """Send packed bytes; ``done`` gets the reply, an error included, in order with everything else."""
        if self._connection is None:
            done(BrokerError(self.reason))
        else:
            self._connection.send(command, done)

    def call(self, *command: Argument) -> Outcome[Reply]:
        """Ask Redis; fails with :class:`Refused`, or with :class:`BrokerError` when the answer did not come.

        What was asked in the same turn of the loop leaves together. Nothing is asked twice: where the answer did not
        come, it may have been done or not, now or later.
        """
        outcome: Outcome[Reply] = Outcome()
        self.send(pack(command), partial(_settle, outcome))
        return outcome

    def run(self, script: Script, keys: Sequence[Argument] = (), arguments: Sequence[Argument] = ()) -> Outcome[Reply]:
        """Run a script, as :meth:`call` does.

        Where Redis has forgotten it, its text is sent, behind what has been asked since.
        """
        outcome: Outcome[Reply] = Outcome()

        def done(reply: Reply) -> None:
            if isinstance(reply, hiredis.ReplyError) and str(reply).startswith("NOSCRIPT"):
                self.send(pack(("EVAL", script.text, len(keys), *keys, *arguments)), partial(_settle, outcome))
            else:
                _settle(outcome, reply)

        self.send(script.command(keys, arguments), done)
        return outcome

    # -- listening

    def listen(self, name: str, hear: Hear) -> None:
        """Have ``hear`` called with what is published under ``name``.

        It is in effect for everything asked behind it, and again on every new connection. A name has one listener.
        """
        key = name.encode()
        self._ears[key] = hear
        if self._connection is not None:
            self._connection.change("SUBSCRIBE", (key,), self._refused)

    def leave(self, name: str) -> None:
        """Listen no more."""
        key = name.encode()
        if self._ears.pop(key, None) is not None and self._connection is not None:
            self._connection.change("UNSUBSCRIBE", (key,), self._refused)

    def _hear(self, name: bytes, data: bytes) -> None:
        hear = self._ears.get(name)
        if hear is not None:
            hear(name, data)

    def _refused(self, reply: Reply) -> None:
        self.abort(f"it refuses subscriptions: {reply}")

    def abort(self, reason: str) -> None:
        """Give the connection up; another is made."""
        if self._connection is not None:
            self._connection.abort(reason)

    # -- staying connected

    async def _run(self) -> None:
        pause = 0.0
        while True:
            if pause:
                await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311  nobody is to guess it
            try:
                await self._connect()
            except (OSError, BrokerError, hiredis.ReplyError, ValueError) as error:
                self._down(str(error) or type(error).__name__)
                pause = min(pause * 2, _MOST_BACKOFF_SECONDS) or _BACKOFF_SECONDS
                continue
            except Exception as error:
                # Ours; but a node that never connects again would be worse than one that tries.
                _log.exception("The engine could not be used")
                self._down(f"{type(error).__name__} here, see the log")
                pause = _MOST_BACKOFF_SECONDS
                continue
            pause = _BACKOFF_SECONDS
            self._went_up()
            await self._gone

    async def _connect(self) -> None:
        self._gone = gone = self._loop.create_future()

        def lost(reason: str) -> None:
            if gone is self._gone and not gone.done():
                gone.set_result(reason)
                if self._up:
                    self._down(reason)

        connection, server = await open_server(self._loop, self.url, self._hear, lost)
        self._connection = connection
        self._watch_again()
        if server.evicts:
            _log.warning("The engine's Redis drops data when its memory is full: set maxmemory-policy noeviction there")
        self.turn += 1
        connection.change("SUBSCRIBE", tuple(self._ears), self._refused)
        for script in {script.sha: script for guest in self._guests for script in guest.scripts}.values():
            await connection.ask("SCRIPT", "LOAD", script.text)
        # Whoever is answered from now on is heard as well.
        await connection.ask("PING")
        for guest in self._guests:
            await guest.greet(server)
        if gone.done():
            raise BrokerError(gone.result())

    def _went_up(self) -> None:
        self._up = True
        if self._told:
            _log.info("The engine at %s is there again", self.url.shown)
            self._told = ""
        for guest in self._guests:
            guest.went_up()
        if self._connection is not None:
            self._probe(self._connection)

    def _down(self, reason: str) -> None:
        was_up, self._up, self.stalled, self.reason = self._up, False, False, reason
        if self._connection is not None:
            self._connection.abort(reason)
            self._connection = None
        if self._watch is not None:
            self._watch.cancel()
        if reason != self._told:
            _log.error("The engine at %s is not there: %s; trying again", self.url.shown, reason)
            self._told = reason
        if was_up:
            for guest in self._guests:
                guest.went_down(reason)

    # -- noticing that it is deaf

    def _watch_again(self) -> None:
        self._watch = self._timers.after(_WATCH_SECONDS, self._look)

    def _look(self) -> None:
        """Judge silence twice: after a stall of ours, what has come in meanwhile is read between the two."""
        connection = self._connection
        if connection is None:
            return
        silent = connection.silent_for
        self.stalled = silent > STALL_SECONDS and (self.stalled or self._suspected)
        if silent > SILENT_SECONDS and self.stalled:
            connection.abort(f"it has not answered for {silent:.1f} s")
            return
        self._suspected = silent > STALL_SECONDS
        self._watch_again()

    def _probe(self, connection: Connection) -> None:
        """Publish to ourselves, and see it come back: a question alone does not tell whether we still hear."""
        if connection is not self._connection:
            return
        self._nonce += 1
        nonce = self._nonce

        def answered(reply: Reply) -> None:
            if isinstance(reply, hiredis.ReplyError):
                connection.abort(f"it refuses a probe: {reply}")
            elif not isinstance(reply, Exception):
                # What was published may stand right behind the answer.
                self._timers.after(_WATCH_SECONDS, partial(self._heard, connection, nonce))

        connection.send(pack(("PUBLISH", self.ear, nonce)), answered)

    def _hear_own(self, _: bytes, data: bytes) -> None:
        if data == b"%d" % self._nonce:
            self._probed = self._nonce

    def _heard(self, connection: Connection, nonce: int) -> None:
        if connection is not self._connection:
            return
        if self._probed != nonce:
            connection.abort("it answers, but we no longer hear what is published")
            return
        self._timers.after(self.url.probe, self._probe, connection)


def _settle(outcome: Outcome[Reply], reply: Reply) -> None:
    if isinstance(reply, hiredis.ReplyError):
        outcome.fail(Refused(str(reply)))
    elif isinstance(reply, BaseException):
        outcome.fail(reply)
    else:
        outcome.settle(reply)
