"""What is under way: in order, once, bounded, and given up cleanly."""

import asyncio
from typing import Any

import pytest

from openline.client import Retry
from openline.client.outbox import OutboxLimits
from openline.errors import CommandError

from .stage import Stage, opened, settle, start


def publish(stage: Stage, *payloads: Any, channel: str = "chat:lobby", **options: Any) -> list[asyncio.Task[Any]]:
    return [start(stage.line.publish(channel, "message", payload, **options)) for payload in payloads]


async def test_publications_of_a_channel_leave_one_by_one_and_those_of_others_beside_them() -> None:
    async with opened() as stage:
        ones = publish(stage, 1, 2)
        others = publish(stage, 3, channel="chat:other")
        await settle()
        assert [frame["payload"] for frame in stage.socket.sent] == [1, 3]
        stage.socket.reply("message", {"position": "e.11"})
        await settle()
        assert [frame["payload"] for frame in stage.socket.sent] == [3, 2]
        stage.socket.reply("message", {"position": "e.12"})
        stage.socket.reply("message", {"position": "e.13"})
        assert await asyncio.gather(*ones, *others) == ["e.11", "e.13", "e.12"]


async def test_what_was_not_answered_is_sent_again_with_the_same_key_and_what_was_is_not() -> None:
    async with opened() as stage:
        tasks = publish(stage, 1, 2, 3)
        await settle()
        stage.socket.reply("message", {"position": "e.11"})
        await settle()
        second = stage.socket.take("message")
        await stage.again(resumed=True)
        again = stage.socket.reply("message", {"position": "e.12"})
        assert (again["key"], again["payload"]) == (second["key"], 2)
        await settle()
        assert stage.socket.reply("message", {"position": "e.13"})["payload"] == 3
        assert await asyncio.gather(*tasks) == ["e.11", "e.12", "e.13"]


async def test_what_is_said_without_a_line_leaves_when_there_is_one() -> None:
    async with opened() as stage:
        stage.socket.end()
        await settle()
        (task,) = publish(stage, 1)
        emitted = start(stage.line.emit("save", 2))
        await stage.clock.advance(0.5)
        await stage.open()
        stage.socket.reply("message", {"position": "e.11"})
        stage.socket.reply("save", "saved")
        assert (await task, await emitted) == ("e.11", "saved")


async def test_an_unknown_outcome_is_tried_again_later_and_the_next_one_waits() -> None:
    async with opened() as stage:
        tasks = publish(stage, 1, 2)
        await settle()
        first = stage.socket.refuse("message", code="unavailable", retry=True)
        await settle()
        assert not stage.socket.sent
        await stage.clock.advance(0.5)
        assert stage.socket.reply("message", {"position": "e.11"})["key"] == first["key"]
        await settle()
        stage.socket.reply("message", {"position": "e.12"})
        assert await asyncio.gather(*tasks) == ["e.11", "e.12"]


async def test_who_wants_to_know_hears_why_something_goes_again_and_when() -> None:
    async with opened() as stage:
        told: list[Retry] = []
        stage.line.on_retry(told.append)
        (task,) = publish(stage, 1)
        await settle()
        stage.socket.refuse("message", code="unavailable", message="The disk is full.", retry=True)
        await settle()
        assert told == [Retry(code="unavailable", message="The disk is full.", seconds=0.5)]
        await stage.clock.advance(0.5)
        stage.socket.reply("message", {"position": "e.11"})
        assert await task == "e.11"


async def test_a_publication_is_not_sent_again_when_the_server_may_have_forgotten_its_key() -> None:
    async with opened() as stage:
        tasks = publish(stage, 1, 2)
        await settle()
        while not tasks[0].done():
            assert stage.clock.now() < 1000 + 240 + 20, "4 minutes, and the last pause"
            if stage.socket.sent:
                stage.socket.refuse("message", code="unavailable", retry=True)
            await stage.clock.advance(0.5)
        with pytest.raises(CommandError, match="unavailable") as unknown:
            await tasks[0]
        assert (stage.clock.now() >= 1000 + 240, unknown.value.retry) == (True, True)
        # The next one was never tried, however long it has waited.
        assert stage.socket.reply("message", {"position": "e.12"})["payload"] == 2
        assert await tasks[1] == "e.12"


