"""Frames made to hurt: 10⁵ mutated streams, lengths that lie, and floods of fragments. Nothing raises, grows or slows.

A failing stream names its seed; ``OPENLINE_SEED`` runs that seed again.
"""

import random
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise

import pytest
from tests.effort import seed, times

from openline.errors import CloseCode, ProtocolError
from openline.protocol.websocket import FrameReader, Item, Opcode, decode_close, encode_masked

SEED = seed()
KEY = b"\x37\xfa\x21\x3d"
FIN = 0x80
CONT, TEXT, BINARY, CLOSE, PING, PONG = Opcode
LIMIT = 1000
MUTATED = times(100_000)


def wire(first: int, payload: bytes) -> bytes:
    """A masked frame with any first byte."""
    return bytes((first,)) + encode_masked(BINARY, payload, KEY)[1:]


TINY = wire(CONT, b"x")
EMPTY = wire(CONT, b"")

SEEDS = [
    wire(FIN | TEXT, b'{"type":"chat","payload":"hello"}'),
    wire(FIN | TEXT, "κόσμε 😀".encode()),
    wire(FIN | BINARY, bytes(range(200))),
    wire(TEXT, "κόσμ".encode()[:-1]) + wire(FIN | PING, b"p") + wire(FIN | CONT, "μ".encode()[1:] + b"e"),
    wire(BINARY, bytes(500)) + wire(CONT, b"") + wire(CONT, bytes(499)) + wire(FIN | CONT, b"!"),
    wire(FIN | PONG, b"x" * 125) + wire(FIN | TEXT, b""),
    wire(FIN | CLOSE, b"\x03\xe8bye") + wire(FIN | TEXT, b"late"),
]
INTERESTING = b"\x00\x01\x02\x08\x09\x0a\x7d\x7e\x7f\x80\x81\x82\x88\x89\x8a\xc1\xed\xf4\xfd\xfe\xff"


def mutate(rng: random.Random) -> bytes:
    """Some seeds in a row, with bytes changed, put in, taken out and doubled."""
    data = bytearray(b"".join(rng.choices(SEEDS, k=rng.randint(1, 3))))
    for _ in range(rng.randint(1, 6)):
        place = rng.randrange(len(data) + 1)
        match rng.randrange(6):
            case 0:
                data[place : place + 1] = bytes((data[place % len(data)] ^ 1 << rng.randrange(8),)) if data else b""
            case 1:
                data[place : place + 1] = bytes((rng.choice(INTERESTING),))
            case 2:
                data[place:place] = rng.randbytes(rng.randint(1, 9))
            case 3:
                del data[place : place + rng.randint(1, 9)]
            case 4:
                data[place:place] = data[place : place + rng.randint(1, 40)]
            case _:
                # The beginning of a frame is where lies are told.
                data[:2] = bytes((rng.choice(INTERESTING), rng.choice(INTERESTING)))
        if not data:
            data += b"\x81"
    return bytes(data)


def is_sound(item: Item) -> bool:
    opcode, payload = item
    match opcode:
        case Opcode.TEXT:
            return len(payload) <= LIMIT and bool(payload.decode() or not payload)
        case Opcode.BINARY:
            return len(payload) <= LIMIT
        case Opcode.CLOSE:
            return len(payload) <= 125 and decode_close(payload) is not None
        case _:
            return opcode in {PING, PONG} and len(payload) <= 125


def check_stream(stream: bytes, split: int) -> None:
    """What must hold for any bytes whatever, fed at once and in two pieces."""
    whole, halves = FrameReader(max_message=LIMIT), FrameReader(max_message=LIMIT)
    items = whole.feed(stream)
    assert halves.feed(stream[:split]) + halves.feed(stream[split:]) == items
    assert all(map(is_sound, items))
    failure = whole.failure
    assert (failure is None) is (halves.failure is None)
    if failure is not None:
        assert isinstance(failure, ProtocolError)
        assert failure.code in {CloseCode.PROTOCOL_ERROR, CloseCode.INVALID_DATA, CloseCode.TOO_BIG}
        assert len(failure.reason.encode()) <= 123
        assert whole.feed(SEEDS[0]) == []
    # A message, and a control frame in its midst whose end has not come: header, key and 125 bytes.
    assert whole.held == halves.held <= LIMIT + 131
    assert failure is None or whole.held == 0


