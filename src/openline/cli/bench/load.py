"""Drives a run: opens the connections, publishes at the rate that was asked for, and waits for what is on its way."""

import asyncio
import json
import secrets
import ssl
import time
from collections.abc import Callable, Iterable
from typing import Final
from urllib.parse import urlsplit

import msgspec

from openline.cli.bench.member import Member, Message
from openline.cli.bench.plan import EVENT, Plan, Sample
from openline.cli.bench.tally import Stream, Tally
from openline.client.ending import Lost
from openline.client.socket import why_not
from openline.errors import GoneError, OpenlineError

__all__ = ["Load"]

_AT_ONCE: Final = 64
_OPENS_WITHIN_SECONDS: Final = 30.0
#: How long nothing may come before what is missing counts as lost.
_SILENCE_SECONDS: Final = 3.0
_GOODBYE_SECONDS: Final = 2.0
#: How long publications that were held up may be made up for, when the time is over.
_LATE_SECONDS: Final = 2.0
#: Publications in a row, before what has come is looked at.
_BURST: Final = 32

_read: Final = msgspec.json.Decoder(Sample).decode

Tick = Callable[[int], object]


def _microseconds() -> int:
    return time.monotonic_ns() // 1000


class Load:
    """The connections of a run, and what they have seen."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._address = urlsplit(plan.url)
        self._tls = ssl.create_default_context() if self._address.scheme == "wss" else None
        self._run = secrets.token_hex(4)
        self._members: list[Member] = []
        self._complete = asyncio.Event()
        self._sending = True
        self._expected = 0
        self.published = [0] * plan.channels
        self.tally = Tally()
        self.closed: list[Lost] = []
        self.refused: list[Message] = []

    # -- opening

    async def open(self, tick: Tick) -> None:
        """Open every connection, so many at once; ``tick`` hears of each.

        Raises :class:`~openline.errors.GoneError` for the first that fails.
        """
        numbers = iter(range(self._plan.connections))
        members: dict[int, Member] = {}
        try:
            async with asyncio.TaskGroup() as tasks:
                for _ in range(min(_AT_ONCE, self._plan.connections)):
                    tasks.create_task(self._open_some(numbers, members, tick))
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from None
        finally:
            self._members = [members[number] for number in sorted(members)]

    async def _open_some(self, numbers: Iterable[int], members: dict[int, Member], tick: Tick) -> None:
        for number in numbers:
            streams = {self._plan.name(c % self._plan.channels): Stream() for c in self._plan.channels_of(number)}
            member = members[number] = Member(
                self._plan.url, self._plan.token, streams, self._heard, self.closed.append
            )
            await self._open_one(member, number)
            tick(1)

    async def _open_one(self, member: Member, number: int) -> None:
        parts, tls = self._address, self._tls
        port = parts.port or (443 if tls else 80)
        try:
            async with asyncio.timeout(_OPENS_WITHIN_SECONDS):
                await asyncio.get_running_loop().create_connection(lambda: member, parts.hostname or "", port, ssl=tls)
                await member.ready
        except TimeoutError:
            why = f"there was no answer within {_OPENS_WITHIN_SECONDS:.0f} s"
        except OSError as error:
            why = why_not(error).text
        except OpenlineError as error:
            why = str(error)
        else:
            return
        raise GoneError(f"Connection {number + 1} of {self._plan.connections} could not be opened: {why}")

    # -- publishing

    async def publish(self, tick: Tick) -> float:
        """Publish what is due, a little beyond the time if need be, while there is a line; ``tick`` hears of each.

        Returns how many seconds it took.
        """
        plan, loop = self._plan, asyncio.get_running_loop()
        begun = loop.time()
        for number in range(plan.publications):
            wait = begun + number / plan.rate - loop.time()
            if wait > 0:
                await asyncio.sleep(wait)
            elif number % _BURST == 0:
                await asyncio.sleep(0)
            if loop.time() > begun + plan.seconds + _LATE_SECONDS or len(self.closed) == len(self._members):
                break
            self._publish(number % plan.channels)
            tick(1)
        return max(plan.seconds, loop.time() - begun)

    def _publish(self, channel: int) -> None:
        member = self._members[self._plan.publisher_of(channel)]
        # What the server is too slow to take is left out: it would only wait here. Who has no line says nothing.
        if member.paused or member.is_lost:
            return
        payload = self._plan.payload(self._run, self.published[channel], _microseconds())
        name = json.dumps(self._plan.name(channel)).encode()
        member.publish(b'{"type":"%s","channel":%s,"payload":%s}' % (EVENT.encode(), name, payload))
        self.published[channel] += 1
        self._expected += self._plan.members_of(channel)

    async def settle(self) -> None:
        """Wait until everything is there, or nothing has come for a while."""
        self._sending = False
        while self.tally.delivered < self._expected and len(self.closed) < len(self._members):
            seen = self.tally.delivered
            try:
                async with asyncio.timeout(_SILENCE_SECONDS):
                    await self._complete.wait()
            except TimeoutError:
                if self.tally.delivered == seen:
                    return

    async def close(self) -> None:
        """Say goodbye on every line; afterwards all sockets are closed."""
        for member in self._members:
            member.leave()
        waiting = [member.gone for member in self._members if not member.gone.done()]
        if waiting:
            await asyncio.wait(waiting, timeout=_GOODBYE_SECONDS)
        for member in self._members:
            member.abort()

    @property
    def expected(self) -> int:
        """Deliveries that were due for all that was published."""
        return self._expected

    def lost(self) -> int:
        """How many of them have not come."""
        numbers = {self._plan.name(channel): count for channel, count in enumerate(self.published)}
        return sum(stream.lost(numbers[name]) for member in self._members for name, stream in member.streams.items())

    # -- what comes

    def _heard(self, member: Member, message: Message) -> None:
        if message.type == "$error":
            self.refused.append(message)
        elif message.type == EVENT and (stream := member.streams.get(message.channel or "")) is not None:
            self._arrived(stream, message.payload)

    def _arrived(self, stream: Stream, payload: msgspec.Raw) -> None:
        try:
            sample = _read(payload)
        except msgspec.MsgspecError:  # somebody else's
            return
        if sample.run == self._run:
            self.tally.take(stream, sample.n, _microseconds() - sample.at)
            if not self._sending and self.tally.delivered >= self._expected:
                self._complete.set()