async def test_a_publication_that_was_away_when_the_line_broke_for_minutes_is_not_sent_again() -> None:
    async with opened() as stage:
        tasks = publish(stage, 1, 2)
        await settle()
        stage.socket.end()
        await stage.clock.advance(0.5)
        await stage.clock.advance(240)
        await stage.open(resumed=False)
        with pytest.raises(CommandError, match="unavailable"):
            await tasks[0]
        assert stage.socket.reply("message", {"position": "e.12"})["payload"] == 2
        assert await tasks[1] == "e.12"


async def test_a_refusal_is_raised_and_the_next_one_leaves() -> None:
    async with opened() as stage:
        tasks = publish(stage, 1, 2)
        await settle()
        stage.socket.refuse("message", code="muted", message="be quiet", field="payload")
        await settle()
        stage.socket.reply("message", {"position": "e.12"})
        with pytest.raises(CommandError, match="muted: be quiet"):
            await tasks[0]
        assert await tasks[1] == "e.12"


async def test_an_event_whose_connection_was_lost_has_an_unknown_outcome_but_one_that_never_left_goes_on() -> None:
    async with opened() as stage:
        sent = [start(stage.line.emit("save", number)) for number in range(130)]
        await settle()
        assert len(stage.socket.sent) == 128
        await stage.again(resumed=True)
        assert len(stage.socket.sent) == 128
        await stage.again(resumed=False)
        assert [frame["payload"] for frame in stage.socket.sent] == [128, 129]
        with pytest.raises(CommandError, match="unavailable"):
            await sent[0]
        for _ in range(2):
            stage.socket.reply("save")
        await settle()
        assert [task.result() for task in sent[128:]] == [None, None]
        assert all(isinstance(task.exception(), CommandError) for task in sent[:128])


async def test_a_handler_that_asks_to_be_tried_again_gets_a_new_key() -> None:
    async with opened() as stage:
        task = start(stage.line.emit("save"))
        await settle()
        first = stage.socket.refuse("save", code="busy", retry=True)
        await stage.clock.advance(0.5)
        assert stage.socket.reply("save", 1)["key"] != first["key"]
        assert await task == 1


async def test_what_does_not_fit_into_a_message_is_refused_here() -> None:
    async with opened({"limits": {"message": 1000}}) as stage:
        with pytest.raises(CommandError, match="too_large"):
            await stage.line.publish("chat:lobby", "message", "x" * 1000)
        with pytest.raises(CommandError, match="too_large"):
            await stage.line.publish("chat:lobby", "message", "x" * 900, key="k" * 64)
        assert not stage.socket.sent


async def test_what_does_not_fit_a_server_that_takes_less_than_the_one_before_is_refused() -> None:
    async with opened() as stage:
        stage.socket.end()
        tasks = publish(stage, "x" * 2000, "short")
        await settle()
        await stage.clock.advance(0.5)
        await stage.open(limits={"message": 1000})
        with pytest.raises(CommandError, match="too_large"):
            await tasks[0]
        assert stage.socket.reply("message", {"position": "e.1"})["payload"] == "short"
        await tasks[1]


@pytest.mark.parametrize("limits", [OutboxLimits(entries=2), OutboxLimits(bytes=150)])
async def test_a_full_outbox_refuses_what_is_new(limits: OutboxLimits) -> None:
    async with opened(outbox=limits) as stage:
        tasks = publish(stage, 1, 2)
        await settle()
        with pytest.raises(CommandError) as full:
            await stage.line.publish("chat:lobby", "message", 3)
        assert (full.value.code, full.value.retry) == ("too_many", True)
        stage.socket.reply("message", {"position": "e.1"})
        await settle()
        tasks += publish(stage, 4)
        for _ in range(2):
            await settle()
            stage.socket.reply("message", {"position": "e.2"})
        await asyncio.gather(*tasks)


async def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize("payload", ["\ud800", object(), 2**53, {"a": -(2**53)}, [[[2**64]]]])
async def test_what_is_no_json_of_ours_is_refused_here(payload: Any) -> None:
    async with opened() as stage:
        with pytest.raises(CommandError, match="bad_payload"):
            await stage.line.emit("save", payload)


async def test_what_is_nested_too_deep_is_refused_here() -> None:
    async with opened() as stage:
        start_at_limit = start(stage.line.emit("save", await nested(64)))
        await settle()
        stage.socket.reply("save")
        await start_at_limit
        for depth in (65, 100_000):
            with pytest.raises(CommandError, match="bad_payload"):
                await stage.line.emit("save", await nested(depth))


