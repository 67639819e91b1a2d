"""The publisher for code outside the server: it publishes, looks and puts in order over the backend API."""

import os
import ssl as tls
import threading
import time
from collections.abc import Iterable
from types import TracebackType
from typing import Any, Final, Self, TypeVar
from weakref import WeakSet

import httpx

from openline.client import calls
from openline.client.api_server import DEFAULT_URL, ApiServer, answer_of, broken
from openline.client.calls import Call, Channels, Published
from openline.client.events import History, Presence
from openline.client.tries import Done

__all__ = ["Publisher"]

T = TypeVar("T")


class Publisher:
    """Asks the server at ``url``; for scripts, Django, Celery, and whatever else waits for its answers.

    Threads may share one, and forked processes may use the one of their parent. It keeps its connections open until
    :meth:`close`, which leaving it as a context manager does, too.
    """

    def __init__(
        self,
        url: str = DEFAULT_URL,
        *,
        key: str,
        timeout: float = 10.0,
        patience: float = 10.0,
        ssl: tls.SSLContext | None = None,
    ) -> None:
        """``url`` without a path means ``/api/v1`` there; ``key`` is one of the server's API keys.

        One try is given up after ``timeout`` seconds in which nothing comes. What may pass, such as a server that
        restarts, is tried again until ``patience`` seconds are over (0: one try); a publication goes with the same key
        every time and so happens once. ``ssl`` is for https, where the system's certificates will not do.

        Every method raises :class:`~openline.errors.CommandError` with what the server says against it, and
        :class:`~openline.client.tries.UnansweredError` where none answered. Raises
        :class:`~openline.errors.SettingsError`.
        """
        self._server = ApiServer(url, key, timeout, patience, ssl)
        self._closed = False
        self._begin()
        _alive.add(self)

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._http: httpx.Client | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._server.url}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close its connections; nothing can be asked any more."""
        with self._lock:
            self._closed = True
            if self._http is not None:
                self._http.close()

    def _client(self) -> httpx.Client:
        with self._lock:
            if self._closed:
                raise RuntimeError("the publisher is closed; make another one")
            if self._http is None:
                self._http = httpx.Client(**self._server.options)
            return self._http

    def _perform(self, call: Call[T]) -> T:
        tries, request = self._server.tries(call), self._server.request(call)
        while True:
            client = self._client()
            try:
                answer = answer_of(client.request(**request))
            except httpx.HTTPError as error:
                outcome: Done[T] | float = broken(tries, error)
            else:
                outcome = tries.answered(answer)
            if isinstance(outcome, Done):
                return outcome.value
            time.sleep(outcome)

    def publish(
        self,
        channel: str,
        type: str,
        payload: Any = None,
        *,
        exclude: Iterable[str] = (),
        volatile: bool = False,
        key: str | None = None,
        subject: str = "",
    ) -> str | None:
        """Publish into ``channel``; returns the position, None for a volatile publication.

        ``payload`` is what JSON can hold, or bytes. ``exclude`` names connections by id that do not get it. ``key`` is
        made up unless given: the same one within five minutes is the same publication. A ``volatile`` one is not
        repeated once it may have arrived. ``subject`` says of what it is news.
        """
        return self._perform(
            calls.publish(channel, type, payload, exclude=exclude, volatile=volatile, key=key, subject=subject)
        )

    def publish_many(
        self,
        channels: Iterable[str],
        type: str,
        payload: Any = None,
        *,
        exclude: Iterable[str] = (),
        volatile: bool = False,
        key: str | None = None,
        subject: str = "",
    ) -> list[Published]:
        """Publish the same into up to 1 000 channels; returns what came of each, in order.

        A channel's failure is its ``error`` and not raised. Otherwise as :meth:`publish`.
        """
        return self._perform(
            calls.publish_many(channels, type, payload, exclude=exclude, volatile=volatile, key=key, subject=subject)
        )

    def publish_to_user(
        self, user: str, type: str, payload: Any = None, *, exclude: Iterable[str] = (), key: str | None = None
    ) -> str | None:
        """Send an event to all connections of the user with this id; otherwise as :meth:`publish`."""
        return self._perform(calls.publish_to_user(user, type, payload, exclude=exclude, key=key))

    def broadcast(
        self, type: str, payload: Any = None, *, exclude: Iterable[str] = (), key: str | None = None
    ) -> str | None:
        """Send an event to everybody who is connected; otherwise as :meth:`publish`."""
        return self._perform(calls.broadcast(type, payload, exclude=exclude, key=key))

    def history(
        self, channel: str, *, limit: int | None = None, before: str | None = None, since: str | None = None
    ) -> History:
        """Read what was said in ``channel``: the newest, or what stands ``before`` or behind (``since``) a position.

        100 unless told, 1 000 at most, oldest first.
        """
        return self._perform(calls.history(channel, limit=limit, before=before, since=since))

    def presence(self, channel: str, *, limit: int | None = None, after: int | None = None) -> Presence:
        """Ask who is in ``channel``: an exact count, and a page of members behind ``after``, the ``next`` before.

        100 unless told, 1 000 at most; 0 for the count alone.
        """
        return self._perform(calls.presence(channel, limit=limit, after=after))

    def channels(self, pattern: str = "*", *, limit: int | None = None, after: str | None = None) -> Channels:
        """List the channels that somebody is in, by name, behind ``after``, the ``next`` of the page before."""
        return self._perform(calls.channels(pattern, limit=limit, after=after))

    def disconnect_user(self, user: str, reason: str = "") -> int:
        """End all connections of a user, for good, its waiting polls and its tickets; returns how many connections."""
        return self._perform(calls.put_in_order("disconnect-user", user=user, reason=reason))

    def disconnect_connection(self, connection: str, reason: str = "") -> int:
        """End one connection, for good; returns how many there were."""
        return self._perform(calls.put_in_order("disconnect-connection", connection=connection, reason=reason))

    def unsubscribe_user(self, user: str, channel: str) -> int:
        """Take all connections of a user out of ``channel``; returns how many were in."""
        return self._perform(calls.put_in_order("unsubscribe-user", user=user, channel=channel))

    def unsubscribe_connection(self, connection: str, channel: str) -> int:
        """Take one connection out of ``channel``; returns how many were in."""
        return self._perform(calls.put_in_order("unsubscribe-connection", connection=connection, channel=channel))


_alive: Final[WeakSet[Publisher]] = WeakSet()


def _begin_anew() -> None:
    """In a forked process: the connections are the parent's, and so may be who holds the lock."""
    for publisher in tuple(_alive):
        publisher._begin()  # pyright: ignore[reportPrivateUsage]


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)
