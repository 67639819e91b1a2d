"""The backend API: who has a key may publish anywhere, look, and put in order; everybody else learns nothing."""

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from openline import BrokerError, Openline, Outcome, Settings, User
from tests.clients import JsonClient, json_client
from tests.http_doors.rig import HOSTINGS, Hosting, natively, problem, web
from tests.server import Served, plainly_serving, until

hostings = pytest.mark.parametrize("hosting", HOSTINGS)
KEY = "a-key-for-the-backend-api"
OTHER = "the-key-that-comes-after-it"
API = "/api/v1"


def application(*keys: str, **settings: Any) -> Openline:
    line = Openline(api_keys=keys or [KEY, OTHER], anonymous=True, settings=Settings(**settings))
    line.channel("chat:*", history=1000, presence=True, public=True)
    line.channel("closed:*", history=10)
    line.channel("few:*", history=2)
    line.channel("volatile:*", volatile=True, public=True)

    @line.authenticate
    def who(token: str | None, request: object) -> User | None:
        return User(token, {"name": token.title()}) if token else None

    return line


@asynccontextmanager
async def backend(served: Served, key: str = KEY, **options: Any) -> AsyncIterator[httpx.AsyncClient]:
    """Somebody with a key."""
    async with web(served, headers={"authorization": f"Bearer {key}"}, **options) as client:
        yield client


