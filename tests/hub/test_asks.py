"""The server asks a client: it answers, errs, comes too late, or has gone."""

import asyncio
from typing import Any

import pytest

from openline.errors import CommandError, GoneError
from tests.rig import WINDOW_SECONDS, Client, Rig


async def asked(rig: Rig, client: Client, payload: Any = None, timeout: float = 5.0) -> tuple[asyncio.Task[Any], str]:
    task = asyncio.get_running_loop().create_task(client.connection.ask("question", payload, timeout=timeout))
    await rig.run()
    pushes = client.pushes()
    return task, pushes[-1]["id"] if pushes else ""


async def test_what_the_client_replies_is_returned() -> None:
    rig = Rig()
    client = rig.join()
    task, number = await asked(rig, client, {"deep": [1]})
    client.send(type="$reply", id=number, payload={"answer": [2]})
    assert await task == {"answer": [2]}
    assert client.connection.asks == {}


async def test_a_reply_of_bytes_is_returned_as_bytes() -> None:
    rig = Rig()
    client = rig.join()
    task, number = await asked(rig, client)
    client.send(type="$reply", id=number, payload="AAH/", encoding="base64")
    assert await task == b"\x00\x01\xff"


async def test_an_error_of_the_client_is_raised() -> None:
    rig = Rig()
    client = rig.join()
    task, number = await asked(rig, client)
    client.send(type="$error", id=number, code="busy", message="not now")
    with pytest.raises(CommandError, match="busy: not now"):
        await task


async def test_no_answer_in_time_is_a_timeout() -> None:
    rig = Rig()
    client = rig.join()
    task, number = await asked(rig, client, timeout=5)
    rig.pass_time(4.9)
    await rig.run()
    assert not task.done()
    rig.pass_time(0.5)
    with pytest.raises(TimeoutError):
        await task
    client.send(type="$reply", id=number, payload="too late")
    assert client.connection.asks == {}


async def test_a_client_that_ends_before_it_answers_has_gone() -> None:
    rig = Rig()
    client = rig.join()
    task, _ = await asked(rig, client)
    client.lose(clean=True)
    with pytest.raises(GoneError):
        await task
    with pytest.raises(GoneError):
        await client.connection.ask("again")


async def test_a_client_that_is_away_answers_when_it_has_come_back() -> None:
    rig = Rig()
    client = rig.join()
    connection = client.connection
    client.lose()
    task = asyncio.get_running_loop().create_task(connection.ask("question", timeout=60))
    await rig.run()
    client.come_back()
    (question,) = client.pushes()
    client.send(type="$reply", id=question["id"], payload=42)
    assert await task == 42


async def test_a_client_that_does_not_come_back_has_gone_after_the_window() -> None:
    rig = Rig()
    client = rig.join()
    connection = client.connection
    client.lose()
    task = asyncio.get_running_loop().create_task(connection.ask("question", timeout=1000))
    await rig.run()
    rig.pass_time(WINDOW_SECONDS + 1)
    with pytest.raises(GoneError):
        await task


async def test_nobody_answers_for_another() -> None:
    rig = Rig()
    client, other = rig.join(), rig.join()
    task, number = await asked(rig, client)
    other.send(type="$reply", id=number, payload="forged")
    client.send(type="$reply", id="unknown", payload="forged")
    client.send(type="$reply", id=5, payload="forged")
    await rig.run()
    assert not task.done()
    client.send(type="$reply", id=number, payload="true")
    assert await task == "true"
