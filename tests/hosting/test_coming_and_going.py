"""Clients that come and go, each in its own way, leave nothing behind."""

import asyncio
import gc
import json
from collections import Counter
from pathlib import Path
from typing import Any

from tests.clients import PATIENCE, json_client, upgrade_head
from tests.effort import times
from tests.server import serving, until

from openline import CommandError, GoneError, HubSettings, LineSettings, Openline, Settings
from openline.hub.connection import Connection, Subscription
from openline.hub.outbox import Outbox
from openline.protocol.websocket import FrameReader, Opcode, encode_close, encode_masked
from openline.transports.websocket import WebSocketLine
from openline.transports.wire import SocketWire

#: ``OPENLINE_EFFORT=5`` for a thousand.
CLIENTS = min(times(200), 1000)
TIMES = 10
CHANNELS = 100
KEPT_ALIVE = (Connection, Subscription, SocketWire, WebSocketLine, Outbox)


def application(*, window_seconds: float) -> Openline:
    """Nothing that the server waits for takes long."""
    deadlines = LineSettings(connect_within_seconds=1.0, silent_after_seconds=0.5)
    line = Openline(settings=Settings(hub=HubSettings(window_seconds=window_seconds), line=deadlines))
    line.channel("room:*", history=100, presence=True, public=True)
    return line


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def living() -> Counter[str]:
    gc.collect()
    return Counter(type(each).__name__ for each in gc.get_objects() if isinstance(each, KEPT_ALIVE))


def left_behind(line: Openline) -> dict[str, object]:
    """Everything of the hub that stands for a client, where it is not empty."""
    hub = line.running.hub
    tables: dict[str, Any] = {
        "connections": hub.lifecycle.connections,
        "users": hub.lifecycle.users,
        "secrets": hub.lifecycle._resumable,
        "channels": hub.membership._channels,
        "wanted": hub.broker._wanted,  # type: ignore[attr-defined]
        "logs of connections": [name for name in hub.broker._logs.by_channel if name.startswith("$connection:")],  # type: ignore[attr-defined]
        "entries of the tick": hub.tick._entries,
        "handlers": list(hub.tasks._running),
    }
    return {name: table for name, table in tables.items() if table}


class Visit(asyncio.Protocol):
    """One line of a client that says all it has to say at once, and waits for the last answer."""

    def __init__(self, commands: list[dict[str, Any]]) -> None:
        self._commands = commands
        self._head: bytes | None = b""
        self._frames = FrameReader(max_message=1 << 24, masked=False)
        loop = asyncio.get_running_loop()
        self.answers: dict[int, Any] = {}
        self.answered: asyncio.Future[None] = loop.create_future()
        self.gone: asyncio.Future[None] = loop.create_future()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        texts = [json.dumps({"id": number, **command}) for number, command in enumerate(self._commands)]
        transport.write(upgrade_head() + b"".join(encode_masked(Opcode.TEXT, t.encode(), b"mask") for t in texts))

    def data_received(self, data: bytes) -> None:
        if self._head is not None:
            self._head += data
            head, end, data = self._head.partition(b"\r\n\r\n")
            if not end:
                return
            assert head.startswith(b"HTTP/1.1 101 "), head
            self._head = None
        for opcode, payload in self._frames.feed(data):
            if opcode is Opcode.TEXT and (b'"$reply"' in payload or b'"$error"' in payload):
                self._take(json.loads(payload))

    def _take(self, answer: dict[str, Any]) -> None:
        assert answer["type"] == "$reply", answer
        self.answers[answer["id"]] = answer["payload"]
        if len(self.answers) == len(self._commands) and not self.answered.done():
            self.answered.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        self.gone.set_result(None)
        if not self.answered.done():
            self.answered.set_exception(exc or ConnectionResetError())

    # -- ways to go

    def say_goodbye(self) -> None:
        self.transport.write(encode_masked(Opcode.CLOSE, encode_close(1000, "")[2:], b"mask"))

    def reset(self) -> None:
        self.transport.abort()

    def hang_up(self) -> None:
        self.transport.close()

    def stop_reading(self) -> None:
        """What the others say from now on meets a line that nobody reads, and then one that is broken."""
        self.transport.pause_reading()
        asyncio.get_running_loop().call_later(0.01, self.transport.abort)


WAYS = (Visit.say_goodbye, Visit.reset, Visit.hang_up, Visit.stop_reading)


