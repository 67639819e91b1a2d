"""The records of this node's connections, and how a connection changes its node: claimed by whoever has its client."""

import logging
import time
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from openline.errors import BrokerError, CloseCode, CommandError, ErrorCode
from openline.hub.connection import Connection, State, Subscription
from openline.hub.outcome import Outcome, step_all
from openline.hub.ports import Directory
from openline.hub.record import Fate, Place, Record, digest

if TYPE_CHECKING:
    from openline.hub.cluster import Cluster
    from openline.hub.hub import Hub

__all__ = ["Registry"]

#: How many connections of a node that is gone are taken at a time: other nodes take their share.
_SHARE: Final = 100
#: How much longer those of a lost node count as present: it is noticed after a lease, all is to be over in 10 s.
_LOST_GRACE_SECONDS: Final = 2.0
_DONE: Final[Outcome[Any]] = Outcome.of(None)
_log = logging.getLogger("openline")


class Registry:
    """Writes what other nodes must know to take a connection up, and takes up those of others."""

    def __init__(self, hub: "Hub", cluster: "Cluster", directory: Directory) -> None:
        self._hub = hub
        self._cluster = cluster
        self._directory = directory
        # Who here wants what is sent to it and to its user, and how many of each user that are.
        self._wanting: set[Connection] = set()
        self._wanted: Counter[str] = Counter()
        # Those of whom the engine may not know everything, and those whose end it did not confirm.
        self._stale: dict[Connection, None] = {}
        self._endings: dict[Connection, str] = {}
        cluster.post.on("moved", self._moved)

    # -- writing

    async def register(self, connection: Connection) -> None:
        """Let other nodes know ``connection``, and hear what is sent to it and to its user.

        Raises :class:`CommandError` (``unavailable``) where that cannot be.
        """
        node = self._cluster.node
        connection.begun = time.time()
        outcomes: list[Outcome[Any]] = [self._directory.put(_record(connection)), *self._want(connection)]
        try:
            written, *_ = await step_all(outcomes)
        except BrokerError as error:
            self.withdraw(connection)
            raise CommandError(ErrorCode.UNAVAILABLE, "The engine did not answer.", retry=True) from error
        if not written or node != self._cluster.node:
            self.withdraw(connection)
            raise CommandError(ErrorCode.UNAVAILABLE, "This node starts over; try again.", retry=True)
        connection.fence = 1

    def withdraw(self, connection: Connection) -> None:
        """It has not begun after all."""
        self.unwant(connection)
        self.dropped(connection)

    def dropped(self, connection: Connection) -> None:
        """It was turned away before it knew that it had begun: it ends without a handler of disconnect."""
        self._stale.pop(connection, None)
        self._directory.end(connection.id).then(_look)
        self._directory.forget(connection.id).then(_look)
        self._hub.broker.forget(f"$connection:{connection.id}")

    def _want(self, connection: Connection) -> list[Outcome[None]]:
        outcomes = [self._hub.broker.subscribe(f"$connection:{connection.id}")]
        if connection.user is not None:
            self._wanted[connection.user.id] += connection not in self._wanting
            outcomes.append(self._hub.broker.subscribe(f"$user:{connection.user.id}"))
        self._wanting.add(connection)
        return outcomes

    def unwant(self, connection: Connection) -> None:
        """Nobody here hears any more what is sent to ``connection``; nothing where nobody did."""
        if connection not in self._wanting:
            return
        self._wanting.discard(connection)
        self._hub.broker.unsubscribe(f"$connection:{connection.id}")
        if connection.user is not None:
            self._wanted[connection.user.id] -= 1
            if not self._wanted[connection.user.id]:
                del self._wanted[connection.user.id]
                self._hub.broker.unsubscribe(f"$user:{connection.user.id}")

    def subscribed(self, subscription: Subscription) -> Outcome[None]:
        """Write that it begins now; settled when it is known, or will be."""
        connection = subscription.connection
        if connection.stage is State.OPENING:
            # It is written with the rest of its record.
            return _DONE
        place = Place(self._hub.broker.position, subscription.presence)
        return self._write(connection, self._directory.subscribed(connection.id, subscription.channel.name, place))

    def paused(self, subscription: Subscription) -> None:
        """Write that its client is not in any more, and reads."""
        connection = subscription.connection
        place = Place(None, subscription.presence)
        self._write(connection, self._directory.subscribed(connection.id, subscription.channel.name, place))

    def unsubscribed(self, connection: Connection, channel: str) -> None:
        """Write that it has ended."""
        if connection.stage is not State.OPENING:
            self._write(connection, self._directory.unsubscribed(connection.id, channel))

    def keep(self, connection: Connection) -> None:
        """Write which secrets take it up again."""
        self._write(connection, self._directory.keep(connection.id, tuple(map(digest, connection.resume))))

    def _write(self, connection: Connection, outcome: Outcome[None]) -> Outcome[None]:
        written: Outcome[None] = Outcome()
        outcome.then(partial(self._written, connection, written))
        return written

    def _written(self, connection: Connection, written: Outcome[None], outcome: Outcome[None]) -> None:
        try:
            outcome.result()
        except BrokerError:
            self._stale[connection] = None
        written.settle(None)

    # -- ending

    def ended(self, connection: Connection, reason: str) -> None:
        """Run the handlers of disconnect, if it is this node that ends it."""
        self._stale.pop(connection, None)
        self._directory.end(connection.id, self._cluster.era).then(partial(self._confirmed, connection, reason))

    def _confirmed(self, connection: Connection, reason: str, outcome: Outcome[bool]) -> None:
        try:
            mine = outcome.result()
        except BrokerError:
            self._endings[connection] = reason
            return
        if mine:
            self._hub.broker.forget(f"$connection:{connection.id}")
            self._hub.application.disconnected(connection, reason).then(partial(self._over, connection))

    def _over(self, connection: Connection, outcome: Outcome[None]) -> None:
        _look(outcome)
        self._directory.forget(connection.id).then(_look)

    def say_again(self) -> None:
        """Repeat what the engine did not answer."""
        # One question at a time: two answers would be two ends.
        endings, self._endings = self._endings, {}
        for connection, reason in endings.items():
            self.ended(connection, reason)
        stale, self._stale = self._stale, {}
        for connection in stale:
            if connection.alive:
                self._write(connection, self._put(connection))

    def write_all(self) -> None:
        """The directory has forgotten: write everybody who is here, and end who could not be ended."""
        self.say_again()
        for connection in self._hub.lifecycle.connections.values():
            connection.fence = 1
            self._write(connection, self._put(connection))
            self._cluster.attendance.repeat(connection)

    def _put(self, connection: Connection) -> Outcome[Any]:
        return self._directory.put(_record(connection))

    def abandon(self) -> None:
        """Others have what this node had."""
        self._stale.clear()
        self._endings.clear()

    # -- taking up

    def find(self, secret: str) -> Outcome[Record | None]:
        """The record that ``secret`` takes up."""
        return self._directory.find(digest(secret))

    async def take_over(self, record: Record, secret: str) -> Connection | None:
        """Make the connection of ``record`` this node's own; None where it has ended, or has other secrets by now.

        Raises :class:`BrokerError`.
        """
        claimed = await self._directory.claim(record.id, digest(secret)).step()
        if claimed is None:
            return None
        known = self._hub.lifecycle.connections.get(claimed.id)
        if known is not None:
            if known.fence == claimed.fence:
                # One that was adopted has digests alone.
                known.resume = known.resume or (secret,)
                return known
            # It was elsewhere meanwhile.
            self._let_go(known)
        if claimed.owner != self._cluster.node:
            self._cluster.post.tell(claimed.owner, "moved", {"connection": claimed.id, "fence": claimed.fence})
        connection = self._hub.lifecycle.restore(claimed)
        connection.resume = (secret,)
        # It may have been missed there already.
        self._cluster.attendance.repeat(connection)
        for outcome in self._want(connection):
            # Whoever replays makes sure of it, with everything else.
            outcome.then(_look)
        self._hub.everywhere.catch_up(connection)
        return connection if connection.alive else None

    def _moved(self, said: Any) -> Outcome[Any]:
        """Another node serves it from now on."""
        connection = self._hub.lifecycle.connections.get(said["connection"])
        if connection is not None and connection.fence < said["fence"]:
            self._let_go(connection)
        return _DONE

    def _let_go(self, connection: Connection) -> None:
        self._hub.lifecycle.let_go(connection, CloseCode.REPLACED, "This connection goes on elsewhere.")

    async def adopt(self, node: str, fate: Fate) -> None:
        """Take share after share of what a node had that is gone: its clients may come back, or be missed.

        Raises :class:`BrokerError`.
        """
        more = True
        while more:
            records = await self._directory.adopt(node, _SHARE).step()
            more = len(records) == _SHARE
            for record in records:
                self._adopted(record, fate)

    def _adopted(self, record: Record, fate: Fate) -> None:
        known = self._hub.lifecycle.connections.get(record.id)
        if known is not None:
            # It was elsewhere meanwhile, and this node was not told.
            self._let_go(known)
        connection = self._hub.lifecycle.restore(record, _LOST_GRACE_SECONDS if fate == "lost" else None)
        for outcome in self._want(connection):
            outcome.then(_look)
        if not record.secrets:
            self._hub.lifecycle.end(connection, "lost")
        else:
            self._hub.everywhere.catch_up(connection)


def _record(connection: Connection) -> Record:
    subscriptions = {
        name: Place(None if subscription.paused else subscription.begun, subscription.presence)
        for name, subscription in connection.subscriptions.items()
    }
    return Record(
        connection.id,
        connection.namespace,
        connection.user,
        connection.since,
        tuple(map(digest, connection.resume)) or connection.digests,
        subscriptions,
        begun=connection.begun,
    )


def _look(outcome: Outcome[Any]) -> None:
    try:
        outcome.result()
    except BrokerError:
        return
    except Exception:
        _log.exception("A disconnect handler failed")
