"""What a client is told of its commands: the answer, or the refusal, through the codec of its line."""

import logging
from collections.abc import Mapping, Sequence
from typing import Final

from openline.errors import BrokerError, CloseCode, CommandError, ErrorCode, told_of
from openline.hub.connection import Connection, State
from openline.hub.ports import Wire
from openline.hub.tick import Tick
from openline.model import JsonBytes
from openline.protocol.commands import Command, CommandId

__all__ = ["Answers"]

_CLOSES: Final[Mapping[str, CloseCode]] = {
    ErrorCode.UNAUTHORIZED: CloseCode.UNAUTHORIZED,
    ErrorCode.FAILED: CloseCode.INTERNAL_ERROR,
    ErrorCode.UNAVAILABLE: CloseCode.TRY_LATER,
}
#: Mistakes in `$connect` itself: it may be said again.
_STAY: Final = (ErrorCode.BAD_POSITION,)
_log = logging.getLogger("openline")


class Answers:
    """Queues answers in the tick, so that each stands where it was made."""

    def __init__(self, tick: Tick) -> None:
        self._tick = tick

    def reply(self, wire: Wire, connection: Connection, command_id: CommandId | None, payload: JsonBytes) -> None:
        """Answer a command on the line that it came on; nothing where no answer is wanted or the line has gone."""
        if command_id is not None and connection.wire is wire:
            self._tick.to_wire(wire, wire.codec.reply(command_id, payload))

    def pong(self, wire: Wire, connection: Connection, command_id: CommandId | None) -> None:
        """Answer a client's ping."""
        if connection.wire is wire:
            self._tick.to_wire(wire, wire.codec.pong(command_id))

    def refuse(
        self,
        wire: Wire,
        connection: Connection,
        command_id: CommandId | None,
        error: CommandError,
        along: Sequence[Command] = (),
    ) -> None:
        """Refuse a command on the line that it came on, and what came ``along`` with it.

        Who is not in yet stays out, and who cannot be told otherwise is told by the close.
        """
        if connection.wire is not wire:
            return
        told = wire.codec.error(command_id, error)
        self._tick.to_wire(wire, told)
        self.refuse_all(wire, along, error)
        if (connection.stage is State.OPENING and error.code not in _STAY) or not told:
            otherwise = CloseCode.TRY_LATER if error.retry else CloseCode.FORBIDDEN
            wire.close(_CLOSES.get(error.code, otherwise), error.message)

    def refuse_all(self, wire: Wire, commands: Sequence[Command], error: CommandError) -> None:
        """Refuse commands, and nothing else: each is told ``error``."""
        for command in commands:
            self._tick.to_wire(wire, wire.codec.error(command.id, error))

    def explain(self, error: Exception, connection: Connection, event: str) -> CommandError:
        """As :func:`told_of`; what is neither a refusal nor the engine's trouble is logged, once."""
        if not isinstance(error, CommandError | BrokerError):
            _log.error("The handler of %r failed for connection %s", event, connection.id, exc_info=error)
        return told_of(error)
