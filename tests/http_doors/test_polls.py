"""Polls, short and long, and publications: each one request of its own, with the same positions as everywhere."""

import asyncio
import json
import signal
from pathlib import Path
from typing import Any

import httpx
import pytest

from openline import (
    BrokerError,
    HttpSettings,
    LineSettings,
    Openline,
    Outcome,
    Paths,
    Settings,
)
from openline.hub.reading import ANSWER_BYTES
from tests.clients import bare_socket, json_client
from tests.http_doors.rig import HOSTINGS, PATIENCE, Hosting, natively, problem, web
from tests.programs import CHAT, MOUNTED
from tests.server import openline, until

hostings = pytest.mark.parametrize("hosting", HOSTINGS)
MESSAGES = "/api/messages"


def application(**settings: Any) -> Openline:
    line = Openline(settings=Settings(**settings))
    line.channel("chat:*", history=1000, public=True)
    line.channel("few:*", history=2, public=True)
    line.channel("live:*", public=True, see_history=False)
    line.channel("closed:*", history=10)
    line.channel("read:*", history=10, subscribe=True, see_history=True)
    line.channel("volatile:*", volatile=True, public=True)
    return line


def payloads(response: httpx.Response) -> list[Any]:
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/json"
    return [message["payload"] for message in response.json()]


def position(response: httpx.Response) -> str:
    return response.headers["openline-position"]


@hostings
async def test_a_poll_gets_what_history_holds_and_then_what_is_new(hosting: Hosting) -> None:
    line = application()
    async with hosting(line) as served, web(served) as client:
        first = await client.get(f"{MESSAGES}?channel=chat:1")
        assert payloads(first) == []
        line.publish("chat:1", "n", 0)
        line.publish("chat:1", "n", 1)
        for since in ("", "&since=0"):
            polled = await client.get(f"{MESSAGES}?channel=chat:1{since}")
            assert payloads(polled) == [0, 1]
        polled = await client.get(f"{MESSAGES}?channel=chat:1&since={position(first)}")
        assert payloads(polled) == [0, 1]
        assert polled.json()[-1]["id"] == position(polled)
        line.publish("chat:2", "n", "elsewhere")
        again = await client.get(f"{MESSAGES}?channel=chat:1&since={position(polled)}")
        assert payloads(again) == []
        assert position(again) != position(polled), "it goes on even where nothing came"
        line.publish("chat:1", "n", 2)
        assert payloads(await client.get(f"{MESSAGES}?channel=chat:1&since={position(again)}")) == [2]
        assert payloads(await client.get(f"{MESSAGES}?channel=chat:1&since={polled.json()[0]['id']}")) == [1, 2]


async def test_a_message_says_its_id_type_channel_payload_and_sender() -> None:
    line = application()
    async with natively(line) as served, web(served) as client, json_client(served.ws) as other:
        told = await other.get("$connect")
        said = await other.get("said", channel="chat:1", payload={"a": [1]})
        line.publish("chat:1", "raw", b"\0\xff")
        polled = await client.get(f"{MESSAGES}?channel=chat:1")
        assert polled.json() == [
            {
                "id": said["position"],
                "type": "said",
                "channel": "chat:1",
                "payload": {"a": [1]},
                "from": {"connection": told["connection"]},
            },
            {"id": position(polled), "type": "raw", "channel": "chat:1", "payload": "AP8=", "encoding": "base64"},
        ]


async def test_several_channels_come_in_one_order_and_page_by_page() -> None:
    line = application()
    async with natively(line) as served, web(served) as client:
        since = position(await client.get(f"{MESSAGES}?channel=chat:1"))
        for n in range(20):
            line.publish(f"chat:{n % 3}", "n", n)
        got: list[int] = []
        while len(got) < 20:
            query = "channel=chat:0&channel=chat:1&channel=chat:2&channel=chat:0"
            polled = await client.get(f"{MESSAGES}?{query}&since={since}&limit=3")
            assert 0 < len(payloads(polled)) <= 3
            got += payloads(polled)
            since = position(polled)
        assert got == list(range(20))
        newest = await client.get(f"{MESSAGES}?channel=chat:0&channel=chat:1&limit=2")
        assert payloads(newest) == [18, 19]


