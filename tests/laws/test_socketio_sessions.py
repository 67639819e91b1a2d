"""Socket.IO's clients poll, upgrade, are cut and come back at any moment, and what they are told keeps its order.

Of all their rooms and of what is for them alone they get everything once and in order; volatile events keep their
place; an acknowledgement stands where it was made.
"""

import json
import random
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from openline import LineSettings, SocketIoSettings
from openline.app.handlers import Handlers
from openline.errors import RequestRefused
from openline.hub.connection import Connection
from openline.hub.outcome import Outcome
from openline.model import Request
from openline.protocol.websocket import Opcode
from openline.transports.engineio import Session
from openline.transports.engineio_asgi import EngineAsgiLine, _messages
from openline.transports.engineio_door import Probe
from openline.transports.socketio import SocketIo
from tests.rig import Rig

ROOMS = ("chat:a", "chat:b", "chat:c")
STEPS = 400


class Stock:
    """What the stock client keeps, and what it is to get: ``owed`` are the numbers of events that are not volatile."""

    def __init__(self) -> None:
        self.told: dict[str, Any] = {}
        self.offset: str | None = None
        self.owed: list[int] = []
        self.got: list[int] = []
        self.last = -1
        self.asked = 0
        self.acked = 0
        self.session: Session | None = None
        self.line: EngineAsgiLine | None = None
        self.poll: Outcome[bytes] | None = None
        self.returns = 0

    def take(self, packet: str) -> None:
        """One packet has come."""
        kind, rest = packet[:2], packet[2:]
        if kind == "40":
            self.enter(json.loads(rest))
        elif kind == "42":
            [name, number, self.offset] = json.loads(rest)
            assert number > self.last, "twice, or out of order"
            self.last = number
            if name == "said":
                self.got.append(number)
        elif kind == "43":
            number, _, owed = rest.partition("[")
            assert int(number) > self.acked, "acknowledged twice, or out of order"
            self.acked = int(number)
            assert len(self.got) == int(owed[:-1]), "an acknowledgement out of its place"

    def enter(self, told: dict[str, Any]) -> None:
        assert not self.told or self.told == told, "not recovered"
        self.returns += bool(self.told)
        self.told = told

    @property
    def connect(self) -> bytes:
        auth = {"pid": self.told["pid"]} if self.told else {}
        return b"40%b" % json.dumps(auth | ({"offset": self.offset} if self.offset else {})).encode()


