"""One node's hub: what is published reaches everybody here who is to have it."""

import secrets
from collections.abc import Collection, Iterable, Iterator
from functools import partial
from itertools import chain
from typing import Any, Final, cast

import msgspec

from openline.errors import CloseCode, CommandError, ErrorCode, GoneError
from openline.hub.cluster import Cluster
from openline.hub.connection import Connection, State
from openline.hub.early import Early
from openline.hub.everywhere import Everywhere
from openline.hub.lifecycle import Lifecycle
from openline.hub.membership import Membership
from openline.hub.outcome import Outcome, drive
from openline.hub.payload import Payload
from openline.hub.policy import Policy
from openline.hub.ports import Application, Broker, Directory, Wire
from openline.hub.revocations import Revocations
from openline.hub.settings import HubSettings
from openline.hub.tasks import Tasks
from openline.hub.tick import Tick
from openline.hub.timers import Timers
from openline.model import JsonBytes, Position, Publication
from openline.protocol.channel_name import INTERNAL, require_channel, require_event
from openline.protocol.commands import Word

__all__ = ["Hub"]

_NO_WIRES: Final[frozenset[Wire]] = frozenset()
_DONE: Final[Outcome[None]] = Outcome.of(None)
_GONE: Final[Outcome[Position | None]] = Outcome.of(None)
_BROKEN: Final = "Something may be missing; come back."