async def test_where_history_does_not_reach_back_it_is_gone_and_the_answer_says_how_to_go_on() -> None:
    line = application()
    async with natively(line) as served, web(served) as client:
        since = position(await client.get(f"{MESSAGES}?channel=few:1"))
        for n in range(3):
            line.publish("few:1", "n", n)
        for stale in (since, "elsewhere.3", since.partition(".")[0] + ".999999"):
            for wait in ("", "&wait=5"):
                gone = await client.get(f"{MESSAGES}?channel=few:1&since={stale}{wait}")
                assert problem(gone) == (410, "gap")
                assert gone.json()["position"] == position(gone)
                assert payloads(await client.get(f"{MESSAGES}?channel=few:1&since={position(gone)}")) == []
        assert payloads(await client.get(f"{MESSAGES}?channel=few:1")) == [1, 2]


async def test_who_has_the_list_already_is_told_so_and_where_to_go_on() -> None:
    line = application()
    async with natively(line) as served, web(served) as client:
        line.publish("chat:1", "n", 0)
        polled = await client.get(f"{MESSAGES}?channel=chat:1")
        etag = polled.headers["etag"]
        here = await line.publish("chat:2", "elsewhere")
        again = await client.get(f"{MESSAGES}?channel=chat:1", headers={"if-none-match": f'"x", {etag}'})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", etag)
        assert position(again) == str(here)
        assert "no-store" not in again.headers["cache-control"]
        line.publish("chat:1", "n", 1)
        assert payloads(await client.get(f"{MESSAGES}?channel=chat:1", headers={"if-none-match": etag})) == [0, 1]


@hostings
async def test_a_long_poll_ends_with_the_first_publication_and_a_burst_is_one_answer(hosting: Hosting) -> None:
    line = application()
    async with hosting(line) as served, web(served) as client:
        since = position(await client.get(f"{MESSAGES}?channel=chat:1"))
        for n in range(0, 9, 3):
            async with asyncio.TaskGroup() as tasks:
                polling = tasks.create_task(client.get(f"{MESSAGES}?channel=chat:1&since={since}&wait=20"))
                await until(lambda: line.running.doors.waiting)
                line.publish("chat:2", "n", "elsewhere")
                for m in range(3):
                    line.publish("chat:1", "n", n + m)
            assert payloads(polling.result()) == [n, n + 1, n + 2]
            since = position(polling.result())
        assert line.running.hub.membership._channels == {}


@hostings
async def test_a_long_poll_ends_empty_when_its_time_is_over(hosting: Hosting) -> None:
    line = application()
    async with hosting(line) as served, web(served) as client:
        polled = await client.get(f"{MESSAGES}?channel=chat:1&wait=0.05")
        assert payloads(polled) == []
        line.publish("chat:1", "n", 1)
        assert payloads(await client.get(f"{MESSAGES}?channel=chat:1&since={position(polled)}&wait=20")) == [1]
        assert not line.running.doors.waiting


async def test_a_long_poll_gets_volatile_publications_while_it_waits() -> None:
    line = application()
    async with natively(line) as served, web(served) as client, asyncio.TaskGroup() as tasks:
        polling = tasks.create_task(client.get(f"{MESSAGES}?channel=volatile:1&wait=20"))
        await until(lambda: line.running.doors.waiting)
        line.publish("volatile:1", "n", 1)
        assert (await polling).json() == [{"type": "n", "channel": "volatile:1", "payload": 1}]


