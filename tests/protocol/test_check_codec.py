"""The conformance suite: our codecs pass it, and every codec with a planted fault does not."""

import base64
import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from openline.errors import CommandError
from openline.model import Publication
from openline.protocol.codec import Codec
from openline.protocol.commands import CommandId
from openline.protocol.json_codec import JsonCodec, push_json
from openline.protocol.raw_codec import RawCodec
from openline.protocol.websocket import FrameReader, Opcode
from openline.testing import Told, check_codec
from openline.testing.check_codec import CHECKS
from openline.transports.doors import plain, plain_text

KINDS: dict[str, Any] = {"$reply": "reply", "$error": "error", "$pong": "pong"}


def framed(data: bytes) -> list[tuple[Opcode, bytes]]:
    """What a WebSocket client reads."""
    return FrameReader(max_message=2**30, max_fragments=1, masked=False).feed(data)


def unframed(data: bytes) -> list[tuple[Opcode, bytes]]:
    """What an ASGI host is given."""
    return [(Opcode(data[0]), data[1:])]


def told(text: bytes) -> Told:
    """One message of the JSON protocol."""
    frame: dict[str, Any] = json.loads(text)
    payload = frame.pop("payload", None)
    if frame.pop("encoding", None) == "base64":
        payload = base64.b64decode(payload, validate=True)
    word = frame.pop("type")
    kind = KINDS.get(word) or ("notice" if word.startswith("$") else "publication")
    # Fields that nobody knows are an error here.
    return Told(
        kind=kind, type=None if word in KINDS else word, payload=payload, sender=frame.pop("from", None), **frame
    )


def json_over(read: Callable[[bytes], list[tuple[Opcode, bytes]]]) -> Callable[[bytes], list[Told]]:
    def decode(data: bytes) -> list[Told]:
        items = read(data)
        assert all(opcode is Opcode.TEXT for opcode, _ in items)
        return [told(text) for _, text in items]

    return decode


def raw_over(read: Callable[[bytes], list[tuple[Opcode, bytes]]]) -> Callable[[bytes], list[Told]]:
    def decode(data: bytes) -> list[Told]:
        return [
            Told(kind="publication", payload=payload.decode() if opcode is Opcode.TEXT else payload)
            for opcode, payload in read(data)
        ]

    return decode


def shown_raw(publication: Publication) -> Any:
    """Strings and bytes as they are, anything else as its JSON."""
    if publication.binary:
        return publication.payload
    value = json.loads(publication.payload)
    return value if isinstance(value, str) else publication.payload.decode()


def test_the_json_codec_keeps_its_promises_in_both_framings() -> None:
    check_codec(JsonCodec, json_over(framed))
    check_codec(lambda: JsonCodec(plain_text), json_over(unframed), joins=False)


def test_the_raw_codec_keeps_its_promises_in_both_framings() -> None:
    check_codec(RawCodec, raw_over(framed), shown=shown_raw)
    check_codec(lambda: RawCodec(plain), raw_over(unframed), shown=shown_raw, joins=False)


class PastesTypes(JsonCodec):
    """An event's type goes into the text as it is."""

    def publication(self, publication: Publication) -> bytes:
        plain = super().publication(msgspec.structs.replace(publication, type="@@"))
        return plain.replace(b'"@@"', b'"' + publication.type.encode() + b'"') if len(plain) < 100 else plain


class ShowsAddresses(JsonCodec):
    def publication(self, publication: Publication) -> bytes:
        name = publication.channel.removeprefix("$").encode()
        return self._frame(b'{"type":"note","payload":1,"channel":' + msgspec.json.encode(name.decode()) + b"}")


class ForgetsVolatile(JsonCodec):
    def publication(self, publication: Publication) -> bytes:
        return super().publication(publication) if publication.stamp else b""


class ForgetsSenders(JsonCodec):
    """Of some."""

    def publication(self, publication: Publication) -> bytes:
        keep = publication.channel == "a"
        return super().publication(publication if keep else msgspec.structs.replace(publication, sender=None))


class TellsWhoIsLeftOut(JsonCodec):
    def publication(self, publication: Publication) -> bytes:
        left_out = len(publication.exclude)
        return super().publication(msgspec.structs.replace(publication, stamp=publication.stamp + left_out))


