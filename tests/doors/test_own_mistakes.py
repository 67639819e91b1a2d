"""The application's own mistakes: its log names the place, and the client learns nothing of them."""

import logging
from collections.abc import Callable
from typing import Any

import pytest
from tests.clients import json_client
from tests.server import serving

from openline import CommandError, Connection, Openline, Request, User

Mistake = Callable[[Openline, Connection], object]
MISTAKES: dict[str, Mistake] = {
    "a name that is none": lambda line, _: line.publish("no spaces", "said"),
    "a channel of the server's": lambda line, _: line.publish("$all", "said"),
    "a type that is none": lambda line, _: line.publish("open", "$said"),
    "an empty type for everybody": lambda line, _: line.broadcast(""),
    "a type for a user": lambda line, _: line.publish_to_user("ada", "a\n"),
    "too large a payload": lambda line, _: line.publish("open", "said", "x" * 300_000),
    "too large an event": lambda _, connection: connection.emit("said", "x" * 300_000),
    "a payload that JSON cannot hold": lambda line, _: line.publish("open", "said", object()),
    "a name to put a client into": lambda _, connection: connection.subscribe("no spaces"),
}


def application() -> Openline:
    line = Openline()
    line.channel("open", public=True)
    return line


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]


@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=MISTAKES)
@pytest.mark.parametrize("thread", [False, True])
async def test_in_a_handler_it_fails_and_is_logged_once(
    mistake: Mistake, thread: bool, caplog: pytest.LogCaptureFixture
) -> None:
    line = application()

    @line.on("do", thread=thread)
    def do(connection: Connection) -> object:
        return mistake(line, connection)

    async with serving(line) as served, json_client(served.ws) as client:
        answer = await client.ask("do")
        assert (answer["code"], answer["message"]) == ("failed", "The server failed to handle this.")
        assert (await client.ask("$ping"))["type"] == "$pong"
    (logged,) = errors(caplog)
    assert "'do'" in logged


@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=MISTAKES)
async def test_it_raises_value_error_or_type_error_where_it_is_made(mistake: Mistake) -> None:
    line, raised = application(), list[type[BaseException]]()

    @line.on("do")
    def do(connection: Connection) -> None:
        try:
            mistake(line, connection)
        except (ValueError, TypeError) as error:
            raised.append(type(error))

    async with serving(line) as served, json_client(served.ws) as client:
        await client.get("do")
    assert len(raised) == 1


@pytest.mark.parametrize("kind", ["plain", "async"])
async def test_in_a_rule_it_names_the_rule_and_its_pattern(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    line = Openline()

    def check(connection: Connection, channel: str) -> bool:
        line.publish("no spaces", "said")
        return True

    async def check_later(connection: Connection, channel: str) -> bool:
        return check(connection, channel)

    line.channel("room:*", subscribe=check if kind == "plain" else check_later, publish=True)
    async with serving(line) as served, json_client(served.ws) as client:
        me = (await client.get("$connect"))["connection"]
        assert (await client.ask("$subscribe", channel="room:1"))["code"] == "failed"
        assert (await client.ask("said", channel="room:1"))["type"] == "$reply"
    (logged,) = errors(caplog)
    assert logged == f"The rule subscribe of channel 'room:*' failed for connection {me}"


@pytest.mark.parametrize("first", [{"type": "$connect", "token": "t"}, {"type": "$subscribe", "channel": "open"}])
async def test_in_authenticate_it_names_that_whatever_the_client_said(
    first: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    line = application()

    @line.authenticate
    async def who(token: str | None, request: Request) -> str:
        line.publish("no spaces", "said")
        return "ada"

    async with serving(line) as served, json_client(served.ws) as client:
        assert (await client.ask(**first))["code"] == "failed"
        assert await client.close_code() == 1011
    assert errors(caplog) == ["authenticate failed for a client at 127.0.0.1"]


@pytest.mark.parametrize("answer", [5, User("ada", object()), User("ada", float("nan"))])
async def test_what_authenticate_returns_must_be_somebody_whom_others_can_be_shown(
    answer: Any, caplog: pytest.LogCaptureFixture
) -> None:
    line = application()
    line.authenticate(lambda token, request: answer)
    async with serving(line) as served, json_client(served.ws) as client:
        assert (await client.ask("$connect"))["code"] == "failed"
    assert len(errors(caplog)) == 1


async def test_a_user_whose_new_data_json_cannot_hold_does_not_take_its_connection_up_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    line, data = application(), iter([{"seen": 1}, {"seen": object()}, {"seen": 2}])
    line.authenticate(lambda token, request: User("ada", next(data)))
    async with serving(line) as served:
        async with json_client(served.ws) as client:
            first = await client.get("$connect", token="t")
            client.cut()
        back = {"token": "t", "resume": first["resume"], "since": first["position"]}
        async with json_client(served.ws) as client:
            assert (await client.ask("$connect", **back))["code"] == "failed"
        async with json_client(served.ws) as client:
            assert (await client.get("$connect", **back))["connection"] == first["connection"]
    assert len(errors(caplog)) == 1


async def test_what_it_raises_on_purpose_reaches_the_client_and_no_log(caplog: pytest.LogCaptureFixture) -> None:
    line = Openline()

    def muted(connection: Connection, channel: str) -> bool:
        raise CommandError("muted", "Later.")

    @line.on("do")
    def do(connection: Connection) -> None:
        raise CommandError("bad_channel", "Name a room.")

    line.channel("room:*", subscribe=muted)
    async with serving(line) as served, json_client(served.ws) as client:
        answers = [await client.ask("do"), await client.ask("$subscribe", channel="room:1")]
        assert [(answer["code"], answer["message"]) for answer in answers] == [
            ("bad_channel", "Name a room."),
            ("muted", "Later."),
        ]
    assert errors(caplog) == []
