"""Who comes is accepted below the event loop, and served; where nobody can be accepted, that is told and passes."""

import errno
import logging
import os
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from openline.accelerator import native
from openline.transports.listener import Listener
from tests.transports.below import Below, Listening

pytestmark = pytest.mark.skipif(
    native is None or not hasattr(os, "eventfd"), reason="sockets are read below the loop on Linux, natively"
)


class Greeted(Listening):
    """Keeps its transport."""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport


@pytest.fixture
def below() -> Iterator[Below]:
    made = Below()
    yield made
    made.close()


class Server:
    """As far as a listener takes an asyncio server's place."""

    def __init__(self) -> None:
        self.sockets = [socket.create_server(("127.0.0.1", 0))]

    def close(self) -> None:
        self.sockets[0].close()


@pytest.fixture
def greeted() -> list[Greeted]:
    return []


@pytest.fixture
def listener(below: Below, greeted: list[Greeted]) -> Iterator[Listener]:
    def make() -> Greeted:
        greeted.append(Greeted())
        return greeted[-1]

    (made,) = Listener.instead_of([Server()], below.receiver, make)  # type: ignore[list-item]
    assert isinstance(made, Listener)
    yield made
    made.close()
    for each in greeted:
        each.transport.abort()


def test_who_comes_is_served_under_its_address(below: Below, listener: Listener, greeted: list[Greeted]) -> None:
    address = listener.sockets[0].getsockname()
    ends = [socket.create_connection(address) for _ in range(100)]
    for end in ends:
        end.send(b"hello")
    below.until(lambda: len(greeted) == 100 and all(each.got for each in greeted))
    assert {each.got for each in greeted} == {b"hello"}
    assert {each.transport.peer for each in greeted} == {"127.0.0.1"}
    lent = greeted[0].transport.get_extra_info("socket")
    assert lent.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    for end in ends:
        end.close()


def test_who_waited_for_the_server_before_is_not_lost(below: Below, greeted: list[Greeted]) -> None:
    server = Server()
    with socket.create_connection(server.sockets[0].getsockname()) as early:
        early.send(b"early")

        def make() -> Greeted:
            greeted.append(Greeted())
            return greeted[-1]

        (made,) = Listener.instead_of([server], below.receiver, make)  # type: ignore[list-item]
        below.until(lambda: [each.got for each in greeted] == [b"early"])
        greeted[0].transport.abort()
        made.close()


def test_without_descriptors_nobody_is_accepted_for_a_while(
    below: Below, listener: Listener, greeted: list[Greeted], caplog: pytest.LogCaptureFixture
) -> None:
    later: list[Callable[[], None]] = []
    below.loop.call_later = lambda seconds, call: later.append(call)  # type: ignore[attr-defined]
    with caplog.at_level(logging.WARNING, "openline"):
        listener.found(-errno.EMFILE, "")
    with socket.create_connection(listener.sockets[0].getsockname()):
        below.loop.turn()
        assert greeted == []
        later.pop()()
        below.until(lambda: len(greeted) == 1)
    assert "Nobody can be accepted for 1 s: Too many open files" in caplog.text


def test_who_closes_accepts_nobody_any_more(below: Below, listener: Listener) -> None:
    address = listener.sockets[0].getsockname()
    listener.close()
    listener.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address)


def test_who_was_accepted_before_the_end_and_is_told_of_after_it_is_let_go(
    below: Below, listener: Listener, greeted: list[Greeted]
) -> None:
    ours, theirs = socket.socketpair()
    listener.close()
    listener.found(ours.detach(), "127.0.0.1")
    assert (greeted, theirs.recv(1)) == ([], b"")
    theirs.close()


def test_a_protocol_that_cannot_begin_loses_its_socket(below: Below) -> None:
    class Failing(Greeted):
        def connection_made(self, transport: Any) -> None:
            raise RuntimeError("a fault of ours")

    (made,) = Listener.instead_of([Server()], below.receiver, Failing)  # type: ignore[list-item]
    with socket.create_connection(made.sockets[0].getsockname()) as end:
        below.until(lambda: below.loop.failures)
        below.loop.turn()
        assert end.recv(1) == b""
    assert [str(told["exception"]) for told in below.loop.failures] == ["a fault of ours"]
    made.close()