class Counts(JsonCodec):
    """Remembers what it has encoded."""

    count = 0

    def publication(self, publication: Publication) -> bytes:
        type(self).count += 1
        return super().publication(publication) if self.count % 5 else self._frame(b'{"type":"n","payload":0}')


class KeepsNoBytes(JsonCodec):
    def publication(self, publication: Publication) -> Any:
        return bytearray(super().publication(publication))


class CutsLongOnes(JsonCodec):
    def publication(self, publication: Publication) -> bytes:
        if publication.binary and len(publication.payload) > 65_535:
            publication = msgspec.structs.replace(publication, payload=publication.payload[:65_535])
        return super().publication(publication)


class Inflates(JsonCodec):
    def publication(self, publication: Publication) -> bytes:
        return self._frame(b" " * 3 * len(publication.payload) + push_json(publication))


class AnswersAnybody(JsonCodec):
    """Ids become text."""

    def reply(self, command_id: CommandId, payload: bytes) -> bytes:
        return super().reply(str(command_id), payload)


class MixesAnswersUp(JsonCodec):
    def pong(self, command_id: CommandId | None) -> bytes:
        return super().reply(command_id or 0, b"null")


class SaysTooMuch(JsonCodec):
    """An error always has a field."""

    def error(self, command_id: CommandId | None, error: CommandError) -> bytes:
        return super().error(command_id, CommandError(error.code, error.message, field=error.field or "x"))


class SpeaksTwice(JsonCodec):
    def notice(self, word: str, channel: str | None, payload: bytes) -> bytes:
        return super().notice(word, channel, payload) * (2 if word == "$gap" else 1)


class LosesChannels(JsonCodec):
    def notice(self, word: str, channel: str | None, payload: bytes) -> bytes:
        return super().notice(word, None if channel == "0" else channel, payload)


class EscapesNothing(JsonCodec):
    """Takes JSON's line breaks for the ends of messages."""

    def publication(self, publication: Publication) -> bytes:
        lines = publication.payload.split(b"\n") if not publication.binary else [publication.payload]
        return b"".join(super(EscapesNothing, self).publication(_with(publication, line)) for line in lines)


def _with(publication: Publication, payload: bytes) -> Publication:
    return msgspec.structs.replace(publication, payload=payload)


class ClosesBehind(JsonCodec):
    """Apart, nobody minds."""

    def pong(self, command_id: CommandId | None) -> bytes:
        return super().pong(command_id) + b"\x81"


#: Each fault, and a check that must find it.
FAULTS: dict[Callable[[], Codec], str] = {
    PastesTypes: "hostile names forge nothing",
    ShowsAddresses: "what is sent without a channel shows none",
    ForgetsVolatile: "publications are told",
    ForgetsSenders: "`sender` of the publication is told of some and not of others",
    TellsWhoIsLeftOut: "who is left out and what it is news of are not told",
    Counts: "nothing is remembered",
    KeepsNoBytes: "is a bytearray, not bytes",
    CutsLongOnes: "every size arrives whole",
    Inflates: "every size arrives whole",
    AnswersAnybody: "`id` of the reply: 0 was said, '0' is told",
    MixesAnswersUp: "one pong was said",
    SaysTooMuch: "`field` of the error was not said",
    SpeaksTwice: "notices are told",
    LosesChannels: "`channel` of the notice is told of some and not of others",
    EscapesNothing: "hostile payloads forge nothing",
    ClosesBehind: "joined, they tell what they tell apart",
}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_codec_with_a_planted_fault_is_found_out(fault: Callable[[], Codec]) -> None:
    with pytest.raises(AssertionError) as failure:
        check_codec(fault, json_over(framed))
    assert FAULTS[fault] in str(failure.value)


def test_a_raw_codec_that_tells_only_some_answers_is_found_out() -> None:
    class Answers(RawCodec):
        def reply(self, command_id: CommandId, payload: bytes) -> bytes:
            return b"" if command_id else self._frame(Opcode.TEXT, payload)

    with pytest.raises(AssertionError, match="replies are told to who asked"):
        check_codec(Answers, raw_over(framed), shown=shown_raw)


def test_every_check_finds_some_planted_fault() -> None:
    found = ""
    for fault in FAULTS:
        with pytest.raises(AssertionError) as failure:
            check_codec(fault, json_over(framed))
        found += str(failure.value)
    idle = {check.__name__ for check in CHECKS if check.__name__.replace("_", " ") not in found}
    assert idle == set()