async def test_a_client_that_gives_up_waiting_leaves_nothing() -> None:
    line = application()
    async with natively(line) as served:
        async with bare_socket(served.port) as socket:
            socket.send(f"GET {MESSAGES}?channel=chat:1&wait=25 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
            await until(lambda: line.running.doors.waiting)
            assert line.running.hub.membership.get("chat:1") is not None
        await until(lambda: not line.running.doors.waiting)
        assert line.running.hub.membership._channels == {}


@hostings
async def test_polls_that_wait_are_answered_when_the_server_stops(hosting: Hosting) -> None:
    line = application()
    async with hosting(line) as served, web(served) as client, asyncio.TaskGroup() as tasks:
        polling = tasks.create_task(client.get(f"{MESSAGES}?channel=chat:1&wait=20"))
        await until(lambda: line.running.doors.waiting)
        line.running.drain()
        assert payloads(await polling) == []


async def test_polls_that_wait_are_bounded_in_all_and_by_address() -> None:
    for settings in (HttpSettings(max_waiting=2), HttpSettings(max_waiting_per_client=2)):
        line = application(http=settings)
        async with natively(line) as served, web(served) as client, asyncio.TaskGroup() as tasks:
            query = f"{MESSAGES}?channel=chat:1&wait=20"
            polling = [tasks.create_task(client.get(query)) for _ in range(2)]
            await until(lambda: len(line.running.doors.waiting) == 2)  # noqa: B023
            refused = await client.get(query)
            assert problem(refused) == (429, "too_many")
            assert refused.headers["retry-after"] == "1"
            assert payloads(await client.get(f"{MESSAGES}?channel=chat:1")) == []
            line.publish("chat:1", "n", 1)
            assert [payloads(await each) for each in polling] == [[1], [1]]


@hostings
@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", (400, "bad_field")),
        ("channel=", (400, "bad_channel")),
        ("channel=%24all", (400, "bad_channel")),
        ("channel=a%0d%0ab", (400, "bad_channel")),
        ("channel=nobody-knows", (403, "forbidden")),
        ("channel=closed:1", (403, "forbidden")),
        ("channel=chat:1&channel=closed:1", (403, "forbidden")),
        ("channel=live:1", (403, "forbidden")),
        ("channel=chat:1&since=x", (400, "bad_position")),
        ("channel=chat:1&since=", (400, "bad_position")),
        ("channel=chat:1&since=-1", (400, "bad_position")),
        ("channel=chat:1&since=%00", (400, "bad_position")),
        ("channel=chat:1&wait=26", (400, "bad_field")),
        ("channel=chat:1&wait=-1", (400, "bad_field")),
        ("channel=chat:1&wait=nan", (400, "bad_field")),
        ("channel=chat:1&wait=inf", (400, "bad_field")),
        ("channel=chat:1&wait=", (400, "bad_field")),
        ("channel=chat:1&limit=many", (400, "bad_field")),
        ("channel=chat:1&limit=1e9", (400, "bad_field")),
        ("&".join(f"channel=chat:{n}" for n in range(1001)), (429, "too_many")),
    ],
)
async def test_a_poll_that_cannot_be_is_refused(hosting: Hosting, query: str, expected: tuple[int, str]) -> None:
    async with hosting(application()) as served, web(served) as client:
        assert problem(await client.get(f"{MESSAGES}?{query}")) == expected


@hostings
@pytest.mark.parametrize("since", ["", "&since=0", "&since={}", "&since={}&wait=20"])
async def test_an_answer_of_many_channels_is_bounded_in_bytes_and_leads_on(hosting: Hosting, since: str) -> None:
    line = application()
    async with hosting(line) as served, web(served) as client:
        query = MESSAGES + "?" + "&".join(f"channel=chat:{n}" for n in range(40))
        begun = position(await client.get(query))
        for n in range(40):
            line.publish(f"chat:{n}", "n", f"{n:02}" + "x" * 60_000)
        got: list[str] = []
        query += since.format(begun)
        for _ in range(3):
            answer = await client.get(query)
            assert len(answer.content) <= ANSWER_BYTES
            got += [payload[:2] for payload in payloads(answer)]
            query = f"{query.partition('&since')[0]}&since={position(answer)}"
        assert got == [f"{n:02}" for n in (range(40) if "{" in since else range(23, 40))]


async def test_listed_origins_may_publish_and_read_the_position() -> None:
    line = application()
    line.allow(origins=["https://app.example.com"])
    async with natively(line) as served, web(served) as client:
        asked = {
            "origin": "https://app.example.com",
            "access-control-request-method": "POST",
            "access-control-request-headers": "content-type, idempotency-key",
        }
        told = await client.options(MESSAGES, headers=asked)
        assert told.status_code == 204
        assert "POST" in told.headers["access-control-allow-methods"]
        assert {"content-type", "idempotency-key"} <= set(told.headers["access-control-allow-headers"].split(", "))
        polled = await client.get(f"{MESSAGES}?channel=chat:1", headers={"origin": "https://app.example.com"})
        assert "openline-position" in polled.headers["access-control-expose-headers"]
        assert polled.headers["vary"] == "Origin, Authorization"
        refused = await client.post(
            MESSAGES, json={"channel": "chat:1", "type": "a"}, headers={"origin": "https://evil.example"}
        )
        assert problem(refused) == (403, "forbidden")
        assert line.running.hub.broker.position.stamp == 0


