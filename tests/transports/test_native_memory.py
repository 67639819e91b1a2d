"""The native part gives back all that it takes: memory and references, in one thread and in several at once."""

import ctypes
import gc
import os
import random
import socket
import sys
import threading
from array import array
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any

import msgspec
import pytest

from openline.accelerator import native
from openline.protocol.websocket import Opcode, encode_masked
from tests.effort import seed, times
from tests.transports.below import Below, read_all

LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None

pytestmark = [
    pytest.mark.skipif(native is None or LIBC is None, reason="sockets are read below the loop on Linux, natively"),
    pytest.mark.skipif(not hasattr(LIBC, "mallinfo2"), reason="only glibc says what malloc has given"),
]

HEAD = (
    b"GET /o HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nX: 1\r\n\r\n"
)
FRAMES = encode_masked(Opcode.TEXT, b"good", b"mask") + encode_masked(Opcode.TEXT, b"\xff", b"mask")


ENCODE = msgspec.json.Encoder().encode
DECODE = msgspec.json.Decoder().decode


def fail(connection: object, payload: object) -> None:
    raise ValueError(payload)


HANDLERS: dict[str, Any] = {
    "echo": (lambda _, payload: payload, DECODE),
    "odd": (lambda *_: {1, 2}, DECODE),
    "loop": (lambda *_: ENDLESS, DECODE),
    "fails": (fail, DECODE),
    "misfit": (lambda *_: 1, msgspec.json.Decoder(int).decode),
    "bad": 5,
}
ENDLESS: list[Any] = []
ENDLESS.append(ENDLESS)
EVENTS = [
    b'{"type":"%b"%b,"payload":%b}' % (type.encode(), number, payload)
    for type in (*HANDLERS, "nobody")
    for number in (b"", b',"id":3000000000000')
    for payload in (b'"a"', b"null", b"[null,1.5]")
]


