"""Clients that come for one request, to read, to wait or to publish: nobody can reach them, and they count nowhere."""

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import Final

from openline.errors import CommandError, ErrorCode
from openline.hub.connection import Connection, State
from openline.hub.hub import Hub
from openline.hub.outcome import Outcome, drive
from openline.hub.policy import ChannelOptions
from openline.hub.reading import ANSWER_BYTES, GapError, Reading, read
from openline.hub.recovery import Hold
from openline.hub.requests import Requests, said
from openline.model import JsonBytes, Position, Publication, User, fitting
from openline.protocol.channel_name import check_event
from openline.protocol.commands import Command
from openline.protocol.strict_json import encode_json

__all__ = ["Visits"]

_ANSWER_SECONDS: Final = 300.0
_MAX_ANSWERS: Final = 10_000
_ANSWER_BYTES: Final = 4_194_304


class Visitor(Connection):
    """Whoever came, as rules and handlers see it: a connection that has ended already.

    ``mark`` is when it came; see ``hub/revocations``.
    """

    __slots__ = ("mark",)

    def __init__(self, hub: Hub) -> None:
        super().__init__(hub, None)
        self.stage = State.ENDED
        self.mark = hub.revocations.number


class _Watch(Hold):
    """Keeps what comes in, and says that something has."""

    __slots__ = ("_came",)

    def __init__(self, limit: int) -> None:
        super().__init__(limit)
        self._came: Outcome[None] = Outcome()

    def put(self, publication: Publication) -> None:
        """See :class:`~openline.hub.recovery.Hold`."""
        super().put(publication)
        self._came.settle(None)

    def break_off(self, position: Position) -> None:
        """See :class:`~openline.hub.recovery.Hold`."""
        super().break_off(position)
        self._came.settle(None)

    async def pause(self, enough: Outcome[None]) -> None:
        """Return when something more has come, or ``enough`` is settled."""
        came = self._came = Outcome()
        enough.then(lambda _: came.settle(None))
        await came