class Hub:
    """Routes publications between the engine and the connections of this node."""

    def __init__(
        self,
        *,
        broker: Broker,
        policy: Policy,
        application: Application,
        timers: Timers,
        tick: Tick,
        tasks: Tasks,
        settings: HubSettings,
    ) -> None:
        self.broker = broker
        self.policy = policy
        self.application = application
        self.timers = timers
        self.tick = tick
        self.tasks = tasks
        self.settings = settings
        self.membership = Membership(broker, tick, timers, hold_bytes=settings.hold_bytes)
        self.early = Early(self)
        self.lifecycle = Lifecycle(self)
        self.everywhere = Everywhere(self)
        self.revocations = Revocations()
        #: The others, where there are any; see :meth:`share`.
        self.cluster: Cluster | None = None
        self._direct = settings.direct

    def share(self, directory: Directory, address: str = "") -> Cluster:
        """Be one of the nodes that ``directory`` knows; called once, before anybody is let in."""
        cluster = self.cluster = Cluster(self, directory, address)
        self.everywhere.join(cluster)
        self.membership.registry = cluster.registry
        self.membership.attendance = cluster.attendance
        return cluster

    @property
    def mark(self) -> str:
        """What the ids of sessions and lines begin with, so that other nodes find this one, while they know of it."""
        return "" if self.cluster is None or not self.cluster.node else f"{self.cluster.node}."

    # -- publishing

    def publish(  # noqa: PLR0913  each is a field of the publication
        self,
        channel: str,
        type: str,
        payload: JsonBytes | Payload,
        *,
        binary: bool = False,
        sender: Connection | None = None,
        exclude: Iterable[str] = (),
        exclude_channels: Iterable[str] = (),
        volatile: bool = False,
        key: str | None = None,
        subject: str = "",
    ) -> Outcome[Position | None]:
        """Publish into ``channel``; the position comes out when it is in the store, None for a volatile one.

        Names and payload have been checked, by whoever knows whether a client or the application gave them.
        """
        options = self.policy.options(channel)
        said = payload if isinstance(payload, Payload) else Payload(payload, binary)
        publication = Publication(
            channel,
            type,
            said.data,
            binary=said.binary,
            spread=said.spread,
            attachments=said.attachments,
            sender=None if sender is None else sender.member,
            exclude=frozenset(exclude),
            exclude_channels=frozenset(exclude_channels),
            subject=subject,
        )
        if volatile or options.volatile:
            return cast("Outcome[Position | None]", self.broker.scatter(publication))
        return cast("Outcome[Position | None]", self.broker.publish(publication, options.retention, key))

    def emit(self, connection: Connection, type: str, payload: Any) -> Outcome[Position | None]:
        """Send to one connection; None comes out when it has ended, or is not in yet: it gets it when it is."""
        if connection.stage is State.ENDED:
            return _GONE
        if connection.stage is State.OPENING:
            said = payload if isinstance(payload, Payload) else Payload.of(payload)
            self.early.keep(connection, require_event(type), said)
            return _GONE
        return self.publish_directly(f"$connection:{connection.id}", type, payload)

    def publish_directly(
        self,
        address: str,
        type: str,
        payload: Any,
        *,
        exclude: Iterable[str] = (),
        exclude_channels: Iterable[str] = (),
        key: str | None = None,
        ask: str | None = None,
        volatile: bool = False,
    ) -> Outcome[Position | None]:
        """Publish to an address of ours: ``$connection:ID``, ``$user:ID`` or ``$all``.

        Raises :class:`TypeError` or :class:`ValueError` for a type or a payload that cannot be.
        """
        said = payload if isinstance(payload, Payload) else Payload.of(payload)
        publication = Publication(
            address,
            require_event(type),
            said.data,
            binary=said.binary,
            spread=said.spread,
            attachments=said.attachments,
            exclude=frozenset(exclude),
            exclude_channels=frozenset(exclude_channels),
            ask=ask,
        )
        if volatile:
            return cast("Outcome[Position | None]", self.broker.scatter(publication))
        return cast("Outcome[Position | None]", self.broker.publish(publication, self._direct, key))

    def on_publication(self, publication: Publication) -> None:
        """Hand a publication to everybody here: plain synchronous code, so the order is the engine's order."""
        if not publication.stamp:
            if publication.type[0] == INTERNAL:
                if self.cluster is not None:
                    self.cluster.hear(publication)
                return
            # A volatile one has no place in the log: it says behind what it came.
            newest = self.broker.position
            publication = msgspec.structs.replace(publication, epoch=newest.epoch, previous=newest.stamp)
        channel = self.membership.get(publication.channel)
        if channel is not None:
            channel.advance(publication, self.skipped(publication))
        elif publication.channel.startswith(INTERNAL):
            for connection in self._addressed(publication.channel):
                if not connection.is_excluded(publication):
                    self._hand(connection, publication)

    def on_break(self, channels: Collection[str] | None) -> None:
        """Tell everybody who is in ``channels`` (None: in any) of a gap.

        Who is catching up loses its line: what it was about to be given may lack something, too. Whose codec tells
        nothing is told by its end: its client comes back as somebody new.
        """
        payload = b'{"position":"%b"}' % str(self.broker.position).encode()
        if channels is None:
            told = dict.fromkeys(self.lifecycle.connections.values())
            names = tuple(self.membership.names("*"))
        else:
            told = dict.fromkeys(connection for name in channels for connection in self._addressed(name))
            names = tuple(channels)
        for name in names:
            channel = self.membership.get(name)
            if channel is not None:
                channel.seats.notify(Word.GAP, name, payload)
                for subscription in tuple(channel.holding):
                    if subscription.connection.wire is not None:
                        subscription.connection.wire.close(CloseCode.RESTART, _BROKEN)
                    elif subscription.hold is not None:
                        subscription.hold.break_off(self.broker.position)
        for connection in told:
            if connection.wire is None:
                continue
            if connection.hold is not None:
                connection.wire.close(CloseCode.RESTART, _BROKEN)
            else:
                self.tick.to_wire(connection.wire, connection.wire.codec.notice(Word.GAP, None, payload))
        self._end_the_untold(told, names, payload)

    def _end_the_untold(self, told: Collection[Connection], names: Collection[str], payload: JsonBytes) -> None:
        """End those whom a notice does not reach: who comes back as who it was, and who is where history is kept."""
        kept = {name for name in names if self._keeps(name)}
        for connection in tuple(self.lifecycle.connections.values()):
            wire = connection.wire
            if connection.resume:
                concerned = connection in told or not connection.subscriptions.keys().isdisjoint(names)
            else:
                concerned = not connection.subscriptions.keys().isdisjoint(kept)
            if concerned and wire is not None and not wire.codec.notice(Word.GAP, None, payload):
                self.lifecycle.end(connection, "lost", code=CloseCode.RESTART, message=_BROKEN)

    def _keeps(self, name: str) -> bool:
        channel = self.membership.get(name)
        return channel is not None and bool(channel.options.retention.count)

    def _addressed(self, address: str) -> Iterable[Connection]:
        kind, _, name = address.partition(":")
        if kind == "$connection":
            connection = self.lifecycle.connections.get(name)
            return () if connection is None else (connection,)
        return tuple(self.lifecycle.users.get(name, ())) if kind == "$user" else ()

    def _hand(self, connection: Connection, publication: Publication) -> None:
        if connection.hold is not None:
            connection.hold.put(publication)
        elif connection.wire is not None:
            self.tick.to_wire(connection.wire, connection.wire.codec.publication(publication))

    def skipped(self, publication: Publication) -> frozenset[Wire]:
        """The lines of those here whom ``publication`` excludes."""
        if not publication.exclude and not publication.exclude_channels:
            return _NO_WIRES
        known = map(self.lifecycle.connections.get, publication.exclude)
        excluded = [each for each in known if each is not None]
        if publication.exclude_channels:
            excluded += self._left_out(publication)
        return frozenset(each.wire for each in excluded if each.wire is not None)

    def _left_out(self, publication: Publication) -> Iterator[Connection]:
        """Whom its ``exclude_channels`` keep it from, found among those there or among those in its own channel.

        Whichever are fewer: who has a seat in both is among either. Whoever has none is told by its hold.
        """
        get = self.membership.get
        own = get(publication.channel)
        others = [channel for channel in map(get, publication.exclude_channels) if channel is not None]
        if own is None:
            return
        fewer = [own] if len(own.seats) < sum(len(other.seats) for other in others) else others
        for wire in chain.from_iterable(channel.seats for channel in fewer):
            connection = wire.connection
            if connection is None or own.name not in connection.subscriptions:
                continue
            if connection.is_excluded(publication):
                yield connection

    # -- asking

    async def ask(self, connection: Connection, type: str, payload: Any, timeout: float) -> Any:  # noqa: ASYNC109
        """See :meth:`Connection.ask`."""
        answer = self.question(connection, type, payload, timeout)
        try:
            return await answer
        finally:
            # Whoever asked has been cancelled: nobody is to miss the answer.
            answer.settle(None)

    def question(self, connection: Connection, type: str, payload: Any, timeout: float) -> Outcome[Any]:
        """Ask a client; its answer comes out, or why there is none, as with :meth:`Connection.ask`."""
        if connection.stage is State.ENDED or connection.farewell is not None:
            return Outcome.failed(GoneError("the client has gone"))
        if connection.stage is State.OPENING:
            return Outcome.failed(GoneError("the client is not in yet: a guard can tell it something, but not ask it"))
        said = payload if isinstance(payload, Payload) else Payload.of(payload)
        # A number, because Socket.IO's are; as text, because it is nobody's to count with.
        ask_id = str(secrets.randbits(48))
        answer: Outcome[Any] = Outcome()
        if connection.asks is None:
            connection.asks = {}
        asks = connection.asks
        asks[ask_id] = answer
        late = self.timers.after(
            timeout, lambda: answer.fail(TimeoutError(f"no answer to {type!r} within {timeout} s"))
        )

        def forget(_: Outcome[Any]) -> None:
            late.cancel()
            asks.pop(ask_id, None)

        answer.then(forget)
        # What a Socket.IO client is asked carries no position, so a repeat could not be told from a new one.
        volatile = connection.session is not None
        self.publish_directly(f"$connection:{connection.id}", type, said, ask=ask_id, volatile=volatile)
        return answer

    def answered(
        self, connection: Connection, ask_id: object, payload: JsonBytes | CommandError, *, binary: bool = False
    ) -> None:
        """A client answered; an answer that nobody waits for is dropped."""
        if isinstance(payload, CommandError):
            waiting = self._asked(connection, ask_id)
            if waiting is not None:
                waiting.fail(payload)
        else:
            self.acknowledged(connection, ask_id, payload if binary else msgspec.json.decode(payload))

    def acknowledged(self, connection: Connection, ask_id: object, value: Any) -> None:
        """A client answered with ``value``; an answer that nobody waits for is dropped."""
        waiting = self._asked(connection, ask_id)
        if waiting is not None:
            waiting.settle(value)

    def _asked(self, connection: Connection, ask_id: object) -> Outcome[Any] | None:
        return connection.asks.get(ask_id) if connection.asks is not None and isinstance(ask_id, str) else None

    # -- membership by the application

    def put_into(self, connection: Connection, channel: str) -> Outcome[None]:
        """See :meth:`Connection.subscribe`."""
        return drive(self._put_into(connection, require_channel(channel)))

    async def _put_into(self, connection: Connection, channel: str) -> None:
        if connection.stage is State.ENDED:
            return
        subscription = connection.subscriptions.get(channel)
        if subscription is None or subscription.begun is None or subscription.paused:
            await self._join(connection, channel)
        # Who is in already stays in from when it was: what it has missed since, a return brings.
        if connection.subscriptions.get(channel) is not None and connection.wire is not None:
            payload = b'{"position":"%b"}' % str(self.broker.position).encode()
            self.tick.to_wire(connection.wire, connection.wire.codec.notice(Word.SUBSCRIBED, channel, payload))

    async def _join(self, connection: Connection, channel: str) -> None:
        # What came in meanwhile lies ahead of the position that it is told, and behind what others of its channels
        # may have brought: it is not sent.
        try:
            await self.membership.join(connection, channel, self.policy.options(channel))
        except CommandError as error:
            if error.code == ErrorCode.FAILED:
                # It has left, or ended, meanwhile: whoever saw to that knows.
                return
            raise

    def take_out(self, connection: Connection, channel: str) -> Outcome[None]:
        """See :meth:`Connection.unsubscribe`."""
        subscription = connection.subscriptions.get(channel)
        if subscription is None or channel.startswith(INTERNAL):
            return _DONE
        self.membership.leave(subscription, "unsubscribed")
        if connection.wire is not None:
            payload = b'{"reason":"unsubscribed"}'
            self.tick.to_wire(connection.wire, connection.wire.codec.notice(Word.UNSUBSCRIBED, channel, payload))
        return _DONE

    def disconnect(self, connection: Connection, code: int, reason: str) -> Outcome[None]:
        """See :meth:`Connection.disconnect`."""
        self.tick.behind(partial(self.lifecycle.end, connection, "disconnected", code=code, message=reason))
        return _DONE
