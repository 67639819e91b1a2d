"""The bench on which a codec is checked: what a client is told, in words that are the same for every codec."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any, Final, Literal

import msgspec

from openline.errors import CommandError
from openline.model import Publication
from openline.protocol.channel_name import INTERNAL
from openline.protocol.codec import Codec
from openline.protocol.commands import CommandId

__all__ = ["CodecBench", "Decode", "Told", "payload_of"]

Kind = Literal["publication", "notice", "reply", "pong", "error"]


@dataclass(frozen=True, kw_only=True)
class Told:
    """What a client understands of one frame; None is what it is not told.

    ``payload`` is JSON's Python form, or ``bytes``. ``sender`` is the ``from`` of a publication. ``id`` is that of the
    command that is answered, or of what the server asks. The rest is as in ``spec/protocol.md``.
    """

    kind: Kind
    type: str | None = None
    channel: str | None = None
    payload: Any = None
    position: str | None = None
    sender: Any = None
    id: CommandId | None = None
    code: str | None = None
    message: str | None = None
    field: str | None = None
    retry: bool | None = None


#: The client's side of a codec: what the bytes of one frame, or of several that were joined, tell.
Decode = Callable[[bytes], Sequence[Told]]

_FIELDS: Final = tuple(field.name for field in fields(Told) if field.name != "kind")


def payload_of(publication: Publication) -> Any:
    """The payload as most clients get it: JSON's Python form, or bytes."""
    return publication.payload if publication.binary else msgspec.json.decode(publication.payload)


class CodecBench:
    """One codec under test, and a client that notices what it is told of the one, and not of the other."""

    def __init__(
        self, make_codec: Callable[[], Codec], decode: Decode, shown: Callable[[Publication], Any], *, joins: bool
    ) -> None:
        self.make_codec = make_codec
        self.codec = make_codec()
        self.decode = decode
        self.joins = joins
        self._shown = shown
        self._tells: dict[tuple[Kind, str], bool] = {}

    def publication(self, publication: Publication) -> bytes:
        """Its frame, which tells what it says, and nothing else; a publication is always told."""
        frame = self.codec.publication(publication)
        if not frame:
            raise AssertionError(f"{_brief(publication)} is not told")
        position = publication.position
        sender = publication.sender
        self._hear(
            frame,
            Told(
                kind="publication",
                type=publication.type,
                channel=None if publication.channel.startswith(INTERNAL) else publication.channel,
                payload=self._shown(publication),
                position=None if position is None else str(position),
                sender=None if sender is None else msgspec.json.decode(sender),
                id=publication.ask,
            ),
        )
        return frame

    def notice(self, word: str, channel: str | None, payload: Any) -> bytes:
        """Its frame; empty where notices are not told."""
        frame = self.codec.notice(word, channel, msgspec.json.encode(payload))
        return self._hear(frame, Told(kind="notice", type=word, channel=channel, payload=payload))

    def reply(self, command_id: CommandId, payload: Any) -> bytes:
        """Its frame; empty where replies are not told."""
        frame = self.codec.reply(command_id, msgspec.json.encode(payload))
        return self._hear(frame, Told(kind="reply", id=command_id, payload=payload))

    def pong(self, command_id: CommandId | None) -> bytes:
        """Its frame; empty where pongs are not told."""
        return self._hear(self.codec.pong(command_id), Told(kind="pong", id=command_id))

    def error(self, command_id: CommandId | None, error: CommandError) -> bytes:
        """Its frame; empty where errors are not told."""
        told = Told(
            kind="error",
            id=command_id,
            code=_text(error.code),
            message=_text(error.message),
            field=_text(error.field),
            retry=error.retry or None,
        )
        return self._hear(self.codec.error(command_id, error), told)

    def _hear(self, frame: bytes, said: Told) -> bytes:
        if type(frame) is not bytes:
            raise AssertionError(f"the frame of the {said.kind} is a {type(frame).__name__}, not bytes")
        self._know(said.kind, "frame", told=bool(frame), what=f"the {said.kind}")
        if not frame:
            return frame
        heard = self._decoded(frame, said)
        if len(heard) != 1 or heard[0].kind != said.kind:
            kinds = [told.kind for told in heard]
            raise AssertionError(f"one {said.kind} was said, {_brief(said)}, and the client understands {kinds}")
        for name in _FIELDS:
            self._compare(said, name, getattr(said, name), getattr(heard[0], name))
        return frame

    def _decoded(self, frame: bytes, said: Told) -> Sequence[Told]:
        try:
            return self.decode(frame)
        except Exception as error:
            raise AssertionError(f"the client cannot read {_brief(said)}: {error!r}") from error

    def _compare(self, said: Told, name: str, expected: Any, found: Any) -> None:
        if expected is None and found is not None:
            raise AssertionError(f"`{name}` of the {said.kind} was not said, and is told: {_brief(found)}")
        if expected is None:
            return
        self._know(said.kind, name, told=found is not None, what=f"`{name}` of the {said.kind}")
        if found is not None and (found != expected or type(found) is not type(expected)):
            raise AssertionError(f"`{name}` of the {said.kind}: {_brief(expected)} was said, {_brief(found)} is told")
        if found is None and name == "payload" and said.kind == "publication":
            raise AssertionError(f"the payload of the publication is not told: {_brief(expected)}")

    def _know(self, kind: Kind, name: str, *, told: bool, what: str) -> None:
        """What is told of one is told of all."""
        if self._tells.setdefault((kind, name), told) != told:
            raise AssertionError(f"{what} is told of some and not of others")


def _text(text: str | None) -> str | None:
    """Without lone surrogates, which no wire carries."""
    return None if text is None else text.encode("utf-8", "replace").decode()


def _brief(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 300 else f"{text[:200]}… ({len(text)} characters)"
