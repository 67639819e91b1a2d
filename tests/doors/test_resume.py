"""A connection that comes back on a new line, and every reason why it may not."""

import json
import re
import signal
from pathlib import Path
from typing import Any

import pytest
from tests.clients import JsonClient, bare_line, json_client
from tests.server import openline, plainly_serving, serving, until

from openline import Connection, History, HubSettings, Openline, Presence, Settings, User


def application(window: float = 60.0, **history: Any) -> Openline:
    line = Openline(settings=Settings(hub=HubSettings(window_seconds=window)))
    line.channel("chat:*", history=History(**{"count": 100, **history}), presence=Presence(), public=True)
    line.authenticate(lambda token, request: User(token) if token else None)
    line._handlers.let_in(anonymous=True)
    return line


async def payloads(client: JsonClient, count: int) -> list[Any]:
    return [(await client.push())["payload"] for _ in range(count)]


@pytest.mark.parametrize("hosting", [serving, plainly_serving])
async def test_a_client_comes_back_as_the_same_connection_and_gets_exactly_what_it_missed(hosting) -> None:  # type: ignore[no-untyped-def]
    line = application()
    async with hosting(line) as served, json_client(served.ws) as watcher:
        await watcher.get("$subscribe", channel="chat:1", presence=True)
        async with json_client(served.ws) as first:
            told = await first.get("$connect")
            for channel in ("chat:1", "chat:2"):
                await first.get("$subscribe", channel=channel)
            await watcher.get("n", channel="chat:1", payload=0)
            since = (await first.push())["position"]
            first.cut()
        await until(lambda: any(c.wire is None for c in line.connections))
        for n in range(1, 6):
            await watcher.get("n", channel=f"chat:{1 + n % 2}", payload=n)
        async with json_client(served.ws) as again:
            back = await again.get("$connect", resume=told["resume"], since=since)
            assert (back["resumed"], back["recovered"], back["connection"]) == (True, True, told["connection"])
            assert back["subscriptions"] == [{"channel": c, "recovered": True} for c in ("chat:1", "chat:2")]
            assert back["resume"] != told["resume"]
            assert await payloads(again, 5) == [1, 2, 3, 4, 5]
            await watcher.get("n", channel="chat:1", payload=6)
            assert await payloads(again, 1) == [6]
        seen = []
        while not seen or seen[-1]["type"] != "$left":
            seen.append(await watcher.push())
        # One join, one leave: nobody saw it flicker.
        assert [f["type"] for f in seen if f["type"] != "n"] == ["$joined", "$left"]


async def test_a_client_that_had_received_nothing_comes_back_from_the_position_of_connect() -> None:
    line = application()
    async with serving(line) as served, json_client(served.ws) as other:
        async with json_client(served.ws) as first:
            told = await first.get("$connect")
            await first.get("$subscribe", channel="chat:1")
            first.cut()
        for n in range(3):
            await other.get("n", channel="chat:1", payload=n)
        async with json_client(served.ws) as again:
            back = await again.get("$connect", resume=told["resume"], since=told["position"])
            assert (back["resumed"], back["recovered"]) == (True, True)
            assert await payloads(again, 3) == [0, 1, 2]


async def test_what_was_sent_to_the_connection_its_user_and_everybody_comes_after_it() -> None:
    line = application()
    async with serving(line) as served:
        async with json_client(served.ws) as first:
            told = await first.get("$connect", token="ada")
            first.cut()
        (connection,) = line.connections
        await until(lambda: connection.wire is None)
        connection.emit("one", 1)
        line.publish_to_user("ada", "user", 2)
        line.broadcast("all", 3)
        async with json_client(served.ws) as again:
            back = await again.get("$connect", token="ada", resume=told["resume"], since=told["position"])
            assert (back["resumed"], back["recovered"]) == (True, True)
            assert await payloads(again, 3) == [1, 2, 3]


async def test_a_secret_is_good_until_the_one_after_it_is_used() -> None:
    async with serving(application()) as served:
        async with json_client(served.ws) as first:
            told = await first.get("$connect")
            secrets = [told["resume"]]
            first.cut()
        # The reply may have been lost, so the first one is good again; then the newer one is used.
        for used in (0, 0, 2):
            async with json_client(served.ws) as again:
                back = await again.get("$connect", resume=secrets[used], since=told["position"])
                assert (back["resumed"], back["connection"]) == (True, told["connection"])
                secrets.append(back["resume"])
                again.cut()
        for used in (0, 1):
            async with json_client(served.ws) as thief:
                back = await thief.get("$connect", resume=secrets[used], since=told["position"])
                assert (back["resumed"], back["connection"] != told["connection"]) == (False, True)
        assert len(set(secrets)) == 4


