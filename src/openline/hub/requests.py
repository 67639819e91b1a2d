"""What a client may ask of the hub once it is in: channels, their history and presence, publications, events."""

from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final

from openline.errors import BrokerError, CommandError, ErrorCode, our_failure
from openline.hub.connection import Connection
from openline.hub.hub import Hub
from openline.hub.outcome import Outcome, drive
from openline.hub.policy import Action
from openline.model import JsonBytes, Page, Position, Publication
from openline.protocol.channel_name import INTERNAL, check_channel
from openline.protocol.commands import Command, Word
from openline.protocol.json_codec import push_json

__all__ = ["Requests", "said"]

_REMEMBERED_ANSWERS: Final = 256
_REMEMBERED_BYTES: Final = 524_288
_HISTORY_LIMIT: Final = 100
_MAX_HISTORY: Final = 1000


_Steps = Coroutine[Outcome[Any], None, JsonBytes]


def connected_already() -> CommandError:
    """What a ``$connect`` is told that comes twice, or too late."""
    return CommandError(ErrorCode.ALREADY_CONNECTED, "$connect is the first command, once.")


class Requests:
    """Performs one command; the payload of its reply comes out, or what it is refused with."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._words: dict[str, Callable[[Connection, Command], _Steps]] = {
            Word.CONNECT: self._connect_again,
            Word.SUBSCRIBE: self._subscribe,
            Word.UNSUBSCRIBE: self._unsubscribe,
            Word.HISTORY: self._history,
            Word.PRESENCE: self._presence,
        }

    def perform(self, connection: Connection, command: Command) -> JsonBytes | Outcome[JsonBytes]:
        """Perform ``command``, at once where nothing has to be waited for; the payload itself, where it is there.

        An outcome fails with :class:`CommandError`, :class:`~openline.errors.BrokerError`, or what the application
        raised.
        """
        channel = command.channel
        if command.type[0] == INTERNAL:
            return drive(self._words.get(command.type, self._unknown)(connection, command))
        try:
            if channel is None:
                return self._event(connection, command)
            if self._hub.policy.opens(channel, Action.PUBLISH):
                return self._publish(connection, command, channel)
        except Exception as error:
            return Outcome.failed(error)
        return drive(self._publish_if_allowed(connection, command, channel))

    async def _unknown(self, connection: Connection, command: Command) -> JsonBytes:
        raise CommandError(ErrorCode.UNKNOWN_TYPE, f"This server does not know {command.type}.", field="type")

    async def _connect_again(self, connection: Connection, command: Command) -> JsonBytes:
        raise connected_already()

    # -- channels

    async def _subscribe(self, connection: Connection, command: Command) -> JsonBytes:
        name, hub = self._channel(command), self._hub
        since = None if command.since is None else Position.parse(command.since)
        options, mark = hub.policy.options(name), hub.revocations.number
        if options.subscribe is not True:
            await hub.policy.demand(connection, name, Action.SUBSCRIBE)
        if command.presence and options.presence is not None:
            await hub.policy.demand(connection, name, Action.SEE_PRESENCE)
        if name not in connection.subscriptions and len(connection.subscriptions) > hub.settings.max_subscriptions:
            raise CommandError(
                ErrorCode.TOO_MANY, f"A connection has {hub.settings.max_subscriptions} subscriptions at most."
            )
        sees = options.see_history is True or await hub.policy.allows(options, connection, name, Action.SEE_HISTORY)
        if hub.revocations.came(connection.user, mark, name):
            raise CommandError(ErrorCode.FORBIDDEN, "The application has taken this user out of the channel just now.")
        newest = 1 if options.last_value and since is None else 0
        joined = await hub.membership.join(
            connection,
            name,
            options,
            after=since if sees else None,
            last=max(newest, (command.last or 0) if sees else 0),
            presence=command.presence and options.presence is not None,
        )
        position = str(joined.end or hub.broker.position).encode()
        parts = [b'{"channel":"%b","position":"%b","publications":' % (name.encode(), position)]
        parts.append(_list(joined.publications))
        if since is not None:
            parts.append(b',"recovered":' + _boolean(joined.complete and sees))
        if joined.end is not None:
            parts.append(b',"more":true')
        elif command.presence:
            parts.append(b',"presence":' + await self._members(name, options.presence.limit if options.presence else 0))
        parts.append(b"}")
        return b"".join(parts)

    def _channel(self, command: Command) -> str:
        if command.channel is None:
            raise CommandError(ErrorCode.BAD_FIELD, "`channel` is missing.", field="channel")
        return check_channel(command.channel)

    async def _members(self, name: str, limit: int, after: int = 0) -> JsonBytes:
        if self._hub.cluster is not None:
            return await self._hub.cluster.attendance.present(name, limit, after).step()
        channel = self._hub.membership.get(name)
        return b'{"count":0,"members":[]}' if channel is None else channel.members.as_json(limit, after)

    async def _unsubscribe(self, connection: Connection, command: Command) -> JsonBytes:
        subscription = connection.subscriptions.get(self._channel(command))
        if subscription is not None:
            self._hub.membership.leave(subscription, "unsubscribed")
        return b"{}"

    async def _history(self, connection: Connection, command: Command) -> JsonBytes:
        name = self._channel(command)
        since = None if command.since is None else Position.parse(command.since)
        before = None if command.before is None else Position.parse(command.before)
        await self._hub.policy.demand(connection, name, Action.SEE_HISTORY)
        limit = _HISTORY_LIMIT if command.limit is None else min(command.limit, _MAX_HISTORY)
        page = await self._read_seen(name, connection, since, before, limit)
        recovered = b"" if since is None else b',"recovered":' + _boolean(page.complete)
        return b'{"publications":%b,"position":"%b","more":%b%b}' % (
            _list(page.publications),
            str(self._hub.broker.position).encode(),
            _boolean(page.more),
            recovered,
        )

    async def _read_seen(
        self, name: str, connection: Connection, since: Position | None, before: Position | None, limit: int
    ) -> Page:
        """A page less what excludes ``connection``; where nothing is left of it, the next one, to go on from."""
        while True:
            page = await self._hub.broker.read(name, after=since, before=before, limit=limit).step()
            seen = tuple(p for p in page.publications if not connection.is_excluded(p))
            if seen or not page.more or not page.publications:
                return Page(seen, page.complete, page.more)
            if since is not None:
                since = page.publications[-1].position
            else:
                before = page.publications[0].position

    async def _presence(self, connection: Connection, command: Command) -> JsonBytes:
        name = self._channel(command)
        options = await self._hub.policy.demand(connection, name, Action.SEE_PRESENCE)
        limit = 0 if options.presence is None else options.presence.limit
        return await self._members(
            name, limit if command.limit is None else min(limit, command.limit), command.after or 0
        )

    # -- publications and events

    async def _publish_if_allowed(self, connection: Connection, command: Command, channel: str) -> JsonBytes:
        await self._hub.policy.demand(connection, channel, Action.PUBLISH)
        return await said(self._publish(connection, command, channel))

    def _publish(self, connection: Connection, command: Command, channel: str) -> JsonBytes | Outcome[JsonBytes]:
        if self._hub.application.handles(command.type, channel):
            return self._event(connection, command)
        published = self._hub.publish(
            channel,
            command.type,
            command.payload,
            binary=command.binary,
            sender=connection,
            exclude=() if command.echo else (connection.id,),
            volatile=command.volatile,
            key=None if command.key is None else _key_of(connection, command.key),
        )
        if not published.done:
            return drive(_told_later(published))
        position = published.result()
        return _told(position) if command.id is not None else b""

    def _event(self, connection: Connection, command: Command) -> JsonBytes | Outcome[JsonBytes]:
        """Have the application handle an event; one whose key is known has its first answer, or raises that."""
        if command.key is None:
            return self._hub.application.event(connection, command)
        answered = connection.answered
        if answered is not None and command.key in answered:
            first = answered[command.key]
            if isinstance(first, CommandError):
                raise first
            return first
        answer = self._hub.application.event(connection, command)
        if not isinstance(answer, bytes):
            return drive(self._remembered(connection, command, answer))
        self._remember(connection, command, answer)
        return answer

    async def _remembered(self, connection: Connection, command: Command, answer: Outcome[JsonBytes]) -> JsonBytes:
        try:
            payload = await answer.step()
        except CommandError as error:
            self._remember(connection, command, error)
            raise
        except BrokerError:
            raise
        except Exception:
            # Whatever it did before it failed, it did: a repeat is not a second try.
            self._remember(connection, command, our_failure())
            raise
        self._remember(connection, command, payload)
        return payload

    def _remember(self, connection: Connection, command: Command, answer: JsonBytes | CommandError) -> None:
        if command.key is None or (isinstance(answer, CommandError) and answer.retry):
            return
        if connection.answered is None:
            connection.answered = {}
        answered = connection.answered
        answered[command.key] = answer
        connection.answered_bytes += _cost(answer)
        while len(answered) > _REMEMBERED_ANSWERS or connection.answered_bytes > _REMEMBERED_BYTES:
            connection.answered_bytes -= _cost(answered.pop(next(iter(answered))))


def _key_of(connection: Connection, key: str) -> str:
    """``key`` as the engine knows it: each user's keys are their own, those without a user share theirs.

    A user's id holds no line feed, and neither do the application's own keys.
    """
    return f"{'' if connection.user is None else connection.user.id}\n{key}"


async def said(answer: JsonBytes | Outcome[JsonBytes]) -> JsonBytes:
    """The answer itself, for coroutines that :func:`~openline.hub.outcome.drive` runs."""
    return answer if isinstance(answer, bytes) else await answer.step()


async def _told_later(published: Outcome[Position | None]) -> JsonBytes:
    return _told(await published.step())


def _told(position: Position | None) -> JsonBytes:
    return b"{}" if position is None else b'{"position":"%b"}' % str(position).encode()


def _cost(answer: JsonBytes | CommandError) -> int:
    return 256 + (len(answer) if isinstance(answer, bytes) else len(answer.message))


def _list(publications: Sequence[Publication]) -> JsonBytes:
    return b"[%b]" % b",".join(map(push_json, publications))


def _boolean(value: bool) -> bytes:  # noqa: FBT001
    return b"true" if value else b"false"
