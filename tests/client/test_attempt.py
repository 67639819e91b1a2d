"""Attempts: tokens, patience, who is turned away and who may come again."""

import asyncio

import pytest

from openline.client import LineClosedError
from openline.client.ending import Lost
from openline.errors import GoneError

from .stage import Stage, on_stage, opened, settle


async def entered(stage: Stage) -> BaseException | None:
    """Why entering the line failed."""
    await settle()
    with pytest.raises(RuntimeError):
        await stage.line.__aenter__()  # it was entered
    try:
        await asyncio.wait_for(asyncio.shield(stage.line._first), 0)
    except (GoneError, TimeoutError) as error:
        return error
    return None


async def test_a_first_connection_that_cannot_be_had_is_tried_for_as_long_as_patience_lasts() -> None:
    async with on_stage(patience=3.0) as stage:
        stage.socket.end(1006, "no way")
        stage.failures.extend([Lost(1006, "nobody listens")] * 9)
        await settle()
        await stage.clock.advance(0.5)
        await stage.clock.advance(1.0)
        assert stage.line.status == "closed"
        assert "nobody listens" in str(await entered(stage))


async def test_a_first_connection_that_is_hopeless_is_tried_once() -> None:
    stage = Stage()
    stage.failures.append(Lost(1006, "HTTP 404", hopeless=True))
    with pytest.raises(GoneError, match="HTTP 404"):
        async with stage.line:
            pass


async def test_a_line_that_was_open_comes_back_however_long_it_takes_and_however_hopeless_it_looks() -> None:
    async with opened(patience=0.0) as stage:
        stage.failures.extend([Lost(1006, "HTTP 404", hopeless=True)] * 99)
        stage.socket.end()
        await settle()
        await stage.clock.advance(1000)
        assert (len(stage.sockets), stage.line.status) == (1, "waiting")
        stage.failures.clear()
        await stage.clock.advance(20)
        await stage.open()
        assert stage.line.status == "open"


async def test_a_token_is_asked_for_before_every_attempt() -> None:
    asked: list[str] = []

    async def token() -> str:
        asked.append(f"t{len(asked)}")
        return asked[-1]

    async with on_stage(token=token) as stage:
        assert (await stage.open())["token"] == "t0"
        assert (await stage.again())["token"] == "t1"


async def test_a_token_that_is_refused_is_asked_for_once_more_at_once() -> None:
    tokens = iter(["old", "new", "newer", "newest"])
    async with on_stage(token=lambda: next(tokens)) as stage:
        await settle()
        stage.socket.refuse("$connect", code="unauthorized")
        await settle()
        assert len(stage.sockets) == 2
        assert (await stage.open())["token"] == "new"
        stage.socket.end(4401)
        await settle()
        stage.socket.end(4401)
        await settle()
        assert stage.line.status == "closed"
        assert len(stage.sockets) == 3


async def test_a_plain_token_that_is_refused_is_the_end() -> None:
    async with on_stage(token="bad") as stage:
        await settle()
        stage.socket.refuse("$connect", code="unauthorized", message="expired")
        error = await entered(stage)
        assert isinstance(error, LineClosedError)
        assert (error.code, error.reason) == (4401, "unauthorized: expired")


async def test_a_token_that_cannot_be_had_is_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    tokens = iter([ValueError("vault is shut"), "good"])

    def token() -> str:
        given = next(tokens)
        if isinstance(given, ValueError):
            raise given
        return given

    async with on_stage(token=token) as stage:
        await stage.clock.advance(0.5)
        assert (await stage.open())["token"] == "good"
    assert "vault is shut" in stage.statuses[1].reason
    assert caplog.records[0].exc_info


async def test_a_connection_that_the_server_will_not_take_up_again_is_made_anew() -> None:
    async with opened() as stage:
        stage.socket.end()
        await settle()
        await stage.clock.advance(0.5)
        stage.socket.refuse("$connect", code="bad_position")
        await settle()
        await stage.clock.advance(1.0)
        assert "resume" not in await stage.open()


async def test_a_server_that_turns_away_a_new_connection_is_left_alone() -> None:
    async with on_stage() as stage:
        await settle()
        stage.socket.refuse("$connect", code="banned", message="go away")
        error = await entered(stage)
        assert "banned: go away" in str(error)


async def test_a_server_that_may_take_us_later_is_tried_again() -> None:
    async with on_stage() as stage:
        await settle()
        stage.socket.refuse("$connect", code="too_many", retry=True)
        await settle()
        assert stage.line.status == "waiting"


async def test_what_answers_connect_with_nonsense_is_no_server_of_ours() -> None:
    async with on_stage() as stage:
        await settle()
        stage.socket.reply("$connect", {"hello": 1})
        error = await entered(stage)
        assert "does not follow the protocol" in str(error)