class Visitor:
    """A client that comes and goes, and takes its connection up again when it went without a goodbye."""

    def __init__(self, number: int, port: int) -> None:
        self._number = number
        self._port = port
        self._resume: str | None = None
        self._since: str | None = None
        self.connections: set[str] = set()
        self.taken_up = 0

    async def come_and_go(self) -> None:
        for turn in range(TIMES):
            way = WAYS[(self._number + turn) % len(WAYS)]
            visit = await self._come()
            way(visit)
            await visit.gone
            if way is Visit.say_goodbye:
                self._resume = None

    async def _come(self) -> Visit:
        room = f"room:{self._number % CHANNELS}"
        commands = [
            {"type": "$connect", "resume": self._resume, "since": self._since},
            {"type": "$subscribe", "channel": room, "presence": True},
            {"type": "said", "channel": room, "payload": "x" * 100, "key": f"{self._number} {len(self.connections)}"},
        ]
        _, visit = await asyncio.get_running_loop().create_connection(lambda: Visit(commands), "127.0.0.1", self._port)
        async with asyncio.timeout(PATIENCE * 6):
            await visit.answered
        told = visit.answers[0]
        assert told["resumed"] == (self._resume is not None)
        self.taken_up += told["resumed"]
        self._resume, self._since = told["resume"], told["position"]
        self.connections.add(told["connection"])
        return visit


async def test_of_clients_that_come_and_go_ten_times_each_nothing_remains() -> None:
    print(f"\n{CLIENTS} clients that come and go {TIMES} times each")
    line, ended = application(window_seconds=3.0), Counter[str]()
    line.on_disconnect(lambda connection, reason: ended.update([connection.id]))
    before = living()
    async with serving(line) as served:
        tasks_before, descriptors_before = asyncio.all_tasks(), descriptors()
        visitors = [Visitor(number, served.port) for number in range(CLIENTS)]
        async with asyncio.TaskGroup() as group:
            for visitor in visitors:
                group.create_task(visitor.come_and_go())
        await until(lambda: not left_behind(line))
        await until(lambda: not served.connections)
        assert asyncio.all_tasks() == tasks_before
        assert descriptors() == descriptors_before
        assert sum(visitor.taken_up for visitor in visitors) > CLIENTS * TIMES // 2
        connections = [each for visitor in visitors for each in visitor.connections]
        assert ended == Counter(connections)
        del visitors
        await until(lambda: living() == before)


async def test_a_line_that_has_gone_is_not_kept_until_its_deadlines_are_due() -> None:
    before = living()
    async with serving(Openline()) as served:
        async with json_client(served.ws) as client:
            await client.get("$connect")
        await until(lambda: not served.connections)
        await until(lambda: not (living() - before).keys() - {"Connection"})


async def test_handlers_that_await_an_answer_of_their_own_client_end_with_it_and_leave_nothing_behind() -> None:
    line, outcomes = application(window_seconds=0.5), Counter[str]()

    @line.on("guess")
    async def guess(connection: Connection, wait: float) -> Any:
        try:
            answer = await connection.ask("number", timeout=wait)
        except (TimeoutError, GoneError, CommandError) as error:
            outcomes[type(error).__name__] += 1
            raise CommandError("unanswered") from error
        outcomes["answer"] += 1
        return answer

    before = living()
    async with serving(line) as served:
        tasks_before, descriptors_before = asyncio.all_tasks(), descriptors()

        async def visit(number: int) -> None:
            async with json_client(served.ws) as client:
                await client.get("$connect")
                await client.say(type="guess", id="g", payload=0.3 if number % 5 == 0 else 60.0)
                asked = await client.push()
                if number % 5 == 1:
                    client.cut()
                    return
                if number % 5 == 2:
                    return
                if number % 5 == 3:
                    await client.say(type="$error", id=asked["id"], code="busy")
                elif number % 5 == 4:
                    await client.say(type="$reply", id=asked["id"], payload=number)
                answer = await client.push()
                told = ("$reply", number) if number % 5 == 4 else ("$error", "unanswered")
                assert (answer["type"], answer.get("code", answer.get("payload"))) == told

        async with asyncio.TaskGroup() as group:
            for number in range(50):
                group.create_task(visit(number))
        await until(lambda: not left_behind(line))
        await until(lambda: not served.connections)
        assert asyncio.all_tasks() == tasks_before
        assert descriptors() == descriptors_before
        await until(lambda: living() == before)
    assert outcomes == {"TimeoutError": 10, "GoneError": 20, "CommandError": 10, "answer": 10}