@pytest.mark.parametrize("type", ["", "$reply", "a\nb", "x" * 129])
async def test_a_type_that_is_not_an_applications_is_refused_here(type: str) -> None:
    async with opened() as stage:
        for sending in (stage.line.emit(type), stage.line.publish("chat:lobby", type)):
            with pytest.raises(CommandError, match="bad_field"):
                await sending


async def test_a_volatile_publication_is_dropped_without_a_line() -> None:
    async with opened() as stage:
        stage.socket.end()
        await settle()
        assert await stage.line.publish("chat:lobby", "cursor", 1, volatile=True) is None
        await stage.clock.advance(0.5)
        await stage.open()
        assert not stage.socket.sent


async def test_a_volatile_publication_is_sent_once_and_dropped_with_its_line() -> None:
    async with opened() as stage:
        task = start(stage.line.publish("chat:lobby", "cursor", 1, volatile=True, echo=False))
        await settle()
        frame = stage.socket.sent[0]
        assert (frame["volatile"], frame["echo"], "key" in frame) == (True, False, False)
        await stage.again(resumed=True)
        assert await task is None
        assert not stage.socket.sent


async def test_a_volatile_publication_may_be_refused() -> None:
    async with opened() as stage:
        task = start(stage.line.publish("chat:lobby", "cursor", 1, volatile=True))
        await settle()
        stage.socket.refuse("cursor", code="forbidden")
        with pytest.raises(CommandError, match="forbidden"):
            await task


async def test_volatile_publications_are_dropped_rather_than_queued() -> None:
    async with opened() as stage:
        stage.socket.stalled = True
        tasks = [start(stage.line.publish("chat:lobby", "cursor", n, volatile=True)) for n in range(300)]
        await settle()
        assert sum(task.done() for task in tasks) == 300 - 256
        stage.socket.stalled = False
        await stage.again()
        assert await asyncio.gather(*tasks) == [None] * 300


async def test_an_ask_that_is_not_answered_in_time_is_given_up_and_a_late_answer_finds_nobody() -> None:
    async with opened() as stage:
        task = start(stage.line.ask("slow", timeout=3))
        await stage.clock.advance(2.9)
        assert not task.done()
        await stage.clock.advance(0.1)
        with pytest.raises(TimeoutError):
            await task
        stage.socket.reply("slow", 1)
        await settle()
        assert stage.line._outbox.empty


async def test_an_ask_that_is_given_up_before_it_left_never_leaves() -> None:
    async with opened() as stage:
        stage.socket.end()
        await settle()
        task = start(stage.line.ask("slow", timeout=0.1))
        await stage.clock.advance(0.5)
        with pytest.raises(TimeoutError):
            await task
        await stage.open()
        assert not stage.socket.sent


async def test_a_publication_that_is_cancelled_lets_the_next_one_go() -> None:
    async with opened() as stage:
        tasks = publish(stage, 1, 2, 3)
        await settle()
        tasks[0].cancel()
        tasks[1].cancel()
        await settle()
        assert [frame["payload"] for frame in stage.socket.sent] == [1, 3]
        stage.socket.reply("message", {"position": "e.1"})
        stage.socket.reply("message", {"position": "e.2"})
        assert await tasks[2] == "e.2"
        assert stage.line._outbox.empty


@pytest.mark.parametrize(
    ("payload", "outcome"),
    [
        ({"position": "e.1"}, "e.1"),
        ({}, None),
        (None, None),
        (3, 3),
        ({"position": 1, "n": 2}, {"position": 1, "n": 2}),
    ],
)
async def test_a_publication_gives_its_position_or_what_a_handler_returned(payload: Any, outcome: Any) -> None:
    async with opened() as stage:
        (task,) = publish(stage, 1)
        await settle()
        stage.socket.reply("message", payload)
        assert await task == outcome


async def test_bytes_go_and_come_as_bytes() -> None:
    async with opened() as stage:
        task = start(stage.line.emit("save", memoryview(b"\x00\xff")))
        await settle()
        frame = stage.socket.take("save")
        assert (frame["payload"], frame["encoding"]) == ("AP8=", "base64")
        stage.socket.push({"type": "$reply", "id": frame["id"], "payload": "AP8=", "encoding": "base64"})
        assert await task == b"\x00\xff"


async def test_a_key_that_is_given_is_the_one_that_is_sent() -> None:
    async with opened() as stage:
        (task,) = publish(stage, 1, key='k"1')
        await settle()
        assert stage.socket.reply("message", {"position": "e.1"})["key"] == 'k"1'
        await task