def test_no_mutated_stream_raises_or_is_read_in_two_ways() -> None:
    rng = random.Random(SEED)
    for number in range(MUTATED):
        stream = mutate(rng)
        split = rng.randrange(len(stream) + 1)
        try:
            check_stream(stream, split)
        except Exception as error:
            raise AssertionError(f"seed {SEED}, stream {number}: {stream.hex()} split at {split}") from error


@contextmanager
def allocating_less_than(limit: int) -> Iterator[None]:
    """At no moment may the block hold ``limit`` bytes more than were held when it began."""
    with tracing():
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        yield
        peak = tracemalloc.get_traced_memory()[1]
    assert peak - before < limit


@contextmanager
def tracing() -> Iterator[None]:
    """Count what is allocated from here on, unless it is counted already."""
    if tracemalloc.is_tracing():
        yield
        return
    tracemalloc.start()
    try:
        yield
    finally:
        tracemalloc.stop()


LYING = {
    "2**62": b"\xff" + (2**62).to_bytes(8),
    "2**63": b"\xff" + (2**63).to_bytes(8),
    "2**64 - 1": b"\xff" + b"\xff" * 8,
    "2**32": b"\xff" + (2**32).to_bytes(8),
    "the limit and one": b"\xff" + (65_536 + 1).to_bytes(8),
}


@pytest.mark.parametrize("first", [FIN | TEXT, FIN | BINARY, TEXT, BINARY])
@pytest.mark.parametrize("length", [*LYING.values()], ids=[*LYING])
@pytest.mark.parametrize("step", [1, 100])
def test_a_frame_that_is_too_big_is_refused_from_its_length_alone(first: int, length: bytes, step: int) -> None:
    header = bytes((first,)) + length
    reader = FrameReader(max_message=65_536)
    with allocating_less_than(8_192):
        for place in range(0, len(header), step):
            assert reader.failure is None
            assert reader.feed(header[place : place + step]) == []
    assert reader.failure is not None
    assert reader.failure.code is CloseCode.TOO_BIG
    assert reader.held == 0


def test_a_claimed_length_within_the_limit_allocates_only_what_has_come() -> None:
    reader = FrameReader(max_message=1 << 40)
    with allocating_less_than(8_192):
        reader.feed(b"\x82\xff" + (1 << 39).to_bytes(8) + KEY + bytes(1000))
    assert reader.held == 1014


@pytest.mark.parametrize("sizes", [(400, 601), (1000, 1), (1, 1000), (0, 1001), (500, 500, 1)])
def test_a_message_is_refused_with_the_header_of_the_fragment_that_makes_it_too_big(sizes: tuple[int, ...]) -> None:
    reader = FrameReader(max_message=LIMIT)
    *before, last = [wire(CONT if number else BINARY, bytes(size)) for number, size in enumerate(sizes)]
    for frame in before:
        reader.feed(frame)
    assert reader.failure is None
    reader.feed(last[: 4 if sizes[-1] > 125 else 2])
    assert reader.failure is not None
    assert reader.failure.code is CloseCode.TOO_BIG
    assert reader.held == 0


def test_a_message_of_exactly_the_limit_passes_in_one_frame_and_in_many() -> None:
    reader = FrameReader(max_message=LIMIT)
    payload = bytes(LIMIT)
    assert reader.feed(wire(FIN | BINARY, payload)) == [(BINARY, payload)]
    frames = [wire(BINARY, b""), *[wire(CONT, bytes(100))] * 10, wire(FIN | CONT, b"")]
    assert reader.feed(b"".join(frames)) == [(BINARY, payload)]


@pytest.mark.parametrize("fragment", [TINY, EMPTY], ids=["one byte", "empty"])
@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_a_flood_of_fragments_ends_at_the_limit_whether_they_are_empty_or_not(fragment: bytes, opcode: int) -> None:
    reader = FrameReader(max_message=1 << 20, max_fragments=1024)
    assert reader.feed(wire(opcode, b"") + fragment * 1023) == []
    assert reader.failure is None
    assert reader.feed(fragment) == []
    assert reader.failure is not None
    assert reader.failure.code is CloseCode.TOO_BIG
    assert reader.held == 0


