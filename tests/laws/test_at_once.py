"""A plain event that is answered at once, natively: the same is called and said as in the ordinary way of commands."""

import asyncio
import datetime
import json
import math
from collections.abc import Callable
from functools import wraps
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openline.accelerator import native
from openline.app.handlers import Handlers
from openline.errors import BrokerError, CommandError, ErrorCode
from openline.hub.connection import Connection
from openline.hub.outcome import Outcome
from openline.model import Position
from openline.protocol.json_codec import JsonCodec, decode_command
from openline.testing import FakeWire
from tests.rig import Rig

pytestmark = pytest.mark.skipif(native is None, reason="there is no native part")

#: What a handler may return, of which much is no JSON, or more than a client can read.
RESULTS: dict[str, Any] = {
    "text": "é\n\"", "true": True, "none": None, "number": 1.5, "many": [1, {"a": [None]}], "null": "null",
    "nulls": [None], "map": {"a": 1}, "pair": (1, 2), "nan": math.nan, "inside": {"a": [math.inf]}, "exact": 2**53,
    "large": 2**70, "bytes": b"abc", "object": object(), "surrogate": "\ud800", "keys": {(1, 2): 3},
    "long": "x" * 262_142, "longer": "x" * 262_143, "day": datetime.date(2026, 1, 2), "position": Position("e", 7),
    "set": {1}, "outcome": Outcome.of(5),
    "deep": json.loads("[" * 65 + "]" * 65),
    "subclass": type("Text", (str,), {})("a"),
}  # fmt: skip
ERRORS: dict[str, Callable[[], BaseException]] = {
    "refused": lambda: CommandError(ErrorCode.TOO_MANY, "later", retry=True),
    "mistake": lambda: ZeroDivisionError("x"),
    "trouble": lambda: BrokerError("away"),
    "cancelled": lambda: asyncio.CancelledError(),
}


def handlers(calls: list[Any]) -> Handlers:
    """Notes in ``calls`` what was called."""
    made = Handlers()

    def handle(function: Callable[..., Any]) -> None:
        @wraps(function)
        def noted(*given: Any) -> Any:
            calls.append((function.__name__, given[1:]))
            return function(*given)

        made.add_event(function.__name__, None, noted, thread=False)

    def echo(connection: Connection, payload: Any) -> Any:
        return payload

    def count(connection: Connection, payload: int) -> Any:
        return payload + 1

    def bare(connection: Connection) -> Any:
        return "bare"

    def most(connection: Connection, payload: Any = 5) -> Any:
        return payload

    def returns(connection: Connection, payload: str) -> Any:
        # Made when it is asked for: others look whether any error is still there.
        return Outcome.failed(CommandError(ErrorCode.FORBIDDEN, "no")) if payload == "failed" else RESULTS[payload]

    def fails(connection: Connection, payload: str) -> Any:
        raise ERRORS[payload]()

    def goes(connection: Connection, payload: Any) -> Any:
        connection.disconnect("enough")
        return payload

    def says(connection: Connection, payload: Any) -> Any:
        connection.emit("said", payload)
        return payload

    async def later(connection: Connection, payload: Any) -> Any:
        await asyncio.sleep(0)
        return payload

    for function in (echo, count, bare, most, returns, fails, goes, says, later):
        handle(function)
    return made


class Client:
    """A client of its own node, whose messages go the one way or the other."""

    def __init__(self, *, at_once: bool) -> None:
        self.calls: list[Any] = []
        self.rig = Rig(handlers=handlers(self.calls))
        self.wire = FakeWire(JsonCodec(), hub=self.rig.hub)
        connection = self.rig.hub.lifecycle.open(self.wire)
        connection.id = "AAAAAAAAAAAA"
        self.rig.dispatch.receive(self.wire, decode_command(b'{"type":"$connect","id":0}'))
        self.rig.clock.advance()
        self.wire.written.clear()
        self.at_once = at_once
        self.short = 0

    def send(self, message: bytes) -> None:
        if self.at_once and self.rig.dispatch.answer_at_once(self.wire, message):
            self.short += 1
            return
        try:
            command = decode_command(message)
        except CommandError:
            return
        self.rig.dispatch.receive(self.wire, command)

    def heard(self) -> Any:
        self.rig.clock.advance()
        connection = self.wire.connection
        busy = None if connection is None else (connection.busy, connection.stage, connection.backlog)
        stamps = b"".join(self.wire.written).replace(self.rig.memory.position.epoch.encode(), b"EPOCH")
        return stamps, self.wire.closed, self.calls, busy