class Visits:
    """Performs requests; its coroutines but :meth:`wait` are for :func:`~openline.hub.outcome.drive`."""

    def __init__(self, hub: Hub, *, answer_bytes: int = ANSWER_BYTES) -> None:
        self._hub = hub
        self._answer_bytes = answer_bytes
        self._requests = Requests(hub)
        self._answers = _RememberedAnswers(hub)

    async def visitor(self, who: Outcome[User | None]) -> Visitor:
        """Whoever comes out of ``who``."""
        visitor = Visitor(self._hub)
        user = visitor.user = await who.step()
        if user is not None and user.data is not None:
            encode_json(user.data)
        return visitor

    def revoked(self, visitor: Visitor, channels: Iterable[str]) -> bool:
        """Whether ``visitor`` was sent away since it came, or taken out of one of ``channels``."""
        return self._hub.revocations.came(visitor.user, visitor.mark, *channels)

    async def demand(self, visitor: Connection, channels: Sequence[str], *actions: str) -> dict[str, ChannelOptions]:
        """The options of all ``channels``, where ``visitor`` may do all ``actions`` in each.

        Raises :class:`CommandError`.
        """
        most = self._hub.settings.max_subscriptions
        if len(channels) > most:
            raise CommandError(ErrorCode.TOO_MANY, f"A request names {most} channels at most.", field="channel")
        options: dict[str, ChannelOptions] = {}
        for name in channels:
            for action in actions:
                options[name] = await self._hub.policy.demand(visitor, name, action)
        return options

    # -- reading

    async def read(self, visitor: Connection, channels: Sequence[str], since: Position | None, limit: int) -> Reading:
        """As :func:`~openline.hub.reading.read`; the visitor may read them."""
        broker, size = self._hub.broker, self._answer_bytes
        reading = await read(broker, channels, since, limit=limit, size=size)
        return Reading([p for p in reading.publications if visitor.id not in p.exclude], reading.position)

    # -- waiting

    async def wait(
        self,
        visitor: Visitor,
        channels: dict[str, ChannelOptions],
        since: Position | None,
        limit: int,
        enough: Outcome[None],
    ) -> Reading:
        """As :meth:`read`; where there is nothing yet, what comes next, or nothing once ``enough`` is settled.

        For a task of its own: what comes in one turn of the loop is answered together. Settles ``enough`` where the
        visitor is :meth:`revoked`. Raises :class:`GapError` also where the engine's stream breaks meanwhile.
        """

        def revoked(channel: str) -> None:
            if not channel or channel in channels:
                enough.settle(None)

        watch = _Watch(self._hub.settings.hold_bytes)
        names = tuple(channels)
        unwatch = self._hub.revocations.watch(visitor.user, revoked)
        if self.revoked(visitor, names):
            enough.settle(None)
        try:
            for name, options in channels.items():
                await self._hub.membership.attend(visitor, name, options, watch)
            reading = await drive(self.read(visitor, names, since, limit))
            while not reading.publications and not enough.done:
                if watch.broken is not None:
                    raise GapError(reading.position, watch.broken)
                if watch.overflowed:
                    return await drive(self.read(visitor, names, reading.position, limit))
                reading = self._taken(visitor, watch, reading.position, limit)
                if not reading.publications:
                    await watch.pause(enough)
            return reading
        finally:
            unwatch()
            self._hub.membership.depart(visitor)

    def _taken(self, visitor: Connection, watch: _Watch, after: Position, limit: int) -> Reading:
        """What came in behind ``after``, in the order in which it came."""
        came, watch.publications = watch.publications, []
        found = [p for p in came if (not p.stamp or p.stamp > after.stamp) and visitor.id not in p.exclude]
        position = self._hub.broker.position
        fits = fitting(found, limit, self._answer_bytes)
        if fits < len(found):
            found = found[:fits]
            position = next((p.position for p in reversed(found) if p.position is not None), after)
        return Reading(found, position)

    # -- publishing

    async def publish(self, visitor: Connection, command: Command) -> JsonBytes:
        """Perform a publication, or have its handler do so, and return what there is to tell.

        With a key it is performed once for this user. Raises :class:`CommandError`,
        :class:`~openline.errors.BrokerError`, or what the application did.
        """
        if command.channel is None:
            raise CommandError(ErrorCode.BAD_FIELD, "`channel` is missing.", field="channel")
        check_event(command.type)
        if command.key is None or not self._hub.application.handles(command.type, command.channel):
            return await said(self._requests.perform(visitor, command))
        place = (visitor.user.id if visitor.user is not None else "", command.channel, command.key)
        return await self._answers.once(place, visitor, command, self._requests).step()


class _RememberedAnswers:
    """What handlers answered to publications with a key: the engine knows the keys of its own publications only."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._size = 0
        self._known: OrderedDict[tuple[str, str, str], tuple[float, Outcome[JsonBytes]]] = OrderedDict()

    def once(
        self, place: tuple[str, str, str], visitor: Connection, command: Command, requests: Requests
    ) -> Outcome[JsonBytes]:
        """The answer of the first one at ``place``, which may still be on its way."""
        self._forget_old()
        known = self._known.get(place)
        if known is not None:
            return known[1]
        answer = requests.perform(visitor, command)
        if isinstance(answer, bytes):
            answer = Outcome.of(answer)
        self._known[place] = (self._hub.timers.now + _ANSWER_SECONDS, answer)
        answer.then(lambda done: self._done(place, done))
        return answer

    def _done(self, place: tuple[str, str, str], answer: Outcome[JsonBytes]) -> None:
        if place not in self._known or self._known[place][1] is not answer:
            return
        try:
            self._size += len(answer.result())
        except CommandError as error:
            if error.retry:
                del self._known[place]
        except Exception:
            # Its outcome is unknown: whoever asks again tries again.
            del self._known[place]

    def _forget_old(self) -> None:
        while self._known:
            place, (expires, answer) = next(iter(self._known.items()))
            within = len(self._known) < _MAX_ANSWERS and self._size <= _ANSWER_BYTES
            if within and expires > self._hub.timers.now:
                return
            del self._known[place]
            if answer.done:
                self._size -= _size_of(answer)


def _size_of(answer: Outcome[JsonBytes]) -> int:
    try:
        return len(answer.result())
    except Exception:
        return 0
