"""What clients post is taken in order, some packets at a time, and no more of them than may wait."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from openline import LineSettings, SocketIoSettings
from openline.app.handlers import Handlers
from openline.errors import RequestRefused
from openline.hub.outcome import Outcome
from openline.hub.settings import HubSettings
from openline.model import Request
from openline.protocol.websocket import Opcode
from openline.transports import engineio_post
from openline.transports.engineio import Session
from openline.transports.engineio_asgi import EngineAsgiLine
from openline.transports.socketio import SocketIo
from tests.rig import Rig

BUDGET = 8192


class Polled:
    """A client in the default namespace, whose events ``say`` are heard, and ``wait`` for the test besides."""

    def __init__(self) -> None:
        self.heard: list[Any] = []
        self.waiting: list[Outcome[None]] = []
        handlers = Handlers()
        handlers.add_event("say", None, lambda connection, value: self.heard.append(value), thread=False)
        handlers.add_event("wait", None, self._wait, thread=False)
        self.rig = Rig(handlers=handlers, settings=HubSettings(backlog_bytes=BUDGET))
        self.door = SocketIo(self.rig.hub, settings=SocketIoSettings(), outbox_bytes=1 << 20, spellings={})
        self.session: Session = self.door.engine.handshake(Request("/", query="EIO=4&transport=polling"))
        self.session.post(b"40")

    def _wait(self, _: object, value: Any) -> Outcome[None]:
        self.heard.append(value)
        self.waiting.append(Outcome())
        return self.waiting[-1]

    def upgrade(self) -> None:
        doors: Any = SimpleNamespace(settings=LineSettings(), tick=self.rig.tick, timers=self.rig.timers)
        query = f"EIO=4&transport=websocket&sid={self.session.sid}"
        probe, nobody = self.door.engine.websocket(Request("/", query=query)), cast("Any", None)
        line = EngineAsgiLine(doors, probe, nobody, nobody)
        probe.opened(line)
        for said in (b"2probe", b"5"):
            probe.message(line, Opcode.TEXT, said)
        assert self.session.line is line

    @property
    def backlog(self) -> int:
        return sum(connection.backlog_bytes for connection in self.rig.hub.lifecycle.connections.values())


def payload(event: str, numbers: range) -> bytes:
    return b"\x1e".join(b'42["%b",%d]' % (event.encode(), number) for number in numbers)


async def test_a_payload_of_many_packets_leaves_others_their_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engineio_post, "_SLICE_SECONDS", 0.0)
    client = Polled()
    seen: list[int] = []

    async def another() -> None:
        while len(client.heard) < 50:
            seen.append(len(client.heard))
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(another())
        client.session.post(payload("say", range(50)))
        await client.session.readable()
    assert client.heard == list(range(50))
    assert all(after - before <= 1 for before, after in zip(seen, seen[1:], strict=False))


async def test_a_million_bytes_of_the_smallest_packets_do_not_hold_the_loop() -> None:
    client = Polled()
    client.session.post(b"\x1e".join([b"6"] * 499_999 + [b'42["say",1]']))
    assert client.heard == []
    await client.session.readable()
    assert client.heard == [1]


async def test_of_a_payload_no_more_waits_than_may_and_all_of_it_comes_in_order() -> None:
    client = Polled()
    client.session.post(payload("wait", range(100)))
    async with asyncio.TaskGroup() as tasks:
        posting = tasks.create_task(client.session.readable())
        for number in range(100):
            await client.rig.run(lambda number=number: len(client.heard) > number)
            assert client.heard == list(range(number + 1))
            assert client.backlog <= BUDGET + 1000
            assert not posting.done() or number > 80
            client.waiting[-1].settle(None)
    assert client.backlog == 0


async def test_a_packet_that_is_none_ends_the_session_behind_those_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engineio_post, "_SLICE_SECONDS", 0.0)
    client = Polled()
    client.session.post(payload("say", range(5)) + b"\x1e7")
    with pytest.raises(RequestRefused, match="not an Engine"):
        await client.session.readable()
    assert (client.heard, client.session.closed) == (list(range(5)), True)


async def test_what_is_left_of_a_payload_when_its_session_ends_is_not_taken() -> None:
    client = Polled()
    client.session.post(payload("wait", range(100)))
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(client.session.readable())
        await client.rig.run()
        client.session.close("transport close")
    assert client.heard == [0]


async def test_a_payload_whose_session_goes_on_on_a_websocket_before_it_is_read_is_refused() -> None:
    client = Polled()
    client.session.post(payload("wait", range(100)))

    async def post() -> None:
        with pytest.raises(RequestRefused):
            await client.session.readable()

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(post())
        await client.rig.run()
        assert client.session.wire.held
        client.upgrade()
    assert client.heard == [0]
