"""The JSON protocol (``spec/protocol.md``): text to commands, and what the hub says to frames."""

import base64
import binascii
import re
from collections.abc import Callable
from typing import Annotated, Any, Final

import msgspec

from openline.accelerator import native
from openline.errors import CommandError, ErrorCode
from openline.model import JsonBytes, Publication
from openline.protocol.attachments import show_attachments
from openline.protocol.channel_name import INTERNAL
from openline.protocol.commands import Command, CommandId, Misfit, Word
from openline.protocol.frames import encode_text
from openline.protocol.strict_json import check_json, is_suspect

__all__ = [
    "MOST_AT_ONCE",
    "SUBPROTOCOL",
    "JsonCodec",
    "decode_any_command",
    "decode_command",
    "encode_push",
    "encode_reply",
    "encode_reply_in_python",
    "message_json",
    "push_json",
    "read_command",
    "read_id",
    "read_payload",
    "shown_payload",
    "split_batch",
]

SUBPROTOCOL: Final = "openline.v1"

_encode: Final = msgspec.json.Encoder().encode
_Natural = Annotated[int, msgspec.Meta(ge=0, le=2**53 - 1)]
_Id = _Natural | Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
_Short = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
_Text = Annotated[str, msgspec.Meta(max_length=16_384)]


class _Frame(msgspec.Struct, frozen=True, gc=False):
    """The wire form of a command; null stands for left out."""

    type: Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
    id: _Id | None = None
    channel: str | None = None
    payload: msgspec.Raw = msgspec.Raw()
    encoding: str | None = None
    key: _Short | None = None
    volatile: bool | None = None
    echo: bool | None = None
    since: str | None = None
    before: str | None = None
    after: _Natural | None = None
    last: _Natural | None = None
    limit: _Natural | None = None
    presence: bool | None = None
    token: _Text | None = None
    resume: _Text | None = None
    code: _Text | None = None
    message: _Text | None = None


_decode: Final = msgspec.json.Decoder(_Frame).decode
_decode_batch: Final = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_text: Final = msgspec.json.Decoder(str).decode
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_WHERE: Final = re.compile(r" - at `\$\.?([^`]*)`$")
#: What a waiting command costs beside its payload, about; and what is none, with what is wrong with it.
_OVERHEAD: Final = 400
_MISFIT: Final = 1000
#: So many commands are taken at once.
MOST_AT_ONCE: Final = 1000


def split_batch(data: bytes) -> list[bytes]:
    """The commands in one text message: one, or the elements of an array of them, in order.

    Raises :class:`CommandError` (``bad_message``) for an array that is no JSON, empty, or too long.
    """
    if data.lstrip(b" \t\r\n")[:1] != b"[":
        return [data]
    try:
        parts = [bytes(part) for part in _decode_batch(data)]
    except (msgspec.MsgspecError, RecursionError) as error:
        raise CommandError(ErrorCode.BAD_MESSAGE, "A message is one JSON object, or an array of them.") from error
    if not parts:
        raise CommandError(ErrorCode.BAD_MESSAGE, "An array of commands holds at least one.")
    if len(parts) > MOST_AT_ONCE:
        raise CommandError(ErrorCode.BAD_MESSAGE, f"An array holds {MOST_AT_ONCE} commands at most.")
    return parts


def decode_command(data: bytes) -> Command:
    """The command in one text message (valid UTF-8, within the message limit).

    Most are events, perhaps into a channel, with fields in which nothing is unusual: these the native part reads.

    An event's fields that only words of the protocol have are checked, and left out.
    Raises :class:`CommandError`: ``bad_message`` where it is no JSON object within the limits, ``bad_field`` where a
    field of the protocol does not fit.
    """
    plain = None if native is None else native.read_command(data)
    if plain is None:
        return decode_any_command(data)
    type, number, channel, payload, key = plain
    return Command(type=type, id=number, channel=channel, payload=payload, key=key, size=len(data) + _OVERHEAD)


