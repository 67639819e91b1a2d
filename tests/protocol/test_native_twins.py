"""The native part and its pure-Python twins do the same for any input."""

import json
import os
import shutil
import socket
from array import array
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openline.accelerator import native
from openline.errors import CommandError
from openline.model import Publication
from openline.protocol.frames import (
    Opcode,
    encode_masked,
    encode_text,
    is_utf8,
    parse_frames,
    parse_frames_in_python,
)
from openline.protocol.json_codec import (
    decode_any_command,
    decode_command,
    encode_push,
    encode_reply,
    encode_reply_in_python,
    push_json,
)
from openline.protocol.strict_json import is_suspect, is_suspect_in_python
from openline.transports.fanout import (
    Row,
    send_many,
    send_many_in_python,
    send_rows,
    send_rows_between,
    send_rows_between_in_python,
    send_rows_in_python,
)

KEYS = st.binary(min_size=4, max_size=4)
TEXTS = st.text(max_size=80).map(str.encode)
DATA = st.builds(encode_masked, st.sampled_from([Opcode.TEXT, Opcode.BINARY]), st.binary(max_size=700) | TEXTS, KEYS)
CONTROL = st.builds(encode_masked, st.sampled_from([Opcode.PING, Opcode.PONG]), st.binary(max_size=125), KEYS)
FRAMES = st.lists(DATA | CONTROL, max_size=5)


@given(FRAMES, st.data(), st.integers(0, 1000))
def test_both_twins_take_the_same_frames_of_any_stream(frames: list[bytes], data: st.DataObject, limit: int) -> None:
    stream = bytearray(b"".join(frames))
    for _ in range(data.draw(st.integers(0, 2)) if stream else 0):
        stream[data.draw(st.integers(0, len(stream) - 1))] = data.draw(st.integers(0, 255))
    start = data.draw(st.integers(0, len(stream)))
    assert parse_frames(bytes(stream), start, limit) == parse_frames_in_python(bytes(stream), start, limit)
    assert parse_frames(memoryview(stream), 0, limit) == parse_frames_in_python(memoryview(stream), 0, limit)


IDS = st.integers(0, 2**53 - 1)


@given(IDS, st.integers(0, 200) | st.sampled_from([65_480, 65_535, 65_536, 70_000]))
def test_both_twins_answer_alike(command_id: int, size: int) -> None:
    payload = b'"%b"' % (b"x" * size)
    assert encode_reply(command_id, payload) == encode_reply_in_python(command_id, payload)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip
FIELDS = st.fixed_dictionaries(
    {"type": st.sampled_from(["said", "$ping", "a b", "é", "", "x" * 128, "x" * 129, 'q"q'])},
    optional={
        "id": IDS | st.text(max_size=3) | st.none() | st.just(-1),
        "payload": JSON,
        "channel": st.sampled_from(["a", "a:1", "", "é", "$all", "x" * 256, 'q"', None, 5]),
        "key": st.sampled_from(["k", "", "x" * 64, "x" * 65, "é", "$", None, 5]),
        "echo": st.booleans(),
    },
)


def decoded(decode: Callable[[bytes], Any], data: bytes) -> Any:
    try:
        return decode(data)
    except CommandError as error:
        return (error.code, error.message, error.field)


@given(FIELDS, st.booleans(), st.booleans(), st.data())
def test_commands_are_read_alike(fields: dict[str, Any], spaced: bool, plain: bool, data: st.DataObject) -> None:
    text = json.dumps(fields, ensure_ascii=plain, indent=1 if spaced else None)
    message = bytearray(text.encode("utf-8", "replace"))
    for _ in range(data.draw(st.integers(0, 2))):
        message[data.draw(st.integers(0, len(message) - 1))] = data.draw(
            st.sampled_from(b'"{}[]:,\\0129.eE-utn \x1f\n')
        )
    sent = bytes(message)
    if is_utf8(sent):
        assert decoded(decode_command, sent) == decoded(decode_any_command, sent)


@pytest.mark.parametrize(
    "payload",
    [
        b"01", b"-", b"-0", b"1.", b".5", b"1.5", b"1e5", b"1E400", b"9" * 15, b"9" * 16, b"-" + b"9" * 16,
        b"0." + b"1" * 20, b"nul", b"nulll", b"tru", b"[1,]", b"[,1]", b"[1 2]", b'{"a"}', b'{"a":}', b'{"a":1,}',
        b'{a:1}', b'"\\x"', b'"\\u12"', b'"\\ud800"', b'"\\uD83D\\uDE00"', b'"\\u00e9"', b'"\x00"', b'"', b'"\\', b"",
        b" ", b"[" * 32 + b"]" * 32, b"[" * 40 + b"]" * 40, b"[" * 65 + b"]" * 65, b"[" * 5000,
        b'{"a":' * 70 + b"1" + b"}" * 70, b'[1]]', b"1}", b'{"b":[1,{"c":"d"}]}',
    ],
)  # fmt: skip
def test_odd_payloads_are_read_alike(payload: bytes) -> None:
    for shape in (
        b'{"type":"said","id":1,"payload":%b}',
        b'{"payload": %b ,"type":"said"}',
        b'{"type":"a","payload":%b',
    ):
        message = shape % payload
        assert decoded(decode_command, message) == decoded(decode_any_command, message)


