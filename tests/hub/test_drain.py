"""Everybody is let go: spread over a window, answered first, and in the end whatever happens."""

import asyncio
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openline.app.handlers import Handlers
from openline.errors import CloseCode, SettingsError
from openline.hub.drain import Drain, DrainSettings
from openline.hub.outcome import Outcome
from openline.protocol.raw_codec import RawCodec
from openline.protocol.sse import SseCodec
from openline.testing import FakeWire
from tests.rig import Client, Rig

RESTARTS = (CloseCode.RESTART, "The server restarts.")


def draining(rig: Rig, waiting: frozenset[Outcome[None]] = frozenset(), **options: Any) -> Drain:
    return Drain(rig.hub, DrainSettings(**options), waiting, random.Random(1))


def gone(clients: list[Client]) -> int:
    return sum(client.wire.closed is not None for client in clients)


def test_a_few_go_at_once_and_without_delay() -> None:
    rig = Rig()
    clients = [rig.join("a") for _ in range(3)]
    drain = draining(rig)
    drain.begin()
    assert [client.wire.closed for client in clients] == [RESTARTS] * 3
    assert drain.over.done
    assert rig.leftovers == {}


@settings(max_examples=25)
@given(st.integers(2, 300), st.floats(0.5, 10.0))
def test_many_go_evenly_over_the_window_and_come_back_evenly_over_the_next(count: int, window: float) -> None:
    rig = Rig()
    clients = [rig.line() for _ in range(count)]
    for client in clients:
        client.connect()
    drain = draining(rig, window_seconds=window, per_second=0.1)
    began, returns = rig.clock.now(), []
    drain.begin()
    went = gone(clients)
    while not drain.over.done:
        rig.pass_time(0.25)
        # No quarter of a second sees more than its share.
        assert gone(clients) - went <= count * 0.4 / min(window, (count - 1) / 0.1) + 1
        went = gone(clients)
        returns += [rig.clock.now()] * (went - len(returns))
    assert went == count
    assert rig.clock.now() - began <= window + 0.5
    for client in clients:
        away = [push["payload"]["retry"] for push in client.pushes() if push["type"] == "$away"]
        assert away == [pytest.approx(min(window, (count - 1) / 0.1), abs=0.001)]


def test_who_goes_first_is_chance() -> None:
    orders = set()
    for seed in range(5):
        rig = Rig()
        clients = [rig.join("a") for _ in range(20)]
        drain = Drain(rig.hub, DrainSettings(per_second=4), chance=random.Random(seed))
        drain.begin()
        orders.add(tuple(client.wire.closed is None for client in clients))
    assert len(orders) > 1


def test_event_streams_are_told_when_to_come_back_and_raw_clients_just_go() -> None:
    rig = Rig()
    wires = [FakeWire(SseCodec(), hub=rig.hub), FakeWire(RawCodec(), hub=rig.hub)]
    for wire in wires:
        connection = rig.hub.lifecycle.open(wire)
        coroutine = rig.hub.lifecycle.let_in(connection, None, rig.hub.revocations.number)
        with pytest.raises(StopIteration):
            coroutine.send(None)
    draining(rig, window_seconds=2.0, per_second=0.1).begin()
    rig.pass_time(5.0)
    assert [wire.closed for wire in wires] == [RESTARTS] * 2
    assert [b"".join(wire.written) for wire in wires] == [b"retry: 2000\n\n", b""]


def test_newcomers_are_let_in_until_the_grace_is_over() -> None:
    rig = Rig()
    drain = draining(rig, grace_seconds=3.0)
    drain.begin()
    assert drain.begun
    late = rig.join("a")
    assert late.wire.closed is None
    rig.pass_time(3.5)
    assert late.wire.closed == RESTARTS
    assert rig.line().wire.closed == RESTARTS


def test_what_is_under_way_is_answered_first() -> None:
    rig = Rig(slow=True)
    client = rig.line()
    client.connect()
    client.send(type="said", channel="a", payload=1)
    drain = draining(rig)
    drain.begin()
    rig.pass_time(2.0)
    assert (client.wire.closed, client.wire.reading, drain.over.done) == (None, False, False)
    [pending] = [each for each in rig.slow.pending if each.kind == "publish"]
    rig.slow.settle(pending)
    rig.pass_time(0.5)
    assert [frame["type"] for frame in client.heard()] == ["$reply"]
    assert (client.wire.closed, drain.over.done) == (RESTARTS, True)


