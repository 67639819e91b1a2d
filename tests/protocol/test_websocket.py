"""The reader against its laws and against the `websockets` library, which is the oracle for what a stream means."""

import gc
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.effort import times
from websockets import exceptions
from websockets.frames import Frame
from websockets.frames import Opcode as TheirOpcode
from websockets.protocol import CLIENT, SERVER, Protocol

from openline.errors import CloseCode
from openline.protocol import websocket
from openline.protocol.websocket import FrameReader, Item, Opcode, decode_close, encode_frame, encode_masked

FIN = 0x80
CONT, TEXT, BINARY, CLOSE, PING, PONG = Opcode
LIMIT = 300  # small, so that streams meet it

Verdict = tuple[list[Item], CloseCode | None]


def wire(first: int, payload: bytes, key: bytes = b"\x01\x80\x7f\xfe") -> bytes:
    """A masked frame with any first byte."""
    return bytes((first,)) + encode_masked(BINARY, payload, key)[1:]


def read(feeds: Sequence[bytes], *, limit: int = LIMIT, masked: bool = True) -> tuple[Verdict, FrameReader]:
    reader = FrameReader(max_message=limit, masked=masked)
    items = [item for data in feeds for item in reader.feed(data)]
    return (items, reader.failure and reader.failure.code), reader


def can_be_utf8(front: bytes, *, final: bool) -> bool:
    """Whether the front of a text is UTF-8, or would be with one of these endings, one of which fits any front."""
    endings = [b""] if final else [byte * count for count in range(4) for byte in (b"\x80", b"\xbf")]
    return any(front + ending == (front + ending).decode(errors="ignore").encode() for ending in endings)


def assemble(frames: Sequence[Frame]) -> Verdict:
    """Messages from the oracle's frames: it leaves fragments and UTF-8 to the layer above it."""
    items: list[Item] = []
    opcode, body = CONT, b""
    for frame in frames:
        payload, kind = bytes(frame.data), Opcode(frame.opcode)
        if kind >= CLOSE:
            items.append((kind, payload))
            continue
        opcode, body = (opcode, body + payload) if kind is CONT else (kind, payload)
        if opcode is TEXT and not can_be_utf8(body, final=frame.fin):
            return items, CloseCode.INVALID_DATA
        if frame.fin:
            items.append((opcode, body))
    return items, None


def ask_oracle(stream: bytes, *, limit: int = LIMIT, side: object = SERVER) -> Verdict:
    oracle = Protocol(side, max_size=limit)
    oracle.receive_data(stream)
    items, code = assemble(oracle.events_received())
    match oracle.parser_exc:
        case None:
            return items, code
        case exceptions.PayloadTooBig():
            return items, code or CloseCode.TOO_BIG
        case UnicodeDecodeError():
            return items, code or CloseCode.INVALID_DATA
        case exceptions.ProtocolError():
            return items, code or CloseCode.PROTOCOL_ERROR
        case unexpected:
            raise unexpected


def agrees(stream: bytes, ours: Verdict, theirs: Verdict, reason: str) -> bool:
    """Whether the verdicts are the same, or differ in one of five ways in which the oracle is looser or stricter."""
    (items, code), (their_items, their_code) = ours, theirs
    if ours == theirs:
        return True
    if reason in {"length not in its shortest form", "control frame fragmented or too long"}:
        # §5.2: "the minimal number of bytes MUST be used"; the oracle takes any, in a control frame too.
        return items == their_items[: len(items)]
    if items == their_items:
        if (code, their_code) == (CloseCode.PROTOCOL_ERROR, CloseCode.TOO_BIG):
            # Two things are wrong with one frame, and the oracle looks at the size before it looks at the rest.
            return True
        # We judge a header, the oracle a whole frame: once that is there, it must come to the same.
        then = ask_oracle(stream + bytes(LIMIT + 14))
        return their_code is None and then[1] is not None and agrees(stream, ours, then, reason)
    # The oracle refuses a close inside a message (1002), and control frames inside a message that, counted with it,
    # are above the limit (1009). §5.4 allows both.
    shared = len(their_items)
    allowed = {CloseCode.TOO_BIG: {CLOSE, PING, PONG}, CloseCode.PROTOCOL_ERROR: {CLOSE}}.get(their_code, set())
    return items[:shared] == their_items and len(items) > shared and items[shared][0] in allowed


# The clock belongs to whoever else uses this machine, not to a law.
law = settings(
    deadline=None,
    # Streams of up to 5 messages and their fragments are large; which are too large is no question here.
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    max_examples=times(100),
)

# One to four bytes each, with the ends of every range.
strings = st.text(alphabet="\0aZ\x7f\x80é\u07ff\u0800€\ud7ff\ue000\ufffe\uffff\U00010000😀\U0010ffff", max_size=75)
keys = st.binary(min_size=4, max_size=4)
short = st.binary(max_size=20)
texts = strings.map(str.encode)
controls = st.builds(wire, st.sampled_from([FIN | PING, FIN | PONG]), st.binary(max_size=125), keys)
close_payloads = st.one_of(
    st.just(b""),
    st.builds(
        lambda code, reason: code.to_bytes(2) + reason,
        st.sampled_from([1000, 1001, 1011, 3000, 4999]),
        strings.map(lambda text: text[:30].encode()),
    ),
)


