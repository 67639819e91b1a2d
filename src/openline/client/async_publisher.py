"""The publisher for code outside the server that runs on asyncio."""

import asyncio
import ssl as tls
from collections.abc import Iterable
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx

from openline.client import calls
from openline.client.api_server import DEFAULT_URL, ApiServer, answer_of, broken
from openline.client.calls import Call, Channels, Published
from openline.client.events import History, Presence
from openline.client.tries import Done

__all__ = ["AsyncPublisher"]

T = TypeVar("T")


class AsyncPublisher:
    """As :class:`~openline.client.publisher.Publisher`, awaited; it belongs to the event loop that first uses it.

    Cancelled before the answer came, a call may or may not have been carried out.
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
        """See :class:`~openline.client.publisher.Publisher`."""
        self._server = ApiServer(url, key, timeout, patience, ssl)
        self._closed = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._http: httpx.AsyncClient | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._server.url}>"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close its connections; nothing can be asked any more."""
        self._closed = True
        if self._http is not None:
            await self._http.aclose()

    def _client(self) -> httpx.AsyncClient:
        if self._closed:
            raise RuntimeError("the publisher is closed; make another one")
        loop = asyncio.get_running_loop()
        if self._http is None:
            self._loop, self._http = loop, httpx.AsyncClient(**self._server.options)
        if self._loop is not loop:
            raise RuntimeError("the publisher belongs to another event loop; make one for each, or use Publisher")
        return self._http

    async def _perform(self, call: Call[T]) -> T:
        tries, request = self._server.tries(call), self._server.request(call)
        while True:
            client = self._client()
            try:
                answer = answer_of(await client.request(**request))
            except httpx.HTTPError as error:
                outcome: Done[T] | float = broken(tries, error)
            else:
                outcome = tries.answered(answer)
            if isinstance(outcome, Done):
                return outcome.value
            await asyncio.sleep(outcome)

    async def publish(
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
        """See :meth:`~openline.client.publisher.Publisher.publish`."""
        return await self._perform(
            calls.publish(channel, type, payload, exclude=exclude, volatile=volatile, key=key, subject=subject)
        )

    async def publish_many(
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
        """See :meth:`~openline.client.publisher.Publisher.publish_many`."""
        return await self._perform(
            calls.publish_many(channels, type, payload, exclude=exclude, volatile=volatile, key=key, subject=subject)
        )

    async def publish_to_user(
        self, user: str, type: str, payload: Any = None, *, exclude: Iterable[str] = (), key: str | None = None
    ) -> str | None:
        """See :meth:`~openline.client.publisher.Publisher.publish_to_user`."""
        return await self._perform(calls.publish_to_user(user, type, payload, exclude=exclude, key=key))

    async def broadcast(
        self, type: str, payload: Any = None, *, exclude: Iterable[str] = (), key: str | None = None
    ) -> str | None:
        """See :meth:`~openline.client.publisher.Publisher.broadcast`."""
        return await self._perform(calls.broadcast(type, payload, exclude=exclude, key=key))

    async def history(
        self, channel: str, *, limit: int | None = None, before: str | None = None, since: str | None = None
    ) -> History:
        """See :meth:`~openline.client.publisher.Publisher.history`."""
        return await self._perform(calls.history(channel, limit=limit, before=before, since=since))

    async def presence(self, channel: str, *, limit: int | None = None, after: int | None = None) -> Presence:
        """See :meth:`~openline.client.publisher.Publisher.presence`."""
        return await self._perform(calls.presence(channel, limit=limit, after=after))

    async def channels(self, pattern: str = "*", *, limit: int | None = None, after: str | None = None) -> Channels:
        """See :meth:`~openline.client.publisher.Publisher.channels`."""
        return await self._perform(calls.channels(pattern, limit=limit, after=after))

    async def disconnect_user(self, user: str, reason: str = "") -> int:
        """See :meth:`~openline.client.publisher.Publisher.disconnect_user`."""
        return await self._perform(calls.put_in_order("disconnect-user", user=user, reason=reason))

    async def disconnect_connection(self, connection: str, reason: str = "") -> int:
        """See :meth:`~openline.client.publisher.Publisher.disconnect_connection`."""
        return await self._perform(calls.put_in_order("disconnect-connection", connection=connection, reason=reason))

    async def unsubscribe_user(self, user: str, channel: str) -> int:
        """See :meth:`~openline.client.publisher.Publisher.unsubscribe_user`."""
        return await self._perform(calls.put_in_order("unsubscribe-user", user=user, channel=channel))

    async def unsubscribe_connection(self, connection: str, channel: str) -> int:
        """See :meth:`~openline.client.publisher.Publisher.unsubscribe_connection`."""
        return await self._perform(calls.put_in_order("unsubscribe-connection", connection=connection, channel=channel))