async def test_a_handler_that_hangs_keeps_its_client_until_the_time_is_over_and_nobody_else() -> None:
    handlers = Handlers()

    async def hang(connection: Any) -> None:
        await asyncio.Event().wait()

    handlers.add_event("hang", None, hang, thread=False)
    rig = Rig(handlers=handlers)
    busy, idle = rig.join("a"), rig.join("a")
    busy.send(type="hang")
    drain = draining(rig, handlers_seconds=4.0)
    assert [name.rpartition(".")[2] for name in drain.plan().handlers] == ["hang"]
    drain.begin()
    assert (idle.wire.closed, busy.wire.closed) == (RESTARTS, None)
    rig.pass_time(3.5)
    assert busy.wire.closed is None
    rig.pass_time(1.0)
    assert busy.wire.closed == RESTARTS
    assert drain.over.done
    [name] = await rig.tasks.close(0.0)
    assert name.endswith("hang")


async def test_a_handler_that_asks_its_client_hears_the_answer() -> None:
    handlers, answers = Handlers(), []

    async def ask(connection: Any) -> None:
        answers.append(await connection.ask("number"))

    handlers.add_event("ask", None, ask, thread=False)
    rig = Rig(handlers=handlers)
    client = rig.join()
    client.send(type="ask")
    await rig.run()
    drain = draining(rig)
    drain.begin()
    [asked] = client.pushes()
    assert client.wire.reading
    client.send(type="$reply", id=asked["id"], payload=7)
    await rig.run(lambda: answers and not len(rig.tasks))
    rig.pass_time(0.5)
    assert answers == [7]
    assert (client.wire.closed, drain.over.done) == (RESTARTS, True)


def test_requests_that_wait_have_their_moment_too() -> None:
    rig = Rig()
    waiting = frozenset(Outcome[None]() for _ in range(40))
    drain = draining(rig, waiting, per_second=20.0)
    assert (drain.plan().waiting, drain.plan().window_seconds) == (40, 1.95)
    drain.begin()
    assert 0 < sum(each.done for each in waiting) < 40
    rig.pass_time(2.5)
    assert all(each.done for each in waiting)


async def test_who_has_no_line_ends_too_and_disconnect_handlers_have_their_time() -> None:
    handlers, reasons, hold = Handlers(), [], asyncio.Event()

    async def leave(connection: Any, reason: str) -> None:
        await hold.wait()
        reasons.append(reason)

    handlers.add_disconnect(leave, thread=False)
    rig = Rig(handlers=handlers)
    rig.join("a").lose()
    drain = draining(rig)
    drain.begin()
    await rig.run()
    assert not drain.over.done
    hold.set()
    await rig.run(lambda: reasons and not len(rig.tasks))
    rig.pass_time(0.5)
    assert (reasons, drain.over.done) == (["shutdown"], True)


def test_in_a_hurry_nobody_is_waited_for() -> None:
    rig = Rig()
    for _ in range(100):
        rig.join("a")
    drain = draining(rig)
    drain.begin()
    drain.hurry()
    assert drain.over.done
    rig.pass_time(20.0)


def test_the_plan_is_what_then_happens() -> None:
    rig = Rig()
    clients = [rig.join("a") for _ in range(101)]
    drain = draining(rig, grace_seconds=1.0, per_second=50.0)
    plan = drain.plan()
    assert (plan.connections, plan.grace_seconds, plan.window_seconds, plan.end_seconds) == (101, 1.0, 2.0, 13.0)
    assert gone(clients) == 0
    drain.begin()
    rig.pass_time(plan.grace_seconds + plan.window_seconds + 0.5)
    assert gone(clients) == 101


def test_what_is_under_way_gets_less_where_all_of_it_would_take_too_long() -> None:
    assert DrainSettings(grace_seconds=5, handlers_seconds=60).end(1) == 22.0
    assert DrainSettings(grace_seconds=5).end(1) == 15.0


@pytest.mark.parametrize(
    "options",
    [{"grace_seconds": -1}, {"per_second": 0}, {"grace_seconds": 12, "window_seconds": 10}],
)
def test_settings_that_supervisors_would_cut_short_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(SettingsError):
        DrainSettings(**options)