@pytest.mark.parametrize("secret", ["wrong", "", "x" * 10_000, "\u0000", None])
async def test_a_wrong_secret_is_a_new_connection_without_subscriptions(secret: str | None) -> None:
    async with serving(application()) as served, json_client(served.ws) as client:
        back = await client.get("$connect", resume=secret)
        assert back["resumed"] is False
        assert "subscriptions" not in back


async def test_the_public_id_of_a_connection_is_no_secret_that_takes_it_up() -> None:
    async with serving(application()) as served, json_client(served.ws) as victim, json_client(served.ws) as thief:
        public = (await victim.get("$connect"))["connection"]
        assert (await thief.get("$connect", resume=public))["resumed"] is False
        assert (await victim.ask("$ping"))["type"] == "$pong"


@pytest.mark.parametrize("token", ["bob", None])
async def test_a_secret_of_another_user_takes_nothing_up_and_costs_its_owner_nothing(token: str | None) -> None:
    line = application()
    async with serving(line) as served:
        async with json_client(served.ws) as ada:
            told = await ada.get("$connect", token="ada")
            ada.cut()
        async with json_client(served.ws) as thief:
            back = await thief.get("$connect", token=token, resume=told["resume"], since=told["position"])
            assert (back["resumed"], back.get("user")) == (False, token)
        async with json_client(served.ws) as ada:
            back = await ada.get("$connect", token="ada", resume=told["resume"], since=told["position"])
            assert (back["resumed"], back["connection"]) == (True, told["connection"])


async def test_a_line_that_is_half_open_is_closed_with_4409_when_its_client_comes_back() -> None:
    async with serving(application()) as served, json_client(served.ws) as old, json_client(served.ws) as new:
        told = await old.get("$connect")
        await old.get("$subscribe", channel="chat:1")
        back = await new.get("$connect", resume=told["resume"], since=told["position"])
        assert (back["resumed"], back["connection"]) == (True, told["connection"])
        assert await old.close_code() == 4409
        await new.get("n", channel="chat:1", payload=1)
        assert await payloads(new, 1) == [1]


async def test_commands_on_the_old_line_after_the_return_do_nothing() -> None:
    line = application()
    heard: list[int] = []
    line.on("note")(lambda connection, n: heard.append(n))
    async with serving(line) as served, bare_line(served.port) as old, json_client(served.ws) as new:
        old.send_text('{"type":"$connect","id":1}')
        told = json.loads((await old.item())[1])["payload"]
        await new.get("$connect", resume=told["resume"], since=told["position"])
        old.send_text('{"type":"note","payload":1}')
        assert await old.close_code() == 4409
        await new.get("note", payload=2)
    assert heard == [2]


async def test_once_the_window_has_passed_the_connection_is_gone_with_a_leave() -> None:
    line = application(window=0.1)
    gone: list[str] = []
    line.on_disconnect(lambda connection, reason: gone.append(reason))
    async with serving(line) as served, json_client(served.ws) as watcher:
        await watcher.get("$subscribe", channel="chat:1", presence=True)
        async with json_client(served.ws) as first:
            told = await first.get("$connect")
            await first.get("$subscribe", channel="chat:1")
            first.cut()
        await until(lambda: gone)
        assert gone == ["lost"]
        while (frame := await watcher.push())["type"] != "$left":
            pass
        assert frame["payload"]["reason"] == "lost"
        async with json_client(served.ws) as again:
            assert (await again.get("$connect", resume=told["resume"], since=told["position"]))["resumed"] is False


async def test_a_channel_whose_log_does_not_reach_back_says_so_and_is_live_again() -> None:
    line = application(count=3)
    async with serving(line) as served, json_client(served.ws) as other:
        async with json_client(served.ws) as first:
            told = await first.get("$connect")
            for channel in ("chat:full", "chat:short"):
                await first.get("$subscribe", channel=channel)
            first.cut()
        for n in range(10):
            await other.get("n", channel="chat:full", payload=n)
        await other.get("n", channel="chat:short", payload=100)
        async with json_client(served.ws) as again:
            back = await again.get("$connect", resume=told["resume"], since=told["position"])
            assert {s["channel"]: s["recovered"] for s in back["subscriptions"]} == {
                "chat:full": False,
                "chat:short": True,
            }
            assert await payloads(again, 1) == [100]
            await other.get("n", channel="chat:full", payload=10)
            assert await payloads(again, 1) == [10]


