"""A publication by request: a client like any other, for one request, and once for each key."""

import asyncio
from typing import Any

import httpx
import pytest

from openline import (
    CommandError,
    Connection,
    GoneError,
    HttpSettings,
    Openline,
    Settings,
    User,
)
from tests.clients import bare_socket, json_client
from tests.http_doors.rig import HOSTINGS, Hosting, natively, problem, web
from tests.server import until

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


@hostings
async def test_a_publication_reaches_every_door_and_its_position_is_the_answer(hosting: Hosting) -> None:
    line = application()
    async with hosting(line) as served, web(served) as client, json_client(served.ws) as other:
        await other.get("$subscribe", channel="chat:1")
        said = await client.post(MESSAGES, json={"channel": "chat:1", "type": "said", "payload": {"a": 1}})
        assert said.status_code == 200
        push = await other.push()
        assert push.pop("from").keys() == {"connection"}
        assert push == {"type": "said", "channel": "chat:1", "payload": {"a": 1}, "position": said.json()["position"]}
        polled = await client.get(f"{MESSAGES}?channel=chat:1")
        assert payloads(polled) == [{"a": 1}]
        assert polled.json()[0]["id"] == said.json()["position"]


@pytest.mark.parametrize("in_header", [False, True])
async def test_the_same_key_is_one_publication(in_header: bool) -> None:
    line = application()
    async with natively(line) as served, web(served) as client:
        body = {"channel": "chat:1", "type": "said", "payload": 1}
        headers = {"idempotency-key": '"k-1"'} if in_header else {}
        body |= {} if in_header else {"key": "k-1"}
        positions = {(await client.post(MESSAGES, json=body, headers=headers)).json()["position"] for _ in range(3)}
        assert len(positions) == 1
        other = await client.post(MESSAGES, json={**body, "key": "k-1"}, headers={"idempotency-key": "k-1"})
        assert other.json()["position"] in positions
        refused = await client.post(MESSAGES, json={**body, "key": "k-1"}, headers={"idempotency-key": "k-2"})
        assert problem(refused) == (400, "bad_field")
        assert payloads(await client.get(f"{MESSAGES}?channel=chat:1")) == [1]


async def test_a_handler_decides_and_is_called_once_for_a_key_of_one_user() -> None:
    line = application()
    called: list[Any] = []
    let_go = asyncio.Event()

    @line.authenticate
    def who(token: str | None, request: Any) -> User | None:
        return User(token, {"name": token.title()}) if token else None

    @line.on("said", channel="chat:*")
    async def said(connection: Connection, text: str, channel: str) -> Any:
        assert connection.user is not None
        called.append((connection.user.id, text, channel))
        await let_go.wait()
        if text == "bad":
            raise CommandError("muted", "Not that word.")
        if text == "fail":
            raise ValueError("internals")
        return {"heard": text, "count": len(called)}

    async with natively(line) as served, web(served) as client:

        async def post(user: str, text: Any, key: str | None = None) -> httpx.Response:
            body = {"channel": "chat:1", "type": "said", "payload": text, **({"key": key} if key else {})}
            return await client.post(MESSAGES, json=body, headers={"authorization": f"Bearer {user}"})

        async with asyncio.TaskGroup() as tasks:
            both = [tasks.create_task(post("ada", "hi", "k")) for _ in range(2)]
            await until(lambda: called)
            await asyncio.sleep(0.05)
            let_go.set()
        assert [each.result().json() for each in both] == [{"heard": "hi", "count": 1}] * 2
        assert (await post("ada", "again", "k")).json() == {"heard": "hi", "count": 1}
        assert (await post("bob", "hi", "k")).json() == {"heard": "hi", "count": 2}
        for _ in range(2):
            assert problem(await post("ada", "bad", "k2")) == (400, "muted")
        assert len(called) == 3
        for count in (4, 5):
            assert problem(await post("ada", "fail", "k3")) == (500, "failed")
            assert len(called) == count
        assert problem(await post("ada", {"no": "text"})) == (400, "bad_payload")
        assert (
            payloads(await client.get(f"{MESSAGES}?channel=chat:1", headers={"authorization": "Bearer ada"})) == []
        ), "the handler published nothing"


