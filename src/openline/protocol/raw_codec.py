"""The raw door's codec (``spec/protocol.md``, section 6): payloads as they are, nothing around them."""

from collections.abc import Callable
from typing import Final

import msgspec

from openline.errors import CommandError
from openline.model import JsonBytes, Publication
from openline.protocol.commands import CommandId
from openline.protocol.json_codec import shown_payload
from openline.protocol.websocket import Opcode, encode_frame

__all__ = ["MESSAGE", "RawCodec", "text_payload"]

#: The type of event that a raw frame is on other doors.
MESSAGE: Final = "message"

_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(str).decode


def text_payload(text: bytes) -> JsonBytes:
    """The JSON string of a raw text message (valid UTF-8)."""
    return _encode(text.decode())


class RawCodec:
    """Bare data: strings as text, bytes as binary, other payloads as their JSON; replies and notices are not told."""

    def __init__(self, frame: Callable[[Opcode, bytes], bytes] = encode_frame) -> None:
        self.name = "raw"
        self._frame = frame

    def publication(self, publication: Publication) -> bytes:
        """See :class:`~openline.protocol.codec.Codec`."""
        if publication.binary:
            return self._frame(Opcode.BINARY, publication.payload)
        if publication.payload.startswith(b'"'):
            return self._frame(Opcode.TEXT, _decode(publication.payload).encode())
        return self._frame(Opcode.TEXT, shown_payload(publication))

    def notice(self, word: str, channel: str | None, payload: JsonBytes) -> bytes:
        """Nothing: raw clients know no notices."""
        return b""

    def reply(self, command_id: CommandId, payload: JsonBytes) -> bytes:
        """Nothing: raw clients ask nothing."""
        return b""

    def pong(self, command_id: CommandId | None) -> bytes:
        """Nothing: raw clients send no pings but WebSocket's."""
        return b""

    def error(self, command_id: CommandId | None, error: CommandError) -> bytes:
        """Nothing: what a raw client may not do closes its line."""
        return b""
