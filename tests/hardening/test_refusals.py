"""What is refused leaves nothing behind, also while the garbage collector has better things to do."""

import gc
import logging
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import httpx
import pytest
from tests.clients import json_client
from tests.server import Served, serving
from tests.socketio_door.hands import application, spoken

from openline import CommandError, Connection

TIMES = 20
#: Two on purpose: a refusal, and a failure whose reason has one of its own.
KINDS = ("unknown", "refused", "failing")


@pytest.fixture
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    # Test runners keep what is logged, and what it is about.
    logging.disable()
    yield
    logging.disable(logging.NOTSET)
    gc.enable()


def failures() -> list[Exception]:
    return [one for one in gc.get_objects() if issubclass(type(one), CommandError | ZeroDivisionError)]


async def over_json(served: Served) -> None:
    async with json_client(served.ws) as client:
        for kind in KINDS * TIMES:
            assert (await client.ask(kind, payload="x"))["type"] == "$error"


async def over_socketio(served: Served) -> None:
    async with spoken(served) as client:
        await client.enter()
        for kind in KINDS * TIMES:
            await client.say(f'42["{kind}","x"]')
        await client.say('421["good","x"]')
        assert await client.past_pings() == '431["x"]'


async def over_http(served: Served) -> None:
    async with httpx.AsyncClient(trust_env=False) as http:
        for _ in range(TIMES):
            answer = await http.get(f"{served.http}/api/messages?channel=closed:1")
            assert answer.status_code == 403
            answer = await http.post(
                f"{served.http}/api/messages", json={"channel": "chat:1", "payload": 1, "type": "$"}
            )
            assert answer.status_code == 400


@pytest.mark.parametrize("ask", [over_json, over_socketio, over_http], ids=lambda ask: ask.__name__)
@pytest.mark.usefixtures("no_collector")
async def test_no_error_outlives_its_answer(ask: Callable[[Served], Awaitable[None]]) -> None:
    line = application()
    line.on("good")(lambda connection, payload: payload)

    @line.on("refused")
    async def refused(connection: Connection, payload: Any) -> None:
        raise CommandError("no", payload)

    @line.on("failing")
    def failing(connection: Connection, payload: Any) -> float:
        try:
            return 1 / 0
        except ZeroDivisionError as error:
            raise ZeroDivisionError("again") from error

    async with serving(line) as served:
        await ask(served)
        assert failures() == []