async def test_a_client_that_forgot_its_position_is_told_that_nothing_was_recovered() -> None:
    async with serving(application()) as served:
        async with json_client(served.ws) as first:
            told = await first.get("$connect")
            await first.get("$subscribe", channel="chat:1")
            first.cut()
        async with json_client(served.ws) as again:
            back = await again.get("$connect", resume=told["resume"])
            assert (back["resumed"], back["recovered"]) == (True, False)
            assert back["subscriptions"] == [{"channel": "chat:1", "recovered": False}]


async def test_a_bad_position_is_an_error_and_spends_nothing() -> None:
    async with serving(application()) as served:
        async with json_client(served.ws) as first:
            told = await first.get("$connect")
            first.cut()
        async with json_client(served.ws) as again:
            assert (await again.ask("$connect", resume=told["resume"], since="nonsense"))["code"] == "bad_position"
        async with json_client(served.ws) as again:
            back = await again.get("$connect", resume=told["resume"], since=told["position"])
            assert back["resumed"] is True


async def test_a_client_that_said_goodbye_cannot_come_back() -> None:
    async with serving(application()) as served:
        async with json_client(served.ws) as first:
            told = await first.get("$connect")
        async with json_client(served.ws) as again:
            assert (await again.get("$connect", resume=told["resume"]))["resumed"] is False


async def test_a_line_that_breaks_at_once_after_the_return_costs_nothing() -> None:
    line = application()
    async with serving(line) as served, json_client(served.ws) as other:
        async with json_client(served.ws) as first:
            told = await first.get("$connect")
            await first.get("$subscribe", channel="chat:1")
            first.cut()
        for n in range(50):
            await other.get("n", channel="chat:1", payload=n)
        since, secret, got = told["position"], told["resume"], []
        for _ in range(4):
            async with json_client(served.ws) as again:
                back = await again.get("$connect", resume=secret, since=since)
                assert back["resumed"] is True
                secret = back["resume"]
                for _ in range(10):
                    push = await again.push()
                    got.append(push["payload"])
                    since = push["position"]
                again.cut()
            await until(lambda: all(c.wire is None for c in line.connections if c.id == told["connection"]))
        assert got == list(range(40))


async def test_a_handler_may_still_speak_to_a_client_that_is_away() -> None:
    line = application()
    held: list[Connection] = []
    line.on_connect(held.append)
    async with serving(line) as served:
        async with json_client(served.ws) as first:
            told = await first.get("$connect")
            first.cut()
        await until(lambda: held[0].wire is None)
        assert held[0].alive
        assert await held[0].emit("hello", 1) is not None
        async with json_client(served.ws) as again:
            await again.get("$connect", resume=told["resume"], since=told["position"])
            assert (await again.push())["type"] == "hello"


@pytest.mark.server
async def test_after_kill_9_the_epoch_is_new_and_the_client_is_told(tmp_path: Path) -> None:
    (tmp_path / "chat.py").write_text(
        "from openline import Openline\nline = Openline()\nline.channel('chat:*', history=100, public=True)\n"
    )
    with openline(tmp_path, "serve", "chat:line", "--port", "0") as process:
        url, port = process.address()
        async with json_client(url.replace("http", "ws")) as first:
            told = await first.get("$connect")
            await first.get("$subscribe", channel="chat:1")
            position = (await first.get("n", channel="chat:1", payload=1))["position"]
            assert process.end(signal.SIGKILL) == -signal.SIGKILL
            assert await first.close_code() in (1006, None)
    with openline(tmp_path, "serve", "chat:line", "--port", str(port)) as process:
        url, _ = process.address()
        async with json_client(url.replace("http", "ws")) as again:
            back = await again.get("$connect", resume=told["resume"], since=position)
            assert back["resumed"] is False
            assert back["position"].split(".")[0] != position.split(".")[0]
            got = await again.get("$subscribe", channel="chat:1", since=position)
            assert (got["publications"], got["recovered"]) == ([], False)
            assert re.fullmatch(r"[A-Za-z0-9_-]+\.\d+", got["position"])
        assert process.end() == 0
