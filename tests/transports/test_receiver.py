"""Below the event loop every socket gets what is its own, in its turn, and every end is told once."""

import asyncio
import gc
import os
import socket
import sys
from collections.abc import Callable, Iterator
from fcntl import ioctl
from termios import FIONREAD
from typing import Any
from weakref import ref as Reference  # noqa: N812  it is a class

import pytest
import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st

from openline.accelerator import native
from openline.protocol.websocket import Opcode, encode_masked
from openline.transports.receiver import Receiver
from openline.transports.socket_transport import SocketTransport
from tests.transports.below import Below, Listening, Loop, read_all, reset

pytestmark = pytest.mark.skipif(
    native is None or not hasattr(os, "eventfd"), reason="sockets are read below the loop on Linux, natively"
)


@pytest.fixture
def below() -> Iterator[Below]:
    made = Below()
    yield made
    made.close()


class Frames(Listening):
    """A reader of frames, as lines are; ``rest`` is what was none, or not whole."""

    def __init__(self) -> None:
        super().__init__()
        self.items: list[tuple[Opcode, bytes]] = []
        self.passes = 0
        self.rest = b""

    def found(self, what: Any, more: Any) -> None:
        self.passes += 1
        self.items += what
        self.rest += more

    def failed(self, error: Exception) -> None:
        raise error


MESSAGES = st.lists(st.binary(max_size=300), min_size=1, max_size=8)


@given(MESSAGES, st.data())
@settings(max_examples=60, deadline=None)
def test_wherever_the_input_is_split_nothing_is_lost_or_changed(messages: list[bytes], data: st.DataObject) -> None:
    sent = b"".join(encode_masked(Opcode.BINARY, message, b"mask") for message in messages)
    cuts = sorted(data.draw(st.sets(st.integers(0, len(sent)), max_size=4)))
    below = Below()
    transport, frames, peer = below.pair(Frames())
    transport.expect(frames, 1000)
    for start, stop in zip([0, *cuts], [*cuts, len(sent)], strict=True):
        peer.send(sent[start:stop])
        below.loop.turn()
        if frames.rest:
            # As a line does: what is not whole is read as bytes.
            transport.expect(frames, -1)
    taken = b"".join(encode_masked(opcode, payload, b"mask") for opcode, payload in frames.items)
    assert taken + frames.rest == sent
    below.close()


def test_a_burst_of_frames_is_one_pass(below: Below) -> None:
    transport, frames, peer = below.pair(Frames())
    transport.expect(frames, 1000)
    peer.send(b"".join(encode_masked(Opcode.TEXT, b"%d" % n, b"mask") for n in range(50)))
    below.loop.turn()
    assert (frames.passes, frames.rest) == (1, b"")
    assert frames.items == [(Opcode.TEXT, b"%d" % n) for n in range(50)]


@pytest.mark.parametrize(
    "hostile",
    [
        b"\x81\x05hello",
        b"\x91" + encode_masked(Opcode.TEXT, b"a", b"mask")[1:],
        encode_masked(Opcode.TEXT, b"\xff", b"mask"),
        encode_masked(Opcode.CLOSE, b"", b"mask"),
        encode_masked(Opcode.BINARY, bytes(1001), b"mask"),
        b"\x82\xff" + b"\xff" * 12,
    ],
)
def test_what_is_no_plain_frame_is_left_to_who_judges_it(below: Below, hostile: bytes) -> None:
    transport, frames, peer = below.pair(Frames())
    transport.expect(frames, 1000)
    peer.send(encode_masked(Opcode.TEXT, b"good", b"mask") + hostile)
    below.loop.turn()
    assert (frames.items, frames.rest) == ([(Opcode.TEXT, b"good")], hostile)


def test_a_number_that_is_used_again_has_nothing_of_the_socket_before(below: Below) -> None:
    transport, first, peer = below.pair()
    number = transport.descriptor
    peer.send(b"for the first")
    transport.abort()
    below.loop.turn()
    assert (first.got, first.heard, transport.descriptor) == (b"", ["lost"], -1)
    peer.close()
    again, second, other = below.pair()
    assert again.descriptor == number
    other.send(b"for the second")
    below.loop.turn()
    assert (first.got, second.got) == (b"", b"for the second")
    transport.write(b"from the first")
    again.write(b"from the second")
    assert read_all(other) == b"from the second"


def test_who_closes_another_in_the_same_turn_keeps_that_from_being_heard(below: Below) -> None:
    one, first, peer = below.pair()
    two, second, other = below.pair()
    first.then = two.abort
    second.then = one.abort
    peer.send(b"a")
    other.send(b"b")
    below.loop.turn()
    assert sorted((first.got, second.got)) in ([b"", b"a"], [b"", b"b"])