class Mallinfo(ctypes.Structure):
    """See mallinfo(3)."""

    _fields_ = [
        *((name, ctypes.c_size_t) for name in ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks")),
        *((name, ctypes.c_size_t) for name in ("uordblks", "fordblks", "keepcost")),
    ]


def allocated() -> int:
    """The bytes that malloc has given and not got back."""
    assert LIBC is not None
    LIBC.mallinfo2.restype = Mallinfo
    info = LIBC.mallinfo2()
    return int(info.uordblks + info.hblkhd)


class Calls:
    """Calls of everything that is native, with good and with bad arguments."""

    def __init__(self) -> None:
        self.epoll = native.open_epoll()
        full, self._reader = socket.socketpair()
        full.setblocking(False)
        with suppress(BlockingIOError):
            while full.send(bytes(65_536)):
                pass
        self.ours, self.theirs = socket.socketpair()
        self.full = full
        # One that takes nothing, one that is left out, one that is closed.
        self.descriptors = array("i", [full.fileno(), -1, 9999])
        native.seat(self.epoll, self.ours.fileno(), object(), False)

    def close(self) -> None:
        native.unseat_all(self.epoll)
        for each in (self.full, self._reader, self.ours, self.theirs):
            each.close()
        os.close(self.epoll)

    def once(self) -> None:
        """All of them."""
        self.send()
        self.read()
        self.receive()
        self.answer()

    def send(self) -> None:
        some = self.descriptors
        native.send_many(some, 0, 3, b"hello")
        native.send_rows([(some, 3, b"a"), (some[0], 1, b"bb"), (some, 2, bytes(20_000))])
        native.send_rows_between([(some, 3, b"a")], 0, 5)
        refused(native.send_many, some, 0, 9, b"")
        for rows in (
            [(some, 3, b"a"), (some, 9, b"b")],
            [(some, 3, "x")],
            [(some, 3, b"a"), 5],
            5,
            [(1 << 70, 1, b"x")],
        ):
            refused(native.send_rows, rows)

    def read(self) -> None:
        native.parse_frames(FRAMES, 0, 1000)
        native.read_head(HEAD)
        native.read_head(HEAD.replace(b"X: 1", b"Host: b"))
        native.read_command(b'{"type":"said","id":17,"payload":[1]}')
        native.read_command(b'{"type":"said"')
        native.encode_reply(3_000_000_000_000, b"1")
        native.is_suspect(b"[1]")
        native.use_opcodes(Opcode.TEXT, Opcode.BINARY, Opcode.PING, Opcode.PONG)
        refused(native.parse_frames, b"", -1, 1)
        refused(native.read_head, "x")
        refused(native.encode_reply, 1 << 70, b"1")
        refused(native.is_suspect, "x")

    def answer(self) -> None:
        for message in EVENTS:
            native.answer_event(HANDLERS, ENCODE, message, self)
        refused(native.answer_event, HANDLERS, ENCODE, "x", self)
        refused(native.answer_event, HANDLERS, ENCODE, b"x")
        refused(native.answer_event, 5, ENCODE, b"x", self)

    def receive(self) -> None:
        epoll, number = self.epoll, self.ours.fileno()
        for limit in (1000, -1):
            native.expect(number, object(), limit)
            self.theirs.send(FRAMES)
            ((_, items, rest),) = native.receive(epoll)
            assert (len(items), bool(rest)) == (limit > 0, True)
        native.watch(epoll, number, True, True)
        assert len(native.receive(epoll)) == 1
        native.watch(epoll, number, True, False)
        refused(native.seat, epoll, number, object(), False)
        native.unseat(epoll, number)
        native.seat(epoll, number, object(), False)
        refused(native.expect, 9999, object(), 1)


def refused(call: Callable[..., Any], *arguments: Any) -> None:
    try:
        call(*arguments)
    except Exception:
        return
    raise AssertionError(f"{call} takes {arguments}")


def test_no_native_call_keeps_memory_or_references() -> None:
    rounds = times(1000)
    calls = Calls()
    known: tuple[Any, ...] = (
        None,
        True,
        False,
        *Opcode,
        native,
        FRAMES,
        HEAD,
        calls.descriptors,
        ENCODE,
        HANDLERS,
        *EVENTS,
    )
    for _ in range(200):
        calls.once()
    gc.collect()
    blocks, held, references = sys.getallocatedblocks(), allocated(), [*map(sys.getrefcount, known)]
    for _ in range(rounds):
        calls.once()
    gc.collect()
    # The least that could be kept in every round: one reference, one block, 16 bytes.
    assert max(new - old for new, old in zip(map(sys.getrefcount, known), references, strict=True)) < rounds // 2
    assert sys.getallocatedblocks() - blocks < rounds // 2
    assert allocated() - held < 16 * rounds // 2
    calls.close()


def receive_much() -> None:
    """A turn in which 30 sockets bring 30,000 bytes each."""
    epoll = native.open_epoll()
    pairs = [socket.socketpair() for _ in range(30)]
    for ours, theirs in pairs:
        native.seat(epoll, ours.fileno(), object(), False)
        theirs.send(bytes(30_000))
    assert len(native.receive(epoll)) == 30
    native.unseat_all(epoll)
    for each in (end for pair in pairs for end in pair):
        each.close()
    os.close(epoll)


def test_a_thread_that_has_read_sockets_leaves_no_memory_when_it_ends() -> None:
    receive_much()
    held = allocated()
    for _ in range(10):
        thread = threading.Thread(target=receive_much)
        thread.start()
        thread.join()
    assert allocated() - held < 500_000


@contextmanager
def switching_often() -> Iterator[None]:
    """Threads take turns as often as they can."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        yield
    finally:
        sys.setswitchinterval(interval)


def one_loop(name: bytes, chance: random.Random, barrier: threading.Barrier) -> None:
    """Sockets come and go; what each of them is sent, below its loop and in rows, is what it gets."""
    below = Below()
    seated: list[Any] = []
    barrier.wait()
    for number in range(times(150)):
        if len(seated) < 3 or (len(seated) < 12 and chance.random() < 0.5):
            seated.append(below.pair())
        else:
            seated.pop(chance.randrange(len(seated)))[0].abort()
        word = b"%s %d" % (name, number)
        targets = array("i", [transport.descriptor for transport, _, _ in seated])
        assert list(native.send_rows([(targets, len(targets), word), (targets, len(targets), b".")])) == []
        for _, protocol, peer in seated:
            assert read_all(peer) == word + b"."
            protocol.got = b""
            peer.send(word)
        below.loop.turn()
        assert {protocol.got for _, protocol, _ in seated} == {word}
    below.close()


def test_two_loops_in_two_threads_each_have_what_is_theirs() -> None:
    barrier, begun = threading.Barrier(2), seed()
    with switching_often(), ThreadPoolExecutor(2) as threads:
        running = [threads.submit(one_loop, b"loop %d" % n, random.Random(begun + n), barrier) for n in range(2)]
        for each in running:
            each.result()
