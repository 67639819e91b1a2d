"""What is written below the event loop arrives, whole and in order, and waits where the peer does not read."""

import os
import socket
from collections.abc import Iterator

import pytest

from openline.accelerator import native
from tests.transports.below import Below, read_all

pytestmark = pytest.mark.skipif(
    native is None or not hasattr(os, "eventfd"), reason="sockets are read below the loop on Linux, natively"
)


@pytest.fixture
def below() -> Iterator[Below]:
    made = Below()
    yield made
    made.close()


def test_what_does_not_go_out_waits_and_goes_out_in_order(below: Below) -> None:
    transport, protocol, peer = below.pair()
    transport.set_write_buffer_limits(high=0)
    data = os.urandom(300_000)
    for start in range(0, len(data), 10_000):
        transport.write(data[start : start + 10_000])
    assert transport.get_write_buffer_size() > 0
    assert protocol.heard == ["pause"]
    got = b""
    while len(got) < len(data):
        got += read_all(peer)
        below.loop.turn()
    assert got == data
    assert protocol.heard == ["pause", "resume"]
    assert transport.get_write_buffer_size() == 0


def test_a_protocol_with_a_high_water_mark_is_paused_above_it_only(below: Below) -> None:
    transport, protocol, peer = below.pair()
    transport.write(bytes(50_000))
    assert (protocol.heard, transport.get_write_buffer_size() > 0) == ([], True)
    transport.write(bytes(200_000))
    assert protocol.heard == ["pause"]
    while transport.get_write_buffer_size():
        read_all(peer)
        below.loop.turn()
    assert protocol.heard == ["pause", "resume"]


def test_close_lets_out_what_waits_and_reads_nothing_more(below: Below) -> None:
    transport, protocol, peer = below.pair()
    transport.write(bytes(100_000))
    transport.close()
    transport.close()
    transport.write(b"too late")
    assert not transport.is_reading()
    got = b""
    while not protocol.heard or protocol.heard[-1] != "lost":
        got += read_all(peer)
        below.loop.turn()
    got += read_all(peer)
    assert (len(got), protocol.got, protocol.heard.count("lost")) == (100_000, b"", 1)


def test_abort_drops_what_waits(below: Below) -> None:
    transport, protocol, peer = below.pair()
    transport.write(bytes(1_000_000))
    transport.abort()
    transport.abort()
    below.loop.turn()
    assert (protocol.heard[-1:], transport.get_write_buffer_size()) == (["lost"], 0)
    assert len(read_all(peer)) < 1_000_000


def test_the_descriptor_is_open_while_the_loss_is_told(below: Below) -> None:
    transport, protocol, _ = below.pair()
    seen: list[int] = []

    def lost(exc: Exception | None) -> None:
        # Whoever has the number in a group takes it out now.
        seen.append(os.fstat(transport.descriptor).st_ino)

    protocol.connection_lost = lost
    transport.close()
    assert seen == []
    below.loop.turn()
    assert len(seen) == 1
    assert transport.descriptor == -1


@pytest.mark.parametrize("waiting", [0, 100_000])
def test_the_end_of_writing_comes_behind_everything(below: Below, waiting: int) -> None:
    transport, protocol, peer = below.pair()
    transport.write(bytes(waiting))
    assert transport.can_write_eof()
    transport.write_eof()
    transport.write(b"too late")
    got = b""
    peer.settimeout(0.0)
    while True:
        below.loop.turn()
        try:
            data = peer.recv(65_536)
        except BlockingIOError:
            continue
        if not data:
            break
        got += data
    peer.send(b"still heard")
    below.loop.turn()
    assert (len(got), protocol.got) == (waiting, b"still heard")


def test_it_knows_both_addresses_and_lends_its_socket(below: Below) -> None:
    transport, _, peer = below.tcp()
    assert transport.get_extra_info("peername") == peer.getsockname()
    assert transport.get_extra_info("sockname") == peer.getpeername()
    lent = transport.get_extra_info("socket")
    lent.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    assert (lent.family, lent.fileno()) == (socket.AF_INET, transport.descriptor)
    assert lent.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
    assert transport.get_extra_info("ssl_object") is None
    transport.abort()
    below.loop.turn()
    assert transport.get_extra_info("socket") is None
    assert transport.get_extra_info("peername", "nobody") == "nobody"
