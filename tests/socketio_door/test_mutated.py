"""A hundred thousand mutated packets and payloads: each comes to a defined end, and nothing stays."""

import random
from collections import Counter
from types import SimpleNamespace
from typing import Any

import pytest

from openline import LineSettings, SocketIoSettings
from openline.app.handlers import Handlers
from openline.errors import ProtocolError, RequestRefused
from openline.model import Request
from openline.protocol.engineio import SEPARATOR, decode_payload
from openline.protocol.socketio import Kind, PacketReader, read_command
from openline.protocol.websocket import Opcode
from openline.transports.engineio import Session
from openline.transports.engineio_asgi import EngineAsgiLine
from openline.transports.socketio import SocketIo
from tests.effort import seed, times
from tests.rig import Rig

COUNT = times(100_000)
#: Of those that go through whole sessions.
SAID = times(4000)
GOOD = (
    b"40",
    b'40/admin,{"token":"abc"}',
    b"41",
    b"41/admin",
    b'427["x",1,{"a":[true]}]',
    b'42/admin,8["x",{"__proto__":{"a":1}}]',
    b"43456[1]",
    b'452-7["x",{"_placeholder":true,"num":1},[{"_placeholder":true,"num":0}]]',
    b'461-8[{"_placeholder":true,"num":0}]',
    b"bAQIDBA==",
    b"3",
    b"6",
)
PIECES = (b"", b"9", b"99999999999999999", b"-", b",", b"/", b"[", b"{", b'"', b"\\ud800", b"\x00", b"\xff", b"_")
PIECES += ("é".encode(), b"1e999", b"\x1e", b"4", b"b", b"2", b"5", b'["disconnect"]', b"[" * 600, b"/" + b"n" * 200)


def mutated(dice: random.Random) -> bytes:
    data = bytearray(dice.choice(GOOD))
    for _ in range(dice.choice((0, 0, 1, 1, 2, 4))):
        place = dice.randrange(len(data) + 1)
        data[place : place + dice.randrange(4)] = dice.choice(PIECES)
    return bytes(data)


def texts_only(packet: bytes) -> bytes:
    """As a WebSocket's reader lets it through."""
    return packet.decode(errors="replace").encode()


class Target:
    """A server in this test's hand, with two namespaces whose handler says back what it is told."""

    def __init__(self) -> None:
        handlers = Handlers()
        for name in ("/", "/admin"):
            handlers.table(name).add("*", lambda connection, type, *arguments: arguments, view=lambda it: it)
        self.rig = Rig(handlers=handlers)
        settings = SocketIoSettings(recovery=True)
        self.door = SocketIo(self.rig.hub, settings=settings, outbox_bytes=1 << 20, spellings={})
        self._doors: Any = SimpleNamespace(settings=LineSettings(), tick=self.rig.tick, timers=self.rig.timers)

    def post(self, dice: random.Random) -> int:
        """One session that is polled; how many packets it took to end it."""
        session = self.door.engine.handshake(Request("/", query="EIO=4&transport=polling"))
        packets = [b"40"]
        for count in range(1, 40):
            try:
                session.post(b"\x1e".join(packets))
                session.poll()
            except RequestRefused:
                return count
            packets = [mutated(dice)]
            self.rig.clock.advance()
        return 40

    def say(self, dice: random.Random) -> int:
        """The same over a WebSocket."""
        session = self.door.engine.websocket(Request("/", query="EIO=4&transport=websocket"))
        assert isinstance(session, Session)
        nobody: Any = None
        line = EngineAsgiLine(self._doors, session, nobody, nobody)
        session.opened(line)
        session.message(line, Opcode.TEXT, b"40")
        for count in range(1, 40):
            if session.closed:
                return count
            if dice.random() < 0.2:
                session.message(line, Opcode.BINARY, mutated(dice))
            else:
                session.message(line, Opcode.TEXT, texts_only(mutated(dice)))
            self.rig.clock.advance()
            while line._take():
                pass
        return 40


def dice_of_today() -> random.Random:
    begun = seed()
    print(f"seed {begun}")
    return random.Random(begun)


def test_a_hundred_thousand_mutated_packets_are_packets_or_protocol_errors() -> None:
    dice = dice_of_today()
    seen: Counter[str] = Counter()
    reader = PacketReader(64)
    for _ in range(COUNT):
        data = mutated(dice)
        try:
            binary = reader.waiting and dice.random() < 0.8
            packet = reader.binary(data) if binary else reader.text(texts_only(data)[1:])
            if packet is not None:
                packet.values()
                if packet.kind is Kind.EVENT:
                    read_command(packet)
            seen["taken"] += 1
        except ProtocolError:
            seen["refused"] += 1
            reader = PacketReader(64)
    print(f"{COUNT} packets: {dict(seen)}")
    assert min(seen.values()) > COUNT / 10


def test_a_hundred_thousand_mutated_payloads_are_packets_or_protocol_errors() -> None:
    dice = dice_of_today()
    seen: Counter[str] = Counter()
    for _ in range(COUNT):
        try:
            for packet in decode_payload(SEPARATOR.join(mutated(dice) for _ in range(dice.choice((1, 1, 2, 3))))):
                assert packet.kind in b"0123456"
            seen["taken"] += 1
        except ProtocolError:
            seen["refused"] += 1
    print(f"{COUNT} payloads: {dict(seen)}")
    assert min(seen.values()) > COUNT / 10


def test_mutated_packets_end_sessions_or_do_not_and_nothing_stays(caplog: pytest.LogCaptureFixture) -> None:
    dice = dice_of_today()
    target = Target()
    sent: Counter[str] = Counter()
    while sent.total() < SAID:
        sent["posted"] += target.post(dice)
        sent["over WebSocket"] += target.say(dice)
    target.rig.clock.advance(1000.0)
    print(f"{sent.total()} packets: {dict(sent)}")
    assert min(sent.values()) > SAID / 5
    assert not target.door.engine.sessions
    assert target.rig.leftovers == {}
    # A handler that says back a number which not every client can read is told so, and the log with it.
    reasons = {str(record.exc_info[1]) for record in caplog.records if record.exc_info is not None}
    assert reasons <= {"A number lies outside ±(2**53 - 1)."}
    assert all(record.exc_info is not None for record in caplog.records)
