"""How a connection begins, loses its line, comes back, and ends: once each, whatever happens in between."""

import logging
from collections import Counter
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Final, cast

from openline.errors import CloseCode, CommandError, ErrorCode, GoneError
from openline.hub.connection import Connection, State
from openline.hub.load import drop_backlog, move_backlog
from openline.hub.names import new_name
from openline.hub.outcome import Outcome
from openline.hub.policy import ChannelOptions
from openline.hub.ports import Wire
from openline.hub.record import Record
from openline.hub.registry import Registry
from openline.hub.resume import Resumption
from openline.model import Request, User
from openline.protocol.channel_name import INTERNAL
from openline.protocol.rooms import everybody

if TYPE_CHECKING:
    from openline.hub.hub import Hub

__all__ = ["Lifecycle"]

_OPENING: Final = State.OPENING
_RESTARTS: Final = "The server restarts."
_log = logging.getLogger("openline")


class Lifecycle:
    """Keeps every connection that may still be reached: by id, by resume token, by user."""

    def __init__(self, hub: "Hub") -> None:
        self._hub = hub
        self.connections: dict[str, Connection] = {}
        self.users: dict[str, dict[Connection, None]] = {}
        self._resumable: dict[str, Connection] = {}
        #: Whether the server stops: nobody new is let in.
        self.closing = False
        self._everybody = ChannelOptions(pattern="*")
        # What slow lines dropped and ended without telling, by channel.
        self._losses: dict[Connection, Counter[str]] = {}

    def open(self, wire: Wire) -> Connection:
        """A connection for a new line; nobody knows of it before :meth:`admit`.

        It has ended, and its line is closed, where the server stops just now.
        """
        connection = Connection(self._hub, wire)
        wire.connection = connection
        if self.closing:
            self._turn_away(connection)
        return connection

    async def admit(
        self, connection: Connection, token: str | None, request: Request, *, resumable: bool = False
    ) -> None:
        """Let ``connection`` in as whoever ``token`` names; raises :class:`CommandError` where nobody may come in.

        ``resumable``: it gets a secret that takes it up again.
        """
        mark = self._hub.revocations.number
        user = await self._authenticated(connection, token, request)
        try:
            await self.let_in(connection, user, mark, resumable=resumable)
        except CommandError as error:
            if error.code == ErrorCode.FORBIDDEN and self._hub.revocations.came(user, mark):
                self.end(connection, "disconnected", code=CloseCode.DISCONNECTED, message=error.message)
            raise

    async def let_in(self, connection: Connection, user: User | None, mark: int, *, resumable: bool = False) -> None:
        """Let ``connection`` in as ``user``, who was asked for at ``mark`` (see ``hub/revocations``).

        Raises :class:`CommandError` where its line has ended meanwhile, ``forbidden`` where its user was sent away.
        """
        connection.user = user
        admitting = self._hub.application.admitting(connection)
        if not admitting.done:
            await admitting.step()
        admitting.result()
        self._look_again(connection)
        await self._hub.membership.join(connection, everybody(connection.namespace), self._everybody)
        self._look_again(connection, mark)
        if resumable:
            self._give_secret(connection)
        if self._hub.cluster is not None:
            await self._register(connection, self._hub.cluster.registry, mark)
        connection.stage = State.LIVE
        self._add(connection)

    async def _register(self, connection: Connection, registry: Registry, mark: int) -> None:
        """Let other nodes know of it."""
        await registry.register(connection)
        try:
            self._look_again(connection, mark)
        except CommandError:
            registry.withdraw(connection)
            raise

    def _add(self, connection: Connection) -> None:
        self.connections[connection.id] = connection
        if connection.user is not None:
            self.users.setdefault(connection.user.id, {})[connection] = None

    async def _authenticated(self, connection: Connection, token: str | None, request: Request) -> User | None:
        asked = self._hub.application.authenticate(token, request)
        user = asked.result() if asked.done else await asked.step()
        self._look_again(connection)
        return user

    def _turn_away(self, connection: Connection) -> None:
        self.end(connection, "shutdown", code=CloseCode.RESTART, message=_RESTARTS)

    def _look_again(self, connection: Connection, mark: int | None = None) -> None:
        if self.closing:
            self._turn_away(connection)
        if connection.stage is not _OPENING:
            raise CommandError(ErrorCode.FAILED, "The line ended before the connection began.")
        if mark is not None and self._hub.revocations.came(connection.user, mark):
            raise CommandError(ErrorCode.FORBIDDEN, "The application has sent this user away just now.")

    def resumable(self, secret: str) -> Outcome[Connection | Record | None]:
        """The connection that ``secret`` takes up again, or its record: another node may have it."""
        if self._hub.cluster is not None:
            return cast("Outcome[Connection | Record | None]", self._hub.cluster.registry.find(secret))
        return Outcome.of(self._resumable.get(secret))

    def renew_secret(self, connection: Connection, used: str | None) -> str:
        """A new secret that takes ``connection`` up again.

        Of those before, the one that was ``used`` just now stays good: the reply with the new one may be lost.
        """
        secret = self._give_secret(connection, used)
        if self._hub.cluster is not None:
            self._hub.cluster.registry.keep(connection)
        return secret

    def _give_secret(self, connection: Connection, used: str | None = None) -> str:
        for secret in connection.resume:
            if secret != used:
                self._resumable.pop(secret, None)
        secret = new_name(24)
        connection.resume = (secret,) if used is None else (secret, used)
        self._resumable[secret] = connection
        return secret

    async def take_up(
        self, newcomer: Connection, secret: str, token: str | None, request: Request
    ) -> Resumption | None:
        """Give the line of ``newcomer`` to the connection that ``secret`` names; None where this user has none.

        From now on what comes in for it is held; the :class:`Resumption` lets it go on. Raises
        :class:`~openline.errors.BrokerError` where other nodes might have it, and cannot be asked.
        """
        registry = None if self._hub.cluster is None else self._hub.cluster.registry
        record = None if registry is None else await registry.find(secret).step()
        if record is None and (registry is not None or secret not in self._resumable):
            return None
        user = await self._authenticated(newcomer, token, request)
        connection = self._resumable.get(secret)
        if registry is not None and record is not None:
            same = _id_of(record.user) == _id_of(user)
            connection = await registry.take_over(record, secret) if same else None
        wire = newcomer.wire
        if connection is None or wire is None or _id_of(connection.user) != _id_of(user):
            return None
        self._demand_patience(connection)
        if connection.user != user:
            # The same one, who has other things to show by now.
            connection.become(user)
        self._switch(connection, newcomer, wire)
        return Resumption(self._hub, connection, wire)

    def _demand_patience(self, connection: Connection) -> None:
        """Every line may bring so much that waits: one that is taken up again and again is not to gather all of it."""
        if connection.backlog_bytes > 2 * self._hub.settings.backlog_bytes:
            raise CommandError(ErrorCode.TOO_MANY, "Too much waits to be carried out already.", retry=True)

    def _switch(self, connection: Connection, newcomer: Connection, wire: Wire) -> None:
        old = connection.wire
        if old is not None:
            self._hub.tick.flush()
            self._hub.membership.detach(connection)
            connection.wire = None
            old.close(CloseCode.REPLACED, "This connection goes on elsewhere.")
        if connection.expiry is not None:
            connection.expiry.cancel()
            connection.expiry = None
        newcomer.stage, newcomer.wire = State.ENDED, None
        connection.stage, connection.wire = State.LIVE, wire
        self._hub.membership.stay(connection)
        # Until the replay is through, commands wait; whoever replays lets them go on.
        connection.busy += 1
        wire.connection = connection
        move_backlog(connection, newcomer, wire, self._hub.settings.backlog_bytes)

    def line_lost(self, wire: Wire, *, clean: bool) -> None:
        """The line of a connection has gone; ``clean``: its client said goodbye."""
        connection = wire.connection
        if connection is None or connection.wire is not wire or connection.stage is State.ENDED:
            return
        if self.closing and not clean and self._goes_on(connection):
            self.let_go(connection, CloseCode.RESTART, _RESTARTS)
            return
        if clean or self.closing or not connection.resume or connection.stage is State.OPENING:
            reason = "shutdown" if self.closing else "closed" if clean else "lost"
            if self.closing or connection.stage is State.OPENING or not connection.busy:
                # Nothing can be written any more, so nobody has to wait until all that is queued has left.
                self._end(connection, reason, CloseCode.NORMAL, "")
                return
            # What it sent before it went is carried out first; then the dispatch ends it.
            connection.farewell = reason
            _give_up_asks(connection)
        self._hub.membership.detach(connection)
        connection.wire = None
        connection.hold = None
        connection.stage = State.DETACHED
        connection.expiry = self._hub.timers.after(
            self._hub.settings.window_seconds, partial(self.end, connection, connection.farewell or "lost")
        )

    def remember_losses(self, connection: Connection, lost: Mapping[str, int]) -> None:
        """Its line has dropped so many publications of channels, and ended before it could tell."""
        self._losses.setdefault(connection, Counter()).update(lost)

    def take_losses(self, connection: Connection) -> Mapping[str, int]:
        """What is still to be told to ``connection`` of its channels; it is not told again."""
        lost = self._losses.pop(connection, Counter())
        return {channel: count for channel, count in lost.items() if channel in connection.subscriptions}

    def end(
        self,
        connection: Connection,
        reason: str,
        *,
        code: int = CloseCode.NORMAL,
        message: str = "",
        refused: bool = False,
    ) -> None:
        """End ``connection`` for good.

        Later calls change nothing. Its line, if it has one, closes behind everything queued. Where it was ``refused``
        by a handler of connect, and never told that it is in, no handler of disconnect runs.
        """
        if connection.stage is State.ENDED:
            return
        if connection.wire is not None:
            self._hub.tick.flush()
            if not connection.alive:
                # What was flushed was too much for its line, and that was its end.
                return
        self._end(connection, reason, code, message, refused=refused)

    def _end(self, connection: Connection, reason: str, code: int, message: str, *, refused: bool = False) -> None:
        admitted = connection.stage is not State.OPENING
        connection.stage = State.ENDED
        for subscription in tuple(connection.subscriptions.values()):
            self._hub.membership.leave(subscription, reason if reason != "shutdown" else "closed")
        wire, connection.wire = connection.wire, None
        if wire is not None:
            wire.close(code, message)
        self._unregister(connection)
        if self._hub.cluster is None:
            self._hub.broker.forget(f"$connection:{connection.id}")
            if admitted and not refused:
                self._hub.application.disconnected(connection, reason).then(_log_failure)
        elif admitted and refused:
            self._hub.cluster.registry.dropped(connection)
        elif admitted:
            self._hub.cluster.registry.ended(connection, reason)

    def let_go(self, connection: Connection, code: int, message: str) -> None:
        """Another node has ``connection``, or will: here it ends without a word, behind everything queued.

        Nothing where it has ended already.
        """
        if connection.stage is State.ENDED:
            return
        if connection.wire is not None:
            self._hub.tick.flush()
        connection.stage = State.ENDED
        for subscription in tuple(connection.subscriptions.values()):
            self._hub.membership.leave(subscription, None)
        wire, connection.wire = connection.wire, None
        if wire is not None:
            wire.close(code, message)
        self._unregister(connection)

    def restore(self, record: Record, grace_seconds: float | None = None) -> Connection:
        """A connection that another node had, as if it had lost its line here just now.

        It counts as present no longer than ``grace_seconds``, if they are given.
        """
        connection = Connection(self._hub, None)
        connection.id, connection.namespace = record.id, record.namespace
        connection.user, connection.since, connection.fence = record.user, record.since, record.fence
        connection.begun = record.begun
        connection.stage = State.DETACHED
        connection.digests = record.secrets
        self._add(connection)
        for name, place in record.subscriptions.items():
            options = self._everybody if name.startswith(INTERNAL) else self._hub.policy.options(name)
            self._hub.membership.restore(connection, name, options, place)
        self._hub.membership.restored(connection, grace_seconds)
        connection.expiry = self._hub.timers.after(
            self._hub.settings.window_seconds, partial(self.end, connection, "lost")
        )
        return connection

    def _unregister(self, connection: Connection) -> None:
        self.connections.pop(connection.id, None)
        if connection.user is not None:
            others = self.users.get(connection.user.id, {})
            others.pop(connection, None)
            if not others:
                self.users.pop(connection.user.id, None)
        for secret in connection.resume:
            self._resumable.pop(secret, None)
        if connection.expiry is not None:
            connection.expiry.cancel()
        self._hub.membership.stay(connection)
        _give_up_asks(connection)
        drop_backlog(connection)
        self._losses.pop(connection, None)
        self._hub.early.drop(connection)
        if self._hub.cluster is not None:
            self._hub.cluster.registry.unwant(connection)

    def close(self) -> None:
        """The server stops: every line closes with 1012.

        Every connection ends, but where other nodes, or this one when it is there again, take them up.
        """
        self.closing = True
        for connection in tuple(self.connections.values()):
            self.send_away(connection)

    def send_away(self, connection: Connection) -> None:
        """The server stops: close the line with 1012, and end ``connection``, unless others take it up."""
        if self._goes_on(connection):
            self.let_go(connection, CloseCode.RESTART, _RESTARTS)
        else:
            self.end(connection, "shutdown", code=CloseCode.RESTART, message=_RESTARTS)

    def _goes_on(self, connection: Connection) -> bool:
        """Whether another node may take ``connection`` up when this one stops, or this one when it is there again."""
        resumable = bool(connection.resume or connection.digests)
        return self._hub.cluster is not None and resumable and connection.stage is not State.OPENING


def _id_of(user: User | None) -> str | None:
    return None if user is None else user.id


def _give_up_asks(connection: Connection) -> None:
    for waiting in tuple((connection.asks or {}).values()):
        waiting.fail(GoneError("the client went before it answered"))


def _log_failure(outcome: Outcome[None]) -> None:
    try:
        outcome.result()
    except Exception:
        _log.exception("A disconnect handler failed")
