"""A client that does what ``spec/protocol.md`` asks of one that wants everything, and writes down what it was told."""

import json
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from openline.errors import CloseCode
from openline.protocol.json_codec import decode_command
from openline.testing import FakeWire
from tests.rig import JSON, Frame, Rig

DIRECT = "$direct"


@dataclass
class Room:
    """A channel that it wants to be in: from where it goes on, and whether it is in."""

    since: str | None
    live: bool = False


@dataclass
class Report:
    """What it received of each source, in order, and between which stamps it was told that something is missing."""

    received: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    told: dict[str, list[tuple[int, int]]] = field(default_factory=lambda: defaultdict(list))


def stamp(position: str | None) -> int:
    return 0 if position is None else int(position.rpartition(".")[2])


class Wanting:
    """Wants everything that is said in ``channels`` from the moment that it first connects."""

    def __init__(self, rig: Rig, *channels: str, outbox_bytes: int = 1 << 20) -> None:
        self._rig = rig
        self._outbox_bytes = outbox_bytes
        self._names = channels
        self._rooms: dict[str, Room] = {}
        self._asked: dict[int, tuple[str, str | None]] = {}
        self._ids = 0
        self._last = 0
        self._read = 0
        self._resume: str | None = None
        self.position: str | None = None
        self.connection: str | None = None
        #: Behind this stamp it wants everything.
        self.began: int | None = None
        self.report = Report()
        self.dial()

    # -- the line

    def dial(self) -> None:
        """Open a line and connect, as whoever it was before."""
        self.wire = FakeWire(JSON, hub=self._rig.hub, outbox_bytes=self._outbox_bytes)
        self._rig.hub.lifecycle.open(self.wire)
        self._read = 0
        self._asked.clear()
        self._send("", type="$connect", resume=self._resume, since=self.position)

    @property
    def away(self) -> bool:
        """Whether it has no line, or one that the server has ended."""
        return not self.wire.open

    @property
    def unanswered(self) -> bool:
        """Whether it waits for an answer."""
        return bool(self._asked)

    def is_in(self, name: str) -> bool:
        return name in self._rooms and self._rooms[name].live

    def lose(self, frames: int) -> None:
        """The line breaks when ``frames`` of what waited had come through."""
        self.wire.read(frames)
        self.listen()
        self.wire.lose()

    def _send(self, about: str, **frame: Any) -> None:
        self._ids += 1
        self._asked[self._ids] = (about, frame["since"])
        given = {name: value for name, value in frame.items() if value is not None}
        self._rig.dispatch.receive(self.wire, decode_command(json.dumps({"id": self._ids, **given}).encode()))

    # -- what is heard

    def listen(self) -> None:
        """Take in everything that has come."""
        self._rig.clock.advance()
        while self._read < len(self.wire.written):
            frame = json.loads(self.wire.written[self._read])
            self._read += 1
            self._take(frame)
            self._rig.clock.advance()
        if self.wire.closed is not None:
            assert self.wire.closed[0] in (CloseCode.SLOW, CloseCode.TRY_LATER), self.wire.closed

    def _take(self, frame: Frame) -> None:
        if frame["type"] in ("$reply", "$error"):
            about, since = self._asked.pop(frame["id"])
            if frame["type"] == "$error":
                assert frame["retry"], frame
                if about:
                    self._subscribe(about)
            elif about:
                self._subscribed(about, since, frame["payload"])
            else:
                self._connected(since, frame["payload"])
        elif frame["type"] == "$subscribed":
            self._put_into(frame["channel"], frame["payload"]["position"], frame["payload"]["position"])
        elif frame["type"] == "$gap":
            self._tell(frame.get("channel", DIRECT), 0, stamp(frame["payload"]["position"]))
        else:
            self._pushed(frame)

    def _put_into(self, name: str, position: str, began: str) -> None:
        """The application did it: whatever was said before it began is none of ours."""
        self._rooms[name] = Room(position, live=True)
        self._tell(name, -1, stamp(began))

    def _connected(self, since: str | None, reply: Frame) -> None:
        first = self.connection is None
        resumed = {entry["channel"]: entry["recovered"] for entry in reply.get("subscriptions", ())}
        if reply["resumed"]:
            assert reply["connection"] == self.connection
        else:
            self._last = 0
        if not first and not reply.get("recovered"):
            self._tell(DIRECT, stamp(since))
        self.connection, self._resume, self.position = reply["connection"], reply["resume"], reply["position"]
        if self.began is None:
            self.began = stamp(self.position)
        for name in resumed:
            if name not in self._names and name not in self._rooms:
                # While it was away: it began somewhere in between.
                self._put_into(name, self.position, str(self._rig.memory.position))
        if not reply["resumed"]:
            for name in self._rooms.keys() - set(self._names):
                del self._rooms[name]
        for name in (*self._names, *(self._rooms.keys() - set(self._names))):
            room = self._rooms.setdefault(name, Room(self.position))
            if room.live and name in resumed:
                if not resumed[name]:
                    self._tell(name, stamp(since))
            else:
                if room.live and stamp(since) > stamp(room.since):
                    room.since = since
                room.live = False
                self._subscribe(name)

    def _subscribe(self, name: str) -> None:
        self._send(name, type="$subscribe", channel=name, since=self._rooms[name].since)

    def _subscribed(self, name: str, since: str | None, reply: Frame) -> None:
        room = self._rooms[name]
        if not reply["recovered"]:
            assert reply["publications"] == []
            self._tell(name, stamp(since))
        for publication in reply["publications"]:
            self._receive(name, publication)
        room.since = reply["position"]
        if reply.get("more"):
            self._subscribe(name)
        else:
            room.live = True

    def _pushed(self, frame: Frame) -> None:
        name = frame.get("channel", DIRECT)
        if "position" in frame:
            # Everything on one connection comes in the order of its stamps, each once.
            assert stamp(frame["position"]) > self._last, (frame, self._last)
            self._last = stamp(frame["position"])
            self.position = frame["position"]
        if name == DIRECT or (name in self._rooms and self._rooms[name].live):
            self._receive(name, frame)

    def _receive(self, name: str, frame: Frame) -> None:
        number, excluded = frame["payload"]
        assert self.connection not in excluded
        self.report.received[name].append(number)

    def _tell(self, name: str, low: int, high: int | None = None) -> None:
        self.report.told[name].append((low, self._rig.memory.position.stamp if high is None else high))