def test_the_last_fragment_counts_too() -> None:
    for end, fits in ((1, True), (2, False)):
        reader = FrameReader(max_message=LIMIT, max_fragments=3)
        items = reader.feed(wire(TEXT, b"a") + wire(CONT, b"b") * end + wire(FIN | CONT, b"c"))
        assert items == ([(TEXT, b"abc")] if fits else [])
        assert (reader.failure is None) is fits


def test_300_000_fragments_of_one_byte_are_one_message_where_the_limits_allow_it() -> None:
    reader = FrameReader(max_message=300_001, max_fragments=300_002)
    reader.feed(wire(BINARY, b"x"))
    for _ in range(300):
        assert reader.feed(TINY * 1000) == []
    assert reader.held == 300_001
    assert reader.feed(wire(FIN | CONT, b"")) == [(BINARY, b"x" * 300_001)]


def test_fragments_of_one_byte_hold_no_more_than_their_bytes() -> None:
    flood = TINY * 100
    reader = FrameReader(max_message=1 << 20, max_fragments=1 << 20)
    with allocating_less_than(2 * 30_000):
        reader.feed(wire(BINARY, b""))
        for _ in range(300):
            reader.feed(flood)
    assert reader.held == 30_000


def steps(work: Callable[[], None]) -> int:
    """How much is done, as the number of calls, in Python and in C; the same on every machine."""
    count = 0

    def on_call(_frame: object, event: str, _argument: object) -> None:
        nonlocal count
        count += event in {"call", "c_call"}

    sys.setprofile(on_call)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count


def fragments_flood(size: int) -> None:
    reader = FrameReader(max_message=size + 1, max_fragments=size + 1)
    reader.feed(wire(TEXT, b"x") + TINY * size)
    assert reader.failure is None


def frame_in_octets(size: int) -> None:
    reader = FrameReader(max_message=size)
    frame = wire(FIN | TEXT, b"x" * size)
    items = [item for byte in frame for item in reader.feed(bytes((byte,)))]
    assert items == [(TEXT, b"x" * size)]


def alternating(size: int) -> None:
    reader = FrameReader(max_message=size)
    assert len(reader.feed((wire(FIN | PING, b"") + wire(TEXT, b"a") + wire(FIN | CONT, b"b")) * size)) == 2 * size


@pytest.mark.parametrize("work", [fragments_flood, frame_in_octets, alternating])
def test_twice_the_bytes_are_twice_the_work(work: Callable[[int], None]) -> None:
    counts = [steps(lambda size=size: work(size)) for size in (2_000, 4_000, 8_000)]
    assert all(more < 2.1 * less for less, more in pairwise(counts))


def test_a_byte_more_costs_nothing_of_what_is_already_there() -> None:
    # Calls alone would not show a copy of the whole buffer for each byte; memory does.
    frame = wire(FIN | BINARY, bytes(60_000))
    in_frame, in_message = FrameReader(max_message=65_536), FrameReader(max_message=65_536)
    with tracing():
        in_frame.feed(frame[:50_000])
        in_message.feed(wire(BINARY, bytes(49_999)) + TINY)
        in_frame.feed(frame[50_000:50_001])
        with allocating_less_than(4_000):
            for place in range(50_001, 50_200):
                in_frame.feed(frame[place : place + 1])
                in_message.feed(TINY)
    assert in_frame.held == 50_200
    assert in_message.held == 50_199


def test_what_is_behind_special_frames_is_not_copied_for_each_of_them() -> None:
    # Each of these frames leaves the quick way and comes back to it.
    stream = (wire(TEXT, b"") + wire(FIN | CONT, b"")) * 5_000
    reader = FrameReader(max_message=LIMIT)
    # 64 bytes are the pair for each, and its place in the list.
    with allocating_less_than(5_000 * 64 + len(stream) // 2):
        assert len(reader.feed(stream)) == 5_000


def test_pings_without_end_leave_nothing_behind() -> None:
    reader = FrameReader(max_message=LIMIT)
    flood = wire(FIN | PING, b"x" * 125) * 100
    with allocating_less_than(200_000):
        for _ in range(100):
            assert len(reader.feed(flood)) == 100
    assert reader.held == 0
