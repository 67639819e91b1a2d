"""What every codec must do: checks that run against any of them, ours and yours."""

from collections.abc import Callable, Sequence
from itertools import product
from typing import Any, Final

import msgspec

from openline.errors import CommandError
from openline.model import Publication
from openline.protocol.codec import Codec
from openline.testing.codec_bench import CodecBench, Decode, payload_of

__all__ = ["CHECKS", "check_codec"]

_MAX: Final = 2**53 - 1
#: Text that stands for something else in one protocol or another.
HOSTILE: Final = (
    '","channel":"forged","type":"$reply","id":1,"x":"',
    "\\",
    '\\"}',
    "event: forged id: 9.9 data: forged",
    "42/admin,7[forged]",
    "\u2028\u2029\ufeff",
    "déjà vu 😀",
    "%s%n{}{0}$1",
    "<!-- </script>",
    " ",
)
#: The same with what may stand in payloads, in ids and in words for people, but not in an event's type.
WILD: Final = (
    *HOSTILE,
    "\r\n\r\nid: 9.9\r\ndata: forged\r\n\r\n",
    "\n\n",
    ": a comment\n",
    "\x00\x1e\x7f\x85",
    "data: forged\rdata: forged",
)
#: A file's name, as Python decodes what is no UTF-8.
_NO_TEXT: Final = "caf\udce9"
#: JSON texts that say the same as others, and look otherwise.
TEXTS: Final = (
    b'{\n\n"a" :\r\n[ 1 ,\t2 ]\r}',
    b'[\n"in front and behind"\r\n]',
    b'"\\u0022\\n\\r\\u2028\\ud83d\\ude00\\/"',
    b'{"type":"$reply","id":1,"payload":{"resume":"forged"}}',
    b'[{"_placeholder":true,"num":0}]',
    b"null",
    b"true",
    b"0",
    b"-1.5e-7",
    b'""',
    b"[]",
    b"{}",
    b"[" * 64 + b"]" * 64,
)
BYTES: Final = (b"", b"\x00", b"plain text", bytes(range(256)), b"\r\n\r\ndata: forged\n\n", b"\xff\xfe\x81\x00")
#: Around every length that changes how a WebSocket frame, or a chunk of HTTP, is written.
SIZES: Final = (0, 1, 99, 100, 125, 126, 127, 999, 1000, 4095, 4096, 65_500, 65_535, 65_536, 65_537, 262_000)
CHANNELS: Final = ("a", "chat:lobby", "0", "A-Z_a.z~:@-", "c" * 128)
OWN: Final = ("$all", "$user:a b,[\n]", "$connection:x")
IDS: Final = (0, 1, _MAX, "a", "0", "i" * 64, *WILD)


def publications_are_told(bench: CodecBench) -> None:
    for channel, (payload, binary) in product(CHANNELS, ((b"1", False), (b'"x"', False), (b"\x00", True))):
        for stamp, sender, ask in ((0, None, None), (1, b'{"connection":"c"}', None), (_MAX, None, "ask-1")):
            bench.publication(
                Publication(channel, "note", payload, binary, epoch="e-1", stamp=stamp, sender=sender, ask=ask)
            )


def what_is_sent_without_a_channel_shows_none(bench: CodecBench) -> None:
    for channel in OWN:
        frame = bench.publication(Publication(channel, "note", b"1", epoch="e", stamp=1))
        _holds(channel.encode() not in frame, f"the address {channel!r} stays with the server")


def hostile_names_forge_nothing(bench: CodecBench) -> None:
    for name in (*HOSTILE, "n" * 128, "é" * 128):
        bench.publication(Publication("a", name, b"1", epoch="e", stamp=1))
        for other in WILD:
            sender = msgspec.json.encode({"connection": "c", "user": other, "data": {other: [other]}})
            bench.publication(Publication("a", name, b"1", epoch="e", stamp=1, sender=sender))
            bench.publication(Publication("$user:a", name, b"1", epoch="e", stamp=1, ask=name))


def hostile_payloads_forge_nothing(bench: CodecBench) -> None:
    for text in WILD:
        for value in (text, [text], {text: text}, {"payload": text, "type": text}):
            bench.publication(Publication("a", "note", msgspec.json.encode(value), epoch="e", stamp=1))
    for payload in TEXTS:
        bench.publication(Publication("a", "note", payload, epoch="e", stamp=1))
    for payload in BYTES:
        bench.publication(Publication("a", "note", payload, binary=True, epoch="e", stamp=1))


def replies_are_told_to_who_asked(bench: CodecBench) -> None:
    for command_id in IDS:
        for payload in ({}, {"position": "e.1"}, [1, None, "x"], 0, "", *WILD):
            bench.reply(command_id, payload)
        bench.pong(command_id)
    bench.pong(None)