async def test_the_token_of_a_poll_is_asked_for_and_may_be_refused() -> None:
    line = application()
    line.authenticate(lambda token, request: "ada" if token == "good" else None)
    async with natively(line) as served, web(served) as client:
        for headers, expected in (({}, 401), ({"authorization": "Bearer bad"}, 401)):
            assert problem(await client.get(f"{MESSAGES}?channel=chat:1", headers=headers)) == (
                expected,
                "unauthorized",
            )
            body = {"channel": "chat:1", "type": "a"}
            assert problem(await client.post(MESSAGES, json=body, headers=headers)) == (401, "unauthorized")
        good = {"authorization": "Bearer good"}
        await client.post(MESSAGES, json={"channel": "chat:1", "type": "a"}, headers=good)
        [message] = (await client.get(f"{MESSAGES}?channel=chat:1", headers=good)).json()
        assert message["from"]["user"] == "ada"


async def test_an_engine_that_does_not_answer_is_told_as_temporary(monkeypatch: pytest.MonkeyPatch) -> None:
    line = application()
    async with natively(line) as served, web(served) as client:
        broker = line.running.hub.broker
        for name in ("read", "publish"):
            monkeypatch.setattr(broker, name, lambda *_, **__: Outcome.failed(BrokerError("away")))
        answers = [
            await client.get(f"{MESSAGES}?channel=chat:1"),
            await client.get(f"{MESSAGES}?channel=chat:1&wait=1"),
            await client.post(MESSAGES, json={"channel": "chat:1", "type": "a"}),
        ]
        for answer in answers:
            assert problem(answer) == (503, "unavailable")
            assert answer.json()["retry"] is True
            assert answer.headers["retry-after"] == "1"


async def test_without_a_channel_the_lobby_is_meant_where_there_is_one() -> None:
    line = application(paths=Paths(lobby="chat:lobby"), line=LineSettings())
    async with natively(line) as served, web(served) as client:
        await client.post(MESSAGES, json={"type": "said", "payload": 1})
        assert payloads(await client.get(MESSAGES)) == [1]
        assert json.loads((await client.get(f"{MESSAGES}?channel=chat:lobby")).content)[0]["payload"] == 1


async def test_head_is_get_without_a_body_and_never_waits() -> None:
    line = application()
    async with natively(line) as served, web(served) as client:
        line.publish("chat:1", "n", 0)
        got = await client.get(f"{MESSAGES}?channel=chat:1")
        head = await client.head(f"{MESSAGES}?channel=chat:1&wait=20&since={position(got)}")
        assert (head.status_code, head.content, position(head)) == (200, b"", position(got))
        head = await client.head(f"{MESSAGES}?channel=chat:1")
        assert head.headers["etag"] == got.headers["etag"]
        assert head.headers["content-length"] == got.headers["content-length"]


@pytest.mark.parametrize("target", ["chat:line", "mounted:app"])
async def test_a_server_that_stops_does_not_wait_for_polls(target: str, tmp_path: Path) -> None:
    (tmp_path / "chat.py").write_text(CHAT)
    (tmp_path / "mounted.py").write_text(MOUNTED)
    process = openline(tmp_path, "serve", target, "--port", "0")
    with process:
        url, _ = process.address()
        async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=PATIENCE) as client:
            async with asyncio.TaskGroup() as tasks:
                polls = [
                    tasks.create_task(client.get(f"{MESSAGES}?channel=chat:1&wait=25")),
                    tasks.create_task(_second_poll(client)),
                ]
                # Whoever is answered here has been waiting since the requests before.
                await client.get(f"{MESSAGES}?channel=chat:1&wait=0.3")
                process.child.send_signal(signal.SIGTERM)
            assert [poll.result().status_code for poll in polls] == [200, 200]
        assert process.wait() == 0


async def _second_poll(client: httpx.AsyncClient) -> httpx.Response:
    first = await client.get("/openline/poll")
    headers = {"openline-line": first.json()[0]["token"]}
    return await client.get("/openline/poll?after=1", headers=headers)
