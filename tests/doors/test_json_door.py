"""The JSON protocol over real sockets: opening, every command, pings."""

import json
from typing import Any

import pytest
from tests.clients import bare_line, json_client, opened
from tests.server import plainly_serving, serving, until

from openline import Connection, History, HubSettings, LineSettings, Openline, Presence, Settings


def application(settings: Settings | None = None) -> Openline:
    line = Openline(settings=settings)
    line.channel("chat:*", history=History(count=100), presence=Presence(), public=True)
    line.channel("quiet:*", public=True, see_history=False)
    line.channel("news", history=10, subscribe=True, see_history=True)
    line.channel("typing:*", volatile=True, public=True)
    line.channel("price", last_value=True, public=True)
    return line


# -- opening


async def test_a_bare_websocket_may_send_an_event_right_after_it_opened() -> None:
    line = application()
    heard: list[str] = []

    @line.on("message")
    def message(connection: Connection, text: str) -> None:
        heard.append(text)

    async with serving(line) as served, opened(f"{served.ws}/openline") as socket:
        await socket.send('{"type":"message","payload":"hi"}')
        await until(lambda: heard)
    assert heard == ["hi"]


@pytest.mark.parametrize("hosting", [serving, plainly_serving])
async def test_our_subprotocol_is_echoed_where_it_is_offered_and_no_other_ever(hosting) -> None:  # type: ignore[no-untyped-def]
    async with hosting(application()) as served:
        async with opened(f"{served.ws}/openline", subprotocols=["other", "openline.v1"]) as socket:
            assert socket.subprotocol == "openline.v1"
        async with opened(f"{served.ws}/openline", subprotocols=["other"]) as socket:
            assert socket.subprotocol is None
        async with opened(f"{served.ws}/openline") as socket:
            assert socket.subprotocol is None


async def test_compression_is_not_negotiated() -> None:
    async with serving(application()) as served, opened(f"{served.ws}/openline", additional_headers=[]) as socket:
        assert socket.response is not None
        assert "sec-websocket-extensions" not in socket.response.headers


async def test_connect_tells_everything_that_the_protocol_promises() -> None:
    settings = Settings(hub=HubSettings(window_seconds=77))
    async with serving(application(settings)) as served, json_client(served.ws) as client:
        said = await client.get("$connect")
        assert set(said) == {"connection", "resume", "window", "position", "resumed", "ping", "limits"}
        assert (said["window"], said["resumed"], said["ping"]) == (77, False, 25)
        assert said["limits"] == {"message": 65_536}
        assert said["resume"] != said["connection"]


async def test_connect_is_the_first_command_and_comes_once() -> None:
    async with serving(application()) as served:
        async with json_client(served.ws) as client:
            await client.get("$connect")
            assert (await client.ask("$connect"))["code"] == "already_connected"
        async with json_client(served.ws) as client:
            await client.ask("$ping")
            assert (await client.ask("$connect"))["code"] == "already_connected"
            assert (await client.ask("$ping"))["type"] == "$pong"


# -- commands


async def test_subscribe_publish_and_receive() -> None:
    async with serving(application()) as served, json_client(served.ws) as ada, json_client(served.ws) as bob:
        ada_id = (await ada.get("$connect"))["connection"]
        assert (await bob.get("$subscribe", channel="chat:1"))["publications"] == []
        await ada.get("$subscribe", channel="chat:1")
        position = (await ada.get("text", channel="chat:1", payload={"a": [1, None, "ü"]}))["position"]
        for client in (ada, bob):
            assert await client.push() == {
                "type": "text",
                "channel": "chat:1",
                "payload": {"a": [1, None, "ü"]},
                "position": position,
                "from": {"connection": ada_id},
            }


async def test_echo_false_leaves_the_sender_out_live_and_later() -> None:
    async with serving(application()) as served, json_client(served.ws) as ada, json_client(served.ws) as bob:
        for client in (ada, bob):
            await client.get("$subscribe", channel="chat:1")
        await ada.get("text", channel="chat:1", payload=1, echo=False)
        await ada.get("text", channel="chat:1", payload=2)
        assert (await ada.push())["payload"] == 2
        assert [(await bob.push())["payload"] for _ in range(2)] == [1, 2]
        mine = await ada.get("$history", channel="chat:1")
        assert [p["payload"] for p in mine["publications"]] == [2]


async def test_bytes_travel_as_base64() -> None:
    async with serving(application()) as served, json_client(served.ws) as client:
        await client.get("$subscribe", channel="chat:1")
        await client.get("blob", channel="chat:1", payload="AAEC/w==", encoding="base64")
        push = await client.push()
        assert (push["payload"], push["encoding"]) == ("AAEC/w==", "base64")


async def test_volatile_publications_arrive_without_a_position_and_are_never_kept() -> None:
    async with serving(application()) as served, json_client(served.ws) as client:
        for channel, fields in (("chat:1", {"volatile": True}), ("typing:1", {})):
            await client.get("$subscribe", channel=channel)
            assert await client.get("t", channel=channel, payload=1, **fields) == {}
            assert "position" not in await client.push()
        assert (await client.get("$history", channel="chat:1"))["publications"] == []


async def test_the_same_key_is_one_publication_with_one_answer() -> None:
    async with serving(application()) as served, json_client(served.ws) as client:
        first = await client.get("text", channel="chat:1", payload=1, key="k")
        assert await client.get("text", channel="chat:1", payload=1, key="k") == first
        assert len((await client.get("$history", channel="chat:1"))["publications"]) == 1


