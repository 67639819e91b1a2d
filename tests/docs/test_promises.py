"""What the pages say of the gate, of proxies and of mounting, held against the programs that they show."""

import asyncio
from collections.abc import Callable

import pytest

from tests.clients import bare_socket, fetch, json_client, upgrade_head
from tests.docs.blocks import Block, Program, blocks
from tests.docs.conftest import Shown

pytestmark = pytest.mark.server

Start = Callable[[Program], Shown]

#: The header lines that bring out what a page quotes.
TOLD = {"origin": ("Origin: https://evil.example", "127.0.0.1"), "host": ("X-Nothing: at all", "chat.example.com")}
NGINX = (
    "X-Forwarded-Proto: https",
    "X-Forwarded-Host: chat.example.com",
    "X-Forwarded-For: 192.0.2.7",
    "Origin: https://chat.example.com",
)


def program(page: str, holding: str) -> Program:
    """The program of a page that holds these words."""
    return next(b.program for b in blocks("python", page=page) if holding in b.program.text)


async def answer(port: int, head: bytes) -> bytes:
    async with bare_socket(port) as socket:
        socket.send(head)
        return await socket.head()


@pytest.mark.parametrize("block", blocks("text"), ids=str)
async def test_a_quoted_refusal_is_the_one_that_is_sent(block: Block, start: Start) -> None:
    line, host = TOLD[block.about]
    shown = start(program("security.md", "def sign"))
    async with bare_socket(shown.port) as socket:
        socket.send(upgrade_head("/openline", line, host=host))
        assert b" 403 " in await socket.head()
        assert (await socket.rest()).decode() == block.text


@pytest.mark.parametrize(("origin", "expected"), [("http://127.0.0.1:8000", "ada"), (None, "unauthorized")])
async def test_a_cookie_counts_for_listed_origins_only(start: Start, origin: str | None, expected: str) -> None:
    shown = start(program("security.md", "by_cookie"))
    headers = {"Cookie": "session=session-of-ada"}
    async with json_client(shown.url.replace("http", "ws"), additional_headers=headers, origin=origin) as client:
        said = await client.ask("whoami")
    assert said.get("payload", said.get("code")) == expected


@pytest.mark.parametrize(("words", "status"), [("trusted_proxies", b" 101 "), ("def sign", b" 403 ")])
async def test_the_headers_of_a_proxy_count_where_it_is_trusted(start: Start, words: str, status: bytes) -> None:
    """The pages of a site behind a proxy that ends TLS, as nginx is told to pass them on."""
    shown = start(program("security.md", words))
    assert status in await answer(shown.port, upgrade_head("/openline", *NGINX, host="127.0.0.1"))


@pytest.mark.parametrize("path", ["/news", "/news-from-a-thread"])
async def test_a_route_of_a_mounted_server_publishes_before_the_first_visitor(start: Start, path: str) -> None:
    shown = start(Program("app.py", program("publishing.md", "FastAPI").text))
    status, _, _ = await fetch(shown.port, f"POST {path}?text=early HTTP/1.1")
    assert status == 200
    async with json_client(shown.url.replace("http", "ws")) as client:
        async with asyncio.timeout(30):
            while not (said := await client.get("$history", channel="news"))["publications"]:
                pass
    assert [p["payload"] for p in said["publications"]] == ["early"]


async def test_a_mounted_server_moves_with_its_path_and_is_healthy(start: Start) -> None:
    shown = start(program("serving.md", "/live"))
    for path in ("healthz", "readyz", "openline.js"):
        status, _, _ = await fetch(shown.port, f"GET /live/{path} HTTP/1.1")
        assert status == 200
    assert b" 101 " in await answer(shown.port, upgrade_head("/live/raw/chat:lobby"))


async def test_a_stranger_is_told_why_and_closed_with_4401(start: Start) -> None:
    shown = start(program("security.md", "def sign"))
    async with json_client(shown.url.replace("http", "ws")) as client:
        said = await client.ask("$connect", token="mallory.00")
        assert (said["code"], said["message"]) == ("unauthorized", "The token is not good.")
        assert await client.close_code() == 4401
