"""What the server asks is answered: by the right connection, without secrets, and not by too many at once."""

import asyncio
import logging
from typing import Any

import pytest

from openline.errors import CommandError

from .stage import opened, settle


async def test_what_the_server_asks_is_answered_by_functions_plain_or_async() -> None:
    async with opened() as stage:

        @stage.line.answer("plain")
        def plain(payload: Any) -> Any:
            return payload["n"] + 1

        @stage.line.answer("async")
        async def later(payload: Any) -> bytes:
            await asyncio.sleep(0)
            return b"\x00"

        with pytest.raises(ValueError, match="answered already"):
            stage.line.answer("plain")(plain)
        stage.socket.push({"type": "plain", "id": "a1", "payload": {"n": 1}}, {"type": "async", "id": "a2"})
        await settle()
        assert list(stage.socket.sent) == [
            {"type": "$reply", "id": "a1", "payload": 2},
            {"type": "$reply", "id": "a2", "payload": "AA==", "encoding": "base64"},
        ]


async def test_a_server_whose_ask_fails_is_told_no_more_than_that(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR, "openline.client")
    async with opened() as stage:

        @stage.line.answer("fail")
        def fail(payload: Any) -> None:
            raise RuntimeError("a secret")

        @stage.line.answer("refuse")
        def refuse(payload: Any) -> None:
            raise CommandError("not_now", "I am busy.")

        @stage.line.answer("big")
        def big(payload: Any) -> str:
            return "x" * 70_000

        for number, type in enumerate(["fail", "refuse", "big", "unknown"]):
            stage.socket.push({"type": type, "id": number})
        await settle()
        told = {frame["id"]: (frame["code"], frame["message"]) for frame in stage.socket.sent}
        assert told[0] == ("failed", "The handler failed.")
        assert told[1] == ("not_now", "I am busy.")
        assert told[2][0] == "too_large"
        assert told[3][0] == "unknown_event"
    assert "a secret" in caplog.text


async def test_an_answer_goes_to_the_connection_that_asked_or_to_nobody() -> None:
    async with opened() as stage:
        go = asyncio.Event()

        @stage.line.answer("slow")
        async def slow(payload: Any) -> str:
            await go.wait()
            return "done"

        stage.socket.push({"type": "slow", "id": 1})
        await settle()
        await stage.again(connection="c2")
        go.set()
        await settle()
        assert not stage.socket.sent
        stage.socket.push({"type": "slow", "id": 2})
        await settle()
        assert stage.socket.take("$reply")["id"] == 2


async def test_asks_that_are_answered_slowly_do_not_pile_up() -> None:
    async with opened() as stage:

        @stage.line.answer("slow")
        async def slow(payload: Any) -> None:
            await asyncio.Event().wait()

        for number in range(300):
            stage.socket.push({"type": "slow", "id": number})
        await settle()
        assert {frame["code"] for frame in stage.socket.sent} == {"too_many"}
        assert len(stage.socket.sent) == 300 - 256


async def test_an_answer_may_close_the_line() -> None:
    async with opened() as stage:

        @stage.line.answer("end")
        async def end(payload: Any) -> None:
            await stage.line.close()

        stage.socket.push({"type": "end", "id": 1})
        await settle()
        assert stage.line.status == "closed"
