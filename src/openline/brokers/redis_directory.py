"""The directory in Redis: each of its steps is a script, and all of a node's are asked over its one link, in order."""

import logging
import secrets
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

import msgspec

from openline.brokers import redis_directory_script as scripts
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

    ``lease`` and ``silence``, in seconds, are the same for all nodes.
    """

    def __init__(self, link: Link, *, lease: float = LEASE_SECONDS, silence: float = SILENCE_SECONDS) -> None:
        self._link = link
        self._times = int(lease * 1000), int(silence * 1000)
        self._node = ""
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
        """Whoever asked has been told."""

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
        return self._beat(address)

    def beat(self) -> Outcome[Beat]:
        """See :class:`~openline.hub.ports.Directory`."""
        return self._beat()

    def _beat(self, *address: str) -> Outcome[Beat]:
        return self._run(scripts.BEAT, _beat, *self._times, secrets.token_hex(4), *address)

    def leave(self) -> Outcome[None]:
        """See :class:`~openline.hub.ports.Directory`."""
        return self._run(scripts.LEAVE, _nothing)

    # -- connections

    def put(self, record: Record) -> Outcome[bool]:
        """See :class:`~openline.hub.ports.Directory`."""
        rest = _encode(msgspec.structs.replace(record, subscriptions={}, secrets=(), owner="", fence=0))
        places = [part for name, place in record.subscriptions.items() for part in (f"s:{name}", _encode(place))]
        return self._run(scripts.PUT, bool, record.id, rest, " ".join(record.secrets), *places)

    def subscribed(self, connection_id: str, channel: str, place: Place) -> Outcome[None]:
        """See :class:`~openline.hub.ports.Directory`."""
        return self._run(scripts.SUBSCRIBED, _nothing, connection_id, channel, _encode(place))

    def unsubscribed(self, connection_id: str, channel: str) -> Outcome[None]:
        """See :class:`~openline.hub.ports.Directory`."""
        return self._run(scripts.UNSUBSCRIBED, _nothing, connection_id, channel)

    def keep(self, connection_id: str, secrets: Sequence[str]) -> Outcome[None]:
        """See :class:`~openline.hub.ports.Directory`."""
        return self._run(scripts.KEEP, _nothing, connection_id, " ".join(secrets))

    def find(self, secret: str) -> Outcome[Record | None]:
        """See :class:`~openline.hub.ports.Directory`."""
        return self._run(scripts.FIND, _record, secret)

    def claim(self, connection_id: str, secret: str) -> Outcome[Record | None]:
        """See :class:`~openline.hub.ports.Directory`."""
        return self._run(scripts.CLAIM, _claimed, connection_id, secret)

    def adopt(self, node: str, limit: int) -> Outcome[Sequence[Record]]:
        """See :class:`~openline.hub.ports.Directory`."""
        return self._run(scripts.ADOPT, _records, node, limit)

    def end(self, connection_id: str, era: str | None = None) -> Outcome[bool]:
        """See :class:`~openline.hub.ports.Directory`."""
        return self._run(scripts.END, bool, connection_id, *(() if era is None else (era,)))

    def forget(self, connection_id: str) -> Outcome[None]:
        """See :class:`~openline.hub.ports.Directory`."""
        return self._run(scripts.FORGET, _nothing, connection_id)

    # -- presence

    def enter(self, channel: str, connection_id: str, member: JsonBytes) -> Outcome[Turnout | None]:
        """See :class:`~openline.hub.ports.Directory`."""
        return self._run(scripts.ENTER, _turnout, channel, connection_id, member)

    def exit(self, channel: str, connection_id: str) -> Outcome[Turnout | None]:
        """See :class:`~openline.hub.ports.Directory`."""
        return self._run(scripts.EXIT, _turnout, channel, connection_id)

    def present(self, channel: str, limit: int, after: int) -> Outcome[JsonBytes]:
        """See :class:`~openline.hub.ports.Directory`."""
        return self._run(scripts.PRESENT, _present, channel, limit, after)

    def count(self, channels: Sequence[str]) -> Outcome[Sequence[int]]:
        """See :class:`~openline.hub.ports.Directory`."""
        return self._run(scripts.COUNT, list[int], *channels)


def _nothing(_: Reply) -> None:
    """There is nothing to know."""


def _pairs(reply: Sequence[bytes]) -> dict[str, bytes]:
    return {name.decode(): value for name, value in zip(reply[::2], reply[1::2], strict=True)}


def _beat(reply: Sequence[Any]) -> Beat:
    held, era, nodes, gone = reply
    addresses = {name: address.decode() for name, address in _pairs(nodes).items()}
    fates: dict[str, Fate] = {name: "left" if fate == b"left" else "lost" for name, fate in _pairs(gone).items()}
    return Beat(bool(held), era.decode(), addresses, fates)


def _record(reply: Sequence[bytes]) -> Record | None:
    fields = _pairs(reply)
    if not fields:
        return None
    places = {name[2:]: _read_place(place) for name, place in fields.items() if name.startswith("s:")}
    return msgspec.structs.replace(
        _read_record(fields["r"]),
        owner=fields["o"].decode(),
        fence=int(fields["f"]),
        secrets=tuple(fields["k"].decode().split()),
        subscriptions=places,
    )


def _claimed(reply: Sequence[Any]) -> Record | None:
    owner, fields = reply
    record = _record(fields)
    return None if record is None else msgspec.structs.replace(record, owner=owner.decode())


def _records(reply: Sequence[Sequence[bytes]]) -> Sequence[Record]:
    return [record for each in reply if (record := _readable(each)) is not None]


def _readable(reply: Sequence[bytes]) -> Record | None:
    """One that cannot be read keeps nobody from taking up the others."""
    try:
        return _record(reply)
    except (ValueError, TypeError, LookupError) as error:
        _log.warning("Nobody takes up a connection whose record in the engine cannot be read: %s", error)
        return None


def _turnout(reply: Sequence[Any]) -> Turnout | None:
    return Turnout(*reply) if reply else None


def _present(reply: Sequence[Any]) -> JsonBytes:
    count, following, members = reply
    more = b',"next":%d' % int(following) if int(following) else b""
    return b'{"count":%d,"members":[%b]%b}' % (count, b",".join(members), more)
