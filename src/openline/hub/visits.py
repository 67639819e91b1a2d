"""Clients that come for one request, to read, to wait or to publish: nobody can reach them, and they count nowhere."""

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from openline.errors import CommandError, ErrorCode
from openline.hub.connection import Connection, State
from openline.hub.hub import Hub
from openline.hub.outcome import Outcome, drive
from openline.hub.policy import ChannelOptions
from openline.hub.recovery import Hold
from openline.hub.requests import Requests, said
from openline.model import JsonBytes, Page, Position, Publication, User
from openline.protocol.channel_name import check_event
from openline.protocol.commands import Command
from openline.protocol.strict_json import encode_json

__all__ = ["MAX_READ", "GapError", "Reading", "Visits"]

#: Publications in one answer at most, and about their bytes.
MAX_READ: Final = 1000
_READ_BYTES: Final = 1_048_576
_ANSWER_SECONDS: Final = 300.0
_MAX_ANSWERS: Final = 10_000
_ANSWER_BYTES: Final = 4_194_304


class GapError(CommandError):
    """The history does not reach back to where the client stands; ``position`` is where it could go on."""

    def __init__(self, since: Position, position: Position) -> None:
        super().__init__(
            ErrorCode.GAP,
            f"The history does not reach back to {since}. Start over without since, or go on from {position}.",
            field="since",
        )
        self.position = position


@dataclass(frozen=True, slots=True)
class Reading:
    """What was read of some channels, in order, and the position to go on from."""

    publications: Sequence[Publication]
    position: Position


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

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
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
        """The oldest ``limit`` publications behind ``since``, or the newest ones of all; the visitor may read them.

        Raises :class:`GapError` where the history does not reach back to ``since``.
        """
        # Up to here everything is in the logs. What is read may go further; of one channel that leaves no hole.
        reached = self._hub.broker.position
        pages = [await self._page(name, since, limit) for name in channels]
        if since is not None and not all(page.complete for page in pages):
            raise GapError(since, reached)
        if since is not None and since.stamp > reached.stamp:
            reached = since
        found = sorted((p for page in pages for p in page.publications), key=lambda p: p.stamp)
        ends = [page.publications[-1].stamp for page in pages if since is not None and page.more]
        if len(channels) > 1:
            ends.append(reached.stamp)
        elif found and found[-1].stamp > reached.stamp:
            reached = Position(reached.epoch, found[-1].stamp)
        if ends:
            found = [p for p in found if p.stamp <= min(ends)]
            reached = Position(reached.epoch, min(ends))
        if since is None:
            found = found[-limit:]
        elif len(found) > limit:
            found = found[:limit]
            reached = Position(reached.epoch, found[-1].stamp)
        return Reading([p for p in found if visitor.id not in p.exclude], reached)

    async def _page(self, name: str, since: Position | None, limit: int) -> Page:
        broker = self._hub.broker
        if since is not None:
            return await broker.read(name, after=since, limit=limit).step()
        newest: list[Publication] = []
        size, before, more = _READ_BYTES, None, True
        while more and len(newest) < limit and size > 0:
            page = await broker.read(name, before=before, limit=limit - len(newest), size=size).step()
            newest[:0] = page.publications
            size -= sum(p.size for p in page.publications)
            more = page.more and bool(page.publications)
            before = newest[0].position if newest else None
        return Page(tuple(newest))

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
            for subscription in tuple(visitor.subscriptions.values()):
                self._hub.membership.leave(subscription, "unsubscribed")

    def _taken(self, visitor: Connection, watch: _Watch, after: Position, limit: int) -> Reading:
        """What came in behind ``after``, in the order in which it came."""
        came, watch.publications = watch.publications, []
        found = [p for p in came if (not p.stamp or p.stamp > after.stamp) and visitor.id not in p.exclude]
        position = self._hub.broker.position
        if len(found) > limit:
            found = found[:limit]
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