def message(type: str, payload: Any, id: Any = 1) -> bytes:
    return json.dumps({"type": type, "id": id, "payload": payload}).encode()


async def both(*messages: bytes) -> Client:
    """Send the same both ways; the one whose messages went the short way where they could."""
    short, ordinary = Client(at_once=True), Client(at_once=False)
    for client in (short, ordinary):
        for each in messages:
            client.send(each)
        await client.rig.run()
    assert short.heard() == ordinary.heard()
    return short


@pytest.mark.parametrize("name", [*RESULTS, "failed"])
async def test_what_a_handler_returns_is_said_alike(name: str) -> None:
    client = await both(message("returns", name), b'{"type":"returns","payload":"%b"}' % name.encode())
    assert client.short == 2


@pytest.mark.parametrize("name", ERRORS)
async def test_what_a_handler_raises_is_said_alike(name: str) -> None:
    client = await both(message("fails", name), message("echo", 1, 2))
    assert client.short == 2


@pytest.mark.parametrize("type", ["echo", "count", "bare", "most", "goes", "says", "later", "nobody", "$ping", ""])
@pytest.mark.parametrize("payload", [1, "a", None, {}, 2**60, [[]], 1.5])
async def test_whatever_takes_it(type: str, payload: Any) -> None:
    await both(
        message(type, payload), message(type, payload, 2), message("echo", 0, "three"), message(type, payload, 4)
    )


async def test_who_listens_to_everything_does_so_still() -> None:
    short, ordinary = Client(at_once=True), Client(at_once=False)
    for client in (short, ordinary):
        client.rig.handlers.table("/").listen(client.rig.handlers.table("/").events["count"])
        client.send(message("echo", 1))
    assert short.short == 0
    assert short.heard() == ordinary.heard()


async def test_who_is_of_another_namespace_has_the_handlers_of_that() -> None:
    short, ordinary = Client(at_once=True), Client(at_once=False)
    for client in (short, ordinary):
        client.rig.handlers.table("/admin").add("echo", lambda connection, payload: "of /admin")
        client.wire.connection.namespace = "/admin"  # type: ignore[union-attr]
        client.send(message("echo", 1))
    assert short.short == 0
    assert short.heard() == ordinary.heard()


async def test_what_nobody_waits_for_is_not_answered() -> None:
    client = await both(b'{"type":"echo","payload":"a"}')
    assert (client.short, client.wire.written) == (1, [])


async def test_an_interrupt_is_nobodys_answer() -> None:
    client = Client(at_once=True)

    def stop(connection: Connection, payload: Any) -> Any:
        raise KeyboardInterrupt

    client.rig.handlers.add_event("stop", None, stop, thread=False)
    with pytest.raises(KeyboardInterrupt):
        client.send(message("stop", 1))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
FIELDS = st.fixed_dictionaries(
    {"type": st.sampled_from(["echo", "count", "most", "bare", "nobody", "$ping", "says"])},
    optional={"id": st.integers(-1, 2**53) | st.text(max_size=2), "payload": JSON, "channel": st.just("a")},
)


@given(st.lists(FIELDS, max_size=4), st.data())
def test_any_messages_are_answered_alike(frames: list[dict[str, Any]], data: st.DataObject) -> None:
    messages = [bytearray(json.dumps(frame).encode()) for frame in frames]
    for each in messages:
        for _ in range(data.draw(st.integers(0, 1))):
            each[data.draw(st.integers(0, len(each) - 1))] = data.draw(st.sampled_from(b'"{}[]:,\\019eEn '))
    short, ordinary = Client(at_once=True), Client(at_once=False)
    for client in (short, ordinary):
        for each in messages:
            client.send(bytes(each))
    assert short.heard() == ordinary.heard()