@pytest.mark.skipif(native is None, reason="there is no native part")
def test_a_plain_event_is_read_natively() -> None:
    said = b'{"type":"said","id":17,"payload":[1, "\xc3\xa9"]}'
    assert native.read_command(said) == ("said", 17, None, b'[1, "\xc3\xa9"]', None)
    published = b'{"key":"k", "type":"said","channel":"a:1","payload":{}}'
    assert native.read_command(published) == ("said", None, "a:1", b"{}", "k")
    assert native.read_command(b'{ "payload" : null , "type":"a"}') is None
    assert native.read_command(b' {"type":"a","payload":1}') is None


NAMES = st.sampled_from(["a", "room:1", "é", "a b", "\x7f", 'q"', "\\", "x" * 300])
PUBLICATIONS = st.builds(
    Publication,
    channel=NAMES | st.sampled_from(["$connection:AAAA", "$all"]),
    type=NAMES | st.just("$joined"),
    payload=st.sampled_from([b"null", b'"\xc3\xa9"', b"[1]", b'"%b"' % (b"x" * 70), b"[%b1]" % (b"1," * 40_000)]),
    binary=st.booleans(),
    epoch=st.sampled_from(["", "AbCd-_12"]),
    stamp=st.sampled_from([0, 1, 10, 2**53]),
    sender=st.none() | st.sampled_from([b'{"connection":"AAAAAAAAAAAA"}', b'{"user":"\xc3\xa9"}']),
    ask=st.none() | st.just("7"),
    attachments=st.just(()) | st.just((b"ab",)),
)


@given(PUBLICATIONS)
def test_publications_are_said_alike(publication: Publication) -> None:
    if publication.attachments:
        payload = b'[{"_placeholder":true,"num":0}]'
        publication = msgspec.structs.replace(publication, payload=payload, binary=False)
    assert encode_push(publication) == encode_text(push_json(publication))


PIECES = st.sampled_from(
    [b"0", b"12", b"\\", b"u", b"d", b"D", b"e", b"E", b"+", b"-", b"[", b"{", b"x", b" ", b"\xc3", b","]
)
TELLING = st.sampled_from([b"\\ud800", b"1e400", b"2E+400", b"7e-999", b"9" * 15, b"9" * 16, b"[" * 63, b"{" * 65])


@given(st.lists(PIECES | TELLING, max_size=40).map(b"".join))
def test_both_twins_suspect_the_same_text(text: bytes) -> None:
    assert is_suspect(text) == is_suspect_in_python(text)


@pytest.fixture
def pairs() -> Iterator[list[tuple[socket.socket, socket.socket]]]:
    pairs = [socket.socketpair() for _ in range(100)]
    for ours, theirs in pairs:
        ours.setblocking(False)
        theirs.setblocking(False)
    yield pairs
    for ours, theirs in pairs:
        ours.close()
        theirs.close()


@pytest.mark.parametrize("twin", [send_many_in_python, send_many])
def test_each_descriptor_gets_the_bytes_once_and_shortfalls_are_told(
    twin: type(send_many), pairs: list[tuple[socket.socket, socket.socket]]
) -> None:
    descriptors = array("i", [ours.fileno() for ours, _ in pairs])
    full, gone, vacant = 3, 70, 5
    while True:
        try:
            pairs[full][0].send(b"y" * 65_536)
        except BlockingIOError:
            break
    pairs[gone][1].close()
    descriptors[vacant] = -1
    short = twin(descriptors, 2, 90, b"hello")
    assert sorted(short) == [(full, 0), (gone, -1)]
    for place, (_, theirs) in enumerate(pairs):
        if place in (full, gone):
            continue
        expected = b"hello" if 2 <= place < 90 and place != vacant else None
        try:
            assert theirs.recv(100) == expected
        except BlockingIOError:
            assert expected is None


