"""How a client comes in: as somebody new, as nobody, or as the connection that it was before."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec

from openline.errors import CloseCode, CommandError, ErrorCode
from openline.hub.answers import Answers
from openline.hub.connection import Connection
from openline.hub.hub import Hub
from openline.hub.outbox import gaps
from openline.hub.policy import Action
from openline.hub.ports import Wire
from openline.hub.resume import Resumption
from openline.model import JsonBytes, Position
from openline.protocol.channel_name import INTERNAL
from openline.protocol.commands import Command

__all__ = ["Opening"]

_encode: Final = msgspec.json.Encoder().encode


class Opening:
    """Carries out ``$connect``, and what stands for it where a client does not say it."""

    def __init__(
        self, hub: Hub, answers: Answers, facts: Mapping[str, object], go_on: Callable[[Connection], None]
    ) -> None:
        """``go_on`` lets a connection carry out the commands that waited while it was taken up again."""
        self._hub = hub
        self._answers = answers
        self._facts: Mapping[str, object] = {"window": hub.settings.window_seconds, **facts}
        # What everybody new is told, in front of the end of its object.
        self._same: JsonBytes = b',"resumed":false,' + _encode(self._facts)[1:-1]
        self._go_on = go_on

    async def connect_silently(self, connection: Connection) -> None:
        """Let ``connection`` in as whoever its request says."""
        wire = connection.wire
        if wire is None or wire.request is None:
            return
        await self._hub.lifecycle.admit(connection, wire.request.token, wire.request)
        wire.request = None
        await self._welcome(connection)

    async def enter(self, connection: Connection, channel: str) -> None:
        """Put a raw client into ``channel``; raises ``forbidden`` where it may neither read nor write."""
        options = self._hub.policy.options(channel)
        if await self._hub.policy.allows(options, connection, channel, Action.SUBSCRIBE):
            await self._hub.membership.join(connection, channel, options)
        elif not await self._hub.policy.allows(options, connection, channel, Action.PUBLISH):
            raise CommandError(ErrorCode.FORBIDDEN, "You may neither read nor write here.")

    async def connect(self, newcomer: Connection, command: Command, along: Sequence[Command]) -> None:
        """Carry out ``$connect``: take a connection up again, or let a new one in.

        What came ``along`` is refused where the application does not welcome it.
        """
        wire = newcomer.wire
        if wire is None or wire.request is None:
            return
        token = wire.request.token if command.token is None else command.token
        since = None if command.since is None else Position.parse(command.since)
        lifecycle = self._hub.lifecycle
        resumption = None
        if command.resume is not None:
            resumption = await lifecycle.take_up(newcomer, command.resume, token, wire.request)
        if resumption is not None:
            wire.request = None
            await self._replay(resumption, wire, since, command)
            return
        await lifecycle.admit(newcomer, token, wire.request, resumable=True)
        wire.request = None
        self._answers.reply(wire, newcomer, command.id, self._first_greeting(newcomer))
        await self._welcome(newcomer, along)

    async def _welcome(self, connection: Connection, along: Sequence[Command] = ()) -> None:
        try:
            self._hub.early.say(connection)
            connected = self._hub.application.connected(connection)
            if not connected.done:
                await connected.step()
            connected.result()
        except Exception as error:
            reason = self._answers.explain(error, connection, "connect")
            ours = reason.code == ErrorCode.FAILED
            if connection.wire is not None:
                self._hub.tick.to_wire(connection.wire, connection.wire.codec.error(None, reason))
                # As its close says, whom we failed may come back, and ask again.
                told = CommandError(reason.code, reason.message, field=reason.field, retry=reason.retry or ours)
                self._answers.refuse_all(connection.wire, along, told)
            otherwise = CloseCode.TRY_LATER if reason.retry else CloseCode.FORBIDDEN
            code = CloseCode.INTERNAL_ERROR if ours else otherwise
            self._hub.lifecycle.end(connection, "disconnected", code=code, message=reason.message)

    async def _replay(self, resumption: Resumption, wire: Wire, since: Position | None, command: Command) -> None:
        connection = resumption.connection
        try:
            await resumption.prepare(since)
            # A line that broke meanwhile hears no new secret: the one it brought stays good.
            if resumption.current:
                self._answers.reply(
                    wire, connection, command.id, self._greeting(connection, resumption, command.resume)
                )
                for gap in gaps(wire.codec, self._hub.lifecycle.take_losses(connection)):
                    self._hub.tick.to_wire(wire, gap)
                await resumption.replay()
        except Exception as error:
            reason = self._answers.explain(error, connection, "connect")
            resumption.abandon(CloseCode.TRY_LATER if reason.retry else CloseCode.INTERNAL_ERROR, reason.message)
        finally:
            self._go_on(connection)

    def _first_greeting(self, connection: Connection) -> JsonBytes:
        """What somebody new is told; ids, secrets and positions need no escapes."""
        user = b"" if connection.user is None else b',"user":' + _encode(connection.user.id)
        secret, position = connection.resume[0], self._hub.broker.position
        own = f'{{"connection":"{connection.id}","resume":"{secret}","position":"{position}"'
        return b"%b%b%b}" % (own.encode(), self._same, user)

    def _greeting(self, connection: Connection, resumption: Resumption, secret: str | None) -> JsonBytes:
        """What somebody is told who is back."""
        lost = resumption.lost
        said: dict[str, object] = {
            "connection": connection.id,
            "resume": self._hub.lifecycle.renew_secret(connection, secret),
            "position": str(resumption.position),
            "resumed": True,
            **self._facts,
            "recovered": not any(name.startswith(INTERNAL) for name in lost),
            "subscriptions": [{"channel": name, "recovered": name not in lost} for name in connection.channels],
        }
        if connection.user is not None:
            said["user"] = connection.user.id
        return _encode(said)
