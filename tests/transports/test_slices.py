"""What takes long of one read is taken in slices: each line hears its own in order, and others have their turn."""

import os
import socket
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openline import SocketIoSettings
from openline.accelerator import native
from openline.model import Request
from openline.protocol.websocket import Opcode, encode_frame, encode_masked
from openline.testing import FakeClock
from openline.transports import receiver as receiver_module
from openline.transports import websocket
from openline.transports.receiver import Receiver
from openline.transports.settings import LineSettings
from openline.transports.socketio import SocketIo
from openline.transports.websocket import WebSocketLine
from tests.rig import Rig
from tests.transports.below import Below, Listening, read_all

pytestmark = pytest.mark.skipif(
    native is None or not hasattr(os, "eventfd"), reason="sockets are read below the loop on Linux, natively"
)


@pytest.fixture
def below(monkeypatch: pytest.MonkeyPatch) -> Iterator[Below]:
    """Its loop has its turn behind each slice."""
    monkeypatch.setattr(receiver_module, "_SLICE_SECONDS", 0.0)
    monkeypatch.setattr(websocket, "_MESSAGES", 3)
    monkeypatch.setattr(websocket, "_BYTES", 50)
    made = Below()
    yield made
    made.close()


class Heard:
    """A door that notes what comes, of all its lines, and answers nothing."""

    codec: Any = None
    max_message_bytes = 200
    beats = True

    def __init__(self) -> None:
        self.of: dict[object, list[bytes]] = {}
        self.order: list[object] = []
        self.gone: list[object] = []
        self.then: Any = lambda: None

    def opened(self, line: object) -> None:
        """Nothing is expected."""

    def message(self, line: object, opcode: Opcode, payload: bytes) -> None:
        self.of.setdefault(line, []).append(payload)
        self.order.append(line)
        self.then()

    def ping(self, line: object) -> bytes:
        return b""

    def lost(self, line: object, *, clean: bool) -> None:
        self.gone.append(line)


class Doors:
    """As much of the doors as a line has use for."""

    settings = LineSettings(ping_every_seconds=25.0, pong_within_seconds=10.0)

    def __init__(self) -> None:
        rig = Rig()
        self.clock: FakeClock = rig.clock
        self.tick, self.timers = rig.tick, rig.timers


def line_of(below: Below, door: Heard, doors: Doors) -> tuple[WebSocketLine, socket.socket]:
    transport, _, peer = below.pair()
    line = WebSocketLine(doors, door, transport, set())  # type: ignore[arg-type]
    transport.set_protocol(line)
    line.begin()
    line.read_below()
    return line, peer


def text(number: int) -> bytes:
    return encode_masked(Opcode.TEXT, b"%d" % number, b"mask")


PLAIN = st.binary(max_size=60).map(lambda data: encode_masked(Opcode.BINARY, data, b"mask"))
PING = st.just(encode_masked(Opcode.PING, b"?", b"mask"))
#: A message in two frames, what may come between them, and what may come behind it.
HALVES = st.tuples(
    st.just(b"\x02" + encode_masked(Opcode.BINARY, b"half", b"mask")[1:]),
    st.lists(PING, max_size=8).map(b"".join),
    st.just(b"\x80" + encode_masked(Opcode.BINARY, b"half", b"mask")[1:]),
).map(b"".join)
END = st.sampled_from(
    [
        b"",
        encode_masked(Opcode.CLOSE, b"", b"mask") + encode_masked(Opcode.TEXT, b"behind it", b"mask"),
        encode_frame(Opcode.TEXT, b"not masked"),
        b"\x82\xfe\x10\x10mask" + bytes(16),
        encode_masked(Opcode.TEXT, b"\xff", b"mask"),
    ]
)
BURSTS = st.tuples(
    st.lists(PLAIN, max_size=12).map(b"".join), st.lists(PLAIN | PING | HALVES, max_size=12).map(b"".join), END
).map(b"".join)


@given(st.lists(BURSTS, min_size=1, max_size=3))
def test_in_slices_or_at_once_the_same_is_heard_of_every_line_and_answered(streams: list[bytes]) -> None:
    told = []
    for seconds, messages, size in ((60.0, 10_000, 100_000), (0.0, 3, 50)):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(receiver_module, "_SLICE_SECONDS", seconds)
            patch.setattr(websocket, "_MESSAGES", messages)
            patch.setattr(websocket, "_BYTES", size)
            below, door, doors = Below(), Heard(), Doors()
            lines = [line_of(below, door, doors) for _ in streams]
            for (_, peer), stream in zip(lines, streams, strict=True):
                peer.send(stream)
            below.loop.turn()
            below.loop.turn()
            doors.clock.advance()
            told.append([(door.of.get(line), line in door.gone, read_all(peer)) for line, peer in lines])
            below.close()
    assert told[0] == told[1]


