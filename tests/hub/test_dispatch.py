"""The commands of one connection: in order, one at a time, bounded, and every failure told once."""

import asyncio
import json
import logging
from collections.abc import Callable
from typing import Any

import pytest

from openline.app.handlers import Handlers
from openline.errors import CommandError
from openline.hub.connection import Connection, State
from openline.hub.settings import HubSettings
from tests.rig import Client, Rig, open_to_all


class Gate:
    """An async handler that notes when it is called, and goes on when the test says so."""

    def __init__(self) -> None:
        self.begun: list[Any] = []
        self.ended: list[Any] = []
        self._gates: dict[Any, asyncio.Event] = {}

    def open(self, payload: Any) -> None:
        self._gates.setdefault(json.dumps(payload), asyncio.Event()).set()

    async def __call__(self, connection: Connection, payload: Any) -> Any:
        self.begun.append(payload)
        await self._gates.setdefault(json.dumps(payload), asyncio.Event()).wait()
        self.ended.append(payload)
        return payload


def gated(**options: Any) -> tuple[Rig, Gate]:
    gate, handlers = Gate(), Handlers()

    async def work(connection: Connection, payload: Any) -> Any:
        return await gate(connection, payload)

    handlers.add_event("work", None, work, thread=False)
    return Rig(handlers=handlers, **options), gate


async def test_commands_of_one_connection_are_carried_out_one_after_the_other() -> None:
    rig, gate = gated()
    client = rig.join()
    first, second = client.send(type="work", payload=1), client.send(type="work", payload=2)
    ping = client.send(type="$ping")
    gate.open(2)
    await rig.run()
    assert (gate.begun, client.heard()) == ([1], [])
    gate.open(1)
    await rig.run(lambda: len(gate.ended) == 2)
    await rig.run()
    assert [frame["id"] for frame in client.heard()] == [first, second, ping]
    assert gate.ended == [1, 2]


async def test_handlers_of_different_connections_do_not_wait_for_each_other() -> None:
    rig, gate = gated()
    one, other = rig.join(), rig.join()
    one.send(type="work", payload=1)
    other.send(type="work", payload=2)
    gate.open(2)
    await rig.run()
    assert gate.ended == [2]
    gate.open(1)
    await rig.run()


async def test_a_backlog_beyond_its_limit_stops_the_reading_until_half_of_it_is_done() -> None:
    rig, gate = gated(settings=HubSettings(backlog_bytes=4096))
    client = rig.join()
    client.send(type="work", payload=0)
    for number in range(1, 8):
        client.send(type="work", payload=[number, "x" * 500])
    assert not client.wire.reading
    connection = client.connection
    for number in range(8):
        gate.open(number and [number, "x" * 500])
        await rig.run()
        assert client.wire.reading == (connection.backlog_bytes <= 2048)
    assert connection.backlog_bytes == 0
    assert connection.backlog is None


async def test_what_waits_when_a_connection_ends_is_not_carried_out() -> None:
    rig, gate = gated()
    client = rig.join()
    client.send(type="work", payload=1)
    client.send(type="work", payload=2)
    client.connection.disconnect()
    gate.open(1)
    await rig.run()
    assert gate.begun == [1]
    assert rig.leftovers == {}


async def test_what_waited_when_the_line_broke_is_carried_out_and_answers_nobody() -> None:
    rig, gate = gated()
    client = rig.join()
    client.send(type="work", payload=1)
    client.send(type="work", payload=2)
    client.lose()
    gate.open(1)
    gate.open(2)
    await rig.run()
    assert gate.ended == [1, 2]
    client.come_back()
    assert [frame["type"] for frame in client.heard()] == ["$reply"]


async def test_answers_to_asks_are_taken_out_of_turn_so_that_a_handler_may_await_one() -> None:
    handlers = Handlers()

    async def sum_up(connection: Connection) -> Any:
        return await connection.ask("more", 1) + await connection.ask("more", 2)

    handlers.add_event("sum", None, sum_up, thread=False)
    rig = Rig(handlers=handlers)
    client = rig.join()
    command = client.send(type="sum")
    for factor in (1, 2):
        await rig.run()
        (asked,) = client.pushes()
        assert (asked["type"], asked["payload"]) == ("more", factor)
        client.send(type="$reply", id=asked["id"], payload=factor * 10)
    await rig.run()
    assert client.heard() == [{"type": "$reply", "id": command, "payload": 30}]


def failing(error: Exception) -> tuple[Rig, list[int]]:
    handlers, calls = Handlers(), []

    def fail(connection: Connection) -> None:
        calls.append(1)
        raise error

    handlers.add_event("fail", None, fail, thread=False)
    return Rig(handlers=handlers), calls