@st.composite
def messages(draw: st.DrawFn) -> list[bytes]:
    """The frames of one message, in any fragments, with control frames between them."""
    opcode = draw(st.sampled_from([TEXT, BINARY]))
    payload = draw(texts if opcode is TEXT else st.binary(max_size=LIMIT))[:LIMIT].decode(errors="ignore").encode()
    cuts = sorted(draw(st.lists(st.integers(0, len(payload)), max_size=4)))
    parts = [payload[a:b] for a, b in pairwise([0, *cuts, len(payload)])]
    frames: list[bytes] = []
    for i, part in enumerate(parts):
        frames += draw(st.lists(controls, max_size=1)) if i else []
        first = (CONT if i else opcode) | (FIN if i == len(parts) - 1 else 0)
        frames.append(wire(first, part, draw(keys)))
    return frames


@st.composite
def conversations(draw: st.DrawFn) -> bytes:
    """A stream as an honest client sends it."""
    parts = draw(st.lists(st.one_of(messages(), controls.map(lambda frame: [frame])), max_size=6))
    frames = [frame for part in parts for frame in part]
    if draw(st.booleans()):
        frames.append(wire(FIN | CLOSE, draw(close_payloads), draw(keys)))
    return b"".join(frames)


hostile_frames = st.one_of(
    st.builds(wire, st.integers(0, 255), st.binary(max_size=LIMIT + 20), keys),
    st.builds(wire, st.sampled_from([TEXT, FIN | TEXT, CONT, FIN | CONT]), short, keys),
    st.builds(wire, st.just(FIN | CLOSE), short, keys),
    st.builds(lambda first, payload: encode_frame(Opcode(first), payload), st.sampled_from([TEXT, PING]), short),
)
edits = st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255))


@st.composite
def hostile_streams(draw: st.DrawFn) -> bytes:
    """Honest and bad frames mixed, some bytes changed, and perhaps the end cut off."""
    parts = draw(st.lists(st.one_of(conversations(), hostile_frames), min_size=1, max_size=5))
    stream = bytearray(b"".join(parts))
    for place, byte in draw(st.lists(edits, max_size=2)):
        if stream:
            stream[int(place * len(stream))] = byte
    return bytes(stream[: len(stream) - draw(st.integers(0, 3))])


def cut(stream: bytes, places: list[int]) -> list[bytes]:
    return [stream[a:b] for a, b in pairwise([0, *sorted(place % (len(stream) + 1) for place in places), len(stream)])]


@law
@given(conversations())
def test_an_honest_stream_means_what_the_oracle_says(stream: bytes) -> None:
    ours, reader = read([stream])
    theirs = ask_oracle(stream)
    assert agrees(stream, ours, theirs, "")
    assert reader.failure is None
    assert reader.held == 0


@law
@given(hostile_streams())
def test_a_hostile_stream_fails_where_and_as_the_oracle_says(stream: bytes) -> None:
    ours, reader = read([stream])
    reason = reader.failure.reason if reader.failure else ""
    assert agrees(stream, ours, ask_oracle(stream), reason), (ours, ask_oracle(stream))


@law
@given(hostile_streams(), st.lists(st.integers(0, 5000), max_size=12))
def test_splitting_the_stream_anywhere_changes_nothing(stream: bytes, places: list[int]) -> None:
    whole, reader = read([stream])
    split, split_reader = read(cut(stream, places))
    octets, _ = read([bytes((byte,)) for byte in stream])
    assert whole == split == octets
    assert reader.held == split_reader.held


