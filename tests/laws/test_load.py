"""A line is not read exactly while more than its budget waits of what came on it, in whatever order things happen.

Clients are in several namespaces of one line, say much, leave, are ended, cut, and taken up by other lines; handlers
take their time. What waits for one connection, and of one line, is bounded, and nothing holds a line at the end.
"""

import json
from types import SimpleNamespace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from openline import LineSettings, SocketIoSettings
from openline.app.handlers import Handlers
from openline.hub.connection import Connection
from openline.hub.outcome import Outcome
from openline.hub.settings import HubSettings
from openline.model import Request, User
from openline.protocol.websocket import Opcode
from openline.transports.engineio_asgi import EngineAsgiLine, _messages
from openline.transports.socketio import SocketIo
from tests.rig import Client, Rig

BUDGET = 4096
#: A command with everything that is counted of it.
MOST = 2200
SPACES = ("/", "/a", "/b")
HOUR = 3600.0
_HUB = HubSettings(backlog_bytes=BUDGET, window_seconds=120.0)

#: What happens, to whom of several, and how: where, or how much is said.
Step = tuple[str, int, int]


def plays(*what: str) -> st.SearchStrategy[list[Step]]:
    # Handlers are slow, and clients say much.
    weighed = [*what, "say", "say", "say", "finish"]
    return st.lists(st.tuples(st.sampled_from(weighed), st.integers(0, 5), st.integers(0, 5)), max_size=120)


class Doubting(Handlers):
    """Everybody is nobody, which may take a while to find out."""

    def __init__(self, play: "Slow") -> None:
        super().__init__()
        self._play = play

    def authenticate(self, token: str | None, request: Request) -> Outcome[User | None]:
        return self._play.begin() if self._play.doubts else Outcome.of(None)


class Slow:
    """Handlers that are through when the test says so, and everything that is known of who waits for them."""

    def __init__(self) -> None:
        self.running: list[Outcome[Any]] = []
        self.doubts = False
        handlers = Doubting(self)
        for space in SPACES:
            table = handlers.table(space)
            table.add("work", self.begin, thread=False)
        handlers.add_connect(self.begin)
        self.rig = Rig(handlers=handlers, settings=_HUB)
        #: Everybody that there ever was, with the line that it is on, or was on at last.
        self.homes: dict[Connection, Any] = {}
        self.taken_up: set[int] = set()

    def begin(self, *_: Any) -> Outcome[Any]:
        self.running.append(Outcome())
        return self.running[-1]

    def doubt(self, *_: int) -> None:
        """From now on it takes its time to find out who somebody is, or does not any more."""
        self.doubts = not self.doubts

    def finish(self, which: int, _: int) -> None:
        if self.running:
            self.running.pop(which % len(self.running)).settle(None)

    def finish_all(self) -> None:
        while self.running:
            self.finish(0, 0)

    def pass_time(self, _: int, how: int) -> None:
        self.rig.clock.advance((1.0, 119.0, 121.0)[how % 3])

    def carry_out(self, steps: list[Step]) -> None:
        for what, which, how in steps:
            getattr(self, what)(which, how)
            self.look()

    def look(self) -> None:
        """Hear what clients are told, and check the law of every line."""
        raise NotImplementedError

    def check(self, home: Any, load: Any, *, held: bool, lives: bool) -> None:
        """The law, of one line."""
        waiting = 0
        for connection, own in self.homes.items():
            size = sum(command.size for _, command in connection.backlog or ())
            assert size == connection.backlog_bytes <= 3 * (BUDGET + MOST)
            assert connection.alive or not size
            waiting += size if own is home else 0
        assert (load.waiting if load else 0) == waiting
        if lives:
            assert held or waiting <= BUDGET
            assert not held or waiting > BUDGET // 2
            assert id(home) in self.taken_up or waiting <= BUDGET + MOST


