"""A channel: complete or told so, each publication once, and over when it is over."""

import asyncio
from typing import Any

import pytest

from openline.client import Member
from openline.errors import CommandError

from .stage import heard, opened, said, settle, start


def payloads(events: list[Any]) -> list[Any]:
    return [event.payload if not event.type.startswith("$") else event.type for event in events]


async def test_what_since_or_last_asked_for_comes_first_and_says_that_it_is_old() -> None:
    async with opened() as stage:
        joining = start(stage.line.subscribe("chat:lobby", since="e.1", last=2))
        await settle()
        frame = stage.socket.reply(
            "$subscribe", {"position": "e.3", "publications": [said(2), said(3)], "recovered": True}
        )
        assert (frame["since"], frame["last"]) == ("e.1", 2)
        stage.socket.push(said(4))
        chat = await joining
        events = await heard(chat)
        assert [(event.payload, event.recovered) for event in events] == [(2, True), (3, True), (4, False)]
        assert events[0].sender == Member("c2")
        assert (events[0].channel, events[0].position) == ("chat:lobby", "e.2")


async def test_a_subscription_in_pages_asks_on_from_where_a_page_ends() -> None:
    async with opened() as stage:
        joining = start(stage.line.subscribe("chat:lobby", since="e.0"))
        await settle()
        stage.socket.reply("$subscribe", {"position": "e.2", "publications": [said(1), said(2)], "more": True})
        await settle()
        stage.socket.push(said(9))  # not for this subscription yet
        frame = stage.socket.reply("$subscribe", {"position": "e.9", "publications": [said(3), said(9)]})
        assert frame["since"] == "e.2"
        assert payloads(await heard(await joining)) == [1, 2, 3, 9]


async def test_what_comes_twice_is_read_once() -> None:
    async with opened() as stage:
        chat = await stage.join()
        stage.socket.push(said(11), said(11), said(12), said(11), said(13), {**said(14), "position": None})
        assert payloads(await heard(chat)) == [11, 12, 13, 14]


async def test_what_was_lost_is_told_where_it_was_lost() -> None:
    async with opened() as stage:
        chat = await stage.join(reply={"recovered": False, "publications": [said(9)]}, since="old.1", last=1)
        stage.socket.push(said(11))
        stage.socket.push({"type": "$gap", "channel": "chat:lobby", "payload": {"position": "e.20"}})
        stage.socket.push({"type": "$gap", "channel": "chat:lobby", "payload": {"lost": 7}}, said(21))
        events = await heard(chat)
        assert payloads(events) == ["$gap", 9, 11, "$gap", "$gap", 21]
        assert [event.payload for event in events if event.type == "$gap"] == [
            {"position": "e.10"},
            {"position": "e.20"},
            {"lost": 7},
        ]


async def test_a_resumed_subscription_goes_on_and_says_what_it_lost() -> None:
    async with opened() as stage:
        chat = await stage.join()
        await stage.again(resumed=True, subscriptions=[{"channel": "chat:lobby", "recovered": True}])
        stage.socket.push(said(11))
        await settle()
        await stage.again(resumed=True, position="e.30", subscriptions=[{"channel": "chat:lobby", "recovered": False}])
        stage.socket.push(said(31))
        assert payloads(await heard(chat)) == [11, "$gap", 31]
        assert not stage.socket.sent


async def test_a_new_connection_subscribes_again_from_the_last_position_that_the_line_has_seen() -> None:
    async with opened() as stage:
        chat = await stage.join(presence=True)
        other = await stage.join("chat:other")
        stage.socket.push(said(15, channel="chat:other"))
        await settle()
        await stage.again(position="e.40")
        frame = stage.socket.reply("$subscribe", {"position": "e.40", "publications": [said(16)], "recovered": True})
        assert (frame["channel"], frame["since"], frame["presence"]) == ("chat:lobby", "e.15", True)
        stage.socket.reply("$subscribe", {"position": "e.40", "publications": [], "recovered": False})
        assert payloads(await heard(chat)) == [16]
        assert payloads(await heard(other)) == [15, "$gap"]


