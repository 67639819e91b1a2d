"""Carries out what clients ask, one command of a connection after the other, and answers."""

import logging
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any, Final

import msgspec

from openline.errors import BrokerError, CloseCode, CommandError, ErrorCode
from openline.hub.connection import Connection, State
from openline.hub.hub import Hub
from openline.hub.outcome import Outcome, drive
from openline.hub.policy import Action
from openline.hub.ports import Wire
from openline.hub.resume import Resumption
from openline.model import JsonBytes, Page, Position, Publication
from openline.protocol.channel_name import INTERNAL, check_channel
from openline.protocol.commands import Command, Word
from openline.protocol.json_codec import JsonCodec, push_json

__all__ = ["Dispatch"]

_REMEMBERED_ANSWERS: Final = 256
_HISTORY_LIMIT: Final = 100
_MAX_HISTORY: Final = 1000
_CLOSES: Final = {
    ErrorCode.UNAUTHORIZED: CloseCode.UNAUTHORIZED,
    ErrorCode.FAILED: CloseCode.INTERNAL_ERROR,
    ErrorCode.UNAVAILABLE: CloseCode.TRY_LATER,
}
_encode: Final = msgspec.json.Encoder().encode
_log = logging.getLogger("openline")


class Dispatch:
    """Takes the commands of every connection of the hub; replies leave through the connection's own codec."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._words: dict[str, Callable[[Connection, Command], Awaitable[JsonBytes]]] = {
            Word.CONNECT: self._connect_again,
            Word.SUBSCRIBE: self._subscribe,
            Word.UNSUBSCRIBE: self._unsubscribe,
            Word.HISTORY: self._history,
            Word.PRESENCE: self._presence,
        }

    # -- order

    def receive(self, wire: Wire, command: Command) -> None:
        """Carry out ``command``: now, or behind those that came before. Answers to asks are taken out of turn, so that a handler may await one."""
        connection = wire.connection
        if connection is None or connection.stage is State.ENDED:
            return
        if command.type in (Word.REPLY, Word.ERROR, Word.PONG):
            self._take_answer(connection, command)
        elif connection.busy:
            self._wait(connection, command)
        else:
            self._run(connection, self._carry_out(connection, command))

    def _wait(self, connection: Connection, command: Command) -> None:
        if connection.backlog is None:
            connection.backlog = deque()
        connection.backlog.append(command)
        connection.backlog_bytes += command.size
        if connection.backlog_bytes > self._hub.settings.backlog_bytes and connection.wire is not None:
            connection.wire.hold_reading(held=True)

    def _run(self, connection: Connection, steps: Coroutine[Outcome[Any], None, None]) -> None:
        connection.busy += 1
        outcome = drive(steps)
        if outcome.done:
            connection.busy -= 1
            outcome.result()
        else:
            outcome.then(partial(self._go_on, connection))

    def _go_on(self, connection: Connection, outcome: Outcome[None] | None = None) -> None:
        """One command is through: run those that waited behind it."""
        connection.busy -= 1
        if outcome is not None:
            outcome.result()
        while connection.backlog and not connection.busy:
            command = connection.backlog.popleft()
            connection.backlog_bytes -= command.size
            if connection.backlog_bytes <= self._hub.settings.backlog_bytes // 2 and connection.wire is not None:
                connection.wire.hold_reading(held=False)
            if not connection.backlog:
                connection.backlog = None
            self._run(connection, self._carry_out(connection, command))

    def _take_answer(self, connection: Connection, command: Command) -> None:
        if command.type == Word.REPLY:
            self._hub.answered(connection, command.id, command.payload)
        elif command.type == Word.ERROR:
            error = CommandError(command.code or ErrorCode.FAILED, command.message or "")
            self._hub.answered(connection, command.id, error)

    # -- one command

    async def _carry_out(self, connection: Connection, command: Command) -> None:
        try:
            if connection.stage is State.OPENING:
                if command.type == Word.CONNECT:
                    await self._connect(connection, command)
                    return
                await self._connect_silently(connection)
            if command.type == Word.PING:
                self._pong(connection, command)
                return
            self._answer(connection, command, await self._perform(connection, command))
        except Exception as error:  # noqa: BLE001  every failure has an answer; see explain
            self._refuse(connection, command, explain(error, connection, command.type))

    async def _perform(self, connection: Connection, command: Command) -> JsonBytes:
        word = self._words.get(command.type)
        if word is not None:
            return await word(connection, command)
        if command.type.startswith(INTERNAL):
            raise CommandError(ErrorCode.UNKNOWN_TYPE, f"This server does not know {command.type}.", field="type")
        if command.channel is not None:
            return await self._publish(connection, command, command.channel)
        return await self._event(connection, command)

    def _answer(self, connection: Connection, command: Command, payload: JsonBytes) -> None:
        if command.id is not None and connection.wire is not None:
            self._hub.tick.to_wire(connection.wire, connection.wire.codec.reply(command.id, payload))

    def _refuse(self, connection: Connection, command: Command, error: CommandError) -> None:
        wire = connection.wire
        if wire is None:
            return
        told = wire.codec.error(command.id, error)
        self._hub.tick.to_wire(wire, told)
        # Who is not in yet stays out, and who cannot be told otherwise is told by the close.
        if connection.stage is State.OPENING or not told:
            wire.close(_CLOSES.get(error.code, CloseCode.FORBIDDEN), error.message)

    def _pong(self, connection: Connection, command: Command) -> None:
        wire = connection.wire
        if wire is not None and isinstance(wire.codec, JsonCodec):
            self._hub.tick.to_wire(wire, wire.codec.bare(Word.PONG, command.id))

    # -- beginning

    def connect_silently(self, wire: Wire) -> None:
        """The client has said nothing: it is nobody, or whoever its request says."""
        connection = wire.connection
        if connection is not None and connection.stage is State.OPENING and not connection.busy:
            self._run(connection, self._begin(connection))

    def enter(self, wire: Wire, channel: str) -> None:
        """Connect the client of ``wire`` and put it into ``channel``: the whole life of a raw client, which cannot ask."""
        connection = wire.connection
        if connection is not None:
            self._run(connection, self._begin(connection, channel))

    async def _begin(self, connection: Connection, channel: str | None = None) -> None:
        try:
            await self._connect_silently(connection)
            if channel is not None:
                await self._enter(connection, channel)
        except Exception as error:  # noqa: BLE001  every failure has an answer; see explain
            self._refuse(connection, Command(type=Word.CONNECT), explain(error, connection, "connect"))

    async def _enter(self, connection: Connection, channel: str) -> None:
        options = self._hub.policy.options(channel)
        if await self._hub.policy.allows(options, connection, channel, Action.SUBSCRIBE):
            await self._hub.membership.join(connection, channel, options)
        elif not await self._hub.policy.allows(options, connection, channel, Action.PUBLISH):
            raise CommandError(ErrorCode.FORBIDDEN, "You may neither read nor write here.")

    async def _connect_silently(self, connection: Connection) -> None:
        wire = connection.wire
        if wire is None or wire.request is None:
            return
        await self._hub.lifecycle.admit(connection, wire.request.token, wire.request)
        wire.request = None
        await self._welcome(connection)

    async def _connect(self, newcomer: Connection, command: Command) -> None:
        wire = newcomer.wire
        if wire is None or wire.request is None:
            return
        token = wire.request.token if command.token is None else command.token
        since = None if command.since is None else Position.parse(command.since)
        lifecycle = self._hub.lifecycle
        resumption = None
        if command.resume is not None:
            resumption = await lifecycle.take_up(newcomer, command.resume, since, token, wire.request)
        if resumption is not None:
            wire.request = None
            await self._replay(resumption, command)
            return
        await lifecycle.admit(newcomer, token, wire.request)
        wire.request = None
        self._answer(newcomer, command, self._greeting(newcomer, None))
        await self._welcome(newcomer)

    async def _welcome(self, connection: Connection) -> None:
        try:
            await self._hub.application.connected(connection).step()
        except Exception as error:  # noqa: BLE001  every failure has an answer; see explain
            reason = explain(error, connection, "connect")
            if connection.wire is not None:
                self._hub.tick.to_wire(connection.wire, connection.wire.codec.error(None, reason))
            internal = reason.code == ErrorCode.FAILED
            self._hub.lifecycle.end(
                connection,
                "disconnected",
                code=CloseCode.INTERNAL_ERROR if internal else CloseCode.FORBIDDEN,
                message=reason.message,
            )

    async def _replay(self, resumption: Resumption, command: Command) -> None:
        connection = resumption.connection
        try:
            self._answer(connection, command, self._greeting(connection, resumption))
            await resumption.replay()
        finally:
            self._go_on(connection)

    def _greeting(self, connection: Connection, resumption: Resumption | None) -> JsonBytes:
        settings = self._hub.settings
        said: dict[str, object] = {
            "connection": connection.id,
            "resume": self._hub.lifecycle.make_resumable(connection),
            "window": settings.window_seconds,
            "position": str(self._hub.broker.position if resumption is None else resumption.start),
            "resumed": resumption is not None,
            "ping": settings.ping_every_seconds,
            "limits": {"message": settings.max_message_bytes},
        }
        if connection.user is not None:
            said["user"] = connection.user.id
        if resumption is not None:
            lost = resumption.lost
            said["recovered"] = not any(name.startswith(INTERNAL) for name in lost)
            said["subscriptions"] = [{"channel": name, "recovered": name not in lost} for name in connection.channels]
        return _encode(said)

    async def _connect_again(self, connection: Connection, command: Command) -> JsonBytes:  # noqa: ARG002
        raise CommandError(ErrorCode.ALREADY_CONNECTED, "$connect is the first command, once.")

    # -- channels

    async def _subscribe(self, connection: Connection, command: Command) -> JsonBytes:
        name, hub = self._channel(command), self._hub
        since = None if command.since is None else Position.parse(command.since)
        options = await hub.policy.demand(connection, name, Action.SUBSCRIBE)
        if command.presence and options.presence is not None:
            await hub.policy.demand(connection, name, Action.SEE_PRESENCE)
        if name not in connection.subscriptions and len(connection.subscriptions) > hub.settings.max_subscriptions:
            raise CommandError(ErrorCode.TOO_MANY, f"A connection has {hub.settings.max_subscriptions} subscriptions at most.")
        sees = await hub.policy.allows(options, connection, name, Action.SEE_HISTORY)
        newest = 1 if options.last_value and since is None else 0
        joined = await hub.membership.join(
            connection,
            name,
            options,
            after=since if sees else None,
            last=max(newest, (command.last or 0) if sees else 0),
            presence=command.presence and options.presence is not None,
        )
        parts = [b'{"channel":"%b","position":"%b","publications":' % (name.encode(), str(hub.broker.position).encode())]
        parts.append(_list(joined.publications))
        if since is not None:
            parts.append(b',"recovered":' + _boolean(joined.complete and sees))
        if joined.more:
            parts.append(b',"more":true')
        elif command.presence:
            parts.append(b',"presence":' + self._members(name, options.presence.limit if options.presence else 0))
        parts.append(b"}")
        return b"".join(parts)

    def _channel(self, command: Command) -> str:
        if command.channel is None:
            raise CommandError(ErrorCode.BAD_FIELD, "`channel` is missing.", field="channel")
        return check_channel(command.channel)

    def _members(self, name: str, limit: int) -> JsonBytes:
        channel = self._hub.membership.get(name)
        return b'{"count":0,"members":[]}' if channel is None else channel.members.as_json(limit)

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
        read = self._hub.broker.read
        page: Page = await read(name, after=since, before=before, limit=limit).step()
        recovered = b"" if since is None else b',"recovered":' + _boolean(page.complete)
        seen = [p for p in page.publications if connection.id not in p.exclude]
        return b'{"publications":%b,"position":"%b","more":%b%b}' % (
            _list(seen),
            str(self._hub.broker.position).encode(),
            _boolean(page.more),
            recovered,
        )

    async def _presence(self, connection: Connection, command: Command) -> JsonBytes:
        name = self._channel(command)
        options = await self._hub.policy.demand(connection, name, Action.SEE_PRESENCE)
        return self._members(name, 0 if options.presence is None else options.presence.limit)

    # -- publications and events

    async def _publish(self, connection: Connection, command: Command, channel: str) -> JsonBytes:
        await self._hub.policy.demand(connection, channel, Action.PUBLISH)
        if self._hub.application.handles(command.type, channel):
            return await self._event(connection, command)
        position = await self._hub.publish(
            channel,
            command.type,
            command.payload,
            binary=command.binary,
            sender=connection,
            exclude=() if command.echo else (connection.id,),
            volatile=command.volatile,
            key=command.key,
        ).step()
        return b"{}" if position is None else b'{"position":"%b"}' % str(position).encode()

    async def _event(self, connection: Connection, command: Command) -> JsonBytes:
        answered = connection.answered
        if command.key is not None and answered is not None and command.key in answered:
            first = answered[command.key]
            if isinstance(first, CommandError):
                raise first
            return first
        try:
            payload = await self._hub.application.event(connection, command).step()
        except CommandError as error:
            self._remember(connection, command, error)
            raise
        self._remember(connection, command, payload)
        return payload

    def _remember(self, connection: Connection, command: Command, answer: JsonBytes | CommandError) -> None:
        if command.key is None or (isinstance(answer, CommandError) and answer.retry):
            return
        if connection.answered is None:
            connection.answered = {}
        connection.answered[command.key] = answer
        if len(connection.answered) > _REMEMBERED_ANSWERS:
            del connection.answered[next(iter(connection.answered))]


def explain(error: Exception, connection: Connection, event: str) -> CommandError:
    """What a client is told of a failure: a refusal as it is, the engine's trouble as temporary, anything else without internals, logged once."""
    if isinstance(error, CommandError):
        return error
    if isinstance(error, BrokerError):
        return CommandError(ErrorCode.UNAVAILABLE, "The engine did not answer; the outcome is unknown.", retry=True)
    _log.error("The handler of %r failed for connection %s", event, connection.id, exc_info=error)
    return CommandError(ErrorCode.FAILED, "The server failed to handle this.")


def _list(publications: "list[Publication]") -> JsonBytes:
    return b"[%b]" % b",".join(map(push_json, publications))


def _boolean(value: bool) -> bytes:  # noqa: FBT001
    return b"true" if value else b"false"