def decode_any_command(data: bytes) -> Command:
    """As :func:`decode_command`, whatever fields it has."""
    try:
        frame = _decode(data)
    except msgspec.ValidationError as error:
        raise _misfit(str(error)) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise CommandError(ErrorCode.BAD_MESSAGE, "A message is one JSON object in a text frame.") from error
    if not frame.type.isprintable() and _CONTROL.search(frame.type) is not None:
        raise CommandError(ErrorCode.BAD_FIELD, "A type holds no control characters.", field="type")
    payload, binary = b"null", False
    if frame.encoding is not None:
        payload, binary = read_payload(frame.payload, frame.encoding)
    elif frame.payload:
        payload = bytes(frame.payload)
        if is_suspect(payload):
            check_json(payload)
    if frame.type[0] != INTERNAL:
        # The other fields belong to words of the protocol, and a command with fewer of them is made in half the time.
        return Command(
            type=frame.type,
            id=frame.id,
            channel=frame.channel,
            payload=payload,
            binary=binary,
            key=frame.key,
            volatile=frame.volatile is True,
            echo=frame.echo is not False,
            size=len(data) + _OVERHEAD,
        )
    return _word(frame, payload, binary=binary, size=len(data) + _OVERHEAD)


def _word(frame: _Frame, payload: JsonBytes, *, binary: bool, size: int) -> Command:
    """A word of the protocol; those that every client says are made of the fields that they have."""
    if frame.type == Word.SUBSCRIBE:
        return Command(
            type=frame.type,
            id=frame.id,
            channel=frame.channel,
            since=frame.since,
            last=frame.last,
            presence=frame.presence is True,
            size=size,
        )
    if frame.type == Word.CONNECT:
        return Command(
            type=frame.type,
            id=frame.id,
            since=frame.since,
            token=frame.token,
            resume=frame.resume,
            size=size,
        )
    return Command(
        type=frame.type,
        id=frame.id,
        channel=frame.channel,
        payload=payload,
        binary=binary,
        key=frame.key,
        volatile=frame.volatile is True,
        echo=frame.echo is not False,
        since=frame.since,
        before=frame.before,
        after=frame.after,
        last=frame.last,
        limit=frame.limit,
        presence=frame.presence is True,
        token=frame.token,
        resume=frame.resume,
        code=frame.code,
        message=frame.message,
        size=size,
    )


class _OnlyId(msgspec.Struct, frozen=True, gc=False):
    id: _Id | None = None


_decode_id: Final = msgspec.json.Decoder(_OnlyId).decode


def read_id(data: bytes) -> CommandId | None:
    """The id of a message that is no good command, so that its sender learns which one was refused.

    None where it has none.
    """
    try:
        return _decode_id(data).id
    except (msgspec.MsgspecError, RecursionError, ValueError):
        return None


def read_command(data: bytes) -> Command:
    """As :func:`decode_command`; what is none comes out as a :class:`Misfit`, which is told so in its turn."""
    try:
        return decode_command(data)
    except CommandError as error:
        # Where it was raised would keep more than all the rest.
        error.__traceback__ = error.__cause__ = error.__context__ = None
        return Misfit(type=Word.MISFIT, id=read_id(data), error=error, size=len(data) + _MISFIT)


def _misfit(text: str) -> CommandError:
    where = _WHERE.search(text)
    if where is None:
        reason = "`type` is missing" if "`type`" in text else "A message is one JSON object in a text frame"
        return CommandError(
            ErrorCode.BAD_FIELD if "`type`" in text else ErrorCode.BAD_MESSAGE,
            f"{reason}.",
            field="type" if "`type`" in text else None,
        )
    return CommandError(ErrorCode.BAD_FIELD, f"{text[: where.start()]}.", field=where[1])


def read_payload(payload: msgspec.Raw, encoding: str | None) -> tuple[JsonBytes, bool]:
    """A payload as it travels, and whether it is plain bytes; null where it was left out.

    Raises :class:`CommandError`: ``bad_message`` beyond the limits, ``bad_field`` for bytes that are no base64.
    """
    if not payload:
        return b"null", False
    data = check_json(bytes(payload))
    return (data, False) if encoding is None else (_from_base64(data, encoding), True)


def _from_base64(payload: JsonBytes, encoding: str) -> bytes:
    if encoding != "base64":
        raise CommandError(ErrorCode.BAD_FIELD, "The only encoding is base64.", field="encoding")
    try:
        return base64.b64decode(_decode_text(payload), validate=True)
    except (msgspec.ValidationError, binascii.Error, ValueError) as error:
        raise CommandError(ErrorCode.BAD_FIELD, "The payload is no base64 string.", field="payload") from error


def shown_payload(publication: Publication) -> JsonBytes:
    """The payload of a publication that is not binary, for clients that take no attachments."""
    if not publication.attachments:
        return publication.payload
    return show_attachments(publication.payload, publication.attachments)


