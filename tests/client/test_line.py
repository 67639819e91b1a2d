"""A line: it opens, comes back, answers, and ends with nothing left of it."""

import asyncio
from typing import Any

import pytest

from openline.client import LineClosedError, connect
from openline.client.ending import Lost
from openline.errors import GoneError, SettingsError

from .stage import Stage, heard, on_stage, opened, said, settle, start


async def test_it_says_who_it_is_and_what_it_knows() -> None:
    async with opened({"user": "ada"}, token="t") as stage:
        line = stage.line
        assert (line.status, line.connection, line.user) == ("open", "c1", "ada")
        hello = await stage.again()
        assert hello == {"type": "$connect", "id": 0, "token": "t", "resume": "secret-1", "since": "e.10"}


async def test_a_line_that_broke_asks_for_what_comes_behind_the_last_position_seen() -> None:
    async with opened() as stage:
        await stage.join()
        stage.socket.push(
            said(12), {"type": "note", "payload": 1, "position": "e.13"}, {"type": "cursor", "payload": 1}
        )
        await settle()
        assert (await stage.again(resumed=True))["since"] == "e.13"


async def test_it_answers_a_ping() -> None:
    async with opened() as stage:
        stage.socket.push({"type": "$ping"})
        await settle()
        assert list(stage.socket.sent) == [{"type": "$pong"}]


async def test_a_line_that_says_nothing_for_a_ping_and_ten_seconds_is_dead() -> None:
    async with opened({"ping": 5}) as stage:
        await stage.clock.advance(14)
        stage.socket.push({"type": "$ping"})
        await stage.clock.advance(14.9)
        assert stage.line.status == "open"
        await stage.clock.advance(0.2)
        assert stage.line.status == "waiting"
        assert (stage.socket.closed, stage.socket.goodbye) == (True, None)
        assert "nothing was heard" in stage.statuses[-1].reason


async def test_a_server_that_does_not_answer_connect_is_given_up_after_ten_seconds() -> None:
    async with on_stage() as stage:
        await stage.clock.advance(9.9)
        assert stage.line.status == "connecting"
        await stage.clock.advance(0.2)
        assert stage.line.status == "closed"


async def test_tries_are_further_and_further_apart_up_to_twenty_seconds_and_all_of_it_is_chance() -> None:
    async with opened() as stage:
        stage.failures.extend([Lost(1006, "refused")] * 8)
        stage.socket.end()
        await settle()
        for seconds in (0.5, 1, 2, 4, 8, 16, 20, 20):
            assert stage.statuses[-1].retry_in == seconds
            await stage.clock.advance(seconds)
        stage.luck = 0.25
        assert stage.statuses[-1].retry_in == 20
        await stage.clock.advance(20)
        await stage.open()
        await stage.clock.advance(5)
        stage.socket.end()
        await settle()
        assert stage.statuses[-1].retry_in == 0.125


async def test_a_line_that_breaks_as_soon_as_it_is_open_is_no_success() -> None:
    async with opened() as stage:
        for seconds in (0.5, 1, 2, 4):
            await stage.clock.advance(4.9)
            stage.socket.end()
            await settle()
            assert stage.statuses[-1].retry_in == seconds
            await stage.clock.advance(seconds)
            await stage.open()


@pytest.mark.parametrize(
    ("payload", "seconds"), [({"retry": 3}, 3.5), ({}, 0.5), (None, 0.5), ({"retry": -1}, 0.5), ({"retry": 1e9}, 60.5)]
)
async def test_a_server_that_goes_says_for_how_long_and_the_next_wait_is_as_usual(payload: Any, seconds: float) -> None:
    async with opened() as stage:
        stage.socket.push({"type": "$away", "payload": payload})
        await settle()
        stage.socket.end(1012)
        await settle()
        assert stage.statuses[-1].retry_in == seconds
        await stage.clock.advance(seconds)
        stage.socket.end()
        await settle()
        assert stage.statuses[-1].retry_in == 1.0


@pytest.mark.parametrize("code", [1001, 1005, 1006, 1011, 1012, 1013, 1014, 3000, 4500, 4501, 4999])
async def test_it_comes_back_after(code: int) -> None:
    async with opened() as stage:
        stage.socket.end(code)
        await settle()
        assert (stage.line.status, stage.statuses[-1].code) == ("waiting", code)
        assert (stage.statuses[-1].retry_in or 0) == (4.0 if code == 1013 else 0.5)


@pytest.mark.parametrize("code", [1000, 1002, 1003, 1007, 1008, 1009, 4000, 4401, 4403, 4404, 4409, 4410, 4499])
async def test_it_stays_away_after(code: int) -> None:
    async with opened() as stage:
        chat = await stage.join()
        stage.socket.end(code, "because")
        await settle()
        assert stage.line.status == "closed"
        with pytest.raises(GoneError) as gone:
            await stage.line.emit("save")
        assert isinstance(gone.value, LineClosedError)
        assert (gone.value.code, gone.value.reason) == (code, "because")
        with pytest.raises(GoneError):
            await stage.line.subscribe("chat:other")
        if code != 1000:
            with pytest.raises(GoneError):
                await anext(chat)