async def test_a_handler_finds_that_a_visitor_cannot_be_reached() -> None:
    line = application()
    found: list[Any] = []

    @line.on("said", channel="chat:*")
    async def said(connection: Connection) -> None:
        found.append(connection.alive)
        found.append(await connection.emit("hello"))
        await connection.subscribe("chat:2")
        connection.unsubscribe("chat:2")
        connection.disconnect("Go.")
        with pytest.raises(GoneError):
            await connection.ask("what?")

    async with natively(line) as served, web(served) as client:
        said_ = await client.post(MESSAGES, json={"channel": "chat:1", "type": "said"})
        assert (said_.status_code, said_.content) == (200, b"null")
        assert found == [False, None]
        assert line.connections == ()
        assert line.running.hub.membership._channels == {}


@hostings
@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"", (400, "bad_message")),
        (b"not json", (400, "bad_message")),
        (b"[]", (400, "bad_message")),
        (b'[{"type":"a","channel":"chat:1"}]', (400, "bad_message")),
        (b'{"type":"a"}', (400, "bad_field")),
        (b'{"channel":"chat:1"}', (400, "bad_field")),
        (b'{"type":"a","channel":"no channel"}', (400, "bad_channel")),
        (b'{"type":"$subscribe","channel":"chat:1"}', (400, "bad_field")),
        (b'{"type":"a\\nid: 7","channel":"chat:1"}', (400, "bad_field")),
        (b'{"type":"a\\u0000","channel":"chat:1"}', (400, "bad_field")),
        (b'{"type":"a","channel":"chat:1","key":""}', (400, "bad_field")),
        (b'{"type":"a","channel":"chat:1","payload":NaN}', (400, "bad_message")),
        (b'{"type":"a","channel":"chat:1","payload":"\\ud800"}', (400, "bad_message")),
        (b'{"type":"a","channel":"chat:1","payload":' + b"[" * 100 + b"]" * 100 + b"}", (400, "bad_message")),
        (b'{"type":"a","channel":"closed:1"}', (403, "forbidden")),
        (b'{"type":"a","channel":"read:1"}', (403, "forbidden")),
        (b'{"type":"a","channel":"chat:1","payload":"' + b"x" * 65_536 + b'"}', (413, "too_large")),
    ],
)
async def test_a_publication_that_cannot_be_is_refused(hosting: Hosting, body: bytes, expected: Any) -> None:
    async with hosting(application()) as served, web(served) as client:
        headers = {"content-type": "application/json; charset=utf-8"}
        assert problem(await client.post(MESSAGES, content=body, headers=headers)) == expected


async def test_a_body_without_a_length_is_bounded_too() -> None:
    async def chunks() -> Any:
        for _ in range(10):
            yield b" " * 10_000

    async with natively(application()) as served, web(served) as client:
        refused = await client.post(MESSAGES, content=chunks(), headers={"content-type": "application/json"})
        assert problem(refused) == (413, "too_large")


@pytest.mark.parametrize("kind", [None, "text/plain", "application/x-www-form-urlencoded", "multipart/form-data"])
async def test_what_a_form_may_send_is_no_publication(kind: str | None) -> None:
    async with natively(application()) as served, web(served) as client:
        headers = {} if kind is None else {"content-type": kind}
        refused = await client.post(MESSAGES, content=b'{"type":"a","channel":"chat:1"}', headers=headers)
        assert problem(refused) == (415, "bad_content_type")


async def test_a_body_that_does_not_come_is_not_waited_for() -> None:
    line = application(http=HttpSettings(body_within_seconds=0.1))
    async with natively(line) as served, bare_socket(served.port) as socket:
        head = f"POST {MESSAGES} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        socket.send(f"{head}Content-Length: 100\r\n\r\n{{".encode())
        assert await socket.status() == 408