async def ask(client: httpx.AsyncClient, name: str, **said: Any) -> Any:
    """The answer to a POST, which must be good."""
    answer = await client.post(f"{API}/{name}", json=said)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def look(client: httpx.AsyncClient, name: str, **query: Any) -> Any:
    answer = await client.get(f"{API}/{name}", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def payloads(client: httpx.AsyncClient, channel: str, **query: Any) -> list[Any]:
    page = await look(client, "history", channel=channel, **query)
    return [publication["payload"] for publication in page["publications"]]


@asynccontextmanager
async def user(served: Served, name: str, *channels: str) -> AsyncIterator[JsonClient]:
    """Somebody who is connected and subscribed."""
    async with json_client(served.ws) as client:
        client.connection = (await client.get("$connect", token=name))["connection"]  # type: ignore[attr-defined]
        for channel in channels:
            await client.get("$subscribe", channel=channel)
        yield client


# -- publishing


@hostings
async def test_what_a_backend_publishes_reaches_subscribers_and_history(hosting: Hosting) -> None:
    async with hosting(application()) as served, backend(served) as client, user(served, "ada", "chat:1") as ada:
        said = await ask(client, "publish", channel="chat:1", type="said", payload={"a": [1, None]})
        push = await ada.push()
        assert push == {"type": "said", "channel": "chat:1", "payload": {"a": [1, None]}, **said}
        page = await look(client, "history", channel="chat:1")
        assert page == {"publications": [push], "position": said["position"], "more": False}


async def test_no_rule_and_no_handler_stands_in_the_way_of_a_backend() -> None:
    line = application()
    line.on("said", channel="closed:*")(lambda connection, payload: pytest.fail("a handler was asked"))
    async with natively(line) as served, backend(served) as client:
        await ask(client, "publish", channel="closed:1", type="said", payload=1)
        await ask(client, "publish", channel="of-no-pattern", type="said", payload=1)
        assert await payloads(client, "closed:1") == [1]
        assert await payloads(client, "of-no-pattern") == []


async def test_bytes_travel_as_base64() -> None:
    line = application()
    async with natively(line) as served, backend(served) as client:
        data = bytes(range(256))
        await ask(
            client, "publish", channel="chat:1", type="raw", payload=base64.b64encode(data).decode(), encoding="base64"
        )
        [told] = (await look(client, "history", channel="chat:1"))["publications"]
        assert (base64.b64decode(told["payload"]), told["encoding"]) == (data, "base64")
        [kept] = (await line.running.hub.broker.read("chat:1")).publications
        assert (kept.payload, kept.binary) == (data, True)


async def test_of_many_channels_each_outcome_is_told_in_order() -> None:
    async with natively(application()) as served, backend(served) as client:
        names = ["chat:1", "not a name", "volatile:1", "chat:2", "$all"]
        told = await ask(client, "publish-many", channels=names, type="said", payload="x")
        outcomes = told["outcomes"]
        assert [outcome["channel"] for outcome in outcomes] == names
        assert [outcome.get("error", {}).get("code") for outcome in outcomes] == [
            None,
            "bad_channel",
            None,
            None,
            "bad_channel",
        ]
        assert ["position" in outcome for outcome in outcomes] == [True, False, False, True, False]
        for name in ("chat:1", "chat:2"):
            assert await payloads(client, name) == ["x"]


async def test_a_user_gets_it_on_every_connection_and_nobody_else_does() -> None:
    async with (
        natively(application()) as served,
        backend(served) as client,
        user(served, "ada") as one,
        user(served, "ada") as two,
        user(served, "bob") as bob,
    ):
        await ask(client, "publish-to-user", user="ada", type="note", payload=1)
        await ask(client, "publish-to-user", user="nobody/../ there", type="note", payload=2)
        await ask(client, "broadcast", type="note", payload=3)
        assert [(await one.push())["payload"], (await one.push())["payload"]] == [1, 3]
        assert [(await two.push())["payload"], (await two.push())["payload"]] == [1, 3]
        assert (await bob.push())["payload"] == 3


@pytest.mark.parametrize(
    ("name", "where"),
    [
        ("publish", {"channel": "chat:1"}),
        ("publish-many", {"channels": ["chat:1"]}),
        ("publish-to-user", {"user": "ada"}),
        ("broadcast", {}),
    ],
)
@pytest.mark.parametrize("engine", ["memory", "sqlite:{}/kept.db"])
@pytest.mark.parametrize("header", [False, True])
async def test_the_same_key_is_the_same_publication(
    name: str, where: dict[str, Any], header: bool, engine: str, tmp_path: Path
) -> None:
    line = application(engine=engine.format(tmp_path))
    async with natively(line) as served, backend(served) as client, user(served, "ada", "chat:1") as ada:
        answers: list[Any] = []
        for payload in ("first", "again"):
            headers = {"idempotency-key": '"once"'} if header else {}
            said = {"type": "n", "payload": payload, **where, **({} if header else {"key": "once"})}
            answers.append((await client.post(f"{API}/{name}", json=said, headers=headers)).json())
        assert answers[0] == answers[1]
        await ask(client, name, type="n", payload="behind", **where)
        assert [(await ada.push())["payload"] for _ in range(2)] == ["first", "behind"]


async def test_a_key_of_a_backend_is_one_of_the_application_and_none_of_a_client() -> None:
    line = application()
    async with natively(line) as served, backend(served) as client, user(served, "ada", "chat:1") as ada:
        first = await ask(client, "publish", channel="chat:1", type="n", payload=1, key="k")
        assert str(await line.publish("chat:1", "n", 2, key="k")) == first["position"]
        assert (await ada.get("n", channel="chat:1", payload=3, key="k"))["position"] != first["position"]
        assert await payloads(client, "chat:1") == [1, 3]


async def test_who_is_excluded_gets_it_neither_now_nor_later() -> None:
    async with natively(application()) as served, backend(served) as client, user(served, "ada", "chat:1") as ada:
        connection = ada.connection  # type: ignore[attr-defined]
        await ask(client, "publish", channel="chat:1", type="n", payload="hidden", exclude=[connection])
        await ask(client, "broadcast", type="n", payload="hidden", exclude=[connection])
        await ask(client, "publish-to-user", user="ada", type="n", payload="hidden", exclude=[connection])
        await ask(client, "publish", channel="chat:1", type="n", payload="shown")
        assert (await ada.push())["payload"] == "shown"
        seen = (await ada.get("$history", channel="chat:1"))["publications"]
        assert [publication["payload"] for publication in seen] == ["shown"]
        assert await payloads(client, "chat:1") == ["hidden", "shown"]


async def test_what_is_volatile_reaches_who_is_there_and_has_no_position() -> None:
    async with natively(application()) as served, backend(served) as client, user(served, "ada", "chat:1") as ada:
        assert await ask(client, "publish", channel="chat:1", type="n", payload=1, volatile=True) == {}
        assert (await ada.push())["payload"] == 1
        assert await payloads(client, "chat:1") == []


# -- looking


async def test_history_is_read_page_by_page_both_ways_without_a_hole() -> None:
    async with natively(application()) as served, backend(served) as client:
        for n in range(25):
            await ask(client, "publish", channel="chat:1", type="n", payload=n)
        back: list[Any] = []
        page = await look(client, "history", channel="chat:1", limit=7)
        places = [publication["position"] for publication in page["publications"]]
        back = page["publications"]
        while page["more"]:
            page = await look(client, "history", channel="chat:1", limit=7, before=back[0]["position"])
            assert "recovered" not in page
            back = page["publications"] + back
        assert [publication["payload"] for publication in back] == list(range(25))
        forth, more = [back[0]], True
        while more:
            page = await look(client, "history", channel="chat:1", limit=7, since=forth[-1]["position"])
            assert page["recovered"] is True
            forth, more = forth + page["publications"], page["more"]
        assert forth == back
        between = await payloads(client, "chat:1", since=places[0], before=places[3])
        assert between == [19, 20]


async def test_history_that_does_not_reach_back_says_so() -> None:
    async with natively(application()) as served, backend(served) as client:
        positions = [(await ask(client, "publish", channel="few:1", type="n", payload=n))["position"] for n in range(4)]
        page = await look(client, "history", channel="few:1", since=positions[0])
        assert (page["recovered"], page["publications"]) == (False, [])
        for elsewhere in ("elsewhere.3", positions[0].partition(".")[0] + ".999999"):
            assert (await look(client, "history", channel="few:1", since=elsewhere))["recovered"] is False
        assert await payloads(client, "few:1") == [2, 3]


async def test_a_page_ends_early_where_publications_are_large() -> None:
    async with natively(application()) as served, backend(served) as client:
        for n in range(4):
            await ask(client, "publish", channel="chat:1", type="n", payload=str(n) * 200_000)
        page = await look(client, "history", channel="chat:1")
        assert (len(page["publications"]), page["more"]) == (1, True)


async def test_presence_comes_by_pages_with_exact_counts() -> None:
    async with natively(application()) as served, backend(served) as client:
        nobody = {"count": 0, "subscriptions": 0, "members": []}
        assert await look(client, "presence", channel="chat:1") == nobody
        async with (
            user(served, "ada", "chat:1", "volatile:1"),
            user(served, "bob", "chat:1"),
            json_client(served.ws) as third,
        ):
            await third.get("$subscribe", channel="chat:1")
            page = await look(client, "presence", channel="chat:1", limit=2)
            assert (page["count"], page["subscriptions"]) == (3, 3)
            assert [(member["user"], member["data"]) for member in page["members"]] == [
                ("ada", {"name": "Ada"}),
                ("bob", {"name": "Bob"}),
            ]
            rest = await look(client, "presence", channel="chat:1", after=page["next"])
            assert [list(member) for member in rest["members"]] == [["connection"]]
            assert "next" not in rest
            assert await look(client, "presence", channel="chat:1", limit=0) == {
                **nobody,
                "count": 3,
                "subscriptions": 3,
            }
            assert await look(client, "presence", channel="volatile:1") == {**nobody, "subscriptions": 1}


async def test_channels_that_somebody_is_in_are_listed_by_pattern_and_page() -> None:
    async with natively(application()) as served, backend(served) as client:
        assert await look(client, "channels") == {"channels": []}
        names = [f"chat:{n}" for n in range(9)]
        async with user(served, "ada", *names, "volatile:x"), user(served, "bob", "chat:3"):
            found: list[Any] = []
            page: Any = {"next": ""}
            while "next" in page:
                page = await look(client, "channels", pattern="chat:*", limit=4, after=page["next"])
                found += page["channels"]
            assert [each["channel"] for each in found] == names
            assert found[3] == {"channel": "chat:3", "subscriptions": 2, "present": 2}
            [one] = (await look(client, "channels", pattern="volatile:x"))["channels"]
            assert one == {"channel": "volatile:x", "subscriptions": 1, "present": 0}
            for nothing in ("volatile", "chat:", "nothing:*", "volatile:x*"):
                assert await look(client, "channels", pattern=nothing) == {"channels": []}
            everything = (await look(client, "channels"))["channels"]
            assert [each["channel"] for each in everything] == [*names, "volatile:x"]


async def test_polls_that_wait_are_neither_counted_nor_listed_and_hear_what_is_published() -> None:
    line = application()
    async with (
        natively(line) as served,
        backend(served) as client,
        web(served) as visitor,
        asyncio.TaskGroup() as tasks,
    ):
        poll = tasks.create_task(visitor.get("/api/messages?channel=chat:1&wait=20"))
        await until(lambda: line.running.doors.waiting)
        nobody = {"count": 0, "subscriptions": 0, "members": []}
        assert await look(client, "presence", channel="chat:1") == nobody
        assert await look(client, "channels") == {"channels": []}
        async with user(served, "ada", "chat:1"):
            [one] = (await look(client, "channels"))["channels"]
            assert one == {"channel": "chat:1", "subscriptions": 1, "present": 1}
        await ask(client, "publish", channel="chat:1", type="n", payload=1)
        assert [message["payload"] for message in (await poll).json()] == [1]


# -- putting in order


async def test_a_user_is_disconnected_for_good_and_told_why() -> None:
    line = application()
    async with (
        natively(line) as served,
        backend(served) as client,
        user(served, "ada") as one,
        user(served, "ada") as two,
        user(served, "bob") as bob,
    ):
        assert await ask(client, "disconnect-user", user="ada", reason="Enough.") == {"connections": 2}
        for ended in (one, two):
            assert await ended.close_code() == 4410
            assert ended.socket.close_reason == "Enough."
        assert await ask(client, "disconnect-user", user="ada") == {"connections": 0}
        connection = bob.connection  # type: ignore[attr-defined]
        assert await ask(client, "disconnect-connection", connection="nobody") == {"connections": 0}
        assert await ask(client, "disconnect-connection", connection=connection) == {"connections": 1}
        assert await bob.close_code() == 4410
        await until(lambda: not line.connections)


async def test_a_long_reason_is_cut_where_a_close_frame_ends() -> None:
    async with natively(application()) as served, backend(served) as client, user(served, "a") as ada:
        await ask(client, "disconnect-user", user="a", reason="é" * 123)
        assert await ada.close_code() == 4410
        assert ada.socket.close_reason == "é" * 61


async def test_a_user_or_a_connection_is_taken_out_of_a_channel() -> None:
    async with (
        natively(application()) as served,
        backend(served) as client,
        user(served, "ada", "chat:1", "chat:2") as ada,
        user(served, "bob", "chat:1") as bob,
    ):
        assert await ask(client, "unsubscribe-user", user="ada", channel="chat:1") == {"connections": 1}
        assert await ask(client, "unsubscribe-user", user="ada", channel="chat:1") == {"connections": 0}
        said = {"type": "$unsubscribed", "channel": "chat:1", "payload": {"reason": "unsubscribed"}}
        assert await ada.push() == said
        connection = bob.connection  # type: ignore[attr-defined]
        taken = await ask(client, "unsubscribe-connection", connection=connection, channel="chat:1")
        assert taken == {"connections": 1}
        assert await bob.push() == said
        assert [each["channel"] for each in (await look(client, "channels"))["channels"]] == ["chat:2"]


# -- troubles


async def test_the_api_moves_with_the_mount() -> None:
    app = FastAPI()
    app.mount("/live", application())
    async with plainly_serving(app) as served, backend(served) as client:
        assert (await client.get(f"/live{API}/channels")).json() == {"channels": []}
        described = (await client.get(f"/live{API}/openapi.json")).json()
        assert described["servers"] == [{"url": f"/live{API}"}]


async def test_an_engine_that_does_not_answer_is_told_as_temporary(monkeypatch: pytest.MonkeyPatch) -> None:
    line = application()
    async with natively(line) as served, backend(served) as client:
        for name in ("read", "publish"):
            monkeypatch.setattr(line.running.hub.broker, name, lambda *_, **__: Outcome.failed(BrokerError("away")))
        for answer in (
            await client.post(f"{API}/publish", json={"channel": "chat:1", "type": "a"}),
            await client.post(f"{API}/broadcast", json={"type": "a"}),
            await client.get(f"{API}/history?channel=chat:1"),
        ):
            assert problem(answer) == (503, "unavailable")
            assert answer.json()["retry"] is True
        told = await ask(client, "publish-many", channels=["chat:1", "chat:2"], type="a")
        for outcome in told["outcomes"]:
            assert (outcome["error"]["code"], outcome["error"]["retry"]) == ("unavailable", True)


async def test_publications_of_many_backends_at_once_are_all_kept_in_the_order_of_their_positions() -> None:
    async with natively(application()) as served, backend(served) as client:
        answers = await asyncio.gather(
            *(ask(client, "publish", channel="chat:1", type="n", payload=n) for n in range(100))
        )
        stamps = {int(answer["position"].partition(".")[2]): n for n, answer in enumerate(answers)}
        assert await payloads(client, "chat:1", limit=1000) == [stamps[stamp] for stamp in sorted(stamps)]
