"""The publicly described cases of the Autobahn test suite, groups 1 to 7 and 10, as they concern what is received.

Each case is what a client sends, what must come out, and the code of the failure, if it must fail. Every case is fed
whole, frame by frame, and in pieces (the suite's "octet-wise"), which must make no difference.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from openline.errors import CloseCode
from openline.protocol.websocket import FrameReader, Item, Opcode, encode_close, encode_frame, encode_masked

KEY = b"\x37\xfa\x21\x3d"
FIN = 0x80
CONT, TEXT, BINARY, CLOSE, PING, PONG = Opcode
BAD, NOT_UTF8 = CloseCode.PROTOCOL_ERROR, CloseCode.INVALID_DATA
SIZES = (0, 125, 126, 127, 128, 65_535, 65_536)
LIMIT = 1 << 20


def frame(first: int, payload: bytes = b"") -> bytes:
    """A masked frame with any first byte: the flags and the opcode."""
    return bytes((first,)) + encode_masked(Opcode.BINARY, payload, KEY)[1:]


def control(first: int, payload: bytes) -> bytes:
    """The same for a control frame that may be too long."""
    return frame(FIN | first, payload)


def fragments(opcode: int, *parts: bytes) -> list[bytes]:
    last = len(parts) - 1
    return [frame((opcode if i == 0 else CONT) | (FIN if i == last else 0), part) for i, part in enumerate(parts)]


def octets(payload: bytes) -> list[bytes]:
    return [payload[i : i + 1] for i in range(len(payload))]


@dataclass
class Case:
    name: str
    sent: list[bytes]
    items: list[Item]
    code: CloseCode | None = None


HELLO = (TEXT, b"Hello")
SOME_TEXT, SOME_PING = frame(FIN | TEXT, b"Hello"), frame(FIN | PING)


def echoes() -> Iterator[Case]:
    for group, opcode, byte in ((1, TEXT, b"*"), (2, BINARY, b"\xfe")):
        for number, size in enumerate(SIZES, 1):
            payload = byte * size
            yield Case(f"1.{group}.{number}", [frame(FIN | opcode, payload)], [(opcode, payload)])


def pings() -> Iterator[Case]:
    binary, long = bytes((0x00, 0xFF, 0xFE, 0xFD, 0xFC, 0xFB, 0x00, 0xFF)), b"\xfe" * 125
    for number, payload in ((1, b""), (2, b"Hello, world!"), (3, binary), (4, long), (6, long)):
        yield Case(f"2.{number}", [frame(FIN | PING, payload)], [(PING, payload)])
    yield Case("2.5", [control(PING, b"\xfe" * 126)], [], BAD)
    yield Case("2.7", [frame(FIN | PONG), SOME_PING], [(PONG, b""), (PING, b"")])
    yield Case("2.8", [frame(FIN | PONG, b"unsolicited"), SOME_PING], [(PONG, b"unsolicited"), (PING, b"")])
    yield Case("2.9", [frame(FIN | PONG, b"un"), frame(FIN | PING, b"p")], [(PONG, b"un"), (PING, b"p")])
    ten = [b"payload-%d" % i for i in range(10)]
    yield Case("2.10", [frame(FIN | PING, p) for p in ten], [(PING, p) for p in ten])


def reserved() -> Iterator[Case]:
    small = b"small message"
    yield Case("3.1", [frame(FIN | 0x10 | TEXT, small)], [], BAD)
    for number, bits in ((2, 0x20), (3, 0x30), (4, 0x40)):
        yield Case(f"3.{number}", [SOME_TEXT, frame(FIN | bits | TEXT, small), SOME_PING], [HELLO], BAD)
    yield Case("3.5", [frame(FIN | 0x50 | BINARY, b"\x00\xff")], [], BAD)
    yield Case("3.6", [frame(FIN | 0x60 | PING, b"p")], [], BAD)
    yield Case("3.7", [frame(FIN | 0x70 | CLOSE)], [], BAD)
    for group, opcodes in ((1, (3, 4, 5, 6, 7)), (2, (11, 12, 13, 14, 15))):
        for number, opcode in enumerate(opcodes, 1):
            first = [SOME_TEXT] if number > 2 else []
            payload = b"" if number % 2 else b"reserved opcode"
            sent = [*first, frame(FIN | opcode, payload), SOME_PING]
            yield Case(f"4.{group}.{number}", sent, [HELLO] if first else [], BAD)


def fragmented() -> Iterator[Case]:
    one, two = b"fragment1", b"fragment2"
    head, tail, lone = frame(TEXT, one), frame(FIN | CONT, two), frame(CONT, one)
    whole = (TEXT, one + two)
    ping, pinged = frame(FIN | PING, b"ping payload"), (PING, b"ping payload")
    yield Case("5.1", fragments(PING, one, two), [], BAD)
    yield Case("5.2", fragments(PONG, one, two), [], BAD)
    yield Case("5.3-5.5", [head, tail], [whole])
    yield Case("5.6-5.8", [head, ping, tail], [pinged, whole])
    yield Case("5.9-5.11", [frame(FIN | CONT, b"non-continuation payload"), SOME_TEXT], [], BAD)
    yield Case("5.12-5.14", [frame(CONT, b"non-continuation payload"), SOME_TEXT], [], BAD)
    yield Case("5.15", [head, tail, frame(CONT, b"fragment3"), frame(FIN | TEXT, b"fragment4")], [whole], BAD)
    yield Case("5.16", [lone, head, tail] * 2, [], BAD)
    yield Case("5.17", [frame(FIN | CONT, one), head, tail] * 2, [], BAD)
    yield Case("5.18", [head, frame(FIN | TEXT, two)], [], BAD)
    five = fragments(TEXT, *(b"fragment%d" % i for i in range(1, 6)))
    sent = [*five[:2], frame(FIN | PING, b"1"), *five[2:4], frame(FIN | PING, b"2"), five[4], SOME_PING]
    joined = (TEXT, b"fragment1fragment2fragment3fragment4fragment5")
    yield Case("5.19-5.20", sent, [(PING, b"1"), (PING, b"2"), joined, (PING, b"")])


GREEK = bytes.fromhex("cebae1bdb9cf83cebcceb5")  # with U+1F79, as the suite has it
MIXED = "Hello-µ@ßöäüàá-UTF-8!!".encode()

VALID = {
    "6.7": ["00", "c280", "e0a080", "f0908080"],
    "6.9": ["7f", "dfbf", "efbfbf", "f48fbfbf"],
    "6.11": ["ed9fbf", "ee8080", "efbfbd", "f48fbfbf"],
    "6.22": [chr(plane << 16 | low).encode().hex() for plane in range(17) for low in (0xFFFE, 0xFFFF)],
    "6.23": [chr(point).encode().hex() for point in range(0xFFF9, 0xFFFE)],
}
# The text, and how many of its octets must be there for no continuation to save it.
INVALID = {
    "6.3": [("cebae1bdb9cf83cebcceb5eda080656469746564", 13)],
    "6.8": [("f888808080", 1), ("fc8480808080", 1)],
    "6.10": [("f7bfbfbf", 1), ("fbbfbfbfbf", 1), ("fdbfbfbfbfbf", 1)],
    "6.11": [("f4908080", 2)],
    "6.12": [(text, 1) for text in ("80", "bf", "80bf", "80bf80", "80bf80bf80bf", bytes(range(0x80, 0xC0)).hex())],
    "6.13": [(bytes((lead, 0x20)).hex(), 1 if lead < 0xC2 or lead > 0xF4 else 2) for lead in range(0xC0, 0xFE)],
    "6.14": [(text, None) for text in ("df", "e0a0", "f09080", "ef", "efbf", "f7bfbf", "c0", "e080", "fbbfbfbf")],
    "6.15": [("c0e080f08080f8808080", 1)],
    "6.16": [("fe", 1), ("ff", 1), ("fefeffff", 1)],
    "6.17": [("c0af", 1), ("e080af", 2), ("f08080af", 2), ("f8808080af", 1), ("fc80808080af", 1)],
    "6.18": [("c1bf", 1), ("e09fbf", 2), ("f08fbfbf", 2), ("f887bfbfbf", 1), ("fc83bfbfbfbf", 1)],
    "6.19": [("c080", 1), ("e08080", 2), ("f0808080", 2), ("f880808080", 1), ("fc8080808080", 1)],
    "6.20": [(text, 2) for text in ("eda080", "edadbf", "edae80", "edafbf", "edb080", "edbe80", "edbfbf")],
    "6.21": [(text, 2) for text in ("eda080edb080", "eda080edbfbf", "edadbfedb080", "edafbfedbfbf")],
}


def texts() -> Iterator[Case]:
    yield Case("6.1.1", [frame(FIN | TEXT)], [(TEXT, b"")])
    yield Case("6.1.2", fragments(TEXT, b"", b"", b""), [(TEXT, b"")])
    yield Case("6.1.3", fragments(TEXT, b"", b"middle frame payload", b""), [(TEXT, b"middle frame payload")])
    yield Case("6.2.2", fragments(TEXT, MIXED[:14], MIXED[14:]), [(TEXT, MIXED)])
    valid = [
        MIXED,
        GREEK,
        *(GREEK[:end] for end in (2, 5, 7, 9)),
        *(bytes.fromhex(t) for v in VALID.values() for t in v),
    ]
    for number, text in enumerate(valid):
        yield Case(f"6.2-6.23 valid {number}", [frame(FIN | TEXT, text)], [(TEXT, text)])
        yield Case(f"6.2-6.23 valid {number}, a fragment per octet", fragments(TEXT, *octets(text)), [(TEXT, text)])
    for group, rows in INVALID.items():
        for text, _ in rows:
            yield Case(f"{group} {text}", [SOME_TEXT, frame(FIN | TEXT, bytes.fromhex(text))], [HELLO], NOT_UTF8)
    for end in (1, 3, 4, 6, 8, 10):
        yield Case(f"6.6 cut at {end}", [frame(FIN | TEXT, GREEK[:end])], [], NOT_UTF8)


def closes() -> Iterator[Case]:
    close, closed = frame(FIN | CLOSE, b"\x03\xe8"), (CLOSE, b"\x03\xe8")
    yield Case("7.1.1", [SOME_TEXT, close], [HELLO, closed])
    yield Case("7.1.2", [close, close], [closed])
    yield Case("7.1.3", [close, SOME_PING], [closed])
    yield Case("7.1.4", [close, SOME_TEXT], [closed])
    yield Case("7.1.5", [frame(TEXT, b"fragment1"), close, frame(FIN | CONT, b"fragment2")], [closed])
    long = b"BAsd7&jh23" * 26_214
    yield Case("7.1.6", [frame(FIN | TEXT, long), close, SOME_PING], [(TEXT, long), closed])
    yield Case("7.3.1", [frame(FIN | CLOSE)], [(CLOSE, b"")])
    yield Case("7.3.2", [frame(FIN | CLOSE, b"a")], [], BAD)
    for number, reason in ((3, b""), (4, b"Hello World!"), (5, b"*" * 123)):
        yield Case(f"7.3.{number}", [frame(FIN | CLOSE, b"\x03\xe8" + reason)], [(CLOSE, b"\x03\xe8" + reason)])
    yield Case("7.3.6", [control(CLOSE, b"\x03\xe8" + b"*" * 124)], [], BAD)
    reason = b"\x03\xe8" + bytes.fromhex(INVALID["6.3"][0][0])
    yield Case("7.5.1", [frame(FIN | CLOSE, reason)], [], NOT_UTF8)
    for code in (*range(1000, 1004), *range(1007, 1015), 3000, 3999, 4000, 4999):
        payload = code.to_bytes(2)
        yield Case(f"7.7 {code}", [frame(FIN | CLOSE, payload)], [(CLOSE, payload)])
    for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535):
        yield Case(f"7.9, 7.13 {code}", [frame(FIN | CLOSE, code.to_bytes(2))], [], BAD)


def auto_fragmented() -> Iterator[Case]:
    text = b"*" * 65_536
    parts = [text[i : i + 1300] for i in range(0, len(text), 1300)]
    yield Case("10.1.1", fragments(TEXT, *parts), [(TEXT, text)])


CASES = [
    *echoes(), *pings(), *reserved(), *fragmented(), *texts(), *closes(), *auto_fragmented(),
]  # fmt: skip


def pieces(data: bytes, size: int) -> list[bytes]:
    return [data[i : i + size] for i in range(0, len(data), size)]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@pytest.mark.parametrize("chop", ["whole", "frames", "octets"])
def test_a_case_gives_its_items_and_its_verdict_however_it_is_chopped(case: Case, chop: str) -> None:
    stream = b"".join(case.sent)
    size = 1 if len(stream) < 3000 else 997
    feeds = {"whole": [stream], "frames": case.sent, "octets": pieces(stream, size)}[chop]
    reader = FrameReader(max_message=LIMIT)
    items = [item for data in feeds for item in reader.feed(data)]
    assert items == case.items
    assert (reader.failure and reader.failure.code) == case.code
    assert reader.held == 0


@pytest.mark.parametrize(("text", "position"), [row for rows in INVALID.values() for row in rows])
def test_a_fragmented_text_fails_at_the_first_octet_that_cannot_be_saved(text: str, position: int | None) -> None:
    reader = FrameReader(max_message=LIMIT)
    parts = fragments(TEXT, *octets(bytes.fromhex(text)), b"")
    fed = 0
    while reader.failure is None:
        assert reader.feed(parts[fed]) == []
        fed += 1
    assert reader.failure.code is NOT_UTF8
    if position is not None:
        assert fed == position


@pytest.mark.parametrize(
    "parts", [(GREEK, b"\xf4\x90\x80\x80", b"edited"), (GREEK + b"\xf4", b"\x90", b"\x80\x80edited")]
)
def test_cases_6_4_fail_with_the_second_fragment_before_the_third_is_sent(parts: tuple[bytes, ...]) -> None:
    reader = FrameReader(max_message=LIMIT)
    first, second, _ = fragments(TEXT, *parts)
    assert reader.feed(first) == []
    assert reader.failure is None
    assert reader.feed(second) == []
    assert reader.failure is not None
    assert reader.failure.code is NOT_UTF8


@pytest.mark.parametrize("size", SIZES)
def test_what_is_echoed_reaches_a_client_as_it_was(size: int) -> None:
    payload = b"*" * size
    client = FrameReader(max_message=LIMIT, masked=False)
    assert client.feed(encode_frame(TEXT, payload)) == [(TEXT, payload)]


def test_every_close_code_that_may_be_received_may_be_sent_and_no_other() -> None:
    receivable = {int(case.name[4:]) for case in CASES if case.name.startswith("7.7 ")}
    for code in receivable:
        assert encode_close(code) == b"\x88\x02" + code.to_bytes(2)
    for code in (-1, 0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65_536):
        with pytest.raises(ValueError, match="may not be sent"):
            encode_close(code)
