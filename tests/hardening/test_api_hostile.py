"""Requests to the backend API made to hurt: each has a defined end, tells nothing, and others go on."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from tests.clients import bare_socket
from tests.http_doors.rig import natively, over_asgi, problem, web
from tests.server import Served

from openline import ApiSettings, HttpSettings, Openline, Settings

KEY = "a-key-for-the-backend-api"
API = "/api/v1"
SETTINGS = Settings(api=ApiSettings(keys=(KEY,), max_body_bytes=65_536), http=HttpSettings(body_within_seconds=0.3))
HEAD = f"POST {API}/publish HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
AUTHORIZED = f"{HEAD}Authorization: Bearer {KEY}\r\n"


def application() -> Openline:
    line = Openline(api_keys=[], settings=SETTINGS)
    line.channel("chat:*", history=100, public=True)
    return line


@asynccontextmanager
async def backend(served: Served) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}
    async with web(served, headers=headers) as client:
        yield client


async def post(client: httpx.AsyncClient, body: str | bytes, name: str = "publish", **headers: str) -> httpx.Response:
    return await client.post(f"{API}/{name}", content=body, headers=headers)


async def alive(client: httpx.AsyncClient) -> None:
    said = await post(client, '{"channel": "chat:alive", "type": "a"}')
    assert said.status_code == 200, said.text


BROKEN = [
    b"",
    b" ",
    b"nope",
    b"{",
    b'{"channel": "chat:1", "type": "a"} {}',
    b'{"channel": "chat:1", "type": "a",}',
    b'{"channel": "chat:1", "type": "\xff"}',
    b'{"channel": "chat:1", "type": "a\nb"}',
    b'{"channel": "chat:1", "type": "\\ud800"}',
    b'{"channel": "chat:1", "type": "a", "payload": "\\ud800"}',
    b'{"channel": "chat:1", "type": "a", "payload": NaN}',
    b'{"channel": "chat:1", "type": "a", "payload": 1e999}',
    b'{"channel": "chat:1", "type": "a", "payload": 9007199254740993}',
    b'{"channel": "chat:1", "type": "a", "payload": ' + b"[" * 65 + b"]" * 65 + b"}",
    b"[" * 60_000,
    b'{"channel": "chat:1", "type": "a", "payload": ' + b"[" * 60_000,
    b"{'channel': 'chat:1'}",
    '{"channel": "chat:1", "type": "a"}'.encode("utf-16"),
    b"[]",
    b"null",
    b'"publish"',
]


@pytest.mark.parametrize("body", BROKEN, ids=lambda body: repr(body[:40]))
async def test_what_is_no_json_object_within_the_limits_is_a_bad_message(
    body: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async with natively(application()) as served, backend(served) as client:
        assert problem(await post(client, body)) == (400, "bad_message")
        await alive(client)
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


@pytest.mark.parametrize(
    ("said", "code", "field"),
    [
        ({"type": "a"}, "bad_field", "channel"),
        ({"channel": "chat:1"}, "bad_field", "type"),
        ({"channel": "chat:1", "type": "a", "chanel": "x"}, "bad_field", "chanel"),
        ({"channel": "chat:1", "type": "a", "a\r\nSet-Cookie: b": "x"}, "bad_field", "a\r\nSet-Cookie: b"),
        ({"channel": "chat:1", "type": "a", "x" * 5000: 1}, "bad_field", "x" * 64),
        ({"channel": "chat 1", "type": "a"}, "bad_channel", "channel"),
        ({"channel": "chat:1\n", "type": "a"}, "bad_channel", "channel"),
        ({"channel": "$user:ada", "type": "a"}, "bad_channel", "channel"),
        ({"channel": "x" * 129, "type": "a"}, "bad_channel", "channel"),
        ({"channel": None, "type": "a"}, "bad_channel", "channel"),
        ({"channel": ["chat:1"], "type": "a"}, "bad_channel", "channel"),
        ({"channel": "chat:1", "type": "$gap"}, "bad_field", "type"),
        ({"channel": "chat:1", "type": "a\0"}, "bad_field", "type"),
        ({"channel": "chat:1", "type": "x" * 129}, "bad_field", "type"),
        ({"channel": "chat:1", "type": "a", "encoding": "hex"}, "bad_field", "encoding"),
        ({"channel": "chat:1", "type": "a", "encoding": "base64", "payload": "?"}, "bad_field", "payload"),
        ({"channel": "chat:1", "type": "a", "encoding": "base64", "payload": {}}, "bad_field", "payload"),
        ({"channel": "chat:1", "type": "a", "key": "x" * 65}, "bad_field", "key"),
        ({"channel": "chat:1", "type": "a", "key": ""}, "bad_field", "key"),
        ({"channel": "chat:1", "type": "a", "key": "a\nb"}, "bad_field", "key"),
        ({"channel": "chat:1", "type": "a", "exclude": "ada"}, "bad_field", "exclude"),
        ({"channel": "chat:1", "type": "a", "exclude": [""]}, "bad_field", "exclude[0]"),
        ({"channel": "chat:1", "type": "a", "exclude": ["x"] * 1001}, "bad_field", "exclude"),
        ({"channel": "chat:1", "type": "a", "volatile": "yes"}, "bad_field", "volatile"),
        ({"channel": "chat:1", "type": "a", "sender": "ada"}, "bad_field", "sender"),
    ],
    ids=repr,
)
async def test_what_does_not_fit_is_refused_by_its_name(said: dict[str, Any], code: str, field: str) -> None:
    async with natively(application()) as served, backend(served) as client:
        answer = await post(client, json.dumps(said))
        assert problem(answer) == (400, code)
        assert answer.json()["field"] == field
        assert len(answer.content) < 1000


async def test_a_key_in_the_header_and_another_one_in_the_body_is_a_mistake() -> None:
    async with natively(application()) as served, backend(served) as client:
        body = '{"channel": "chat:1", "type": "a", "key": "one"}'
        assert (await client.post(f"{API}/publish", content=body, headers={"idempotency-key": "one"})).is_success
        answer = await client.post(f"{API}/publish", content=body, headers={"idempotency-key": "two"})
        assert problem(answer) == (400, "bad_field")
        assert answer.json()["field"] == "key"


@pytest.mark.parametrize(
    ("query", "code", "field"),
    [
        ("", "bad_field", "channel"),
        ("channel=", "bad_channel", "channel"),
        ("channel=chat%201", "bad_channel", "channel"),
        ("channel=chat:1%0A", "bad_channel", "channel"),
        ("channel=%24all", "bad_channel", "channel"),
        ("channel=chat:1&channel=chat:2", "bad_field", "channel"),
        ("channel=chat:1&limt=3", "bad_field", "limt"),
        ("channel=chat:1&limit=0", "bad_field", "limit"),
        ("channel=chat:1&limit=1001", "bad_field", "limit"),
        ("channel=chat:1&limit=" + "9" * 5000, "bad_field", "limit"),
        ("channel=chat:1&limit=%C2%B2", "bad_field", "limit"),
        ("channel=chat:1&since=0", "bad_position", "since"),
        ("channel=chat:1&since=a.1%0A", "bad_position", "since"),
        ("channel=chat:1&before=a.-1", "bad_position", "before"),
        ("channel=chat:1&before=a.99999999999999999", "bad_position", "before"),
        ("channel=chat:1&%FF=1", "bad_field", "\ufffd"),
    ],
)
async def test_a_query_that_does_not_fit_is_refused_by_its_name(query: str, code: str, field: str) -> None:
    async with natively(application()) as served, backend(served) as client:
        answer = await client.get(f"{API}/history?{query}")
        assert problem(answer) == (400, code)
        assert answer.json()["field"] == field
        assert len(answer.content) < 1000


@pytest.mark.parametrize("pattern", ["", "**", "a*b", "$*", "a b*", "*%0A", "x" * 129 + "*"])
async def test_a_pattern_that_is_none_is_refused(pattern: str) -> None:
    async with natively(application()) as served, backend(served) as client:
        assert problem(await client.get(f"{API}/channels?pattern={pattern}")) == (400, "bad_channel")


@pytest.mark.parametrize("kind", ["", "text/plain", "application/x-www-form-urlencoded", "application/jsonp"])
async def test_what_a_form_could_send_is_refused(kind: str) -> None:
    async with natively(application()) as served, backend(served) as client:
        answer = await client.post(
            f"{API}/publish", content='{"channel": "chat:1", "type": "a"}', headers={"content-type": kind}
        )
        assert problem(answer) == (415, "bad_content_type")
        assert "application/json" in answer.json()["detail"]


async def test_too_much_is_refused_whether_it_is_announced_or_not() -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(200):
            yield b" " * 1024

    async with over_asgi(application()) as served, backend(served) as client:
        assert problem(await post(client, b" " * 65_537)) == (413, "too_large")
        answer = await client.post(f"{API}/publish", content=endless())
        assert problem(answer) == (413, "too_large")
        await alive(client)


async def test_a_payload_beyond_what_every_client_can_take_is_too_large() -> None:
    line = Openline(api_keys=[KEY])
    async with natively(line) as served, backend(served) as client:
        for length, status in ((262_142, 200), (262_143, 413)):
            said = {"channel": "chat:1", "type": "a", "payload": "x" * length}
            answer = await post(client, json.dumps(said))
            assert answer.status_code == status
        assert problem(answer) == (413, "too_large")
        assert answer.json()["field"] == "payload"


async def test_a_body_that_trickles_is_cut_off_in_time_however_lively_it_is() -> None:
    async with natively(application()) as served, bare_socket(served.port) as socket, asyncio.TaskGroup() as tasks:

        async def drip() -> None:
            while not socket.reader.at_eof():
                socket.send(b" ")
                await asyncio.sleep(0.01)

        socket.send(f"{AUTHORIZED}Content-Length: 5000\r\n\r\n".encode())
        dripping = tasks.create_task(drip())
        assert b" 408 " in await socket.head()
        dripping.cancel()
        async with backend(served) as client:
            await alive(client)


async def test_nothing_is_read_of_who_has_no_key() -> None:
    async with natively(application()) as served, bare_socket(served.port) as socket:
        socket.send(f"{HEAD}Content-Length: 50000\r\n\r\n".encode())
        # The body never comes, and the answer does not wait for it.
        assert await socket.status() == 401


async def test_a_client_that_goes_in_the_middle_of_its_body_leaves_nothing() -> None:
    line = application()
    async with natively(line) as served:
        async with bare_socket(served.port) as socket:
            socket.send(f"{AUTHORIZED}Content-Length: 5000\r\n\r\n{{".encode())
            await asyncio.sleep(0)
        await served.until(lambda: not served.connections)
        async with backend(served) as client:
            await alive(client)


async def test_many_wrong_keys_at_once_do_not_keep_a_good_one_out() -> None:
    async with natively(application()) as served, backend(served) as client, web(served) as stranger:
        guesses = (stranger.get(f"{API}/channels", headers={"authorization": f"Bearer guess-{n}"}) for n in range(300))
        answers, _ = await asyncio.gather(asyncio.gather(*guesses), alive(client))
        assert {answer.status_code for answer in answers} == {401}


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "GET"])
async def test_another_method_is_told_the_right_one(method: str) -> None:
    async with natively(application()) as served, backend(served) as client:
        answer = await client.request(method, f"{API}/publish")
        assert problem(answer) == (405, "bad_method")
        assert "POST" in answer.headers["allow"]


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_path_that_is_none_is_not_found_whatever_the_method(method: str) -> None:
    async with natively(application()) as served, backend(served) as client:
        for path in (f"{API}/publsh", API, f"{API}/", f"{API}/publish/", f"{API}/publish%00"):
            assert (await client.request(method, path)).status_code == 404


async def test_a_page_of_another_origin_learns_nothing_even_with_a_key() -> None:
    async with natively(application()) as served, backend(served) as client:
        answer = await client.get(f"{API}/channels", headers={"origin": "https://evil.example"})
        assert problem(answer) == (403, "forbidden")


async def test_a_key_never_stands_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with natively(application()) as served, backend(served) as client:
        await alive(client)
        await client.get(f"{API}/channels", headers={"authorization": "Bearer a-guess-of-somebody"})
    said = [record.getMessage() for record in caplog.records if record.name.startswith("openline")]
    assert not any(KEY in text or "a-guess-of-somebody" in text for text in said)
