"""What the application asks from outside the server, over the backend API: it may do everything, and is nobody."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import msgspec

from openline.errors import BrokerError, CommandError, ErrorCode
from openline.hub.hub import Hub
from openline.hub.outcome import Outcome
from openline.hub.payload import MAX_PAYLOAD_BYTES, Payload
from openline.hub.presence import Members
from openline.model import JsonBytes, Publication
from openline.model import Position as Place
from openline.protocol import api
from openline.protocol.channel_name import check_channel
from openline.protocol.json_codec import push_json, read_payload

__all__ = ["Backend"]

_NOBODY: Final = Members()
_read_told: Final = msgspec.json.Decoder(api.Told).decode
_read_presence: Final = msgspec.json.Decoder(api.PresencePage).decode
_UNKNOWN: Final = "The engine did not answer; the outcome is unknown."


class Backend:
    """Performs the operations of the backend API; its coroutines are for :func:`~openline.hub.outcome.drive`."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._performers: Mapping[type[msgspec.Struct], Callable[[Any], Awaitable[msgspec.Struct]]] = {
            api.Publish: self._publish,
            api.PublishMany: self._publish_many,
            api.PublishToUser: self._publish_to_user,
            api.Broadcast: self._broadcast,
            api.HistoryQuery: self._history,
            api.PresenceQuery: self._presence,
            api.ChannelQuery: self._channels,
            api.DisconnectUser: self._disconnect_user,
            api.DisconnectConnection: self._disconnect_connection,
            api.UnsubscribeUser: self._unsubscribe_user,
            api.UnsubscribeConnection: self._unsubscribe_connection,
        }

    async def perform(self, request: msgspec.Struct) -> msgspec.Struct:
        """The answer to a request of one of ``api.OPERATIONS``.

        Raises :class:`CommandError`, :class:`~openline.errors.BrokerError`.
        """
        return await self._performers[type(request)](request)

    # -- publishing

    async def _publish(self, said: api.Publish) -> api.Published:
        data, binary = _payload(said)
        return _published(await self._into(said.channel, said, data, binary=binary).step())

    async def _publish_many(self, said: api.PublishMany) -> api.PublishedMany:
        data, binary = _payload(said)
        # All are on their way before the first is waited for.
        outcomes = [(name, self._checked_into(name, said, data, binary=binary)) for name in said.channels]
        return api.PublishedMany([await _told_of(name, outcome) for name, outcome in outcomes])

    def _checked_into(
        self, channel: str, said: api.PublishMany, data: JsonBytes, *, binary: bool
    ) -> Outcome[Place | None]:
        try:
            return self._into(check_channel(channel), said, data, binary=binary)
        except CommandError as error:
            return Outcome.failed(error)

    def _into(
        self, channel: str, said: api.Publish | api.PublishMany, data: JsonBytes, *, binary: bool
    ) -> Outcome[Place | None]:
        return self._hub.publish(
            channel,
            said.type,
            data,
            binary=binary,
            exclude=said.exclude,
            volatile=said.volatile,
            key=said.key or None,
            subject=said.subject,
        )

    async def _publish_to_user(self, said: api.PublishToUser) -> api.Published:
        return await self._directly(f"$user:{said.user}", said)

    async def _broadcast(self, said: api.Broadcast) -> api.Published:
        return await self._directly("$all", said)

    async def _directly(self, address: str, said: api.PublishToUser | api.Broadcast) -> api.Published:
        payload = Payload(*_payload(said))
        outcome = self._hub.publish_directly(address, said.type, payload, exclude=said.exclude, key=said.key or None)
        return _published(await outcome.step())

    # -- looking

    async def _history(self, query: api.HistoryQuery) -> api.HistoryPage:
        since = Place.parse(query.since) if query.since else None
        before = Place.parse(query.before) if query.before else None
        broker = self._hub.broker
        page = await broker.read(query.channel, after=since, before=before, limit=query.limit).step()
        kept = [p for p in page.publications if since is None or before is None or _is_ahead(p, before)]
        return api.HistoryPage(
            publications=[_read_told(push_json(publication)) for publication in kept],
            position=str(broker.position),
            more=page.more and len(kept) == len(page.publications),
            recovered=msgspec.UNSET if since is None else page.complete,
        )

    async def _presence(self, query: api.PresenceQuery) -> api.PresencePage:
        hub = self._hub
        reach = await hub.everywhere.reach(query.channel).step()
        if hub.cluster is None:
            channel = hub.membership.get(query.channel)
            members = (_NOBODY if channel is None else channel.members).as_json(query.limit, query.after)
        else:
            members = await hub.cluster.attendance.present(query.channel, query.limit, query.after).step()
        return msgspec.structs.replace(_read_presence(members), subscriptions=reach.connections)

    async def _channels(self, query: api.ChannelQuery) -> api.ChannelList:
        found = await self._hub.everywhere.channels(query.pattern, query.after, query.limit + 1).step()
        states = [api.ChannelState(channel=name, subscriptions=n, present=m) for name, (n, m) in found.items()]
        shown = states[: query.limit]
        return api.ChannelList(channels=shown, next=shown[-1].channel if len(states) > query.limit else msgspec.UNSET)

    # -- putting in order

    async def _disconnect_user(self, said: api.DisconnectUser) -> api.Ended:
        return api.Ended(await self._hub.everywhere.disconnect(user=said.user, reason=said.reason).step())

    async def _disconnect_connection(self, said: api.DisconnectConnection) -> api.Ended:
        ended = self._hub.everywhere.disconnect(connection=said.connection, reason=said.reason)
        return api.Ended(await ended.step())

    async def _unsubscribe_user(self, said: api.UnsubscribeUser) -> api.Ended:
        return api.Ended(await self._hub.everywhere.unsubscribe(said.channel, user=said.user).step())

    async def _unsubscribe_connection(self, said: api.UnsubscribeConnection) -> api.Ended:
        return api.Ended(await self._hub.everywhere.unsubscribe(said.channel, connection=said.connection).step())


_Event = api.Publish | api.PublishMany | api.PublishToUser | api.Broadcast


def _payload(said: _Event) -> tuple[JsonBytes, bool]:
    """The payload as it travels, and whether it is plain bytes; raises :class:`CommandError` beyond the limits."""
    data, binary = read_payload(said.payload or msgspec.Raw(), said.encoding or None)
    if len(data) > MAX_PAYLOAD_BYTES:
        raise CommandError(ErrorCode.TOO_LARGE, f"A payload has {MAX_PAYLOAD_BYTES} bytes at most.", field="payload")
    return data, binary


def _published(position: Place | None) -> api.Published:
    return api.Published(position=msgspec.UNSET if position is None else str(position))


async def _told_of(channel: str, outcome: Outcome[Place | None]) -> api.PublishedIn:
    try:
        position = await outcome.step()
    except CommandError as error:
        failure = api.Failure(code=error.code, message=error.message, retry=error.retry)
    except BrokerError:
        failure = api.Failure(code=ErrorCode.UNAVAILABLE, message=_UNKNOWN, retry=True)
    else:
        return api.PublishedIn(channel=channel, position=_published(position).position)
    return api.PublishedIn(channel=channel, error=failure)


def _is_ahead(publication: Publication, before: Place) -> bool:
    return publication.epoch == before.epoch and publication.stamp < before.stamp
