"""Single frames: what is encoded, what is decoded, and the contract that a native `parse_frames` must keep, too."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Close
from websockets.speedups import apply_mask

from openline.errors import CloseCode, ProtocolError
from openline.protocol.frames import (
    MASKS_PAY_FROM,
    Item,
    Opcode,
    decode_close,
    encode_close,
    encode_frame,
    encode_masked,
    is_utf8,
    mask,
    parse_frames,
    read_header,
)

KEY = b"\x01\x80\x7f\xfe"
TEXT, BINARY, CLOSE, PING, PONG = Opcode.TEXT, Opcode.BINARY, Opcode.CLOSE, Opcode.PING, Opcode.PONG
LIMIT = 70_000

keys = st.binary(min_size=4, max_size=4)
strings = st.text(alphabet="\0aé\u07ff\u0800€\ufffe\U00010000😀\U0010ffff", max_size=75)
plain_items = st.lists(st.tuples(st.sampled_from([TEXT, BINARY, PING, PONG]), strings.map(lambda s: s[:31].encode())))

NOT_PLAIN = {
    "a fragment": b"\x01" + encode_masked(TEXT, b"x", KEY)[1:],
    "a continuation": b"\x80" + encode_masked(TEXT, b"x", KEY)[1:],
    "a close": encode_masked(CLOSE, b"\x03\xe8", KEY),
    "a reserved bit": b"\xc1" + encode_masked(TEXT, b"x", KEY)[1:],
    "an unknown opcode": b"\x83" + encode_masked(TEXT, b"x", KEY)[1:],
    "no mask": encode_frame(TEXT, b"not masked"),
    "no mask and a 16-bit length": encode_frame(TEXT, b"x" * 300),
    "bad UTF-8": encode_masked(TEXT, b"\xff", KEY),
    "a long ping": b"\x89" + encode_masked(TEXT, b"x" * 126, KEY)[1:],
    "a length not in its shortest form": b"\x81\xfe\x00\x7d" + KEY + bytes(125),
    "a message above the limit": encode_masked(BINARY, bytes(LIMIT + 1), KEY),
    "the front of a frame": encode_masked(BINARY, bytes(1000), KEY)[:-1],
    "the front of a header": encode_masked(BINARY, b"", KEY)[:5],
    "nothing": b"",
}


def encode_all(items: list[Item]) -> bytes:
    return b"".join(encode_masked(opcode, payload, KEY) for opcode, payload in items)


@given(plain_items, st.sampled_from([*NOT_PLAIN]), st.binary(max_size=9))
def test_parse_frames_takes_the_plain_frames_and_stops_where_one_is_not(
    items: list[Item], end: str, before: bytes
) -> None:
    plain = encode_all(items)
    behind = b"" if "front" in end or end == "nothing" else encode_all([(PING, b"behind")])
    stream = before + plain + NOT_PLAIN[end] + behind
    assert parse_frames(stream, len(before), LIMIT) == (items, len(before + plain))


@pytest.mark.parametrize("rest", [*NOT_PLAIN.values()], ids=[*NOT_PLAIN])
def test_parse_frames_leaves(rest: bytes) -> None:
    assert parse_frames(rest, 0, LIMIT) == ([], 0)


def test_parse_frames_takes_a_message_of_exactly_the_limit() -> None:
    frame = encode_masked(BINARY, bytes(1000), KEY)
    assert parse_frames(frame, 0, 1000) == ([(BINARY, bytes(1000))], len(frame))
    assert parse_frames(frame, 0, 999) == ([], 0)


@given(st.binary(max_size=40), st.integers(0, 40))
def test_parse_frames_never_raises(data: bytes, start: int) -> None:
    _, stop = parse_frames(data, start, LIMIT)
    assert start <= stop <= max(start, len(data))


@pytest.mark.parametrize("size", [0, 1, 2, 3, 4, 5, MASKS_PAY_FROM - 1, MASKS_PAY_FROM, MASKS_PAY_FROM + 1, 70_003])
@pytest.mark.parametrize("key", [bytes(4), KEY, b"\xff\x00\x00\x00", b"\x00\x00\x00\xff"])
def test_a_mask_is_the_xor_of_key_and_payload_and_its_own_inverse(size: int, key: bytes) -> None:
    payload = bytes(i * 7 & 0xFF for i in range(size))
    assert mask(payload, key) == apply_mask(payload, key)
    assert mask(mask(payload, key), key) == payload


@given(st.binary(max_size=12), st.booleans())
def test_a_header_is_read_the_same_however_much_follows_it(data: bytes, masked: bool) -> None:
    def outcome(front: bytes) -> object:
        try:
            return read_header(front, 0, masked=masked)
        except ProtocolError as error:
            return error.code, error.reason

    known = [found for end in range(len(data) + 1) if (found := outcome(data[:end])) is not None]
    assert all(found == known[0] for found in known)


@pytest.mark.parametrize(
    ("length", "code"),
    [
        (b"\xfe\x00\x7d", CloseCode.PROTOCOL_ERROR),
        (b"\xff" + (0xFFFF).to_bytes(8), CloseCode.PROTOCOL_ERROR),
        (b"\xfe\x00\x7e", None),
        (b"\xff" + (0x10000).to_bytes(8), None),
    ],
)
def test_a_length_must_be_written_in_its_shortest_form(length: bytes, code: CloseCode | None) -> None:
    if code is None:
        assert read_header(b"\x82" + length, 0, masked=True) is not None
    else:
        with pytest.raises(ProtocolError, match="shortest"):
            read_header(b"\x82" + length, 0, masked=True)


@given(st.sampled_from([None, 1000, 1003, 1007, 1014, 3000, 4401, 4999]), strings)
def test_a_close_frame_decodes_to_its_code_and_as_much_of_the_reason_as_fits(code: int | None, reason: str) -> None:
    frame = encode_close(code, reason)
    payload = frame[2:]
    assert frame[:2] == bytes((0x88, len(payload)))
    assert len(payload) <= 125
    found, text = decode_close(payload)
    assert found == code
    if code is None:
        assert text == ""
        return
    assert reason.startswith(text)
    theirs = Close.parse(payload)
    assert (theirs.code, theirs.reason) == (code, text)
    if text != reason:
        # It was cut between two characters, and not one of those that fit is missing.
        assert len(text.encode()) + len(reason[len(text)].encode()) > 123


def test_a_reason_that_is_no_text_is_sent_with_marks_in_its_place() -> None:
    assert decode_close(encode_close(1000, "a\ud800b")[2:]) == (1000, "a?b")


@pytest.mark.parametrize("payload", [b"\x03", b"\x00\x00", b"\x03\xed", b"\x13\x88", b"\xff\xff text"])
def test_a_close_payload_with_a_bad_code_breaks_the_protocol(payload: bytes) -> None:
    with pytest.raises(ProtocolError) as caught:
        decode_close(payload)
    assert caught.value.code is CloseCode.PROTOCOL_ERROR


def test_a_close_reason_that_is_not_utf8_is_invalid_data() -> None:
    with pytest.raises(ProtocolError) as caught:
        decode_close(b"\x03\xe8\xc3")
    assert caught.value.code is CloseCode.INVALID_DATA


@pytest.mark.parametrize("opcode", [CLOSE, PING, PONG])
def test_a_control_frame_that_is_too_long_is_not_encoded(opcode: Opcode) -> None:
    assert len(encode_frame(opcode, bytes(125))) == 127
    with pytest.raises(ValueError, match="125"):
        encode_frame(opcode, bytes(126))
    with pytest.raises(ValueError, match="125"):
        encode_masked(opcode, bytes(126), KEY)


@pytest.mark.parametrize("key", [b"", b"abc", b"abcde"])
def test_a_key_of_other_than_four_bytes_is_not_taken(key: bytes) -> None:
    with pytest.raises(ValueError, match="four bytes"):
        encode_masked(TEXT, b"", key)


@pytest.mark.parametrize("size", [0, 125, 126, 65_535, 65_536])
def test_a_frame_has_the_shortest_header_for_its_length(size: int) -> None:
    extra = 0 if size < 126 else 2 if size < 65_536 else 8
    assert len(encode_frame(TEXT, bytes(size))) == 2 + extra + size
    assert len(encode_masked(TEXT, bytes(size), KEY)) == 6 + extra + size


@pytest.mark.parametrize("text", [b"\xed\xa0\x80", b"\xc0\x80", b"\xf4\x90\x80\x80", b"\xe2\x82", b"\x80"])
def test_utf8_is_what_rfc_3629_says(text: bytes) -> None:
    assert not is_utf8(text)
    assert is_utf8("\U0010ffff\ufffe\0".encode())
