"""The directory of nodes that share this process: what every other one must do, in plain data structures."""

import secrets
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

import msgspec

from openline.hub.outcome import Outcome
from openline.hub.presence import Members
from openline.hub.record import LEASE_SECONDS, SILENCE_SECONDS, Beat, Fate, Place, Record, Turnout
from openline.model import JsonBytes

__all__ = ["DirectoryEnd", "Entries", "MemoryDirectory"]

T = TypeVar("T")


def _at_once(call: Callable[[], T]) -> Outcome[T]:
    return Outcome.of(call())


class _Node:
    """A node that lives: until when its lease lasts, and where it is reached."""

    __slots__ = ("address", "until")

    def __init__(self, address: str, until: float) -> None:
        self.address = address
        self.until = until


class _Roll:
    """Who is present in one channel; ``version`` counts the changes."""

    __slots__ = ("members", "version")

    def __init__(self) -> None:
        self.members = Members()
        self.version = 0


class Entries:
    """All that the nodes of one engine write; ``now`` is the engine's clock, in seconds."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self.clear()

    def clear(self) -> None:
        """Forget everything, as an engine does that is flushed."""
        self.era = secrets.token_hex(4)
        self._heard: float | None = None
        self._spare_until = 0.0
        self._nodes: dict[str, _Node] = {}
        self._gone: dict[str, Fate] = {}
        self._records: dict[str, Record] = {}
        self._ending: set[str] = set()
        self._secrets: dict[str, str] = {}
        self._rolls: dict[str, _Roll] = {}
        # In microseconds, so that it goes on above what it was before everything was forgotten.
        self._versions = int(self._now() * 1_000_000)

    # -- nodes

    def join(self, node: str, address: str) -> Beat:
        """See :class:`~openline.hub.ports.Directory`."""
        self._nodes[node] = _Node(address, self._now() + LEASE_SECONDS)
        return self.beat(node)

    def beat(self, node: str) -> Beat:
        """See :class:`~openline.hub.ports.Directory`."""
        now = self._now()
        if self._heard is not None and now - self._heard > SILENCE_SECONDS:
            self._spare_until = now + LEASE_SECONDS
        self._heard = now
        mine = self._nodes.get(node)
        if mine is not None:
            mine.until = now + LEASE_SECONDS
        if now >= self._spare_until:
            for name, other in tuple(self._nodes.items()):
                if other.until <= now:
                    del self._nodes[name]
                    self._gone[name] = "lost"
        nodes = {name: other.address for name, other in self._nodes.items()}
        return Beat(mine is not None, self.era, nodes, dict(self._gone))

    def leave(self, node: str) -> None:
        """See :class:`~openline.hub.ports.Directory`."""
        if self._nodes.pop(node, None) is not None:
            self._gone[node] = "left"

    def lose(self, node: str) -> None:
        """A node is known to be no more, before its lease has run out."""
        if self._nodes.pop(node, None) is not None:
            self._gone[node] = "lost"

    # -- connections

    def put(self, node: str, record: Record) -> bool:
        """See :class:`~openline.hub.ports.Directory`."""
        old = self._records.get(record.id)
        if node not in self._nodes or (old is not None and old.owner != node):
            return False
        self._forget_secrets(old)
        fence = 1 if old is None else old.fence
        self._write(msgspec.structs.replace(record, owner=node, fence=fence))
        return True

    def _write(self, record: Record) -> None:
        self._records[record.id] = record
        for secret in record.secrets:
            self._secrets[secret] = record.id

    def _forget_secrets(self, record: Record | None) -> None:
        for secret in () if record is None else record.secrets:
            self._secrets.pop(secret, None)

    def _own(self, node: str, connection_id: str) -> Record | None:
        record = self._records.get(connection_id)
        return None if record is None or record.owner != node else record

    def subscribed(self, node: str, connection_id: str, channel: str, place: Place) -> None:
        """See :class:`~openline.hub.ports.Directory`."""
        record = self._own(node, connection_id)
        if record is not None:
            self._records[connection_id] = _placed(record, {**record.subscriptions, channel: place})

    def unsubscribed(self, node: str, connection_id: str, channel: str) -> None:
        """See :class:`~openline.hub.ports.Directory`."""
        record = self._own(node, connection_id)
        if record is not None:
            rest = {name: place for name, place in record.subscriptions.items() if name != channel}
            self._records[connection_id] = _placed(record, rest)

    def keep(self, node: str, connection_id: str, digests: Sequence[str]) -> None:
        """See :class:`~openline.hub.ports.Directory`."""
        record = self._own(node, connection_id)
        if record is not None and connection_id not in self._ending:
            self._forget_secrets(record)
            self._write(msgspec.structs.replace(record, secrets=tuple(digests)))

    def find(self, _: str, secret: str) -> Record | None:
        """See :class:`~openline.hub.ports.Directory`."""
        return self._records.get(self._secrets.get(secret, ""))

    def claim(self, node: str, connection_id: str, secret: str) -> Record | None:
        """See :class:`~openline.hub.ports.Directory`."""
        record = self._records.get(connection_id)
        if record is None or self._secrets.get(secret) != connection_id or node not in self._nodes:
            return None
        if record.owner == node:
            return record
        return msgspec.structs.replace(self._hand_over(record, node), owner=record.owner)

    def _hand_over(self, record: Record, node: str) -> Record:
        moved = msgspec.structs.replace(record, owner=node, fence=record.fence + 1)
        self._records[record.id] = moved
        return moved

    def adopt(self, node: str, gone: str, limit: int) -> Sequence[Record]:
        """See :class:`~openline.hub.ports.Directory`."""
        if gone not in self._gone or node not in self._nodes:
            return ()
        found = [record for record in self._records.values() if record.owner == gone]
        if len(found) <= limit:
            del self._gone[gone]
        return [self._hand_over(record, node) for record in found[:limit]]

    def end(self, node: str, connection_id: str, era: str | None) -> bool:
        """See :class:`~openline.hub.ports.Directory`."""
        if connection_id not in self._records and era is not None and era != self.era:
            return True
        record = self._own(node, connection_id)
        if record is None:
            return False
        self._ending.add(connection_id)
        self._forget_secrets(record)
        self._records[connection_id] = msgspec.structs.replace(record, secrets=())
        return True

    def forget(self, node: str, connection_id: str) -> None:
        """See :class:`~openline.hub.ports.Directory`."""
        if self._own(node, connection_id) is not None:
            self._forget_secrets(self._records.pop(connection_id))
            self._ending.discard(connection_id)

    # -- presence

    def enter(self, node: str, channel: str, connection_id: str, member: JsonBytes) -> Turnout | None:
        """See :class:`~openline.hub.ports.Directory`."""
        if self._own(node, connection_id) is None:
            return None
        roll = self._rolls.setdefault(channel, _Roll())
        return self._turnout(roll, member) if roll.members.add(connection_id, member) else None

    def exit(self, node: str, channel: str, connection_id: str) -> Turnout | None:
        """See :class:`~openline.hub.ports.Directory`."""
        roll = self._rolls.get(channel)
        if roll is None or self._own(node, connection_id) is None:
            return None
        member = roll.members.remove(connection_id)
        if not len(roll.members):
            del self._rolls[channel]
        return None if member is None else self._turnout(roll, member)

    def _turnout(self, roll: _Roll, member: JsonBytes) -> Turnout:
        # One count for all channels: it goes on when a channel that was empty has somebody again.
        self._versions += 1
        roll.version = self._versions
        return Turnout(len(roll.members), roll.version, member)

    def present(self, _: str, channel: str, limit: int, after: int) -> JsonBytes:
        """See :class:`~openline.hub.ports.Directory`."""
        roll = self._rolls.get(channel)
        return (Members() if roll is None else roll.members).as_json(limit, after)

    def count(self, _: str, channels: Sequence[str]) -> Sequence[int]:
        """See :class:`~openline.hub.ports.Directory`."""
        rolls = map(self._rolls.get, channels)
        return [0 if roll is None else len(roll.members) for roll in rolls]


def _placed(record: Record, subscriptions: Mapping[str, Place]) -> Record:
    return msgspec.structs.replace(record, subscriptions=subscriptions)


class DirectoryEnd(ABC):
    """One node's end of :class:`Entries`, wherever those are; see :class:`~openline.hub.ports.Directory`."""

    def __init__(self) -> None:
        self._node = ""

    @abstractmethod
    def _ask(self, method: str, *arguments: object) -> Outcome[Any]:
        """What :class:`Entries` answers, asked for the node."""

    def join(self, node: str, address: str) -> Outcome[Beat]:
        """See :class:`~openline.hub.ports.Directory`."""
        self._node = node
        return self._ask("join", address)

    def beat(self) -> Outcome[Beat]:
        """See :class:`~openline.hub.ports.Directory`."""
        return self._ask("beat")

    def leave(self) -> Outcome[None]:
        """See :class:`~openline.hub.ports.Directory`."""
        return self._ask("leave")

    def put(self, record: Record) -> Outcome[bool]:
        """See :class:`~openline.hub.ports.Directory`."""
        return self._ask("put", record)

    def subscribed(self, connection_id: str, channel: str, place: Place) -> Outcome[None]:
        """See :class:`~openline.hub.ports.Directory`."""
        return self._ask("subscribed", connection_id, channel, place)

    def unsubscribed(self, connection_id: str, channel: str) -> Outcome[None]:
        """See :class:`~openline.hub.ports.Directory`."""
        return self._ask("unsubscribed", connection_id, channel)

    def keep(self, connection_id: str, secrets: Sequence[str]) -> Outcome[None]:
        """See :class:`~openline.hub.ports.Directory`."""
        return self._ask("keep", connection_id, secrets)

    def find(self, secret: str) -> Outcome[Record | None]:
        """See :class:`~openline.hub.ports.Directory`."""
        return self._ask("find", secret)

    def claim(self, connection_id: str, secret: str) -> Outcome[Record | None]:
        """See :class:`~openline.hub.ports.Directory`."""
        return self._ask("claim", connection_id, secret)

    def adopt(self, node: str, limit: int) -> Outcome[Sequence[Record]]:
        """See :class:`~openline.hub.ports.Directory`."""
        return self._ask("adopt", node, limit)

    def end(self, connection_id: str, era: str | None = None) -> Outcome[bool]:
        """See :class:`~openline.hub.ports.Directory`."""
        return self._ask("end", connection_id, era)

    def forget(self, connection_id: str) -> Outcome[None]:
        """See :class:`~openline.hub.ports.Directory`."""
        return self._ask("forget", connection_id)

    def enter(self, channel: str, connection_id: str, member: JsonBytes) -> Outcome[Turnout | None]:
        """See :class:`~openline.hub.ports.Directory`."""
        return self._ask("enter", channel, connection_id, member)

    def exit(self, channel: str, connection_id: str) -> Outcome[Turnout | None]:
        """See :class:`~openline.hub.ports.Directory`."""
        return self._ask("exit", channel, connection_id)

    def present(self, channel: str, limit: int, after: int) -> Outcome[JsonBytes]:
        """See :class:`~openline.hub.ports.Directory`."""
        return self._ask("present", channel, limit, after)

    def count(self, channels: Sequence[str]) -> Outcome[Sequence[int]]:
        """See :class:`~openline.hub.ports.Directory`."""
        return self._ask("count", channels)


class MemoryDirectory(DirectoryEnd):
    """The end of a node that shares this process.

    ``carry`` makes a call there and brings back what came of it: at once, unless something lies between.
    """

    def __init__(self, entries: Entries, carry: Callable[[Callable[[], object]], Outcome[object]] = _at_once) -> None:
        super().__init__()
        self._entries = entries
        self._carry = carry

    def _ask(self, method: str, *arguments: object) -> Outcome[Any]:
        call: Callable[[], object] = partial(getattr(self._entries, method), self._node, *arguments)
        return self._carry(call)