def test_a_handler_that_fails_is_logged_once_and_the_caller_learns_no_internals(
    caplog: pytest.LogCaptureFixture,
) -> None:
    rig, _ = failing(KeyError("secret"))
    client = rig.join()
    with caplog.at_level(logging.ERROR, "openline"):
        error = client.error(type="fail")
    assert error == {
        "type": "$error",
        "id": error["id"],
        "code": "failed",
        "message": "The server failed to handle this.",
    }
    assert len(caplog.records) == 1
    assert client.connection.id in caplog.text
    assert "fail" in caplog.text
    assert client.wire.open


def test_a_keyed_event_that_failed_is_not_tried_again_by_a_repeat(caplog: pytest.LogCaptureFixture) -> None:
    """Whatever its handler did before it failed, it did."""
    rig, calls = failing(KeyError("secret"))
    client = rig.join()
    first, second = (client.error(type="fail", key="k") for _ in range(2))
    assert (first["code"], first["message"]) == (second["code"], second["message"])
    assert len(calls) == 1
    assert len(caplog.records) == 1


def test_a_keyed_event_that_was_refused_for_now_is_tried_again() -> None:
    rig, calls = failing(CommandError("busy", "later", retry=True))
    client = rig.join()
    for _ in range(2):
        assert client.error(type="fail", key="k")["retry"] is True
    assert len(calls) == 2


def test_an_error_is_told_without_an_id_too_and_a_success_is_not() -> None:
    rig = Rig()
    client = rig.join("a")
    rig.receive(client.wire, {"type": "said", "channel": "a", "echo": False})
    rig.receive(client.wire, {"type": "nothing"})
    assert [(frame["type"], frame["code"], "id" in frame) for frame in client.heard()] == [
        ("$error", "unknown_event", False)
    ]


@pytest.mark.parametrize(
    ("frame", "code", "field"),
    [
        ({"type": "$connect"}, "already_connected", None),
        ({"type": "$dance"}, "unknown_type", "type"),
        ({"type": "nothing"}, "unknown_event", "type"),
        ({"type": "$subscribe"}, "bad_field", "channel"),
        ({"type": "$subscribe", "channel": "a b"}, "bad_channel", "channel"),
        ({"type": "$subscribe", "channel": "$all"}, "bad_channel", "channel"),
        ({"type": "$unsubscribe", "channel": "$all"}, "bad_channel", "channel"),
        ({"type": "$subscribe", "channel": "a", "since": "5"}, "bad_position", None),
        ({"type": "$history", "channel": "a", "before": "x.01"}, "bad_position", None),
        ({"type": "$history", "channel": "closed"}, "forbidden", "channel"),
        ({"type": "$presence", "channel": "closed"}, "forbidden", "channel"),
        ({"type": "$subscribe", "channel": "closed"}, "forbidden", "channel"),
        ({"type": "said", "channel": "closed"}, "forbidden", "channel"),
        ({"type": "said", "channel": "$user:ada"}, "bad_channel", "channel"),
        ({"type": "said", "channel": ""}, "bad_channel", "channel"),
    ],
)
def test_a_bad_command_is_refused_with_its_code_and_the_connection_stays(
    frame: dict[str, Any], code: str, field: str | None
) -> None:
    rig = Rig(open_to_all("a"))
    client = rig.join()
    error = client.error(**frame)
    assert (error["code"], error.get("field")) == (code, field)
    assert client.wire.open
    client.call(type="$subscribe", channel="a")


def test_a_first_command_is_carried_out_for_nobody_without_a_connect() -> None:
    rig = Rig()
    client = rig.line()
    assert client.call(type="said", channel="a", payload=1)["position"] == str(rig.memory.position)
    assert client.connection.resume == ()


def test_a_bad_position_in_connect_may_be_put_right() -> None:
    rig = Rig()
    client = rig.line()
    assert client.error(type="$connect", since="nonsense")["code"] == "bad_position"
    assert client.wire.open
    assert client.connect()["resumed"] is False


def test_ping_is_answered_with_the_id_if_there_is_one() -> None:
    rig = Rig()
    client = rig.join()
    client.send(type="$ping", id="p")
    rig.receive(client.wire, {"type": "$ping"})
    assert client.heard() == [{"type": "$pong", "id": "p"}, {"type": "$pong"}]


# -- what comes along with $connect

ALONG: list[dict[str, Any]] = [
    {"type": "$connect", "id": 1},
    {"type": "$subscribe", "id": 2, "channel": "a"},
    {"type": "$subscribe", "id": 3, "channel": "a", "last": -1},
    {"type": "said", "id": 4, "channel": "a", "payload": 1},
]


def answers(client: Client) -> list[tuple[Any, Any]]:
    """What came, less pushes: ids, and what was wrong with each."""
    frames = client.heard()
    return [(frame.get("id"), frame.get("code")) for frame in frames if frame["type"] in ("$reply", "$error")]


