"""Event streams (WHATWG HTML, section 9.2): what the hub says, as events that stock ``EventSource`` takes.

An event is one JSON object in one ``data`` line, its position in the ``id`` line ahead of it.
"""

import re
from typing import Final

import msgspec

from openline.errors import CommandError
from openline.model import JsonBytes, Position, Publication
from openline.protocol.commands import CommandId, Word
from openline.protocol.json_codec import push_json

__all__ = ["COMMENT", "CONTENT_TYPE", "SseCodec", "data_event", "farewell", "retry", "standing"]

CONTENT_TYPE: Final = "text/event-stream; charset=utf-8"
#: Keeps proxies from taking the stream for dead; no client sees it.
COMMENT: Final = b":\n\n"
#: Events that EventSource fires by itself: none of ours may pass for one.
_RESERVED: Final = frozenset({"error", "open"})
_NEWLINES: Final = re.compile(rb"[\r\n]+")

_encode: Final = msgspec.json.Encoder().encode


class _GapPayload(msgspec.Struct, frozen=True):
    position: str | None = None


_decode_gap: Final = msgspec.json.Decoder(_GapPayload).decode


class _AwayPayload(msgspec.Struct, frozen=True):
    retry: float


_decode_away: Final = msgspec.json.Decoder(_AwayPayload).decode


def data_event(json: JsonBytes, fields: bytes = b"") -> bytes:
    """One event with ``json`` as its data; ``fields`` are whole lines ahead of it.

    A line break in JSON text stands between tokens, where a blank means the same; here it would end the field.
    """
    if b"\n" in json or b"\r" in json:
        json = _NEWLINES.sub(b" ", json)
    return b"%bdata: %b\n\n" % (fields, json)


def standing(position: Position) -> bytes:
    """Tells the client where it stands, without an event: everything up to there it has."""
    return b"id: %b\n\n" % str(position).encode()


def retry(seconds: float) -> bytes:
    """Tells the client when to come back once the stream has ended."""
    return b"retry: %d\n\n" % round(seconds * 1000)


def farewell(code: int, reason: str, *, named: bool = False) -> bytes:
    """Says why the stream ends: ``$closed``, with a close code of ``spec/protocol.md``, section 5."""
    said = {"type": Word.CLOSED, "payload": {"code": int(code), "reason": reason}}
    return data_event(_encode(said), b"event: %b\n" % Word.CLOSED.encode() if named else b"")


class SseCodec:
    """See :class:`~openline.protocol.codec.Codec`; ``named`` gives each event its type as its name.

    Listeners ask nothing, so replies and errors are not told.
    """

    def __init__(self, *, named: bool = False) -> None:
        self.name = "sse-named" if named else "sse"
        self._named = named

    def publication(self, publication: Publication) -> bytes:
        """See :class:`~openline.protocol.codec.Codec`."""
        fields = self._name_line(publication.type)
        if publication.stamp:
            fields += b"id: %b.%d\n" % (publication.epoch.encode(), publication.stamp)
        return data_event(push_json(publication), fields)

    def notice(self, word: str, channel: str | None, payload: JsonBytes) -> bytes:
        """See :class:`~openline.protocol.codec.Codec`; a gap that has a position is passed with it.

        When to come back is a field of its own.
        """
        if word == Word.AWAY:
            return retry(_decode_away(payload).retry)
        fields = self._name_line(word)
        if word == Word.GAP and (position := _decode_gap(payload).position) is not None:
            fields += b"id: %b\n" % position.encode()
        place = b"" if channel is None else b',"channel":"%b"' % channel.encode()
        return data_event(b'{"type":"%b"%b,"payload":%b}' % (word.encode(), place, payload), fields)

    def _name_line(self, type: str) -> bytes:
        """The ``event`` line. An event's type has no control characters (``channel_name.check_event``)."""
        return b"event: %b\n" % type.encode() if self._named and type not in _RESERVED else b""

    def reply(self, command_id: CommandId, payload: JsonBytes) -> bytes:
        """Nothing: listeners ask nothing."""
        return b""

    def pong(self, command_id: CommandId | None) -> bytes:
        """Nothing: listeners send no pings."""
        return b""

    def error(self, command_id: CommandId | None, error: CommandError) -> bytes:
        """Nothing: what a listener may not do is the answer to its request."""
        return b""