@pytest.mark.parametrize("twin", [send_rows_in_python, send_rows])
def test_a_descriptor_in_several_rows_gets_them_in_order_and_shortfalls_name_what_was_to_come(
    twin: type(send_rows), pairs: list[tuple[socket.socket, socket.socket]]
) -> None:
    descriptors = [ours.fileno() for ours, _ in pairs[:8]]
    full, part, gone = descriptors[1], descriptors[2], descriptors[3]
    while True:
        try:
            pairs[1][0].send(b"y" * 65_536)
        except BlockingIOError:
            break
    pairs[2][0].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    pairs[3][1].close()
    everybody = array("i", descriptors)
    rows: list[Row] = [(everybody, 6, b"a"), (array("i", [-1, full, gone]), 3, b"b"), (descriptors[7], 1, b"c")]
    rows += [(array("i", [descriptors[0], part]), 2, b"%d" % (n % 10) * 300) for n in range(100)]
    rows.append((everybody, 1, b"z"))
    short = {row[:2]: (row[2], list(row[3])) for row in twin(rows)}
    assert short.keys() == {(0, 1), (0, 2), (0, 3)}
    assert (short[0, 1], short[0, 3]) == ((0, [0, 1]), (-1, [0, 1]))
    taken, mine = short[0, 2]
    assert (mine, 0 < taken < 30_001) == ([0, *range(3, 103)], True)
    many = b"".join(b"%d" % (n % 10) * 300 for n in range(100))
    heard = [pairs[n][1].recv(100_000) for n in (0, 2, 4, 5, 7)]
    assert heard == [b"a" + many + b"z", (b"a" + many)[:taken], b"a", b"a", b"c"]
    with pytest.raises(BlockingIOError):
        pairs[6][1].recv(1)


@pytest.mark.parametrize("twin", [send_rows_between_in_python, send_rows_between])
def test_ranges_of_descriptors_one_behind_the_other_are_all_of_them_once(
    twin: type(send_rows_between), pairs: list[tuple[socket.socket, socket.socket]]
) -> None:
    descriptors = [ours.fileno() for ours, _ in pairs[:8]]
    rows: list[Row] = [(array("i", [*descriptors, -1]), 9, b"a"), (descriptors[2], 1, b"b"), (array("i"), 0, b"c")]
    rows.append((array("i", descriptors[5:]), 2, b"d"))
    start, ranges = 0, 0
    while start >= 0:
        short, start = twin(rows, start, start + 3)
        assert list(short) == []
        ranges += 1
    assert ranges > 2
    heard = [theirs.recv(100) for _, theirs in pairs[:8]]
    assert heard == [b"a", b"a", b"ab", b"a", b"a", b"ad", b"ad", b"a"]
    assert (list(twin([], 0, 5)[0]), twin([], 0, 5)[1]) == ([], -1)


@pytest.mark.parametrize("twin", [send_rows_in_python, send_rows])
@pytest.mark.parametrize("rows", [None, 5, [5], [(array("i"), 0, b""), None]])
def test_what_are_no_rows_are_a_type_error(twin: type(send_rows), rows: object) -> None:
    with pytest.raises(TypeError):
        twin(rows)


SIZES = st.sampled_from([0, 1, 2, 300, 5000, 16_383, 16_384, 16_385])


@pytest.mark.parametrize("twin", [send_rows_in_python, send_rows])
@given(st.lists(st.tuples(st.lists(st.integers(0, 5), unique=True), SIZES), max_size=8))
def test_everybody_hears_the_rows_that_it_is_in_whoever_is_in_the_same(
    twin: type(send_rows), told: list[tuple[list[int], int]]
) -> None:
    ends = [socket.socketpair() for _ in range(6)]
    try:
        pieces = [bytes([65 + number]) * size for number, (_, size) in enumerate(told)]
        rows: list[Row] = [
            (array("i", [ends[member][0].fileno() for member in members]), len(members), piece)
            for (members, _), piece in zip(told, pieces, strict=True)
        ]
        assert list(twin(rows)) == []
        for member, (ours, theirs) in enumerate(ends):
            ours.close()
            mine = b"".join(piece for (members, _), piece in zip(told, pieces, strict=True) if member in members)
            with theirs.makefile("rb") as stream:
                assert stream.read() == mine
    finally:
        for pair in ends:
            for end in pair:
                end.close()


def test_rows_that_are_none_are_refused_by_the_native_part() -> None:
    for rows in ([(array("i", [1]), 2, b"")], [(1, 2, b"")], [(array("i"), -1, b"")]):
        if native is not None:
            with pytest.raises(ValueError, match="beyond"):
                native.send_rows(rows)
            with pytest.raises(ValueError, match="below 0"):
                native.send_rows_between([], -1, 5)
    assert list(send_rows([])) == []


def test_where_there_is_a_compiler_the_native_part_is_built() -> None:
    if os.environ.get("OPENLINE_PURE", "0") in ("", "0") and shutil.which("cc") is not None:
        assert native is not None
    else:
        assert parse_frames is parse_frames_in_python or native is not None