def test_whoever_sends_little_is_heard_before_the_end_of_a_burst_and_nobody_is_read_meanwhile(below: Below) -> None:
    door, doors = Heard(), Doors()
    burst, flood = line_of(below, door, doors)
    quiet, peer = line_of(below, door, doors)
    flood.send(b"".join(map(text, range(20))))
    peer.send(text(0))
    for callback in below.loop.readers.values():
        callback()
    turns = 0
    while below.loop.soon:
        turns += 1
        peer.send(text(turns))
        # The loop finds something to read all the time.
        for callback in below.loop.readers.values():
            callback()
        below.loop.soon.pop(0)[0]()
    assert turns >= 7
    assert door.order.index(quiet) <= 3
    assert len(door.of[quiet]) == 1
    assert door.of[burst] == [b"%d" % n for n in range(20)]
    below.loop.turn()
    assert door.of[quiet] == [b"%d" % n for n in range(turns + 1)]


def test_a_line_that_is_closed_in_the_middle_of_a_burst_hears_no_more_of_it(below: Below) -> None:
    door, doors = Heard(), Doors()
    burst, flood = line_of(below, door, doors)
    flood.send(b"".join(map(text, range(20))))
    below.loop.readers[below.receiver._epoll]()
    burst.close(1001, "elsewhere")
    below.loop.turn()
    assert door.of[burst] == [b"0", b"1", b"2"]


def test_who_is_lost_in_the_middle_of_a_burst_hears_no_more_of_it_once_that_is_told(below: Below) -> None:
    door, doors = Heard(), Doors()
    burst, flood = line_of(below, door, doors)
    flood.send(b"".join(map(text, range(20))))
    below.loop.readers[below.receiver._epoll]()
    burst._transport.abort()
    below.loop.turn()
    # The next slice was due before the end was.
    assert (door.of[burst], door.gone) == ([b"%d" % n for n in range(6)], [burst])
    assert not below.receiver.behind


def test_who_could_not_be_read_for_the_burst_of_another_is_not_taken_for_dead(below: Below) -> None:
    door, doors = Heard(), Doors()
    _, flood = line_of(below, door, doors)
    silent, peer = line_of(below, door, doors)
    doors.clock.advance(25.5)
    flood.send(b"".join(map(text, range(6))))
    below.loop.readers[below.receiver._epoll]()
    peer.send(text(1))
    assert below.receiver.behind
    for _ in range(5):
        doors.clock.advance(10.0)
    assert door.gone == []
    below.loop.turn()
    below.loop.turn()
    doors.clock.advance(1.0)
    assert (door.of[silent], door.gone) == ([b"1"], [])


def test_a_session_whose_pong_waits_behind_the_burst_of_another_is_not_taken_for_dead(below: Below) -> None:
    rig = Rig()
    settings = SocketIoSettings()
    sessions = SocketIo(rig.hub, settings=settings, outbox_bytes=1 << 20, spellings={})
    doors: Any = SimpleNamespace(settings=LineSettings(), tick=rig.tick, timers=rig.timers, clock=rig.clock)
    session: Any = sessions.engine.websocket(Request("/socket.io/", query="EIO=4&transport=websocket"))
    _, flood = line_of(below, Heard(), doors)
    _, peer = line_of(below, session, doors)
    peer.send(encode_masked(Opcode.TEXT, b"40", b"mask"))
    below.until(lambda: rig.hub.lifecycle.connections)
    rig.clock.advance(settings.ping_interval_seconds + 0.5)
    flood.send(b"".join(map(text, range(6))))
    below.loop.readers[below.receiver._epoll]()
    peer.send(encode_masked(Opcode.TEXT, b"3", b"mask"))
    assert below.receiver.behind
    for _ in range(3):
        rig.clock.advance(settings.ping_timeout_seconds)
    assert not session.closed
    below.loop.turn()
    below.loop.turn()
    rig.clock.advance(settings.ping_interval_seconds - 1.0)
    assert not session.closed
    rig.clock.advance(settings.ping_timeout_seconds + 3.0)
    assert session.closed


def test_the_receiver_lasts_until_all_is_told_though_nobody_is_seated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receiver_module, "_SLICE_SECONDS", 0.0)
    below = Below()
    made = [below.pair(Listening()) for _ in range(3)]
    for _, _, peer in made:
        peer.send(b"here")
    below.loop.readers[below.receiver._epoll]()
    below.close()
    assert not below.receiver.behind


def test_what_was_read_before_a_line_took_over_is_the_lines(below: Below) -> None:
    door = Heard()
    line, _ = line_of(below, door, Doors())
    # It waited in a slice, as bytes for who read before.
    line._socket.found([], text(1))
    assert (door.of, door.gone) == ({line: [b"1"]}, [])


def test_who_was_accepted_by_a_loop_that_is_closed_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receiver_module, "_SLICE_SECONDS", 0.0)
    below = Below()
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)

    class Slow(Listening):
        def found(self, what: Any, more: Any) -> None:
            os.close(what)

    reader: Any = Slow()
    below.receiver.seat(listener.fileno(), reader, listens=True)
    peers = [socket.create_connection(listener.getsockname()) for _ in range(3)]
    below.loop.readers[below.receiver._epoll]()
    assert below.receiver.behind
    Receiver.forget(below.receiver)
    for peer in peers:
        assert peer.recv(1) == b""
        peer.close()
    listener.close()
    below.loop.readers.clear()
    below.close()
