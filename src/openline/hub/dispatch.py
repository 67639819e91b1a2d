"""Takes what clients ask and has it carried out, one command of a connection after the other."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

import msgspec

from openline.accelerator import native
from openline.errors import CommandError, ErrorCode
from openline.hub.answers import Answers
from openline.hub.connection import Connection, State
from openline.hub.hub import Hub
from openline.hub.opening import Opening
from openline.hub.outcome import Outcome
from openline.hub.ports import Wire
from openline.hub.requests import Requests, connected_already
from openline.hub.turns import Turns
from openline.model import JsonBytes
from openline.protocol.channel_name import INTERNAL
from openline.protocol.commands import Command, Misfit, Word
from openline.protocol.socketio import DEFAULT

__all__ = ["Dispatch"]

_encode: Final = msgspec.json.Encoder().encode
_ANSWERS: Final = frozenset((Word.REPLY, Word.ERROR, Word.PONG))
# As globals: a lookup through the enum costs more than the comparison, once per command.
_OPENING, _LIVE, _ENDED = State.OPENING, State.LIVE, State.ENDED


class Dispatch:
    """The commands of every connection of the hub, in order."""

    def __init__(self, hub: Hub, facts: Mapping[str, object]) -> None:
        """``facts`` are told to every client that connects, beside what concerns its connection."""
        self._hub = hub
        self._answers = Answers(hub.tick)
        self._turns = Turns(hub, self._carry_out)
        self._opening = Opening(hub, self._answers, facts, self._turns.go_on)
        self._requests = Requests(hub)
        self._to_wire = hub.tick.to_wire
        self._answer_event: Callable[[bytes, Connection], Any] | None = None
        if native is not None:
            self._answer_event = partial(native.answer_event, hub.application.plain, _encode)

    def receive(self, wire: Wire, command: Command) -> None:
        """Carry out ``command``: now, or behind those that came before.

        Answers to asks are taken out of turn, so that a handler may await one.
        """
        connection = wire.connection
        if connection is None or connection.stage is _ENDED:
            return
        word = command.type[0] == INTERNAL
        if word and command.type in _ANSWERS:
            self._take_answer(connection, command)
        elif connection.busy:
            self._turns.wait(connection, wire, command)
        elif word or connection.stage is _OPENING:
            self._carry_out(connection, wire, command)
        else:
            self._perform(connection, wire, command)

    def answer_at_once(self, wire: Wire, message: bytes) -> bool:
        """Carry out a text message where it is a plain event, in its turn, and has a handler to be called at once.

        This is a short way to what :meth:`receive` does with it; false where it cannot be gone, and nothing was done.
        ``wire`` takes whole WebSocket frames of the JSON protocol.
        """
        connection = wire.connection
        if connection is None or connection.stage is not _LIVE or connection.busy or self._answer_event is None:
            return False
        # One of Socket.IO's may have been taken up again by this door.
        if connection.namespace != DEFAULT:
            return False
        connection.busy = 1
        answer = self._answer_event(message, connection)
        if answer is None:
            connection.busy = 0
            return False
        if answer.__class__ is bytes:
            if connection.wire is wire:
                self._to_wire(wire, answer)
            self._turns.let_go(connection)
        else:
            type, number, result, error = answer
            answer = self._hub.application.concluded(type, result, error)
            self._conclude(connection, wire, Command(type=type, id=number), answer)
        return True

    def receive_all(self, wire: Wire, commands: Sequence[Command]) -> None:
        """Carry out the commands of one message; what stands behind a ``$connect`` is refused where that is."""
        connection, first, along = wire.connection, commands[0], list(commands[1:])
        begins = connection is not None and connection.stage is _OPENING and not connection.busy
        if connection is not None and begins and first.type == Word.CONNECT:
            self._turns.run(connection, self._open(connection, wire, first, along))
            commands = along
        elif first.type == Word.CONNECT:
            commands = [first, *_misfits(along, connected_already())]
        elif begins and isinstance(first, Misfit):
            # It may have been meant for one.
            commands = [first, *_misfits(along, first.error)]
        for command in commands:
            self.receive(wire, command)

    def connect_silently(self, connection: Connection) -> None:
        """The client has said nothing: it is nobody, or whoever its request says."""
        wire = connection.wire
        if wire is not None and connection.stage is State.OPENING and not connection.busy:
            self._turns.run(connection, self._begin(connection, wire))

    def enter(self, wire: Wire, channel: str) -> None:
        """Connect the client of ``wire`` and put it into ``channel``: a raw client cannot ask for it."""
        connection = wire.connection
        if connection is not None:
            self._turns.run(connection, self._begin(connection, wire, channel))

    def _take_answer(self, connection: Connection, command: Command) -> None:
        if command.type == Word.REPLY:
            self._hub.answered(connection, command.id, command.payload, binary=command.binary)
        elif command.type == Word.ERROR:
            error = CommandError(command.code or ErrorCode.FAILED, command.message or "")
            self._hub.answered(connection, command.id, error)

    # -- one command

    async def _begin(self, connection: Connection, wire: Wire, channel: str | None = None) -> None:
        try:
            await self._opening.connect_silently(connection)
            if channel is not None and connection.alive:
                await self._opening.enter(connection, channel)
        except Exception as error:
            self._answers.refuse(wire, connection, None, self._answers.explain(error, connection, Word.CONNECT))

    def _carry_out(self, connection: Connection, wire: Wire, command: Command) -> None:
        if isinstance(command, Misfit):
            if connection.wire is wire:
                self._answers.refuse_all(wire, [command], command.error)
        elif connection.stage is _OPENING:
            self._turns.run(connection, self._open(connection, wire, command, []))
        elif command.type == Word.PING:
            self._answers.pong(wire, connection, command.id)
        else:
            self._perform(connection, wire, command)

    async def _open(self, connection: Connection, wire: Wire, command: Command, along: list[Command]) -> None:
        """Carry out the first command: ``$connect``, or any other of a client that is nobody.

        What came ``along`` with a ``$connect`` waits for it, and is refused, and gone, where it lets nobody in.
        """
        try:
            if command.type == Word.CONNECT:
                await self._opening.connect(connection, command, along)
                return
            await self._opening.connect_silently(connection)
        except Exception as error:
            reason = self._answers.explain(error, connection, command.type)
            self._answers.refuse(wire, connection, command.id, reason, along)
            along.clear()
            return
        if connection.stage is not State.OPENING and connection.alive:
            self._carry_out(connection, wire, command)

    def _perform(self, connection: Connection, wire: Wire, command: Command) -> None:
        connection.busy += 1
        if command.channel is None and command.key is None and command.type[0] != INTERNAL:
            answer = self._hub.application.event(connection, command)
        else:
            answer = self._requests.perform(connection, command)
        self._conclude(connection, wire, command, answer)

    def _conclude(
        self, connection: Connection, wire: Wire, command: Command, answer: JsonBytes | Outcome[JsonBytes]
    ) -> None:
        if isinstance(answer, bytes):
            if command.id is not None and connection.wire is wire:
                self._to_wire(wire, wire.codec.reply(command.id, answer))
            self._turns.let_go(connection)
        elif answer.done:
            self._answer(connection, wire, command, answer)
            self._turns.let_go(connection)
        else:
            answer.then(partial(self._performed, connection, wire, command))

    def _performed(self, connection: Connection, wire: Wire, command: Command, answer: Outcome[JsonBytes]) -> None:
        self._answer(connection, wire, command, answer)
        self._turns.go_on(connection)

    def _answer(self, connection: Connection, wire: Wire, command: Command, answer: Outcome[JsonBytes]) -> None:
        try:
            self._answers.reply(wire, connection, command.id, answer.result())
        except Exception as error:
            self._answers.refuse(wire, connection, command.id, self._answers.explain(error, connection, command.type))


def _misfits(commands: Sequence[Command], error: CommandError) -> list[Command]:
    """``commands`` as what is told ``error`` in its turn instead of being carried out."""
    return [Misfit(type=Word.MISFIT, id=each.id, error=error, size=each.size) for each in commands]
