"""The Socket.IO door: its codecs, its sessions, and the events of its clients on their way to the application."""

import logging
from collections.abc import Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any, Final, cast
from weakref import WeakValueDictionary

from openline.errors import CommandError, ErrorCode
from openline.hub.answers import Answers
from openline.hub.connection import Connection, State
from openline.hub.hub import Hub
from openline.hub.outcome import Outcome
from openline.hub.payload import MAX_PAYLOAD_BYTES
from openline.hub.ports import Wire
from openline.hub.turns import Turns
from openline.model import Request
from openline.protocol.commands import Command
from openline.protocol.engineio import Fault, fault, is_handshake
from openline.protocol.socketio import DEFAULT, PacketReader
from openline.protocol.socketio_codec import SocketIoCodec, Spelling, encode_arguments
from openline.transports.engineio_door import EngineDoor
from openline.transports.settings import SocketIoSettings
from openline.transports.socketio_entry import Entry
from openline.transports.socketio_peer import SocketIoPeer

__all__ = ["SocketIo"]

_log = logging.getLogger("openline")
_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})


class SocketIo:
    """Everything that the sessions of one hub share.

    ``spellings`` says by channel under which names its publications reach the clients (see
    :data:`~openline.protocol.socketio_codec.Spelling`).
    """

    def __init__(
        self, hub: Hub, *, settings: SocketIoSettings, outbox_bytes: int, spellings: Mapping[str, Spelling]
    ) -> None:
        self.hub = hub
        self.settings = settings
        self.timers = hub.timers
        self.turns = Turns(hub, self._carry_out)
        self.entry = Entry(hub, self.turns, self.codec, self.recovers)
        #: Reads what is complete in itself; who waits for attachments takes it along.
        self.reader = self.make_reader()
        self._answers = Answers(hub.tick)
        self._spellings = spellings
        # Namespaces come by pattern, too: a codec lives as long as a wire has it.
        self._codecs: WeakValueDictionary[tuple[str, bool], SocketIoCodec] = WeakValueDictionary()
        self._default = self.codec(DEFAULT)
        self.engine = EngineDoor(
            tick=hub.tick,
            timers=hub.timers,
            settings=settings,
            outbox_bytes=outbox_bytes,
            codec=self._default,
            make_peer=lambda session: SocketIoPeer(self, session),
            mark=lambda: hub.mark,
        )

    @property
    def asks(self) -> bool:
        """Whether the application is to be asked about every handshake."""
        return self.hub.application.asks_handshakes

    async def ask(self, request: Request) -> Sequence[tuple[str, str]]:
        """The headers that the application wants to have on the answer to a handshake; raises :func:`fault`."""
        if not self.asks or not is_handshake(request.query):
            return ()
        try:
            return await self.hub.application.handshake(request)
        except CommandError as error:
            raise fault(Fault.FORBIDDEN, error.message) from error
        except Exception as error:
            _log.exception("The handshake handler failed")
            raise fault(Fault.FORBIDDEN, "The server failed to handle this") from error

    def recovers(self, auth: Mapping[str, Any]) -> bool:
        """Whether a client that brings ``auth`` may come back as who it was, and is told positions for it.

        One that cannot have them behind its events says ``recovery: false``.
        """
        return self.settings.recovery and auth.get("recovery") is not False

    def codec(self, namespace: str, auth: Mapping[str, Any] = _NOTHING) -> SocketIoCodec:
        """What the clients of ``namespace`` understand that bring such an ``auth``."""
        key = namespace, self.recovers(auth)
        codec = self._codecs.get(key)
        if codec is None:
            codec = SocketIoCodec(namespace, recovery=key[1], spellings=self._spellings)
            self._codecs[key] = codec
        return codec

    def make_reader(self) -> PacketReader:
        """A reader of packets that keeps nothing yet."""
        return PacketReader(self.settings.max_payload_bytes, self.settings.max_values)

    def _carry_out(self, connection: Connection, wire: Wire, command: Command) -> None:
        connection.busy += 1
        if connection.stage in (State.OPENING, State.ENDED):
            self.turns.let_go(connection)
            return
        result = self.hub.application.call(connection, command)
        if result.done:
            self._acknowledge(connection, wire, command, result)
            self.turns.let_go(connection)
        else:
            result.then(partial(self._handled, connection, wire, command))

    def _handled(self, connection: Connection, wire: Wire, command: Command, result: Outcome[Any]) -> None:
        self._acknowledge(connection, wire, command, result)
        self.turns.go_on(connection)

    def _acknowledge(self, connection: Connection, wire: Wire, command: Command, outcome: Outcome[Any]) -> None:
        """Acknowledge an event with what came out of its handler, if anything.

        A failure leaves it unacknowledged: Socket.IO has no other word for that.
        """
        try:
            result = outcome.result()
            if result is None or not isinstance(command.id, int) or connection.wire is not wire:
                return
            answer = encode_arguments(cast("tuple[Any, ...]", result) if isinstance(result, tuple) else (result,))
            if len(answer.arguments) + sum(map(len, answer.attachments)) > MAX_PAYLOAD_BYTES:
                raise CommandError(ErrorCode.TOO_LARGE, f"The answer to {command.type!r} is too large.")
            self.hub.tick.to_wire(wire, self.codec(connection.namespace).acknowledge(command.id, answer))
        except Exception as error:
            self._answers.explain(error, connection, command.type)