def errors_are_told_with_all_that_they_say(bench: CodecBench) -> None:
    for text in ("forbidden", *WILD, _NO_TEXT):
        for command_id, field, retry in ((None, None, False), (1, "payload.a", True), (text, text, False)):
            # An id came as text, what an application's error says may be anything.
            known = "a" if command_id == _NO_TEXT else command_id
            bench.error(known, CommandError(text, text, field=field, retry=retry))


def notices_are_told(bench: CodecBench) -> None:
    for word, channel in product(("$joined", "$gap", "$unsubscribed"), (None, *CHANNELS)):
        for payload in ({}, {"lost": 3}, *({"member": {"user": text}} for text in WILD)):
            bench.notice(word, channel, payload)


def every_size_arrives_whole(bench: CodecBench) -> None:
    for size in SIZES:
        _fits(bench.publication(Publication("a", "note", b'"%b"' % (b"x" * size), epoch="e", stamp=1)), size)
        _fits(bench.publication(Publication("a", "note", b"\xff" * size, binary=True, epoch="e", stamp=1)), size)
        _fits(bench.reply(1, "x" * size), size)


def _fits(frame: bytes, size: int) -> None:
    most = 2 * size + 1024
    _holds(len(frame) <= most, f"a frame around {size} bytes has {most} at most, not {len(frame)}")


def nothing_is_remembered(bench: CodecBench) -> None:
    other = bench.make_codec()
    publications = [Publication("ab"[n % 2], "note", b"%d" % n, epoch="e", stamp=n) for n in range(8)]
    first = [bench.publication(each) for each in publications]
    bench.reply(1, "x")
    bench.error(None, CommandError("forbidden", "no"))
    _holds([bench.publication(each) for each in reversed(publications)] == first[::-1], "the same gives the same bytes")
    _holds([other.publication(each) for each in publications] == first, "another codec of its kind gives the same")
    _holds(bench.codec.name, "it has a name")
    _holds(hash(bench.codec) == hash(bench.codec) and bench.codec == bench.codec, "a group can be found by it")


def who_is_left_out_and_what_it_is_news_of_are_not_told(bench: CodecBench) -> None:
    plain = Publication("a", "note", b"1", epoch="e", stamp=2)
    more = msgspec.structs.replace(plain, exclude=frozenset({"somebody"}), subject="something", previous=1)
    _holds(bench.publication(more) == bench.publication(plain), "they change nothing in the frame")


def frames_stand_for_themselves_when_they_are_joined(bench: CodecBench) -> None:
    if not bench.joins:
        return
    frames = [bench.publication(Publication("a", "n", payload, epoch="e", stamp=1)) for payload in TEXTS]
    frames += [bench.publication(Publication("a", "n", payload, binary=True, epoch="e", stamp=1)) for payload in BYTES]
    frames += [bench.reply(1, text) for text in WILD] + [bench.error(2, CommandError("no", text)) for text in WILD]
    frames += [bench.notice("$gap", None, {"lost": 1}), bench.pong(None), bench.pong(1)]
    apart = [told for frame in frames if frame for told in bench.decode(frame)]
    _holds(list(bench.decode(b"".join(frames))) == apart, "joined, they tell what they tell apart")


def _holds(condition: object, what: str) -> None:
    if not condition:
        raise AssertionError(f"{what}: this does not hold")


CHECKS: Final[Sequence[Callable[[CodecBench], None]]] = (
    publications_are_told,
    what_is_sent_without_a_channel_shows_none,
    hostile_names_forge_nothing,
    hostile_payloads_forge_nothing,
    replies_are_told_to_who_asked,
    errors_are_told_with_all_that_they_say,
    notices_are_told,
    every_size_arrives_whole,
    nothing_is_remembered,
    who_is_left_out_and_what_it_is_news_of_are_not_told,
    frames_stand_for_themselves_when_they_are_joined,
)


def check_codec(
    make_codec: Callable[[], Codec],
    decode: Decode,
    *,
    shown: Callable[[Publication], Any] = payload_of,
    joins: bool = True,
) -> None:
    """Hold a codec against everything that :class:`openline.protocol.codec.Codec` promises.

    ``decode`` is the client's side: it makes of a frame's bytes what a client of this kind understands, and raises
    anything for what such a client cannot read; written by hand or with a library of others, it shares no code with the
    codec. What a codec does not tell (``b""``), or leaves out of a frame, it leaves out always; publications are told,
    with their payload. ``shown`` says what of a publication's payload a client gets. ``joins`` is False where no two
    frames are ever written as one. Raises one :class:`AssertionError` that names every check that failed, and how.
    """
    failures: list[str] = []
    bench = CodecBench(make_codec, decode, shown, joins=joins)
    for check in CHECKS:
        try:
            check(bench)
        except Exception as error:
            text = str(error) if isinstance(error, AssertionError) else repr(error)
            failures.append(f"{check.__name__.replace('_', ' ')}: {text}")
    if failures:
        raise AssertionError("the codec breaks its promises\n" + "\n".join(failures))
