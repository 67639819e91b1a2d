"""What nodes send each other through an engine: sealed, versioned, and believed only once it has been checked."""

import hmac
import logging
import time
from collections.abc import Callable
from typing import Final

import msgspec

from openline.errors import CommandError
from openline.model import Publication
from openline.protocol.channel_name import check_event
from openline.protocol.strict_json import check_json

__all__ = ["MAX_ENVELOPE", "Envelopes", "Poison", "PoisonCount", "Seal"]

#: Bytes of one envelope.
MAX_ENVELOPE: Final = 32 * 1024 * 1024

#: The first byte: the version, and whether a signature follows.
_PLAIN: Final = b"\x01"
_SIGNED: Final = b"\x81"
_SIGNATURE_BYTES: Final = 32
_BINARY: Final = 1
_SPREAD: Final = 2
_QUIET_SECONDS: Final = 60.0

_log = logging.getLogger("openline")


class Poison(Exception):  # noqa: N818  what came in, not what failed
    """Something came through the engine that no node of this cluster and version has sent."""


class _Body(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Later versions may add fields at the end: who does not know them passes over them."""

    type: str
    payload: bytes
    flags: int = 0
    sender: bytes | None = None
    exclude: tuple[str, ...] = ()
    ask: str | None = None
    subject: str = ""
    attachments: tuple[bytes, ...] = ()
    exclude_channels: tuple[str, ...] = ()


_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(_Body).decode
_read_json: Final = msgspec.json.Decoder(msgspec.Raw).decode


class Seal:
    """What nodes keep in the engine for each other, signed for its place with their ``key``; as it is without one."""

    def __init__(self, key: str = "") -> None:
        self._key = key.encode()

    def put(self, kind: str, name: str, data: bytes) -> bytes:
        """``data`` as it may stand at the place ``name`` of its ``kind``."""
        return self._sign(kind, name, data) + data if self._key else data

    def take(self, kind: str, name: str, sealed: bytes) -> bytes:
        """What was put there; raises :class:`ValueError` for what no node of this cluster has put."""
        if not self._key:
            return sealed
        data = sealed[_SIGNATURE_BYTES:]
        if not hmac.compare_digest(sealed[:_SIGNATURE_BYTES], self._sign(kind, name, data)):
            raise ValueError(f"the {kind} of {name} is not signed with this cluster's key")
        return data

    def _sign(self, kind: str, name: str, data: bytes) -> bytes:
        # No channel has a space in its name: no envelope is signed alike.
        return hmac.digest(self._key, b"%b %b\0%b" % (kind.encode(), name.encode(), data), "sha256")


class Envelopes:
    """Seals and opens with the ``key`` that all nodes of a cluster share.

    Without one nothing is signed; then what comes in is checked as if a client had sent it.
    """

    def __init__(self, key: str = "") -> None:
        self._key = key.encode()

    def seal(self, publication: Publication) -> bytes:
        """Everything of ``publication`` but its channel and its place; raises :class:`UnicodeEncodeError`."""
        flags = (_BINARY if publication.binary else 0) | (_SPREAD if publication.spread else 0)
        body = _encode(
            _Body(
                publication.type,
                publication.payload,
                flags,
                publication.sender,
                tuple(publication.exclude),
                publication.ask,
                publication.subject,
                publication.attachments,
                tuple(publication.exclude_channels),
            )
        )
        return _SIGNED + self._sign(publication.channel, body) + body if self._key else _PLAIN + body

    def open(self, channel: str, data: bytes, *, epoch: str = "", stamp: int = 0, previous: int = 0) -> Publication:
        """What was sealed for ``channel``, at its place; raises :class:`Poison`."""
        body = self._checked(channel, data)
        try:
            found = _decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise Poison(f"it cannot be read: {error}") from None
        if not self._key:
            _check(found)
        return Publication(
            channel,
            found.type,
            found.payload,
            binary=bool(found.flags & _BINARY),
            epoch=epoch,
            stamp=stamp,
            previous=previous,
            sender=found.sender,
            exclude=frozenset(found.exclude),
            ask=found.ask,
            subject=found.subject,
            spread=bool(found.flags & _SPREAD),
            attachments=found.attachments,
            exclude_channels=frozenset(found.exclude_channels),
        )

    def _checked(self, channel: str, data: bytes) -> bytes:
        if len(data) > MAX_ENVELOPE:
            raise Poison(f"{len(data)} bytes are too many")
        kind = data[:1]
        if kind == _SIGNED:
            if not self._key:
                raise Poison("it is signed, and this node has no cluster key")
            body = data[1 + _SIGNATURE_BYTES :]
            if not hmac.compare_digest(data[1 : 1 + _SIGNATURE_BYTES], self._sign(channel, body)):
                raise Poison("its signature is not made with this cluster's key")
            return body
        if kind != _PLAIN:
            raise Poison("it is no envelope of a version that this node knows")
        if self._key:
            raise Poison("it is not signed")
        return data[1:]

    def _sign(self, channel: str, body: bytes) -> bytes:
        return hmac.digest(self._key, b"%b\0%b" % (channel.encode(), body), "sha256")


def _check(body: _Body) -> None:
    """Nobody vouches for it: no client may be given what it cannot read."""
    try:
        check_event(body.type)
        if not body.flags & _BINARY:
            _check_text(body.payload)
        if body.sender is not None:
            _check_text(body.sender)
    except (CommandError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Poison(f"it is not for clients: {error}") from None


def _check_text(data: bytes) -> None:
    data.decode()
    _read_json(data)
    check_json(data)


class PoisonCount:
    """Counts what was dropped, and logs it: the first at once, then one line a minute at most."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self.count = 0
        self._now = now
        self._told = 0
        self._quiet_until = -1.0

    def add(self, where: str, why: object) -> None:
        """One more was dropped."""
        self.count += 1
        if self._now() >= self._quiet_until:
            _log.warning(
                "Dropped %d messages from the engine that no node has sent, the last in %.200r: %s",
                self.count - self._told,
                where,
                why,
            )
            self._told = self.count
            self._quiet_until = self._now() + _QUIET_SECONDS