class Play:
    """A server and its clients, step by step."""

    def __init__(self, dice: random.Random) -> None:
        self.dice = dice
        handlers = Handlers()
        handlers.add_connect(self._connected)
        handlers.add_event("echo", None, self._echo, thread=False)
        self.rig = Rig(handlers=handlers)
        self.door = SocketIo(self.rig.hub, settings=SocketIoSettings(recovery=True), outbox_bytes=1 << 20, spellings={})
        self.doors: Any = SimpleNamespace(settings=LineSettings(), tick=self.rig.tick, timers=self.rig.timers)
        self.clients = [Stock(), Stock()]
        self.by_id: dict[str, Stock] = {}
        self.comes: Stock | None = None
        self.number = 0

    # -- the application

    def _connected(self, connection: Connection) -> None:
        assert self.comes is not None
        self.by_id[connection.id] = self.comes
        for room in ROOMS:
            connection.subscribe(room)

    def _echo(self, connection: Connection) -> int:
        connection.emit("said", self._next(self.by_id[connection.id]))
        return len(self.by_id[connection.id].owed)

    def _next(self, *owed: Stock) -> int:
        self.number += 1
        for client in owed:
            client.owed.append(self.number)
        return self.number

    def _in(self) -> list[Stock]:
        return list(self.by_id.values())

    def say(self) -> None:
        self.rig.say(self.dice.choice(ROOMS), self._next(*self._in()))

    def say_to_all_but_one(self, one: Stock) -> None:
        excluded = [name for name, client in self.by_id.items() if client is one]
        number = self._next(*(client for client in self._in() if client is not one))
        self.rig.say(self.dice.choice(ROOMS), number, exclude=excluded)

    def say_volatile(self) -> None:
        self.rig.hub.publish(self.dice.choice(ROOMS), "tick", b"%d" % self._next(), volatile=True)

    def emit(self, one: Stock) -> None:
        for name, client in self.by_id.items():
            if client is one:
                self.rig.hub.lifecycle.connections[name].emit("said", self._next(client))

    def flush(self) -> None:
        self.rig.clock.advance()

    def pass_time(self) -> None:
        self.rig.clock.advance(9.0)

    # -- the clients

    def come(self, client: Stock, *, websocket: bool | None = None) -> None:
        if client.session is not None:
            return
        self.comes = client
        if not client.told:
            # Nobody has heard of it: whoever was cut before it learnt its secret is somebody new.
            self.by_id = {name: other for name, other in self.by_id.items() if other is not client}
            client.owed.clear()
        if self.dice.random() < 0.3 if websocket is None else websocket:
            door = self.door.engine.websocket(Request("/", query="EIO=4&transport=websocket"))
            assert isinstance(door, Session)
            client.session, client.line = door, self._dial(door)
        else:
            client.session = self.door.engine.handshake(Request("/", query="EIO=4&transport=polling"))
        self._send(client, client.connect)

    def _dial(self, door: Any) -> EngineAsgiLine:
        nobody: Any = None
        line = EngineAsgiLine(self.doors, door, nobody, nobody)
        door.opened(line)
        return line

    def _send(self, client: Stock, packet: bytes) -> None:
        """Over whatever carries it; a client that is upgrading has its probe there, and posts."""
        assert client.session is not None
        if client.line is not None and client.session.line is client.line:
            client.line.door.message(client.line, Opcode.TEXT, packet)
            return
        try:
            client.session.post(packet)
        except RequestRefused:
            self._lost(client)

    def ask(self, client: Stock) -> None:
        if client.session is not None and client.told:
            client.asked += 1
            self._send(client, b'42%d["echo"]' % client.asked)

    def probe(self, client: Stock) -> None:
        if client.session is not None and client.line is None and not client.session.gone:
            door = self.door.engine.websocket(Request("/", query=f"EIO=4&transport=websocket&sid={client.session.sid}"))
            client.line = self._dial(door)
            door.message(client.line, Opcode.TEXT, b"2probe")

    def upgrade(self, client: Stock) -> None:
        """Once the poll that waited has come back, as the protocol asks."""
        if client.line is not None and isinstance(client.line.door, Probe):
            self._hear_poll(client)
            if client.session is not None and client.poll is None and client.line is not None:
                client.line.door.message(client.line, Opcode.TEXT, b"5")

    def poll(self, client: Stock) -> None:
        upgraded = client.session is not None and client.session.line is not None
        if client.session is None or client.poll is not None or upgraded:
            return
        try:
            client.poll = client.session.poll()
        except RequestRefused:
            self._lost(client)

    def hear(self, client: Stock) -> None:
        """Take what has come, and answer pings."""
        self._hear_poll(client)
        if client.line is not None:
            while frames := client.line._take():
                for message in _messages(frames):
                    self._hear(client, message["text"])
            if client.line is not None and client.line._farewell is not None:
                self._lost(client)

    def _hear_poll(self, client: Stock) -> None:
        if client.poll is not None and client.poll.done:
            answer, client.poll = client.poll, None
            try:
                packets = answer.result().decode().split("\x1e")
            except RequestRefused:
                self._lost(client)
                return
            for packet in packets:
                self._hear(client, packet)

    def _hear(self, client: Stock, packet: str) -> None:
        if packet == "2":
            if client.session is not None:
                self._send(client, b"3")
        elif packet == "1":
            self._lost(client)
        else:
            client.take(packet)

    def cut(self, client: Stock) -> None:
        """What was on its way to the client is lost."""
        session, poll, line = client.session, client.poll, client.line
        if session is None:
            return
        if session.line is not None:
            self._hang_up(client)
        elif poll is not None and not poll.done:
            session.poll_lost(poll)
        else:
            with suppress(RequestRefused):
                session.post(b"1")
        self._lost(client)
        if line is not None and line.wire.open:
            line.wire.shut()

    def _hang_up(self, client: Stock) -> None:
        assert client.line is not None
        client.line.wire.shut()
        client.line.door.lost(client.line, clean=False)

    def _lost(self, client: Stock) -> None:
        if client.line is not None:
            self._hang_up(client)
        client.session = client.line = client.poll = None

    # -- the play

    def step(self) -> None:
        """One of the things that may happen now; what is rare takes clients further from where they were."""
        client = self.dice.choice(self.clients)
        if client.session is None:
            self.come(client)
            return
        mine = (self.emit, self.say_to_all_but_one, self.ask, self.poll, self.hear, self.hear, self.upgrade)
        roll = self.dice.random()
        if roll < 0.04:
            self.cut(client)
        elif roll < 0.10:
            self.probe(client)
        elif roll < 0.11:
            self.rig.clock.advance(9.0)
        elif roll < 0.50:
            self.dice.choice((self.say, self.say, self.say_volatile, self.rig.clock.advance))()
        else:
            self.dice.choice(mine)(client)

    def end(self) -> None:
        """Everybody comes once more, and then nobody; nothing is owed, and nothing stays."""
        for client in self.clients:
            self.cut(client)
            self.come(client, websocket=True)
            self.rig.clock.advance()
            self.hear(client)
            assert client.got == client.owed
            self.cut(client)
        self.rig.clock.advance(1000.0)
        assert not self.door.engine.sessions
        assert self.rig.leftovers == {}


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32))
def test_everything_comes_once_and_in_order_however_clients_poll_upgrade_and_return(seed: int) -> None:
    play = Play(random.Random(seed))
    for _ in range(STEPS):
        play.step()
    play.end()
