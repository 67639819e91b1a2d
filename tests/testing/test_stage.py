"""An application on a stage: it runs by a clock that the test moves, from the first client to the last."""

import asyncio
import time
from typing import Any

import httpx
import pytest
import uvloop
from fastapi import FastAPI

from openline import Connection, History
from openline.testing import FakeClock, client, settle, stage
from tests.testing.people import application, said

# -- time


async def test_an_hour_passes_in_milliseconds_and_everybody_is_still_there() -> None:
    line = application()
    async with stage(line) as clock, client(line) as ada, client(line) as bob:
        room = await ada.subscribe("chat:1")
        changes: list[str] = []
        for each in (ada, bob):
            each.on_status(lambda change: changes.append(change.status))
        begun = time.perf_counter()
        await clock.pass_time(3600)
        spent = time.perf_counter() - begun
        await bob.publish("chat:1", "n", "an hour later")
        assert said(await room.heard()) == ["an hour later"]
        assert changes == []
        # 50 ms on an idle machine; a real hour would take 72 000 times as long.
        assert spent < 5
        assert clock.now() == 3600


async def test_what_is_older_than_the_history_keeps_is_gone() -> None:
    line = application()
    line.channel("news", history=History(count=10, seconds=3600), public=True)
    async with stage(line) as clock, client(line) as ada:
        for text in ("old", "young"):
            await ada.publish("news", "n", text)
            await clock.pass_time(1800)
        assert [e.payload for e in (await ada.history("news")).publications] == ["young"]


async def test_asks_run_out_of_time_both_ways() -> None:
    line = application()
    go: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @line.on("never")
    async def never(connection: Connection) -> None:
        await go

    @line.on("quiz")
    async def quiz(connection: Connection) -> Any:
        try:
            return await connection.ask("pick", [1, 2], timeout=5)
        except TimeoutError:
            return "too late"

    async with stage(line) as clock, client(line) as ada, client(line) as bob, asyncio.TaskGroup() as tasks:
        answers: list[int] = []

        @ada.answer("pick")
        async def pick(numbers: list[int]) -> int:
            answers.append(max(numbers))
            return max(numbers)

        assert await ada.ask("quiz") == 2
        await ada.stall()
        asked = tasks.create_task(ada.ask("quiz", timeout=60))

        async def ask_in_vain() -> None:
            with pytest.raises(TimeoutError, match="within 20 s"):
                await bob.ask("never", timeout=20)

        late = tasks.create_task(ask_in_vain())
        await clock.pass_time(6)
        await ada.drain()
        assert await asked == "too late"
        assert not late.done()
        await clock.pass_time(15)
        assert late.done()
        go.set_result(None)


# -- the stage


async def test_an_application_runs_until_the_last_has_left() -> None:
    line = application()
    ended: list[str] = []
    line.on_disconnect(lambda connection, reason: ended.append(reason))
    async with stage(line) as clock:
        async with client(line) as ada:
            position = await ada.publish("chat:1", "n", 1)
        assert ended == ["closed"]
        async with client(line, clock=clock) as bob:
            assert [e.position for e in (await bob.history("chat:1")).publications] == [position]
            await bob.lose_line()
        assert ended == ["closed"]
    assert ended == ["closed", "shutdown"]
    async with client(line) as late:
        assert (await late.history("chat:1")).publications == ()


async def test_endpoints_of_the_application_around_it_may_publish_meanwhile() -> None:
    line = application()
    app = FastAPI()

    @app.post("/async")
    async def on_the_loop() -> None:
        await line.publish("chat:1", "n", "from the loop")

    @app.post("/thread")
    def in_a_thread() -> None:
        line.publish("chat:1", "n", "from a thread")

    app.mount("/live", line)
    browser = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost")
    async with client(line) as ada, browser:
        room = await ada.subscribe("chat:1")
        for path in ("/async", "/thread"):
            assert (await browser.post(path)).status_code == 200
        assert (await browser.get("/live/healthz")).text == "ok\n"
        assert [(await room.next()).payload for _ in range(2)] == ["from the loop", "from a thread"]


async def test_an_application_has_one_clock() -> None:
    line = application()
    async with stage(line, clock=FakeClock()):
        with pytest.raises(RuntimeError, match="all its clients share one"):
            async with client(line, clock=FakeClock()):
                pass
    line.start()
    with pytest.raises(RuntimeError, match="runs already"):
        async with client(line):
            pass
    await line.stop()


async def test_a_handler_that_hangs_holds_up_the_end_for_a_second_only(caplog: pytest.LogCaptureFixture) -> None:
    line = application()

    @line.on("hang")
    async def hang(connection: Connection) -> None:
        await asyncio.get_running_loop().create_future()

    async with client(line) as ada, asyncio.TaskGroup() as tasks:
        asking = tasks.create_task(ada.ask("hang"))
        await settle()
        asking.cancel()
    assert [r.getMessage() for r in caplog.records] == ["1 handlers had to be cancelled after 1 s"]


def test_every_event_loop_has_a_stage_of_its_own() -> None:
    line = application()

    async def once() -> Any:
        async with client(line, user="ada") as ada:
            return await ada.ask("hello", "you")

    # What is left behind without an end does not stand in the way of the next.
    loop = asyncio.new_event_loop()
    entered = client(line)
    loop.run_until_complete(entered.__aenter__())
    for task in asyncio.all_tasks(loop):
        task.cancel()
    loop.run_until_complete(asyncio.sleep(0.01))
    loop.close()
    assert [asyncio.run(once()) for _ in range(2)] == [["Hello, you!", "ada"]] * 2
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(once()) == ["Hello, you!", "ada"]