class Sessions(Slow):
    """Socket.IO's clients, each on a WebSocket."""

    def __init__(self) -> None:
        super().__init__()
        still = SocketIoSettings(
            recovery=True, ping_interval_seconds=HOUR, ping_timeout_seconds=HOUR, connect_within_seconds=HOUR
        )
        self.door = SocketIo(self.rig.hub, settings=still, outbox_bytes=1 << 20, spellings={})
        self.doors: Any = SimpleNamespace(settings=LineSettings(), tick=self.rig.tick, timers=self.rig.timers)
        self.lines: list[EngineAsgiLine] = []
        self.secrets: dict[str, list[str]] = {space: [] for space in SPACES}

    def come(self, *_: int) -> None:
        door = self.door.engine.websocket(Request("/", query="EIO=4&transport=websocket"))
        nobody: Any = None
        line = EngineAsgiLine(self.doors, door, nobody, nobody)
        door.opened(line)
        self.lines.append(line)

    def _line(self, which: int) -> EngineAsgiLine | None:
        return self.lines[which % len(self.lines)] if self.lines else None

    def _send(self, line: EngineAsgiLine | None, packet: str) -> None:
        """It is heard only where the line is read."""
        if line is not None and line._farewell is None and not line.wire.held:
            line.door.message(line, Opcode.TEXT, packet.encode())

    def _wires(self, line: EngineAsgiLine | None) -> dict[str, Any]:
        session: Any = None if line is None else line.door
        return session.peer._wires if session is not None else {}

    def enter(self, which: int, how: int) -> None:
        space = SPACES[how % 3]
        line = self._line(which)
        known = self.secrets[space]
        auth = {"pid": known[-1]} if known and how > 2 else {}
        if space not in self._wires(line):
            self._send(line, f"40{space},{json.dumps(auth)}")

    def say(self, which: int, how: int) -> None:
        line = self._line(which)
        joined = list(self._wires(line))
        if joined:
            self._send(line, f'42{joined[how % len(joined)]},["work","{"x" * 300 * how}"]')

    def leave(self, which: int, how: int) -> None:
        line = self._line(which)
        joined = list(self._wires(line))
        if joined:
            self._send(line, f"41{joined[how % len(joined)]},")

    def throw_out(self, which: int, how: int) -> None:
        for wire in list(self._wires(self._line(which)).values())[: how % 3]:
            if wire.connection is not None and how < 3:
                wire.connection.disconnect()
            elif wire.connection is not None and wire.connection.alive:
                wire.connection.session.close()

    def cut(self, which: int, _: int) -> None:
        line = self._line(which)
        if line is not None:
            line.wire.shut()
            line.door.lost(line, clean=False)
            self.lines.remove(line)

    def look(self) -> None:
        self.rig.clock.advance()
        for line in list(self.lines):
            while frames := line._take():
                self._hear([message["text"] for message in _messages(frames)])
            for wire in self._wires(line).values():
                connection = wire.connection
                before = self.homes.get(connection)
                if connection is not None and connection.wire is wire:
                    self.homes[connection] = line
                    if before is not None and before is not line:
                        self.taken_up.add(id(line))
            if line._farewell is not None:
                self.lines.remove(line)
        homes = [*self.homes.values(), *self.lines]
        for line in {id(each): each for each in homes}.values():
            self.check(line, line.wire.load, held=line.wire.held, lives=line in self.lines)

    def _hear(self, packets: list[str]) -> None:
        for packet in packets:
            if packet.startswith("40"):
                told = packet[packet.index("{") :]
                space = packet[2 : -len(told)].removesuffix(",") or "/"
                self.secrets[space].append(json.loads(told)["pid"])

    def end(self) -> None:
        self.finish_all()
        self.look()
        assert not any(line.wire.held for line in self.lines)
        while self.lines:
            self.cut(0, 0)
        self.finish_all()
        self.rig.clock.advance(1000.0)
        assert self.rig.leftovers == {}


class Lines(Slow):
    """Clients of the JSON door, each with one line at a time, or two while one takes over from the other."""

    def __init__(self) -> None:
        super().__init__()
        self.clients: list[Client] = []
        self.wires: list[Any] = []

    def come(self, *_: int) -> None:
        if len(self.clients) < 3:
            self.clients.append(self.rig.line())
            self.clients[-1].send(type="$connect")

    def _client(self, which: int) -> Client | None:
        return self.clients[which % len(self.clients)] if self.clients else None

    def say(self, which: int, how: int) -> None:
        client = self._client(which)
        if client is not None and client.wire.open and client.wire.reading:
            client.send(type="work", payload="x" * 300 * how)

    def take_over(self, which: int, how: int) -> None:
        """With something said behind it already."""
        client = self._client(which)
        if client is None:
            return
        client.heard()
        if client.resume is not None:
            client.open()
            client.send(type="$connect", resume=client.resume, since=client.position)
            for _ in range(how):
                self.say(which, 5)

    def throw_out(self, which: int, _: int) -> None:
        client = self._client(which)
        if client is not None:
            client.connection.disconnect()
            self.clients.remove(client)

    def cut(self, which: int, how: int) -> None:
        client = self._client(which)
        if client is not None:
            client.lose(clean=how > 3)

    def look(self) -> None:
        self.rig.clock.advance()
        for client in self.clients:
            if client.wire not in self.wires:
                self.wires.append(client.wire)
        for wire in self.wires:
            connection = wire.connection
            if connection is not None and connection.wire is wire:
                if self.homes.get(connection, wire) is not wire:
                    self.taken_up.add(id(wire))
                self.homes[connection] = wire
        for wire in self.wires:
            self.check(wire, wire.load, held=not wire.reading, lives=wire.open)

    def end(self) -> None:
        self.finish_all()
        self.look()
        assert all(wire.reading for wire in self.wires if wire.open)
        for wire in self.wires:
            wire.lose()
        self.finish_all()
        self.rig.clock.advance(1000.0)
        assert self.rig.leftovers == {}


def test_a_connection_that_is_taken_up_again_and_again_does_not_gather_what_every_line_brings() -> None:
    play = Lines()
    play.carry_out([("come", 0, 0), *[("finish", 0, 0)] * 2, *[("say", 0, 5)] * 5, ("doubt", 0, 0)])
    client = play.clients[0]
    for _ in range(5):
        play.carry_out([("take_over", 0, 5), ("finish", -1, 0)])
    answers = [frame for frame in client.heard() if frame["type"] == "$error"]
    assert [(frame["code"], frame["retry"]) for frame in answers] == [("too_many", True)]
    play.end()


@settings(max_examples=80, deadline=None)
@given(plays("come", "enter", "enter", "leave", "throw_out", "cut", "pass_time", "doubt"))
def test_a_session_is_read_exactly_while_no_more_than_its_budget_waits(steps: list[Step]) -> None:
    play = Sessions()
    play.carry_out([("come", 0, 0), ("enter", 0, 1), ("enter", 0, 2), *steps])
    play.end()


@settings(max_examples=80, deadline=None)
@given(plays("come", "take_over", "throw_out", "cut", "pass_time", "doubt"))
def test_a_line_is_read_exactly_while_no_more_than_its_budget_waits(steps: list[Step]) -> None:
    play = Lines()
    play.carry_out([("come", 0, 0), *steps])
    play.end()