@law
@given(hostile_streams(), st.lists(st.integers(0, 5000), max_size=4))
def test_the_quick_way_and_the_thorough_way_come_to_the_same(stream: bytes, places: list[int]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(websocket, "parse_frames", lambda data, start, limit: ([], start))
        thorough, _ = read(cut(stream, places))
    assert read(cut(stream, places))[0] == thorough


@law
@given(
    st.lists(st.tuples(st.sampled_from([TEXT, BINARY, PING, PONG]), strings.map(lambda text: text[:31].encode()), keys))
)
def test_a_reader_returns_what_was_encoded(sent: list[tuple[Opcode, bytes, bytes]]) -> None:
    items = [(opcode, payload) for opcode, payload, _ in sent]
    from_client = [b"".join(encode_masked(opcode, payload, key) for opcode, payload, key in sent)]
    from_server = [b"".join(encode_frame(opcode, payload) for opcode, payload in items)]
    assert read(from_client)[0] == (items, None)
    assert read(from_server, masked=False)[0] == (items, None)


@pytest.mark.parametrize("size", [0, 1, 125, 126, 399, 400, 65_535, 65_536, 100_003])
@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_both_libraries_read_each_other_at_every_length(opcode: Opcode, size: int) -> None:
    payload = b"x" * size
    limit = 1 << 20
    item = ([(opcode, payload)], None)
    assert ask_oracle(encode_frame(opcode, payload), side=CLIENT, limit=limit) == item
    assert ask_oracle(encode_masked(opcode, payload, b"\x00\xff\x10\x7f"), limit=limit) == item
    for side, masked in ((CLIENT, True), (SERVER, False)):
        peer = Protocol(side)
        send = peer.send_text if opcode is TEXT else peer.send_binary
        send(payload)
        assert read(peer.data_to_send(), limit=limit, masked=masked)[0] == item


@law
@given(st.lists(st.binary(max_size=60), min_size=1, max_size=5), st.lists(short, max_size=3))
def test_fragments_and_pings_of_the_oracle_are_read_on_both_sides(parts: list[bytes], pings: list[bytes]) -> None:
    for side, masked in ((CLIENT, True), (SERVER, False)):
        peer = Protocol(side)
        peer.send_binary(parts[0], fin=len(parts) == 1)
        for ping in pings:
            peer.send_ping(ping)
        for number, part in enumerate(parts[1:], 2):
            peer.send_continuation(part, fin=number == len(parts))
        (items, code), _ = read(peer.data_to_send(), masked=masked)
        assert code is None
        assert sorted(items) == sorted([(BINARY, b"".join(parts)), *((PING, ping) for ping in pings)])


@law
@given(hostile_streams(), st.lists(st.integers(0, 5000), max_size=6))
def test_a_buffer_that_is_reused_after_each_feed_does_no_harm(stream: bytes, places: list[int]) -> None:
    reader, shared, items = FrameReader(max_message=LIMIT), bytearray(len(stream)), []
    for data in cut(stream, places):
        shared[: len(data)] = data
        with memoryview(shared) as whole, whole[: len(data)] as view:
            items += reader.feed(view)
        shared[:] = b"\xaa" * len(shared)
        # Nothing may hold the buffer: one that is held cannot be resized.
        shared.append(0)
        shared.pop()
    assert (items, reader.failure and reader.failure.code) == read([stream])[0]


def reachable(reader: FrameReader) -> set[type]:
    return {type(thing) for thing in gc.get_referents(reader)} - {type, int, bool, type(None)}


def test_a_reader_that_waits_for_nothing_owns_nothing() -> None:
    reader = FrameReader(max_message=LIMIT)
    assert reachable(reader) == set()
    halves = cut(wire(TEXT, b"front") + wire(FIN | PING, b"") + wire(FIN | CONT, b"end"), [3, 8, 15])
    for data in halves[:-1]:
        reader.feed(data)
        assert reachable(reader) != set()
        assert reader.held > 0
    assert reader.feed(halves[-1])[-1] == (TEXT, b"frontend")
    assert reachable(reader) == set()
    assert reader.held == 0


def test_a_failure_keeps_neither_the_bytes_nor_the_frames_of_the_program() -> None:
    reader = FrameReader(max_message=LIMIT)
    assert reader.feed(wire(TEXT, b"ok") + wire(CONT, b"\xff") + wire(FIN | CONT, b"never")) == []
    failure = reader.failure
    assert failure is not None
    assert failure.code is CloseCode.INVALID_DATA
    assert (failure.__traceback__, failure.__context__, failure.__cause__) == (None, None, None)
    assert reader.held == 0


@pytest.mark.parametrize("last", [wire(FIN | CLOSE, b""), wire(FIN | 0x70, b"")])
def test_after_a_close_or_a_failure_everything_is_ignored(last: bytes) -> None:
    reader = FrameReader(max_message=LIMIT)
    reader.feed(last)
    failure = reader.failure
    assert reader.feed(wire(FIN | TEXT, b"late") + b"\xff" * 1000) == []
    assert reader.failure is failure
    assert reader.held == 0


@pytest.mark.parametrize(("masked", "frame"), [(True, encode_frame(TEXT, b"x")), (False, wire(FIN | TEXT, b"x"))])
def test_a_frame_masked_by_the_wrong_side_is_refused(masked: bool, frame: bytes) -> None:
    assert read([frame], masked=masked)[0] == ([], CloseCode.PROTOCOL_ERROR)


def test_a_close_inside_a_message_is_a_close_and_the_message_is_dropped() -> None:
    (items, code), reader = read([wire(TEXT, b"half") + wire(FIN | CLOSE, b"\x03\xe9bye")])
    assert items == [(CLOSE, b"\x03\xe9bye")]
    assert decode_close(items[0][1]) == (1001, "bye")
    assert code is None
    assert reader.held == 0


def test_the_reader_speaks_the_words_of_the_oracle() -> None:
    assert {opcode.name: int(opcode) for opcode in TheirOpcode} == {
        {"CONTINUATION": "CONT"}.get(opcode.name, opcode.name): int(opcode) for opcode in Opcode
    }