async def test_a_subscription_that_was_not_answered_is_asked_for_again() -> None:
    async with opened() as stage:
        joining = start(stage.line.subscribe("chat:lobby", last=3))
        await settle()
        await stage.again(resumed=True, subscriptions=[{"channel": "chat:lobby", "recovered": True}])
        assert stage.socket.reply("$subscribe", {"position": "e.11"})["last"] == 3
        await joining


async def test_subscribing_waits_until_there_is_a_line() -> None:
    async with opened() as stage:
        stage.socket.end()
        joining = start(stage.line.subscribe("chat:lobby"))
        await settle()
        assert not joining.done()
        await stage.clock.advance(0.5)
        await stage.open()
        stage.socket.reply("$subscribe", {"position": "e.11"})
        await joining


async def test_a_subscription_that_the_engine_did_not_answer_is_asked_for_again_later() -> None:
    async with opened() as stage:
        joining = start(stage.line.subscribe("chat:lobby"))
        await settle()
        stage.socket.refuse("$subscribe", code="unavailable", retry=True)
        await stage.clock.advance(0.4)
        assert not stage.socket.sent
        await stage.clock.advance(0.1)
        stage.socket.refuse("$subscribe", code="unavailable", retry=True)
        await stage.clock.advance(1.0)
        stage.socket.reply("$subscribe", {"position": "e.11"})
        await joining


async def test_a_subscription_that_is_refused_says_why_and_may_be_tried_again() -> None:
    async with opened() as stage:
        joining = start(stage.line.subscribe("chat:lobby"))
        await settle()
        stage.socket.refuse("$subscribe", code="forbidden", field="channel")
        with pytest.raises(CommandError) as refused:
            await joining
        assert (refused.value.code, refused.value.field) == ("forbidden", "channel")
        await stage.join()


async def test_a_subscription_that_is_refused_after_a_reconnect_ends_the_iteration_with_the_reason() -> None:
    async with opened() as stage:
        chat = await stage.join()
        stage.socket.push(said(11))
        await settle()
        await stage.again()
        stage.socket.refuse("$subscribe", code="forbidden")
        await settle()
        assert (await anext(chat)).payload == 11
        for _ in range(2):
            with pytest.raises(CommandError, match="forbidden"):
                await anext(chat)


async def test_an_answer_to_subscribe_that_is_nonsense_is_a_refusal() -> None:
    async with opened() as stage:
        for payload in ({}, None, {"position": "e.1", "publications": [1]}, {"position": "e.1", "publications": [{}]}):
            joining = start(stage.line.subscribe("chat:lobby"))
            await settle()
            stage.socket.reply("$subscribe", payload)
            with pytest.raises(CommandError, match="does not follow the protocol"):
                await joining


async def test_everybody_who_subscribes_to_a_name_gets_the_same_channel() -> None:
    async with opened() as stage:
        joining = [start(stage.line.subscribe("chat:lobby")) for _ in range(2)]
        await settle()
        joining[0].cancel()
        await settle()
        stage.socket.reply("$subscribe", {"position": "e.1"})
        chat = await joining[1]
        assert await stage.line.subscribe("chat:lobby") is chat


async def test_subscribing_that_is_cancelled_leaves_the_channel() -> None:
    async with opened() as stage:
        joining = start(stage.line.subscribe("chat:lobby"))
        await settle()
        joining.cancel()
        await settle()
        assert [frame["type"] for frame in stage.socket.sent] == ["$subscribe", "$unsubscribe"]