def test_who_pauses_reading_is_not_read_and_then_misses_nothing(below: Below) -> None:
    transport, protocol, peer = below.pair()
    transport.pause_reading()
    peer.send(b"later")
    below.loop.turn()
    assert (protocol.got, transport.is_reading()) == (b"", False)
    transport.resume_reading()
    below.loop.turn()
    assert (protocol.got, transport.is_reading()) == (b"later", True)


def test_the_end_is_told_once_behind_everything_that_came(below: Below) -> None:
    transport, protocol, peer = below.pair()
    peer.send(b"the last")
    peer.close()
    for _ in range(4):
        below.loop.turn()
    assert (protocol.got, protocol.heard) == (b"the last", ["eof", "lost"])
    assert transport.is_closing()


def test_who_stays_half_open_may_go_on_writing(below: Below) -> None:
    transport, protocol, peer = below.pair()
    protocol.half_open = True
    peer.shutdown(socket.SHUT_WR)
    for _ in range(3):
        below.loop.turn()
    transport.write(b"answer")
    assert (protocol.heard, read_all(peer)) == (["eof"], b"answer")


def test_a_reset_is_told_once_as_an_error(below: Below) -> None:
    _, protocol, peer = below.tcp()
    reset(peer)
    below.until(lambda: protocol.heard)
    for _ in range(3):
        below.loop.turn()
    assert protocol.heard == ["ConnectionResetError"]


@pytest.mark.parametrize("waiting", [False, True])
def test_a_reset_of_who_is_not_read_shows_where_it_is_written_to(below: Below, waiting: bool) -> None:
    transport, protocol, peer = below.tcp()
    transport.set_write_buffer_limits(high=0)
    transport.pause_reading()
    if waiting:
        transport.write(bytes(4_000_000))
        assert transport.get_write_buffer_size()
    reset(peer)

    def told() -> list[str]:
        # Nobody looks where nothing waits: the next write will tell.
        transport.write(b"?")
        return [word for word in protocol.heard if word.endswith("Error")]

    below.until(told)
    below.loop.turn()
    assert len(told()) == 1


def waiting_in(descriptor: int) -> int:
    """How many bytes can be read there."""
    return int.from_bytes(ioctl(descriptor, FIONREAD, bytes(4)), sys.byteorder)


def test_who_floods_does_not_keep_others_waiting(below: Below) -> None:
    transport, flooding, flood = below.tcp()
    quiet = [below.pair() for _ in range(5)]
    flood.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4_194_304)
    sent = flood.send(bytes(1_000_000))
    assert sent > 100_000
    for _, _, peer in quiet:
        peer.send(b"me, too")
    while waiting_in(transport.descriptor) <= 32_768:
        pass
    below.loop.turn()
    assert [protocol.got for _, protocol, _ in quiet] == [b"me, too"] * 5
    assert flooding.reads == [32_768]
    below.until(lambda: len(flooding.got) == sent)
    assert max(flooding.reads) == 32_768


def test_more_sockets_than_fit_into_one_turn_are_all_read(below: Below) -> None:
    made = [below.pair() for _ in range(400)]
    for _, _, peer in made:
        peer.send(b"here")
    below.loop.turn()
    below.loop.turn()
    assert {protocol.got for _, protocol, _ in made} == {b"here"}


def test_a_protocol_that_fails_loses_its_socket_and_no_other(below: Below) -> None:
    failing, protocol, peer = below.pair()
    _, other, theirs = below.pair()

    def fail() -> None:
        raise RuntimeError("a fault of ours")

    protocol.then = fail
    peer.send(b"a")
    theirs.send(b"b")
    below.loop.turn()
    assert (protocol.heard, other.got, failing.is_closing()) == (["RuntimeError"], b"b", True)
    assert [str(told["exception"]) for told in below.loop.failures] == ["a fault of ours"]


def test_what_no_handler_of_errors_is_for_keeps_nobody_from_being_heard(below: Below) -> None:
    seated = [below.pair() for _ in range(3)]
    calls: list[int] = []

    def stop() -> None:
        calls.append(1)
        if len(calls) == 1:
            raise asyncio.CancelledError

    for _, protocol, theirs in seated:
        protocol.then = stop
        theirs.send(b"first")
    with pytest.raises(asyncio.CancelledError):
        below.loop.turn()
    below.loop.turn()
    for _, _, theirs in seated:
        theirs.send(b"second")
    below.loop.turn()
    assert [protocol.got for _, protocol, _ in seated] == [b"firstsecond"] * 3