async def test_history_pages_in_both_directions() -> None:
    async with serving(application()) as served, json_client(served.ws) as client:
        start = (await client.get("$connect"))["position"]
        at = [(await client.get("n", channel="chat:1", payload=n))["position"] for n in range(7)]

        async def page(**fields: Any) -> tuple[list[int], bool]:
            got = await client.get("$history", channel="chat:1", **fields)
            return [p["payload"] for p in got["publications"]], got["more"]

        assert await page() == ([0, 1, 2, 3, 4, 5, 6], False)
        assert await page(limit=3) == ([4, 5, 6], True)
        assert await page(since=start, limit=3) == ([0, 1, 2], True)
        assert await page(since=at[4], limit=3) == ([5, 6], False)
        assert await page(before=at[3], limit=2) == ([1, 2], True)
        assert await page(before=at[1], limit=2) == ([0], False)


async def test_a_subscription_since_a_position_brings_what_was_missed() -> None:
    async with serving(application()) as served, json_client(served.ws) as ada, json_client(served.ws) as bob:
        since = (await bob.get("$connect"))["position"]
        for n in range(5):
            await ada.get("n", channel="chat:1", payload=n)
        got = await bob.get("$subscribe", channel="chat:1", since=since)
        assert [p["payload"] for p in got["publications"]] == [0, 1, 2, 3, 4]
        assert got["recovered"] is True
        last = await ada.get("$subscribe", channel="chat:1", last=2)
        assert [p["payload"] for p in last["publications"]] == [3, 4]


async def test_without_the_right_to_history_a_subscriber_gets_none_and_is_told() -> None:
    async with serving(application()) as served, json_client(served.ws) as client:
        since = (await client.get("$connect"))["position"]
        await client.get("n", channel="quiet:1", payload=1)
        got = await client.get("$subscribe", channel="quiet:1", since=since)
        assert (got["publications"], got["recovered"]) == ([], False)
        assert (await client.get("$subscribe", channel="quiet:1", last=5))["publications"] == []


async def test_newcomers_get_the_last_value_of_a_channel_that_keeps_it() -> None:
    async with serving(application()) as served, json_client(served.ws) as client:
        await client.get("set", channel="price", payload=1)
        await client.get("set", channel="price", payload=2)
        got = await client.get("$subscribe", channel="price")
        assert [p["payload"] for p in got["publications"]] == [2]


async def test_presence_tells_who_is_there_who_comes_and_who_goes_and_why() -> None:
    async with serving(application()) as served, json_client(served.ws) as ada:
        await ada.get("$connect")
        got = await ada.get("$subscribe", channel="chat:1", presence=True)
        assert got["presence"]["count"] == 1
        async with json_client(served.ws) as bob:
            bob_id = (await bob.get("$connect"))["connection"]
            await bob.get("$subscribe", channel="chat:1")
            joined = await ada.push()
            assert (joined["type"], joined["payload"]["member"]["connection"]) == ("$joined", bob_id)
            assert (await ada.get("$presence", channel="chat:1"))["count"] == 2
            await bob.get("$unsubscribe", channel="chat:1")
            assert (await ada.push())["payload"]["reason"] == "unsubscribed"
            await bob.get("$subscribe", channel="chat:1")
            await ada.push()
        left = await ada.push()
        assert (left["type"], left["payload"]["reason"], left["payload"]["count"]) == ("$left", "closed", 1)


async def test_ping_is_answered_with_and_without_an_id() -> None:
    async with serving(application()) as served, json_client(served.ws) as client:
        assert await client.ask("$ping") == {"type": "$pong", "id": 1}
        await client.say(type="$ping")
        assert await client.push() == {"type": "$pong"}


async def test_without_an_id_nothing_is_answered_but_errors() -> None:
    async with serving(application()) as served, json_client(served.ws) as client:
        await client.say(type="n", channel="chat:1", payload=1)
        await client.say(type="nothing")
        await client.ask("$ping")
        assert [p["code"] for p in client.pushes] == ["unknown_event"]
        assert "id" not in client.pushes[0]


@pytest.mark.parametrize("number", [0, 2**53 - 1, "x", "x" * 64])
async def test_every_kind_of_id_comes_back_as_it_was(number: object) -> None:
    async with serving(application()) as served, json_client(served.ws) as client:
        await client.say(type="$connect", id=number)
        assert (await client.push())["id"] == number


# -- liveness


@pytest.mark.parametrize("hosting", [serving, plainly_serving])
async def test_who_said_connect_is_pinged_in_json_and_whoever_answers_nothing_is_closed_with_4501(hosting) -> None:  # type: ignore[no-untyped-def]
    settings = Settings(line=LineSettings(ping_every_seconds=0.1, pong_within_seconds=0.1))
    async with hosting(application(settings)) as served, bare_line(served.port) as socket:
        socket.send_text('{"type":"$connect","id":1}')
        seen = []
        while not any(payload == b'{"type":"$ping"}' for _, payload in seen):
            seen.append(await socket.item())
        assert any(opcode == 9 for opcode, _ in seen)
        assert await socket.close_code() == 4501
        await served.until(lambda: not served.connections)


async def test_a_client_that_answers_pings_stays() -> None:
    settings = Settings(line=LineSettings(ping_every_seconds=0.05, pong_within_seconds=0.05))
    async with serving(application(settings)) as served, json_client(served.ws) as client:
        await client.get("$connect")
        for _ in range(3):
            assert (await client.push())["type"] == "$ping"
            await client.say(type="$pong")
        assert (await client.ask("$ping"))["type"] == "$pong"


async def test_what_one_message_asks_for_is_answered_in_one_write() -> None:
    async with serving(application()) as served, bare_line(served.port) as socket:
        commands = [
            {"type": "$connect", "id": 0},
            *({"type": "$subscribe", "id": n, "channel": "chat:1"} for n in (1, 2)),
        ]
        socket.send_text(json.dumps(commands))
        came = await socket.reader.read(65_536)
        assert came.count(b'"type":"$reply"') == len(commands)
