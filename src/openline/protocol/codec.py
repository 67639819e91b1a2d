"""The contract between the hub and every codec: what is said to a client, as bytes ready for a wire."""

from typing import Protocol

from openline.errors import CommandError
from openline.model import JsonBytes, Publication
from openline.protocol.commands import CommandId

__all__ = ["Codec"]


class Codec(Protocol):
    """Encodes what the hub says to one kind of client; framing that is the same for every subscriber included.

    Values go in, bytes come out; nothing is remembered. ``b""`` means that this kind of client is not told.
    """

    name: str

    def publication(self, publication: Publication) -> bytes:
        """The push of one publication."""
        ...

    def notice(self, word: str, channel: str | None, payload: JsonBytes) -> bytes:
        """A push of the protocol's own, such as ``$joined``."""
        ...

    def reply(self, command_id: CommandId, payload: JsonBytes) -> bytes:
        """The answer to a command."""
        ...

    def pong(self, command_id: CommandId | None) -> bytes:
        """The answer to a client's ping."""
        ...

    def error(self, command_id: CommandId | None, error: CommandError) -> bytes:
        """The refusal of a command."""
        ...