def test_an_end_leaves_no_descriptor(below: Below) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        transport, _, peer = below.pair()
        transport.close()
        peer.close()
    below.loop.turn()
    assert len(os.listdir("/proc/self/fd")) <= before


def test_natively_a_seat_is_somebodys() -> None:
    epoll = native.open_epoll()
    ours, theirs = socket.socketpair()
    try:
        for call in (
            lambda: native.watch(epoll, ours.fileno(), True, False),
            lambda: native.expect(ours.fileno(), object(), 1),
            lambda: native.expect(-1, object(), 1),
            lambda: native.expect(1 << 30, object(), 1),
        ):
            with pytest.raises(LookupError):
                call()
        native.seat(epoll, ours.fileno(), object(), False)
        with pytest.raises(ValueError, match="has a seat"):
            native.seat(epoll, ours.fileno(), object(), False)
        native.unseat(epoll, ours.fileno())
        native.unseat(epoll, ours.fileno())
        native.unseat(epoll, -1)
        theirs.send(b"nobody's")
        assert native.receive(epoll) == []
    finally:
        for closing in (ours.detach(), theirs.detach(), epoll):
            os.close(closing)


def leave_seated(make_loop: Callable[[], asyncio.AbstractEventLoop], peers: list[socket.socket]) -> "Reference[Any]":
    """A loop that is closed while sockets are seated, or have just left their seat."""

    async def seat() -> None:
        receiver = Receiver.of(loop)
        assert receiver is not None
        for _ in range(3):
            ours, theirs = socket.socketpair()
            peers.append(theirs)
            ours.setblocking(False)
            left = SocketTransport(receiver, ours.detach(), Listening(), "")
        left.expect(Frames(), 1000)
        left.abort()

    loop = make_loop()
    loop.run_until_complete(seat())
    loop.close()
    return Reference(loop)


@pytest.mark.parametrize("make_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_a_closed_loop_is_forgotten_with_all_that_was_seated_when_the_next_one_begins(
    make_loop: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    make_loop().close()  # the first one leaves descriptors that all have in common
    before = os.listdir("/proc/self/fd")
    peers: list[socket.socket] = []
    loops = [leave_seated(make_loop, peers) for _ in range(4)]
    following = Receiver.of(Loop())  # type: ignore[arg-type]
    assert following is not None
    gc.collect()
    assert [loop() for loop in loops] == [None] * 4
    for peer in peers:
        assert peer.recv(1) == b""
        peer.close()
    following.forget()
    assert len(os.listdir("/proc/self/fd")) == len(before)


def test_what_a_closed_loop_had_seated_may_still_be_closed(below: Below) -> None:
    transport, protocol, peer = below.pair()
    below.receiver.forget()
    peer.send(b"nobody's")
    transport.write(bytes(1_000_000))
    transport.abort()
    below.loop.readers.clear()
    below.loop.turn()
    assert (protocol.got, protocol.heard, transport.descriptor) == (b"", ["pause", "lost"], -1)


class Nobody:
    """A reader that only its seat knows."""


@pytest.mark.parametrize("limit", [-1, 1000])
@pytest.mark.parametrize("collection", range(8))
def test_who_loses_its_seat_while_it_is_told_is_there_until_it_is_told(limit: int, collection: int) -> None:
    """The garbage collector may begin wherever something is made, and runs what others have written."""
    epoll = native.open_epoll()
    ours, theirs = socket.socketpair()
    left = [collection]

    def unseat(phase: str, info: object) -> None:
        left[0] -= 1
        if left[0] == 0:
            native.unseat(epoll, ours.fileno())

    native.seat(epoll, ours.fileno(), Nobody(), False)
    native.expect(ours.fileno(), Nobody(), limit)
    theirs.send(encode_masked(Opcode.TEXT, b"a", b"mask"))
    # Where none lie ready to be used again, each list and tuple is made, and may begin a collection.
    kept = [[n] for n in range(100)], [(n, n) for n in range(2100)], [(n, n, n) for n in range(2100)]
    thresholds = gc.get_threshold()
    gc.callbacks.append(unseat)
    gc.set_threshold(1)
    try:
        found = native.receive(epoll)
    finally:
        gc.set_threshold(*thresholds)
        gc.callbacks.remove(unseat)
        native.unseat(epoll, ours.fileno())
        for closing in (ours.detach(), theirs.detach(), epoll):
            os.close(closing)
    assert kept
    assert all(isinstance(reader, Nobody) for reader, _, _ in found)
