"""A node in a test's hand: hub, engine, clock and lines, where nothing happens but what the test does."""

import asyncio
import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from openline.app.handlers import Handlers
from openline.brokers.memory import MemoryBroker
from openline.errors import OpenlineError
from openline.hub.dispatch import Dispatch
from openline.hub.hub import Hub
from openline.hub.outcome import Outcome
from openline.hub.policy import ChannelOptions, Policy, Presence
from openline.hub.settings import HubSettings
from openline.hub.tasks import Tasks
from openline.hub.tick import Tick
from openline.hub.timers import Timers
from openline.model import Position, Request, Retention
from openline.protocol.json_codec import JsonCodec, decode_command, read_command
from openline.testing import FakeClock, FakeWire
from tests.slow_broker import SlowBroker

Frame = dict[str, Any]

#: JSON without anything around it, so that a frame is one message.
JSON = JsonCodec(lambda text: text)
KEPT = Retention(10_000, 86_400.0, 1 << 30)
GRACE_SECONDS = 10.0
WINDOW_SECONDS = 120.0


def open_to_all(pattern: str = "*", **options: Any) -> ChannelOptions:
    """A channel where everybody may do everything."""
    rules = dict.fromkeys(("subscribe", "publish", "see_presence", "see_history"), True)
    return ChannelOptions(**{"pattern": pattern, "retention": KEPT, **rules, **options})


def with_presence(pattern: str = "*", **options: Any) -> ChannelOptions:
    return open_to_all(pattern, presence=Presence(grace_seconds=GRACE_SECONDS), **options)


def look(outcome: Outcome[Any]) -> None:
    """Take note of what came of it, whatever that is: a failure that nobody looks at is logged."""
    with suppress(OpenlineError):
        outcome.result()


class Rig:
    """Made inside a running loop where handlers or rules are async; otherwise without any."""

    def __init__(
        self,
        *options: ChannelOptions,
        slow: bool = False,
        settings: HubSettings | None = None,
        handlers: Handlers | None = None,
    ) -> None:
        self.clock = FakeClock()
        self.timers = Timers(self.clock)
        self.tick = Tick(self.clock.call_soon)
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            loop = asyncio.AbstractEventLoop()
        self.tasks = Tasks(loop)
        self.handlers = handlers or Handlers()
        self.handlers.tasks = self.tasks
        self.policy = Policy(self.tasks)
        for each in options or (open_to_all(),):
            self.policy.add(each)
        self.memory = MemoryBroker(self.timers)
        self.slow = SlowBroker(self.memory)
        self.hub = Hub(
            broker=self.slow if slow else self.memory,
            policy=self.policy,
            application=self.handlers,
            timers=self.timers,
            tick=self.tick,
            tasks=self.tasks,
            settings=settings or HubSettings(window_seconds=WINDOW_SECONDS),
        )
        self.dispatch = Dispatch(self.hub, {"ping": 25.0})
        (self.slow if slow else self.memory).start(self.hub)

    def line(self, **options: Any) -> "Client":
        """A client whose line has just been opened."""
        return Client(self, **options)

    def join(self, *channels: str, **options: Any) -> "Client":
        """A client that is connected, and subscribed to ``channels``."""
        client = self.line(**options)
        client.connect()
        for channel in channels:
            client.call(type="$subscribe", channel=channel)
        return client

    def say(self, channel: str, payload: Any, **options: Any) -> Position | None:
        """Publish as the server does; the position, where the engine has answered already."""
        outcome = self.hub.publish(channel, "said", json.dumps(payload).encode(), **options)
        return outcome.result() if outcome.done else None

    def receive(self, wire: FakeWire, frame: Frame) -> None:
        """A command comes in."""
        self.dispatch.receive(wire, decode_command(json.dumps(frame).encode()))

    def receive_all(self, wire: FakeWire, frames: Sequence[Frame]) -> None:
        """Commands come in one message."""
        self.dispatch.receive_all(wire, [read_command(json.dumps(frame).encode()) for frame in frames])

    def pass_time(self, seconds: float) -> None:
        self.clock.advance(seconds)

    async def run(self, until: Callable[[], object] = lambda: False) -> None:
        """Let tasks of the loop go on until ``until()``, or until nothing moves any more."""
        for _ in range(50):
            if until():
                return
            await asyncio.sleep(0)

    @property
    def leftovers(self) -> dict[str, object]:
        """Everything that may not stay when everybody has gone, where it is not empty."""
        lifecycle = self.hub.lifecycle
        all_of_it: dict[str, Any] = {
            "channels": self.hub.membership._channels,
            "connections": lifecycle.connections,
            "users": lifecycle.users,
            "secrets": lifecycle._resumable,
            "wanted": self.memory._wanted,
            "wanted of the slow engine": self.slow.wanted,
            "entries": self.tick._entries,
            "tasks": list(self.tasks._running),
        }
        return {name: value for name, value in all_of_it.items() if value}