def deciding(decide: Callable[[], Any]) -> Rig:
    """``decide`` stands in for who is asked about a token, first of all."""
    handlers = Handlers()
    handlers.set_authenticate(lambda token, request: decide())
    return Rig(handlers=handlers)


def refuse() -> None:
    raise CommandError("no", "Not you.")


async def later(decide: Callable[[], Any]) -> Any:
    await asyncio.sleep(0)
    return decide()


@pytest.mark.parametrize("slow", [False, True])
async def test_what_comes_along_with_connect_is_carried_out_behind_it_in_order(slow: bool) -> None:
    rig = deciding((lambda: later(lambda: "ann")) if slow else lambda: "ann")
    client = rig.line()
    client.send_all(*ALONG)
    client.send(id=5, type="said", channel="a", payload=2)
    await rig.run()
    assert answers(client) == [(1, None), (2, None), (3, "bad_field"), (4, None), (5, None)]


@pytest.mark.parametrize("slow", [False, True])
async def test_what_comes_along_with_a_refused_connect_is_refused_with_it_and_not_done_for_nobody(slow: bool) -> None:
    rig = deciding((lambda: later(refuse)) if slow else refuse)
    client = rig.line()
    client.send_all(*ALONG)
    await rig.run()
    assert answers(client) == [(1, "no"), (2, "no"), (3, "no"), (4, "no")]
    assert client.wire.closed == (4403, "Not you.")
    assert rig.leftovers == {}


def test_what_comes_along_with_a_connect_that_may_be_said_again_is_refused_all_the_same() -> None:
    rig = Rig()
    client = rig.line()
    client.send_all({**ALONG[0], "since": "nowhere"}, *ALONG[1:])
    assert answers(client) == [(number, "bad_position") for number in (1, 2, 3, 4)]
    assert (client.connection.channels, client.wire.closed) == ((), None)
    client.send_all(*ALONG[:2])
    assert answers(client) == [(1, None), (2, None)]


@pytest.mark.parametrize("slow", [False, True])
async def test_what_comes_along_is_refused_where_the_application_does_not_welcome_its_client(slow: bool) -> None:
    handlers = Handlers()
    if slow:
        handlers.add_connect(lambda connection: later(refuse), thread=False)
    else:
        handlers.add_connect(lambda connection: refuse(), thread=False)
    rig = Rig(handlers=handlers)
    client = rig.line()
    client.send_all(*ALONG)
    await rig.run()
    assert answers(client) == [(1, None), (None, "no"), (2, "no"), (3, "no"), (4, "no")]
    assert client.wire.closed == (4403, "Not you.")
    assert rig.leftovers == {}


def test_what_comes_along_with_a_resume_is_carried_out_behind_what_was_missed() -> None:
    rig = Rig()
    client = rig.join("a")
    client.lose()
    rig.say("a", 1)
    client.open()
    client.send_all({"type": "$connect", "id": 1, "resume": client.resume, "since": client.position}, *ALONG[1:])
    heard = [(frame.get("id"), frame["type"], frame.get("payload")) for frame in client.heard()]
    assert [(number, type) for number, type, _ in heard] == [
        *[(1, "$reply"), (None, "said"), (2, "$reply"), (3, "$error")],
        *[(None, "said"), (4, "$reply")],
    ]


def test_what_comes_along_with_a_connect_that_cannot_be_read_is_refused_with_it() -> None:
    rig = Rig()
    client = rig.line()
    client.send_all({**ALONG[0], "token": 5}, *ALONG[1:])
    assert answers(client) == [(number, "bad_field") for number in (1, 2, 3, 4)]
    assert (client.connection.stage, client.connection.channels) == (State.OPENING, ())


@pytest.mark.parametrize("busy", [False, True])
async def test_what_comes_along_with_a_connect_that_is_too_late_is_refused_with_it(busy: bool) -> None:
    rig = deciding(lambda: later(lambda: "ann")) if busy else Rig()
    client = rig.line()
    client.send(id=0, type="$connect") if busy else client.connect()
    client.send_all(*ALONG)
    await rig.run()
    assert answers(client) == [(0, None)] * busy + [(number, "already_connected") for number in (1, 2, 3, 4)]
    assert client.connection.channels == ()


def test_a_misfit_in_front_connects_nobody_and_one_behind_others_is_told_in_its_turn() -> None:
    rig = Rig()
    client = rig.line()
    client.send_all(ALONG[2])
    assert (answers(client), client.connection.stage) == ([(3, "bad_field")], State.OPENING)
    client.send_all(ALONG[1], ALONG[2], ALONG[3])
    assert answers(client) == [(2, None), (3, "bad_field"), (4, None)]
