"""What concerns all nodes at once: ends, removals, counts and questions, each performed by every node for its own."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from heapq import nsmallest
from typing import TYPE_CHECKING, Any, Final

import msgspec

from openline.errors import BrokerError, CloseCode, CommandError, GoneError
from openline.hub.connection import Connection
from openline.hub.outcome import Outcome, drive
from openline.hub.payload import Payload

if TYPE_CHECKING:
    from openline.hub.cluster import Cluster
    from openline.hub.hub import Hub

__all__ = ["Asked", "Everywhere", "Reach"]

#: How long a node is waited for, beyond what it was given to do.
ANSWER_SECONDS: Final = 2.0
#: How long an order is good for those whose node could not hear it: by then others have what it had, or it is back.
_ORDER_SECONDS: Final = 30.0
_MOST_ORDERS: Final = 10_000
_PAUSE_SECONDS: Final = 1.0


class Reach(msgspec.Struct, frozen=True):
    """How many ``connections`` on how many ``nodes``; those that are ``silent`` did not say."""

    nodes: int
    connections: int
    silent: tuple[str, ...] = ()


class Asked(msgspec.Struct, frozen=True):
    """What came of asking many: values by connection id, and who did not answer: connections, and whole nodes."""

    answered: Mapping[str, Any]
    missing: Sequence[str]
    silent: Sequence[str] = ()


class Everywhere:
    """Asks every node, this one among them; a lone node asks itself, and nothing leaves it."""

    def __init__(self, hub: "Hub") -> None:
        self._hub = hub
        self._kinds: Mapping[str, Callable[[Any], Outcome[Any]]] = {
            "disconnect": self._disconnect,
            "unsubscribe": self._unsubscribe,
            "reach": self._reach,
            "channels": self._channels,
            "ask": self._ask,
        }
        #: By user, connection and channel (none: all of it): until when it is good, and what was said.
        self._orders: dict[tuple[str, str, str], tuple[float, Any]] = {}
        self._insisting = 0

    def join(self, cluster: "Cluster") -> None:
        """From now on there are others."""
        for kind, perform in self._kinds.items():
            cluster.post.on(kind, perform)

    async def _gather(self, kind: str, said: object, seconds: float = ANSWER_SECONDS) -> dict[str, Any]:
        """What each node answers; None where one did not."""
        cluster = self._hub.cluster
        mine = self._kinds[kind](said)
        others: dict[str, Outcome[Any]] = {}
        if cluster is not None:
            names = [name for name in cluster.nodes if name != cluster.node]
            others = {name: cluster.post.ask(name, kind, said, seconds) for name in names}
        answers = {"" if cluster is None else cluster.node: await mine.step()}
        for name, outcome in others.items():
            try:
                answers[name] = await outcome.step()
            except (TimeoutError, BrokerError, CommandError):
                answers[name] = None
        return answers

    # -- putting in order

    def disconnect(self, *, user: str = "", connection: str = "", reason: str = "") -> Outcome[int]:
        """End all connections of a user, or one, for good; how many there were comes out.

        Of a user, the polls that wait and the tickets go, too.
        """
        # By the clock of the day, which nodes have in common: who has come since is not meant where it is said again.
        said = {"user": user, "connection": connection, "reason": reason, "at": time.time()}
        return drive(self._summed("disconnect", said))

    def unsubscribe(self, channel: str, *, user: str = "", connection: str = "") -> Outcome[int]:
        """Take them out of ``channel``; how many were in comes out.

        Of a user, the polls that wait there and the tickets go, too.
        """
        said = {"user": user, "connection": connection, "channel": channel, "at": time.time()}
        return drive(self._summed("unsubscribe", said))

    async def _summed(self, kind: str, said: Any) -> int:
        answers = await self._gather(kind, said)
        for node in (name for name, count in answers.items() if count is None):
            if self._insisting < _MOST_ORDERS:
                self._insisting += 1
                drive(self._insist(node, kind, said)).then(self._insisted)
        return sum(count or 0 for count in answers.values())

    async def _insist(self, node: str, kind: str, said: Any) -> None:
        """Say it until it is answered: a node that is cut off for a moment is to hear it, too."""
        cluster, timers = self._hub.cluster, self._hub.timers
        end = timers.now + _ORDER_SECONDS
        while cluster is not None and node in cluster.nodes and timers.now < end:
            pause: Outcome[None] = Outcome()
            timers.after(_PAUSE_SECONDS, partial(pause.settle, None))
            await pause.step()
            try:
                await cluster.post.ask(node, kind, {**said, "again": True}, ANSWER_SECONDS).step()
            except (TimeoutError, BrokerError):
                continue
            except CommandError:
                return
            return

    def _insisted(self, outcome: Outcome[None]) -> None:
        self._insisting -= 1
        outcome.result()

    def _note(self, said: Any) -> bool:
        """Remember what was ordered, for those who come from nodes that did not hear it.

        False for what is said again and was heard: it is meant for who was there then.
        """
        if self._hub.cluster is None:
            return True
        place = (said["user"], said["connection"], said.get("channel", ""))
        known = self._orders.get(place)
        if "again" in said and known is not None and known[1]["at"] >= said["at"]:
            return False
        self._orders.pop(place, None)
        self._orders[place] = (self._hub.timers.now + _ORDER_SECONDS, said)
        while len(self._orders) > _MOST_ORDERS or next(iter(self._orders.values()))[0] <= self._hub.timers.now:
            del self._orders[next(iter(self._orders))]
        return True

    def catch_up(self, connection: Connection) -> None:
        """Carry out what was ordered of ``connection`` while the node that had it could not be reached."""
        user = "" if connection.user is None else connection.user.id
        for who in ((user, ""), ("", connection.id)) if self._orders else ():
            for channel in ("", *connection.subscriptions):
                until, said = self._orders.get((*who, channel), (0.0, None))
                if until <= self._hub.timers.now or who == ("", ""):
                    continue
                if channel:
                    self._hub.take_out(connection, channel)
                elif connection.begun <= said["at"]:
                    message = said["reason"]
                    self._hub.lifecycle.end(connection, "disconnected", code=CloseCode.DISCONNECTED, message=message)
                    return

    def _meant(self, said: Any) -> Sequence[Connection]:
        lifecycle = self._hub.lifecycle
        if said["user"]:
            return tuple(lifecycle.users.get(said["user"], ()))
        connection = lifecycle.connections.get(said["connection"])
        return () if connection is None else (connection,)

    def _disconnect(self, said: Any) -> Outcome[Any]:
        if self._note(said) and said["user"]:
            self._hub.revocations.revoke(said["user"])
        meant = [each for each in self._meant(said) if "again" not in said or each.begun <= said["at"]]
        for connection in meant:
            self._hub.disconnect(connection, CloseCode.DISCONNECTED, said["reason"])
        return Outcome.of(len(meant))

    def _unsubscribe(self, said: Any) -> Outcome[Any]:
        if not self._note(said):
            return Outcome.of(0)
        if said["user"]:
            self._hub.revocations.revoke(said["user"], said["channel"])
        subscribed = [each for each in self._meant(said) if said["channel"] in each.subscriptions]
        for connection in subscribed:
            self._hub.take_out(connection, said["channel"])
        return Outcome.of(len(subscribed))

    # -- counting

    def reach(self, channel: str) -> Outcome[Reach]:
        """Who has got what was published into ``channel`` before, as far as it was answered: its nodes have heard it.

        A node that nobody in the channel is connected to does not count.
        """
        return drive(self._reached(channel))

    async def _reached(self, channel: str) -> Reach:
        answers = await self._gather("reach", channel)
        counts = [count for count in answers.values() if count]
        return Reach(len(counts), sum(counts), tuple(name for name, count in answers.items() if count is None))

    def _reach(self, said: Any) -> Outcome[Any]:
        channel = self._hub.membership.get(said)
        return Outcome.of(0 if channel is None else channel.size)

    def channels(self, pattern: str, after: str, limit: int) -> Outcome[Mapping[str, tuple[int, int]]]:
        """The first ``limit`` channels under ``pattern`` that come behind ``after``.

        By name: how many subscriptions there are, and how many are present.
        """
        return drive(self._list_channels(pattern, after, limit))

    async def _list_channels(self, pattern: str, after: str, limit: int) -> Mapping[str, tuple[int, int]]:
        answers = await self._gather("channels", {"pattern": pattern, "after": after, "limit": limit})
        found: dict[str, tuple[int, int]] = {}
        pages: list[dict[str, tuple[int, int]]] = [page for page in answers.values() if page is not None]
        for page in pages:
            for name, (size, present) in page.items():
                before = found.get(name, (0, 0))
                found[name] = (before[0] + size, before[1] + present)
        names = nsmallest(limit, found)
        cluster = self._hub.cluster
        if cluster is None:
            return {name: found[name] for name in names}
        counts = await cluster.attendance.count(names).step()
        return {name: (found[name][0], present) for name, present in zip(names, counts, strict=True)}

    def _channels(self, said: Any) -> Outcome[Any]:
        membership = self._hub.membership
        names = (name for name in membership.names(said["pattern"]) if name > said["after"])
        # Whoever only waits for an answer there is not counted.
        found = (channel for name in names if (channel := membership.get(name)) is not None and channel.size)
        channels = nsmallest(said["limit"], found, key=lambda channel: channel.name)
        return Outcome.of({each.name: (each.size, len(each.members)) for each in channels})

    # -- asking

    def ask(
        self,
        addresses: Iterable[str],
        type: str,
        payload: Payload,
        seconds: float,
        left_out: Iterable[str] = (),
    ) -> Outcome[Asked]:
        """Ask everybody who is in one of ``addresses`` now, and in none of ``left_out``; all who answer in time do.

        Addresses are channels, or ``$connection:ID``.
        """
        said = {
            "to": list(addresses),
            "but": list(left_out),
            "type": type,
            "payload": msgspec.structs.asdict(payload),
            "seconds": seconds,
        }
        return drive(self._asked(said))

    async def _asked(self, said: Any) -> Asked:
        answers = await self._gather("ask", said, said["seconds"] + ANSWER_SECONDS)
        answered: dict[str, Any] = {}
        missing: list[str] = []
        told: list[dict[str, Any]] = [each for each in answers.values() if each is not None]
        for each in told:
            answered |= each["answered"]
            missing += each["missing"]
        return Asked(answered, missing, [name for name, each in answers.items() if each is None])

    def _ask(self, said: Any) -> Outcome[Any]:
        return drive(self._ask_here(said))

    async def _ask_here(self, said: Any) -> Any:
        payload = msgspec.convert(said["payload"], Payload)
        meant = {each: None for address in said["to"] for each in self.members(address)}
        for address in said["but"]:
            for each in self.members(address):
                meant.pop(each, None)
        asked = [(each, self._hub.question(each, said["type"], payload, said["seconds"])) for each in meant]
        answered: dict[str, Any] = {}
        missing: list[str] = []
        for connection, outcome in asked:
            try:
                answered[connection.id] = await outcome.step()
            except (TimeoutError, GoneError, CommandError, BrokerError):
                missing.append(connection.id)
        return {"answered": answered, "missing": missing}

    def members(self, address: str) -> Sequence[Connection]:
        """The connections of this node in a channel, or the one that has the address."""
        lifecycle = self._hub.lifecycle
        if address.startswith("$connection:"):
            connection = lifecycle.connections.get(address.removeprefix("$connection:"))
            return () if connection is None else (connection,)
        if self._hub.membership.get(address) is None:
            return ()
        # No channel keeps a list of who is in it: that would cost every subscription, for what is rarely asked.
        return tuple(each for each in lifecycle.connections.values() if address in each.subscriptions)