class Client:
    """Speaks the JSON protocol over a fake wire, and keeps what a client has to keep."""

    def __init__(self, rig: Rig, *, token: str | None = None, outbox_bytes: int = 1_048_576, **request: Any) -> None:
        self.rig = rig
        self._new_line = lambda: FakeWire(JSON, hub=rig.hub, outbox_bytes=outbox_bytes)
        self._request = Request("/openline", token=token, **request)
        self._ids = 0
        self._read = 0
        self.resume: str | None = None
        self.position: str | None = None
        self.open()

    def open(self) -> FakeWire:
        """Open a line, the first or another."""
        self.wire = self._new_line()
        self.wire.request = self._request
        self.rig.hub.lifecycle.open(self.wire)
        self._read = 0
        return self.wire

    @property
    def connection(self) -> Any:
        """What the hub has for it."""
        return self.wire.connection

    def send(self, **frame: Any) -> int:
        """Send a command; its id."""
        if "id" not in frame:
            self._ids += 1
            frame["id"] = self._ids
        self.rig.receive(self.wire, frame)
        return frame["id"]

    def send_all(self, *frames: Frame) -> None:
        """Send commands in one message, as they are."""
        self.rig.receive_all(self.wire, frames)

    def heard(self) -> list[Frame]:
        """What has come since the last call."""
        self.rig.clock.advance()
        frames = [json.loads(frame) for frame in self.wire.written[self._read :]]
        self._read = len(self.wire.written)
        for frame in frames:
            # What the protocol asks of every client, and nothing else.
            self.position = frame.get("position", self.position)
            payload = frame.get("payload")
            if frame["type"] == "$reply" and isinstance(payload, dict) and "resume" in payload:
                self.resume, self.position = payload["resume"], payload["position"]
        return frames

    def pushes(self) -> list[Frame]:
        """What has come since the last call, less replies."""
        return [frame for frame in self.heard() if frame["type"] not in ("$reply", "$error")]

    def payloads(self) -> list[Any]:
        return [frame["payload"] for frame in self.pushes() if not frame["type"].startswith("$")]

    def ask(self, **frame: Any) -> Frame:
        """Send a command and return its answer; what came before it is dropped."""
        number = self.send(**frame)
        answers = [f for f in self.heard() if f["type"] in ("$reply", "$error") and f.get("id") == number]
        assert len(answers) == 1, answers
        return answers[0]

    def call(self, **frame: Any) -> Frame:
        """Send a command and return the payload of its reply, which must be one."""
        answer = self.ask(**frame)
        assert answer["type"] == "$reply", answer
        payload: Frame = answer["payload"]
        return payload

    def error(self, **frame: Any) -> Frame:
        answer = self.ask(**frame)
        assert answer["type"] == "$error", answer
        return answer

    def connect(self, **fields: Any) -> Frame:
        return self.call(type="$connect", **fields)

    def lose(self, *, clean: bool = False) -> None:
        """The line breaks, behind what has been written."""
        self.heard()
        self.wire.lose(clean=clean)

    def come_back(self, **fields: Any) -> Frame:
        """Open another line and take the connection up again; what follows the reply is still to be heard."""
        self.open()
        number = self.send(type="$connect", resume=self.resume, since=self.position, **fields)
        self.rig.clock.advance()
        reply = json.loads(self.wire.written[0])
        assert (reply["type"], reply["id"]) == ("$reply", number), reply
        payload: Frame = reply["payload"]
        return payload