def push_json(publication: Publication) -> JsonBytes:
    """The JSON object of one publication, as pushes and lists hold it."""
    parts = [b'{"type":', _encode(publication.type)]
    if publication.ask is not None:
        parts += [b',"id":', _encode(publication.ask)]
    if not publication.channel.startswith(INTERNAL):
        parts += [b',"channel":"', publication.channel.encode(), b'"']
    if publication.binary:
        parts += [b',"payload":"', base64.b64encode(publication.payload), b'","encoding":"base64"']
    else:
        parts += [b',"payload":', shown_payload(publication)]
    if publication.stamp:
        parts.append(b',"position":"%b.%d"' % (publication.epoch.encode(), publication.stamp))
    if publication.sender is not None:
        parts += [b',"from":', publication.sender]
    parts.append(b"}")
    return b"".join(parts)


def message_json(publication: Publication) -> JsonBytes:
    """The JSON object of one publication as polls have it: its position is its ``id``, which volatile ones lack."""
    place = b'"id":"%b",' % str(publication.position).encode() if publication.stamp else b""
    return b"{%b%b" % (place, push_json(msgspec.structs.replace(publication, stamp=0))[1:])


def encode_reply_in_python(command_id: int, payload: JsonBytes) -> bytes:
    """The frame of the answer to a command whose id is a number, as a native line takes it."""
    return encode_text(b'{"type":"$reply","id":%d,"payload":%b}' % (command_id, payload))


encode_reply = encode_reply_in_python if native is None else native.encode_reply


def encode_push(publication: Publication) -> bytes:
    """The frame of one publication, as a native line takes it."""
    it, frame = publication, None
    if native is not None and not it.binary and not it.attachments and it.ask is None:
        frame = native.encode_push(it.type, it.channel, it.payload, it.epoch, it.stamp, it.sender)
    return encode_text(push_json(publication)) if frame is None else frame


class JsonCodec:
    """What the hub says, as JSON in frames; ``frame`` puts one text message into the form that the wire takes."""

    def __init__(self, frame: Callable[[bytes], bytes] = encode_text) -> None:
        self.name = "json"
        self._frame = frame

    @property
    def gives_frames(self) -> bool:
        """Whether what it says are whole WebSocket frames."""
        return self._frame is encode_text

    def publication(self, publication: Publication) -> bytes:
        """See :class:`~openline.protocol.codec.Codec`."""
        return encode_push(publication) if self._frame is encode_text else self._frame(push_json(publication))

    def notice(self, word: str, channel: str | None, payload: JsonBytes) -> bytes:
        """See :class:`~openline.protocol.codec.Codec`."""
        place = b"" if channel is None else b',"channel":"%b"' % channel.encode()
        return self._frame(b'{"type":"%b"%b,"payload":%b}' % (word.encode(), place, payload))

    def ping(self) -> bytes:
        """The server's own ping, for scripts, which see no WebSocket pings."""
        return self._frame(b'{"type":"$ping"}')

    def pong(self, command_id: CommandId | None) -> bytes:
        """See :class:`~openline.protocol.codec.Codec`."""
        number = b"" if command_id is None else b',"id":' + _encode(command_id)
        return self._frame(b'{"type":"$pong"%b}' % number)

    def reply(self, command_id: CommandId, payload: JsonBytes) -> bytes:
        """See :class:`~openline.protocol.codec.Codec`."""
        if isinstance(command_id, int):
            if self._frame is encode_text:
                return encode_reply(command_id, payload)
            return self._frame(b'{"type":"$reply","id":%d,"payload":%b}' % (command_id, payload))
        return self._frame(b'{"type":"$reply","id":%b,"payload":%b}' % (_encode(command_id), payload))

    def error(self, command_id: CommandId | None, error: CommandError) -> bytes:
        """See :class:`~openline.protocol.codec.Codec`."""
        fields: dict[str, Any] = {"type": "$error"}
        if command_id is not None:
            fields["id"] = command_id
        fields |= {"code": _text(error.code), "message": _text(error.message)}
        if error.field is not None:
            fields["field"] = _text(error.field)
        if error.retry:
            fields["retry"] = True
        return self._frame(_encode(fields))


def _text(text: str) -> str:
    """``text`` without lone surrogates: an application's errors may quote file names and the like."""
    return text.encode("utf-8", "replace").decode()
