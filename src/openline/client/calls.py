"""What may be asked of a server's backend API, as requests, and what is made of the answers."""

import secrets
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar
from urllib.parse import urlsplit, urlunsplit

import msgspec

from openline.client.events import History, Presence
from openline.client.frames import Frame, answer_of, history_of, wrap, write
from openline.errors import CommandError, SettingsError
from openline.protocol.channel_name import check_event

__all__ = ["Call", "ChannelState", "Channels", "Published", "address_of"]

T = TypeVar("T")
#: Where the API is, unless the program has moved it.
_ROOT: Final = "/api/v1"


class ChannelState(msgspec.Struct, frozen=True):
    """A channel that somebody is in: how many subscriptions, and how many present where it has presence."""

    channel: str
    subscriptions: int
    present: int


class Channels(msgspec.Struct, frozen=True):
    """A page of channels by name; ``next`` is the ``after`` of the next one."""

    channels: list[ChannelState]
    next: str | None = None


@dataclass(frozen=True, slots=True)
class Published:
    """What came of one channel: its ``position``, None for a volatile publication; or the ``error`` that it met."""

    channel: str
    position: str | None = None
    error: CommandError | None = None


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """One request: a GET with a ``query``, or a POST with a ``body``.

    ``read`` makes a value of a good answer's body, and ``again`` says of one that the same request may bring a better
    one. With ``repeatable`` it does no harm twice: it has a ``key``, or it is one of those that change nothing more.
    """

    name: str
    read: Callable[[bytes], T]
    query: Mapping[str, str] | None = None
    body: bytes | None = None
    key: str | None = None
    repeatable: bool = True
    again: Callable[[T], bool] = lambda _: False


def address_of(url: str) -> str:
    """Where the API is that ``url`` means: without a path at ``/api/v1``.

    Raises :class:`SettingsError`.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise SettingsError("url", f"{url!r} is no address: {error}") from None
    if parts.scheme not in ("http", "https") or not host or parts.username is not None or parts.query:
        raise SettingsError("url", f"{url!r} is no address of a server; write http://127.0.0.1:8000")
    return urlunsplit((parts.scheme, parts.netloc, parts.path.rstrip("/") or _ROOT, "", ""))


# -- publishing


def publish(
    channel: str, type: str, payload: Any, *, exclude: Iterable[str], volatile: bool, key: str | None, subject: str
) -> "Call[str | None]":
    """See :meth:`~openline.client.publisher.Publisher.publish`."""
    said = {**_event(type, payload, exclude), "channel": channel, "subject": subject or None}
    return _keyed("publish", said, _position, key, volatile=volatile)


def publish_many(
    channels: Iterable[str],
    type: str,
    payload: Any,
    *,
    exclude: Iterable[str],
    volatile: bool,
    key: str | None,
    subject: str,
) -> Call[list[Published]]:
    """See :meth:`~openline.client.publisher.Publisher.publish_many`."""
    said = {**_event(type, payload, exclude), "channels": list(channels), "subject": subject or None}
    return _keyed("publish-many", said, _outcomes, key, volatile=volatile, again=_may_be_repeated)


def publish_to_user(
    user: str, type: str, payload: Any, *, exclude: Iterable[str], key: str | None
) -> "Call[str | None]":
    """See :meth:`~openline.client.publisher.Publisher.publish_to_user`."""
    return _keyed("publish-to-user", {**_event(type, payload, exclude), "user": user}, _position, key)


def broadcast(type: str, payload: Any, *, exclude: Iterable[str], key: str | None) -> "Call[str | None]":
    """See :meth:`~openline.client.publisher.Publisher.broadcast`."""
    return _keyed("broadcast", _event(type, payload, exclude), _position, key)


def _event(type: str, payload: Any, exclude: Iterable[str]) -> dict[str, Any]:
    return {"type": check_event(type), **wrap(payload), "exclude": list(exclude) or None}


def _keyed(
    name: str,
    said: dict[str, Any],
    read: Callable[[bytes], T],
    key: str | None,
    *,
    volatile: bool = False,
    again: Callable[[T], bool] = lambda _: False,
) -> Call[T]:
    """A publication. Of what is volatile no server remembers a key."""
    if volatile:
        said["volatile"] = True
    elif key is None:
        key = secrets.token_urlsafe(16)
    body = write({**said, "key": key})
    return Call(name, read, body=body, key=key, repeatable=not volatile, again=again if not volatile else _never)


def _never(_: object) -> bool:
    return False


class _PublishedReply(msgspec.Struct, frozen=True):
    position: str | None = None


class _Failure(msgspec.Struct, frozen=True):
    code: str
    message: str = ""
    retry: bool = False


class _OutcomeReply(msgspec.Struct, frozen=True):
    channel: str
    position: str | None = None
    error: _Failure | None = None


class _OutcomesReply(msgspec.Struct, frozen=True):
    outcomes: list[_OutcomeReply]


def _position(body: bytes) -> str | None:
    return answer_of(msgspec.Raw(body), _PublishedReply).position


def _outcomes(body: bytes) -> list[Published]:
    said = answer_of(msgspec.Raw(body), _OutcomesReply).outcomes
    return [Published(each.channel, each.position, _error(each.error)) for each in said]


def _error(said: _Failure | None) -> CommandError | None:
    return None if said is None else CommandError(said.code, said.message, retry=said.retry)


def _may_be_repeated(outcomes: list[Published]) -> bool:
    return any(outcome.error is not None and outcome.error.retry for outcome in outcomes)


# -- looking


def history(channel: str, *, limit: int | None, before: str | None, since: str | None) -> Call[History]:
    """See :meth:`~openline.client.publisher.Publisher.history`."""
    query = _query(channel=channel, limit=limit, before=before, since=since)
    return Call("history", lambda body: history_of(Frame("$history", payload=msgspec.Raw(body))), query=query)


def presence(channel: str, *, limit: int | None, after: int | None) -> Call[Presence]:
    """See :meth:`~openline.client.publisher.Publisher.presence`."""
    query = _query(channel=channel, limit=limit, after=after)
    return Call("presence", lambda body: answer_of(msgspec.Raw(body), Presence), query=query)


def channels(pattern: str, *, limit: int | None, after: str | None) -> Call[Channels]:
    """See :meth:`~openline.client.publisher.Publisher.channels`."""
    query = _query(pattern=pattern, limit=limit, after=after)
    return Call("channels", lambda body: answer_of(msgspec.Raw(body), Channels), query=query)


def _query(**said: str | int | None) -> dict[str, str]:
    return {name: str(value) for name, value in said.items() if value is not None}


# -- putting in order


class _EndedReply(msgspec.Struct, frozen=True):
    connections: int


def put_in_order(name: str, **said: str) -> Call[int]:
    """An operation that ends something, and counts the connections that it concerned."""
    return Call(name, lambda body: answer_of(msgspec.Raw(body), _EndedReply).connections, body=write(dict(said)))
