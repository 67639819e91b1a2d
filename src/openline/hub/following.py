"""A client that only listens: let in, and put into its channels as if it had been there since its position."""

from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

from openline.errors import CommandError, ErrorCode
from openline.hub.connection import Connection, State
from openline.hub.hub import Hub
from openline.hub.outcome import Outcome
from openline.hub.policy import Action, ChannelOptions
from openline.hub.ports import Wire
from openline.hub.recovery import Hold
from openline.hub.resume import Resumption
from openline.model import Position, Publication, User
from openline.protocol.channel_name import INTERNAL

__all__ = ["Following"]

T = TypeVar("T")


class Following:
    """One connection over one wire, from its request on: first :meth:`judge`, then :meth:`begin`.

    Until the second everything is held: nothing is written but what the application takes or puts meanwhile. Both are
    coroutines for :func:`~openline.hub.outcome.drive`.
    """

    def __init__(self, hub: Hub, wire: Wire, channels: Sequence[str], since: Position | None) -> None:
        """``channels`` are as the client named them; ``since`` is None for one that begins with what comes next."""
        self._hub = hub
        self._wire = wire
        self._since = since
        self._channels: dict[str, ChannelOptions] = {}
        self._named = tuple(dict.fromkeys(channels))
        # Those whose history it may not see, so that it cannot be told what it missed.
        self._unseen: set[str] = set()
        self._admitted: Position = hub.broker.position
        self._mark = hub.revocations.number
        self.connection: Connection = hub.lifecycle.open(wire)
        self.connection.hold = Hold(hub.settings.hold_bytes)

    async def judge(self, who: Outcome[User | None]) -> None:
        """Let in whoever comes out of ``who``, if every channel may be read, and call the handlers of connect.

        Raises :class:`CommandError`, or whatever the application raised: the connection has ended then, and its wire
        was not touched.
        """
        await self._keeping_busy(self._judge(who))

    async def _judge(self, who: Outcome[User | None]) -> None:
        hub, connection = self._hub, self.connection
        try:
            most = hub.settings.max_subscriptions
            if len(self._named) > most:
                raise CommandError(ErrorCode.TOO_MANY, f"A connection has {most} subscriptions at most.")
            connection.user = user = await who.step()
            for name in self._named:
                options = await hub.policy.demand(connection, name, Action.SUBSCRIBE)
                self._channels[name] = options
                if not await hub.policy.allows(options, connection, name, Action.SEE_HISTORY):
                    self._unseen.add(name)
            self._admitted = hub.broker.position
            await hub.lifecycle.let_in(connection, user, self._mark)
            await hub.application.connected(connection).step()
        except Exception:
            connection.wire = None
            hub.lifecycle.end(connection, "disconnected")
            raise
        if connection.stage is not State.LIVE:
            raise CommandError(ErrorCode.FORBIDDEN, "The connection was ended as soon as it began.")

    async def begin(self) -> None:
        """Write what the client missed, and go live; where it cannot be told everything, it is told of a gap.

        Raises :class:`CommandError` or :class:`~openline.errors.BrokerError` where the engine does not answer.
        """
        await self._keeping_busy(self._begin())

    async def _begin(self) -> None:
        for name, options in self._channels.items():
            if self._current and not self._hub.revocations.came(self.connection.user, self._mark, name):
                await self._hub.membership.join(self.connection, name, options)
        if not self._current:
            return
        resumption = Resumption(self._hub, self.connection, self._wire)
        await resumption.read({name: after for name in resumption.sources if (after := self._after(name)) is not None})
        if self._since is None:
            resumption.untold |= resumption.lost - self._channels.keys()
            await self._show_newest(resumption)
        else:
            resumption.untold |= resumption.lost
        await resumption.replay()

    @property
    def _current(self) -> bool:
        return self.connection.wire is self._wire

    @property
    def live(self) -> bool:
        """Whether nothing is held any more: what was handed to the hub has been queued for the wire."""
        return self._current and self.connection.hold is None

    def _after(self, source: str) -> Position | None:
        """From where a log is read; None where nothing of it is to be had."""
        if source == f"$connection:{self.connection.id}":
            return self._admitted
        if self._since is None:
            # Where the application has put it meanwhile, it was told from where on.
            put_in = None if source.startswith(INTERNAL) else self.connection.subscriptions.get(source)
            begun = self._admitted if put_in is None else put_in.begun
            return None if source in self._channels else begun
        return None if source in self._unseen else self._since

    async def _show_newest(self, resumption: Resumption) -> None:
        """Write the last values that newcomers are to see."""
        newest: list[Publication] = []
        for name, options in self._channels.items():
            if options.last_value:
                page = await self._hub.broker.read(name, limit=1).step()
                newest += [p for p in page.publications if p.stamp <= resumption.start.stamp]
        for publication in sorted(newest, key=lambda p: p.stamp):
            if resumption.current:
                self._hub.tick.to_wire(self._wire, self._wire.codec.publication(publication))

    async def _keeping_busy(self, steps: Coroutine[Any, Any, T]) -> T:
        """Whoever goes meanwhile is ended behind ``steps``: its handlers run one after the other."""
        connection = self.connection
        connection.busy += 1
        try:
            return await steps
        finally:
            connection.busy -= 1
            if connection.farewell is not None and not connection.busy:
                self._hub.lifecycle.end(connection, connection.farewell)
