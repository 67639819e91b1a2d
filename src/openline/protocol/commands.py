"""What clients ask, as values: the fields of ``spec/protocol.md``, section 2, checked."""

import msgspec

from openline.errors import CommandError
from openline.model import JsonBytes

__all__ = ["Command", "CommandId", "Misfit", "Word"]

#: An integer from 0 to 2**53 - 1, or a string of 1 to 64 characters.
CommandId = int | str


class Word:
    """The protocol's own types of commands and pushes."""

    CONNECT = "$connect"
    SUBSCRIBE = "$subscribe"
    UNSUBSCRIBE = "$unsubscribe"
    HISTORY = "$history"
    PRESENCE = "$presence"
    PING = "$ping"
    PONG = "$pong"
    REPLY = "$reply"
    ERROR = "$error"
    JOINED = "$joined"
    LEFT = "$left"
    GAP = "$gap"
    SUBSCRIBED = "$subscribed"
    UNSUBSCRIBED = "$unsubscribed"
    AWAY = "$away"
    LINE = "$line"
    CLOSED = "$closed"
    #: No client says it: what a :class:`Misfit` is by name.
    MISFIT = "$misfit"


class Command(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One command of a client.

    ``payload`` is JSON text within the limits, or plain bytes where ``binary`` says so; ``more`` are the arguments
    behind it that a Socket.IO client may send, and ``attachments`` the bytes that placeholders in all of them stand
    for. The other fields are as in the protocol; those that a command does not use are ignored. ``size`` is what it
    costs to keep it waiting, in bytes.
    """

    type: str
    id: CommandId | None = None
    channel: str | None = None
    payload: JsonBytes = b"null"
    binary: bool = False
    key: str | None = None
    volatile: bool = False
    echo: bool = True
    since: str | None = None
    before: str | None = None
    after: int | None = None
    last: int | None = None
    limit: int | None = None
    presence: bool = False
    token: str | None = None
    resume: str | None = None
    code: str | None = None
    message: str | None = None
    more: tuple[JsonBytes, ...] = ()
    attachments: tuple[bytes, ...] = ()
    size: int = 0


class Misfit(Command, frozen=True, kw_only=True, gc=False):
    """What came among commands and is none: in its turn its sender is told ``error``."""

    error: CommandError