async def test_who_comes_and_goes_is_told_and_kept() -> None:
    async with opened() as stage:
        ada, bob = {"connection": "c1", "user": "ada"}, {"connection": "c2", "user": "bob", "data": {"age": 4}}
        chat = await stage.join(reply={"presence": {"count": 1, "members": [ada]}}, presence=True)
        assert (chat.count, list(chat.members)) == (1, ["c1"])
        stage.socket.push({"type": "$joined", "channel": "chat:lobby", "payload": {"member": bob, "count": 2}})
        await settle()
        assert chat.members["c2"] == Member("c2", "bob", {"age": 4})
        left = {"member": ada, "reason": "lost", "count": 1}
        stage.socket.push({"type": "$left", "channel": "chat:lobby", "payload": left})
        stage.socket.push({"type": "$left", "channel": "chat:lobby", "payload": "nonsense"})
        events = await heard(chat)
        assert [event.type for event in events] == ["$presence", "$joined", "$left"]
        assert events[2].payload == left
        assert (chat.count, list(chat.members)) == (1, ["c2"])
        stage.socket.push({"type": "$presence", "channel": "chat:lobby", "payload": {"count": 1, "members": [ada]}})
        assert [event.type for event in await heard(chat)] == ["$presence"]
        assert (chat.count, list(chat.members)) == (1, ["c1"])


async def test_who_is_there_is_asked_anew_when_the_connection_was_taken_up_again() -> None:
    async with opened() as stage:
        chat = await stage.join(reply={"presence": {"count": 1, "members": [{"connection": "c1"}]}}, presence=True)
        await stage.again(resumed=True, subscriptions=[{"channel": "chat:lobby", "recovered": True}])
        stage.socket.reply("$presence", {"count": 2, "members": [{"connection": "c1"}, {"connection": "c3"}]})
        await settle()
        assert (chat.count, list(chat.members)) == (2, ["c1", "c3"])


async def test_leaving_ends_the_iteration_and_tells_the_server() -> None:
    async with opened() as stage:
        chat = await stage.join()
        stage.socket.push(said(11))
        await settle()
        chat.unsubscribe()
        chat.unsubscribe()
        stage.socket.push(said(12))
        assert payloads(await heard(chat)) == [11]
        assert [frame["type"] for frame in stage.socket.sent] == ["$unsubscribe"]
        assert await stage.join() is not chat


async def test_a_channel_that_was_left_without_a_line_is_left_when_there_is_one() -> None:
    async with opened() as stage:
        chat = await stage.join()
        stage.socket.end()
        await settle()
        chat.unsubscribe()
        await stage.clock.advance(0.5)
        await stage.open(resumed=True, subscriptions=[{"channel": "chat:lobby", "recovered": True}])
        stage.socket.reply("$unsubscribe", {})
        await settle()
        await stage.again(resumed=True)
        assert not stage.socket.sent


async def test_a_subscription_that_the_server_ends_says_so_and_is_over() -> None:
    async with opened() as stage:
        chat = await stage.join()
        stage.socket.push({"type": "$unsubscribed", "channel": "chat:lobby", "payload": {"reason": "moved"}})
        events = await heard(chat)
        assert [(event.type, event.payload) for event in events] == [("$unsubscribed", {"reason": "moved"})]
        await stage.again()
        assert not stage.socket.sent


async def test_a_channel_asks_for_itself() -> None:
    async with opened() as stage:
        chat = await stage.join()
        asked = start(asyncio.wait_for(chat.history(limit=2, before="e.9"), None))
        await settle()
        frame = stage.socket.reply("$history", {"publications": [said(7), said(8)], "position": "e.10", "more": True})
        assert {**frame, "id": 0} == {"type": "$history", "id": 0, "channel": "chat:lobby", "limit": 2, "before": "e.9"}
        page = await asked
        assert ([event.payload for event in page.publications], page.more, page.position) == ([7, 8], True, "e.10")
        asked = start(asyncio.wait_for(chat.presence(limit=1, after=3), None))
        await settle()
        frame = stage.socket.reply("$presence", {"count": 5, "members": [{"connection": "c"}], "next": 4})
        assert (frame["limit"], frame["after"]) == (1, 3)
        page = await asked
        assert (page.count, page.members, page.next) == (5, [Member("c")], 4)