async def test_closing_says_goodbye_and_refuses_what_waits() -> None:
    async with opened() as stage:
        chat = await stage.join()
        waiting = start(stage.line.emit("save"))
        reading = start(anext(chat))
        await settle()
        await stage.line.close()
        assert stage.socket.goodbye == 1000
        with pytest.raises(GoneError, match="closed here"):
            await waiting
        with pytest.raises(StopAsyncIteration):
            await reading
        assert [status.status for status in stage.statuses] == ["connecting", "open", "closed"]


async def test_closing_while_it_waits_for_the_next_try_ends_at_once() -> None:
    async with opened() as stage:
        stage.socket.end()
        await settle()
        await stage.line.close()
        assert len(stage.sockets) == 1


async def test_what_the_block_raises_comes_out_of_it_as_it_is() -> None:
    stage = Stage()
    async with asyncio.timeout(30):
        with pytest.raises(KeyError):
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(stage.open())
                try:
                    async with stage.line:
                        raise KeyError("mine")
                except KeyError as error:
                    mine = error
            raise mine
    assert stage.socket.goodbye == 1000


async def test_leaving_while_cancelled_leaves_nothing_running() -> None:
    stage = Stage()

    async def work() -> None:
        async with stage.line:
            await asyncio.Event().wait()

    others = asyncio.all_tasks()
    task = start(work())
    await stage.open()
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert stage.socket.goodbye == 1000
    assert asyncio.all_tasks() == others


async def test_entering_that_is_cancelled_leaves_nothing_running() -> None:
    stage = Stage()
    others = asyncio.all_tasks()
    task = start(stage.line.__aenter__())
    await settle()
    task.cancel()
    await asyncio.wait([task])
    assert asyncio.all_tasks() == others
    assert stage.socket.closed


async def test_what_is_no_frame_is_logged_and_passed_over(caplog: pytest.LogCaptureFixture) -> None:
    async with opened() as stage:
        for text in ("{", "[]", "1", '{"type": 1}', '{"payload": 1}', '{"type":"x","position":"nonsense"}', "[" * 9999):
            stage.socket.push(text)
        stage.socket.push({"type": "$later", "payload": 1}, {"type": "note"})
        assert [event.type for event in await heard(stage.line)] == ["note"]
    assert len(caplog.records) == 7


async def test_a_payload_that_cannot_be_read_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    async with opened() as stage:
        stage.socket.push('{"type":"note","payload":1e999}', {"type": "note", "payload": 1})
        assert [event.payload for event in await heard(stage.line)] == [1]
    assert "left out" in caplog.text


async def test_events_without_a_channel_and_the_lines_own_words_are_read_from_the_line() -> None:
    async with opened() as stage:
        stage.socket.push(
            {"type": "note", "payload": "AAE=", "encoding": "base64", "position": "e.11"},
            {"type": "$subscribed", "channel": "chat:own", "payload": {"position": "e.12"}},
            {"type": "$gap", "payload": {"position": "e.13"}},
            {"type": "$error", "code": "bad_message", "message": "what?"},
        )
        events = await heard(stage.line)
        assert [(event.type, event.payload) for event in events] == [
            ("note", b"\x00\x01"),
            ("$subscribed", {"position": "e.12"}),
            ("$gap", {"position": "e.13"}),
            ("$error", {"code": "bad_message", "message": "what?"}),
        ]
        assert events[1].channel == "chat:own"


async def test_a_resumed_connection_that_lost_its_own_events_is_told_so() -> None:
    async with opened() as stage:
        await stage.again(resumed=True, recovered=False, position="e.20")
        assert [(event.type, event.position) for event in await heard(stage.line)] == [("$gap", "e.20")]


async def test_the_status_says_whether_the_connection_goes_on_and_whether_the_server_has_begun_anew() -> None:
    async with opened() as stage:
        await stage.again(resumed=True)
        assert (stage.statuses[-1].resumed, stage.statuses[-1].restarted) == (True, False)
        await stage.again(position="f.0")
        assert (stage.statuses[-1].resumed, stage.statuses[-1].restarted) == (False, True)


async def test_what_hears_of_the_status_and_fails_disturbs_nobody(caplog: pytest.LogCaptureFixture) -> None:
    async with on_stage() as stage:

        @stage.line.on_status
        def fail(change: Any) -> None:
            raise RuntimeError("mine")

        await stage.open()
        assert stage.line.status == "open"
    assert "mine" in caplog.text


async def test_a_server_that_does_not_read_is_given_up_before_memory_is() -> None:
    async with opened(outbox=None) as stage:
        stage.socket.stalled = True

        @stage.line.answer("big")
        def big(payload: Any) -> str:
            return "x" * 60_000

        for number in range(200):
            stage.socket.push({"type": "big", "id": number})
        await settle()
        assert stage.line.status == "waiting"
        assert stage.statuses[-1].reason == "the server does not read"
        stage.socket.stalled = False


async def test_a_line_is_entered_once() -> None:
    stage = Stage()
    await stage.line.close()
    with pytest.raises(RuntimeError):
        await stage.line.__aenter__()


@pytest.mark.parametrize("url", ["", "nowhere", "ftp://x", "ws://", "ws://x:port", "ws://me:pw@host/", "ws://[::1"])
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(SettingsError, match="url"):
        connect(url)
