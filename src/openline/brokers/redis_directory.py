"""The directory in Redis: each of its steps is a script, and all of a node's are asked over its one link, in order."""

import logging
import secrets
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Final, TypeVar

import msgspec

from openline.brokers import redis_directory_script as scripts
from openline.brokers.envelope import Seal
from openline.brokers.redis_connection import Argument, Reply
from openline.brokers.redis_link import Link, Script
from openline.brokers.redis_server import Server
from openline.errors import BrokerError
from openline.hub.outcome import Outcome
from openline.hub.record import LEASE_SECONDS, SILENCE_SECONDS, Beat, Fate, Place, Record, Turnout
from openline.model import JsonBytes

__all__ = ["RedisDirectory"]

T = TypeVar("T")

_log = logging.getLogger("openline")

_encode: Final = msgspec.json.Encoder().encode
_read_record: Final = msgspec.json.Decoder(Record).decode
_read_place: Final = msgspec.json.Decoder(Place).decode


class RedisDirectory:
    """See :class:`~openline.hub.ports.Directory`; a guest of the engine's ``link``.

    ``lease`` and ``silence``, in seconds, are the same for all nodes. What is not sealed with their ``seal`` is not
    believed: addresses, records, their subscriptions and secrets, and who is present.
    """

    def __init__(
        self, link: Link, *, seal: Seal | None = None, lease: float = LEASE_SECONDS, silence: float = SILENCE_SECONDS
    ) -> None:
        self._link = link
        self._seal = seal or Seal()
        self._times = int(lease * 1000), int(silence * 1000)
        self._node = ""
        self._cut = False
        link.add(self)

    # -- see openline.brokers.redis_link.Guest

    @property
    def scripts(self) -> Sequence[Script]:
        """What it runs."""
        return scripts.SCRIPTS

    async def greet(self, server: Server) -> None:
        """Nothing was missed: what is not known by now is said again with the next beat."""

    def went_up(self) -> None:
        """It may be asked."""

    def went_down(self, reason: str) -> None:
        """Whoever asked has been told; the next beat says that something may not have been heard."""
        self._cut = True

    def _run(self, script: Script, read: Callable[[Any], T], *arguments: Argument) -> Outcome[T]:
        outcome: Outcome[T] = Outcome()

        def done(reply: Outcome[Reply]) -> None:
            try:
                outcome.settle(read(reply.result()))
            except BrokerError as error:
                outcome.fail(error)
            except (ValueError, TypeError, LookupError) as error:
                outcome.fail(BrokerError(f"what the directory holds cannot be read: {error}"))

        self._link.run(script, (self._link.url.prefix,), (self._node, *arguments)).then(done)
        return outcome

    # -- nodes

    def join(self, node: str, address: str) -> Outcome[Beat]:
        """See :class:`~openline.hub.ports.Directory`."""
        self._node = node
        return self._beat(self._seal.put("address", node, address.encode()))

    def beat(self) -> Outcome[Beat]:
        """See :class:`~openline.hub.ports.Directory`."""
        return self._beat()

    def _beat(self, *address: bytes) -> Outcome[Beat]:
        return self._run(scripts.BEAT, self._read_beat, *self._times, secrets.token_hex(4), *address)

    def leave(self) -> Outcome[None]:
        """See :class:`~openline.hub.ports.Directory`."""
        return self._run(scripts.LEAVE, _nothing)

    # -- connections

    def put(self, record: Record) -> Outcome[bool]:
        """See :class:`~openline.hub.ports.Directory`."""
        plain = _encode(msgspec.structs.replace(record, subscriptions={}, secrets=(), owner="", fence=0))
        rest = self._seal.put("connection", record.id, plain)
        places = [
            part
            for name, place in record.subscriptions.items()
            for part in (f"s:{name}", self._put(record.id, name, place))
        ]
        return self._run(scripts.PUT, bool, record.id, rest, *self._secrets(record.id, record.secrets), *places)

    def subscribed(self, connection_id: str, channel: str, place: Place) -> Outcome[None]:
        """See :class:`~openline.hub.ports.Directory`."""
        return self._run(scripts.SUBSCRIBED, _nothing, connection_id, channel, self._put(connection_id, channel, place))

    def unsubscribed(self, connection_id: str, channel: str) -> Outcome[None]:
        """See :class:`~openline.hub.ports.Directory`."""
        return self._run(scripts.UNSUBSCRIBED, _nothing, connection_id, channel)

    def keep(self, connection_id: str, secrets: Sequence[str]) -> Outcome[None]:
        """See :class:`~openline.hub.ports.Directory`."""
        return self._run(scripts.KEEP, _nothing, connection_id, *self._secrets(connection_id, secrets))

    def find(self, secret: str) -> Outcome[Record | None]:
        """See :class:`~openline.hub.ports.Directory`."""
        return self._run(scripts.FIND, partial(self._found, secret), secret)

    def claim(self, connection_id: str, secret: str) -> Outcome[Record | None]:
        """See :class:`~openline.hub.ports.Directory`."""
        return self._run(scripts.CLAIM, partial(self._claimed, secret), connection_id, secret)

    def adopt(self, node: str, limit: int) -> Outcome[Sequence[Record]]:
        """See :class:`~openline.hub.ports.Directory`."""
        return self._run(scripts.ADOPT, self._records, node, limit)

    def end(self, connection_id: str, era: str | None = None) -> Outcome[bool]:
        """See :class:`~openline.hub.ports.Directory`."""
        return self._run(scripts.END, bool, connection_id, *(() if era is None else (era,)))

    def forget(self, connection_id: str) -> Outcome[None]:
        """See :class:`~openline.hub.ports.Directory`."""
        return self._run(scripts.FORGET, _nothing, connection_id)

    # -- presence

    def enter(self, channel: str, connection_id: str, member: JsonBytes) -> Outcome[Turnout | None]:
        """See :class:`~openline.hub.ports.Directory`."""
        sealed = self._seal.put("member", channel, member)
        return self._run(scripts.ENTER, partial(self._turnout, channel), channel, connection_id, sealed)

    def exit(self, channel: str, connection_id: str) -> Outcome[Turnout | None]:
        """See :class:`~openline.hub.ports.Directory`."""
        return self._run(scripts.EXIT, partial(self._turnout, channel), channel, connection_id)

    def present(self, channel: str, limit: int, after: int) -> Outcome[JsonBytes]:
        """See :class:`~openline.hub.ports.Directory`."""
        return self._run(scripts.PRESENT, partial(self._present, channel), channel, limit, after)

    def count(self, channels: Sequence[str]) -> Outcome[Sequence[int]]:
        """See :class:`~openline.hub.ports.Directory`."""
        return self._run(scripts.COUNT, list[int], *channels)

    # -- what stands in Redis

    def _put(self, connection_id: str, channel: str, place: Place) -> bytes:
        return self._seal.put("subscription", f"{connection_id} {channel}", _encode(place))

    def _secrets(self, connection_id: str, digests: Sequence[str]) -> tuple[str, bytes]:
        """The digests, which the scripts read, and what shows whose they are."""
        joined = " ".join(digests)
        return joined, self._seal.put("secrets", connection_id, joined.encode())

    def _read_beat(self, reply: Sequence[Any]) -> Beat:
        held, era, nodes, gone = reply
        fates: dict[str, Fate] = {name: "left" if fate == b"left" else "lost" for name, fate in _pairs(gone).items()}
        cut, self._cut = self._cut, False
        return Beat(bool(held), era.decode(), dict(self._addresses(_pairs(nodes))), fates, cut)

    def _addresses(self, nodes: dict[str, bytes]) -> Iterator[tuple[str, str]]:
        for name, address in nodes.items():
            try:
                yield name, self._seal.take("address", name, address).decode()
            except ValueError as error:
                _log.warning("A node in the engine is none of this cluster: %s", error)

    def _record(self, reply: Sequence[bytes]) -> Record | None:
        fields = _pairs(reply)
        if not fields:
            return None
        record = self._rest(fields)
        digests = fields["k"].decode().split()
        if digests and self._seal.take("secrets", record.id, fields["t"]) != fields["k"]:
            raise ValueError(f"the secrets of {record.id} are not those that were signed")
        places = {name[2:]: place for name, place in fields.items() if name.startswith("s:")}
        return msgspec.structs.replace(
            record,
            owner=fields["o"].decode(),
            fence=int(fields["f"]),
            secrets=tuple(digests),
            subscriptions={
                name: _read_place(self._seal.take("subscription", f"{record.id} {name}", place))
                for name, place in places.items()
            },
        )

    def _rest(self, fields: dict[str, bytes]) -> Record:
        sealed = fields["r"]
        # Its id stands in what is signed for it.
        record = _read_record(sealed[len(self._seal.put("", "", b"")) :])
        self._seal.take("connection", record.id, sealed)
        return record

    def _found(self, secret: str, reply: Sequence[bytes]) -> Record | None:
        record = self._record(reply)
        return record if record is not None and secret in record.secrets else None

    def _claimed(self, secret: str, reply: Sequence[Any]) -> Record | None:
        owner, fields = reply
        record = self._found(secret, fields)
        return None if record is None else msgspec.structs.replace(record, owner=owner.decode())

    def _records(self, reply: Sequence[Sequence[bytes]]) -> Sequence[Record]:
        return [record for each in reply if (record := self._readable(each)) is not None]

    def _readable(self, reply: Sequence[bytes]) -> Record | None:
        """One that cannot be read keeps nobody from taking up the others."""
        try:
            return self._record(reply)
        except (ValueError, TypeError, LookupError) as error:
            _log.warning("Nobody takes up a connection whose record in the engine cannot be read: %s", error)
            return None

    def _turnout(self, channel: str, reply: Sequence[Any]) -> Turnout | None:
        if not reply:
            return None
        count, version, member = reply
        return Turnout(count, version, self._seal.take("member", channel, member))

    def _present(self, channel: str, reply: Sequence[Any]) -> JsonBytes:
        count, following, members = reply
        more = b',"next":%d' % int(following) if int(following) else b""
        return b'{"count":%d,"members":[%b]%b}' % (count, b",".join(self._members(channel, members)), more)

    def _members(self, channel: str, members: Sequence[bytes]) -> Iterator[bytes]:
        for member in members:
            try:
                yield self._seal.take("member", channel, member)
            except ValueError as error:
                _log.warning("Somebody is said to be present whom no node has seen: %s", error)


def _nothing(_: Reply) -> None:
    """There is nothing to know."""


def _pairs(reply: Sequence[bytes]) -> dict[str, bytes]:
    return {name.decode(): value for name, value in zip(reply[::2], reply[1::2], strict=True)}
