"""Which pages may connect, on every door and every way a server takes: exact origins, refused before the upgrade."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import pytest
from tests.clients import bare_socket, json_client, opened, upgrade_head
from tests.server import Served, plainly_serving, serving
from websockets.exceptions import InvalidStatus

from openline import Connection, Openline, Request, SettingsError

LISTED = "https://app.example.com"
#: Each is written as it stands in the header; PORT is the server's own.
HOSTILE = [
    "null",
    "NULL",
    "*",
    "evil",
    "file://",
    "data:",
    "about:blank",
    "http://",
    "https://",
    "//127.0.0.1:PORT",
    "127.0.0.1:PORT",
    "http:127.0.0.1:PORT",
    "http:/127.0.0.1:PORT",
    "http:///127.0.0.1:PORT",
    "https://evil.example",
    "http://evil.example",
    "http://evil.example:PORT",
    "https://app.example.com.evil.example",
    "https://app.example.com.evil",
    "https://evilapp.example.com",
    "https://evil-app.example.com",
    "https://evil.app.example.com",
    "https://app.example.co",
    "https://app.example.comm",
    "https://app.example",
    "https://example.com",
    "https://com",
    "https://app-example.com",
    "https://appxexample.com",
    "https://app.example.com.",
    "https://app.example.com:443",
    "https://app.example.com:80",
    "https://app.example.com:8443",
    "https://app.example.com:",
    "https://app.example.com/",
    "https://app.example.com/page",
    "https://app.example.com?",
    "https://app.example.com#",
    "https://app.example.com%2eevil.example",
    "https://app.example.com%00.evil.example",
    "https://app.example.com@evil.example",
    "https://user@app.example.com",
    "https://user:secret@app.example.com",
    "https://evil.example/https://app.example.com",
    "https://evil.example#https://app.example.com",
    "https://evil.example?https://app.example.com",
    "https://evil.example,https://app.example.com",
    "https://app.example.com,https://evil.example",
    "https://app.example.com;",
    "https://app.example.com\\evil.example",
    "http://app.example.com",
    "ws://app.example.com",
    "wss://app.example.com",
    "ftp://app.example.com",
    "chrome-extension://app.example.com",
    "HTTPS://app.example.com",
    "https://APP.example.com",
    "https://App.Example.Com",
    "https://xn--pp-eka.example.com",
    "https://app.example.com:PORT",
    "https://127.0.0.1:PORT",
    "http://127.0.0.1",
    "http://127.0.0.1:1",
    "http://127.0.0.1:PORT.",
    "http://127.0.0.1:PORT0",
    "http://127.0.0.1:PORT/",
    "http://127.0.0.1.:PORT",
    "http://127.0.0.2:PORT",
    "http://127.1:PORT",
    "http://2130706433:PORT",
    "http://0x7f000001:PORT",
    "http://0177.0.0.1:PORT",
    "http://[::1]:PORT",
    "http://[::ffff:127.0.0.1]:PORT",
    "http://localhost:PORT",
    "http://localhost",
    "http://LOCALHOST:PORT",
    "http://localhost.evil.example:PORT",
    "http://0.0.0.0:PORT",
    "HTTP://127.0.0.1:PORT",
    "ws://127.0.0.1:PORT",
]
#: What no browser writes: malformed before it is foreign.
MALFORMED = [
    "",
    " ",
    "https://app.example.com https://evil.example",
    "https://evil.example https://app.example.com",
    "https://app.example.com\tx",
    "https://äpp.example.com",
    "https://app.example.com\x7f",
    "null null",
]
DOORS = ["/openline", "/raw/chat:lobby"]

Hosting = Callable[..., AbstractAsyncContextManager[Served]]
hostings = pytest.mark.parametrize("hosting", [serving, plainly_serving])


def application(**options: object) -> Openline:
    line = Openline(**options)  # type: ignore[arg-type]
    line.channel("chat:*", public=True)
    return line


async def answer(served: Served, path: str, *lines: str, host: str | None = None) -> tuple[int, str]:
    async with bare_socket(served.port) as socket:
        socket.send(upgrade_head(path, *lines, host=host or f"127.0.0.1:{served.port}"))
        head = (await socket.head()).decode("latin-1")
        status = int(head.split(" ")[1])
        return status, "" if status == 101 else (await socket.rest()).decode()


def test_the_table_of_hostile_origins_is_long_enough() -> None:
    assert len(set(HOSTILE)) >= 60


@hostings
@pytest.mark.parametrize("path", DOORS)
async def test_a_page_of_a_foreign_origin_gets_403_before_the_upgrade_and_is_told_the_remedy(
    hosting: Hosting, path: str
) -> None:
    async with hosting(application(allow_origins=[LISTED])) as served:
        for origin in [origin.replace("PORT", str(served.port)) for origin in HOSTILE]:
            status, text = await answer(served, path, f"Origin: {origin}")
            assert (origin, status) == (origin, 403)
            assert "serve it over HTTP" in text if origin == "null" else f"--allow-origin {origin}" in text
        assert not [c for c in served.connections if hasattr(c, "wire")]


@hostings
async def test_an_origin_that_no_browser_writes_is_refused(hosting: Hosting) -> None:
    async with hosting(application(allow_origins=[LISTED])) as served:
        for origin in MALFORMED:
            status, _ = await answer(served, "/openline", f"Origin: {origin}")
            assert (origin, status) in [(origin, 400), (origin, 403)]


@hostings
async def test_two_origins_are_refused_in_either_order(hosting: Hosting) -> None:
    async with hosting(application(allow_origins=[LISTED])) as served:
        own = f"http://127.0.0.1:{served.port}"
        for first, second in [(own, "https://evil.example"), ("https://evil.example", own), (own, own), (LISTED, own)]:
            status, _ = await answer(served, "/openline", f"Origin: {first}", f"origin: {second}")
            assert status == 400


@hostings
async def test_pages_of_our_own_and_of_listed_origins_and_programs_without_one_come_in(hosting: Hosting) -> None:
    async with hosting(application(allow_origins=[LISTED])) as served:
        for origin in (f"http://127.0.0.1:{served.port}", LISTED, None):
            async with json_client(served.ws, origin=origin) as client:
                assert (await client.ask("$ping"))["type"] == "$pong"


async def test_our_own_origin_is_the_one_of_the_name_that_was_asked_for() -> None:
    async with serving(application()) as served:
        port = served.port
        for host, origin, status in [
            (f"localhost:{port}", f"http://localhost:{port}", 101),
            (f"LOCALHOST:{port}", f"http://localhost:{port}", 101),
            (f"chat.localhost:{port}", f"http://chat.localhost:{port}", 101),
            (f"[::1]:{port}", f"http://[::1]:{port}", 101),
            ("localhost:80", "http://localhost", 101),
            ("localhost", "http://localhost", 101),
            ("localhost:443", "http://localhost", 403),
            (f"localhost:{port}", f"http://127.0.0.1:{port}", 403),
        ]:
            assert (host, (await answer(served, "/openline", f"Origin: {origin}", host=host))[0]) == (host, status)


async def test_any_origin_may_be_let_in_but_those_without_a_name() -> None:
    async with serving(application(allow_origins=["*"])) as served:
        assert (await answer(served, "/openline", "Origin: https://anybody.example"))[0] == 101
        assert (await answer(served, "/openline", "Origin: null"))[0] == 403


@hostings
async def test_cookies_reach_the_application_from_listed_origins_only(hosting: Hosting) -> None:
    seen: list[tuple[str | None, str | None]] = []
    line = application(allow_origins=[LISTED])

    @line.authenticate
    def who(token: str | None, request: Request) -> str | None:
        seen.append((request.origin, request.headers.get("cookie")))
        return "ada"

    async with hosting(line) as served:
        own = f"http://127.0.0.1:{served.port}"
        for origin in (None, own, LISTED):
            async with json_client(served.ws, origin=origin, additional_headers={"Cookie": "session=1"}) as client:
                await client.ask("$connect")
    assert seen == [(None, None), (own, None), (LISTED, "session=1")]


async def test_cookies_stay_hidden_where_any_origin_is_let_in() -> None:
    seen: list[str | None] = []
    line = application(allow_origins=["*"])

    @line.authenticate
    def who(token: str | None, request: Request) -> str | None:
        seen.append(request.headers.get("cookie"))
        return "ada"

    async with (
        serving(line) as served,
        json_client(served.ws, origin=LISTED, additional_headers={"Cookie": "session=1"}) as client,
    ):
        await client.ask("$connect")
    assert seen == [None]


# -- settings


@pytest.mark.parametrize(
    "origin",
    [
        "app.example.com",
        "https://App.example.com",
        "https://app.example.com/",
        "https://app.example.com/x",
        "https://app.example.com:443",
        "http://app.example.com:80",
        "https://user@app.example.com",
        "https://*.example.com",
        "wss://app.example.com",
        "null",
        "",
    ],
)
def test_an_origin_that_no_browser_would_send_cannot_be_listed(origin: str) -> None:
    with pytest.raises(SettingsError, match="allow_origins"):
        Openline(allow_origins=[origin])


@pytest.mark.parametrize("origin", ["https://app.example.com:8443", "http://localhost:3000", "http://[::1]:3000"])
def test_an_origin_as_browsers_send_it_can_be_listed(origin: str) -> None:
    assert Openline(allow_origins=[origin]).settings.gate.allow_origins == (origin,)


@pytest.mark.parametrize("host", ["https://app.example.com", "app.example.com:8000", "app.example.com/x", "*", ""])
def test_a_host_is_listed_by_its_bare_name(host: str) -> None:
    with pytest.raises(SettingsError, match="allow_hosts"):
        Openline(allow_hosts=[host])


def test_a_proxy_that_is_no_address_cannot_be_trusted() -> None:
    with pytest.raises(SettingsError, match="trusted_proxies"):
        Openline(trusted_proxies=["proxy.example.com"])


async def test_the_refusal_is_what_a_websocket_library_reports() -> None:
    async with serving(application()) as served:
        with pytest.raises(InvalidStatus) as refused:
            async with opened(f"{served.ws}/openline", origin="https://evil.example"):
                pass
    response = refused.value.response
    assert response.status_code == 403
    assert response.headers["content-type"] == "text/plain; charset=utf-8"
    assert b"--allow-origin https://evil.example" in response.body


async def test_a_connection_is_made_of_nobody_who_was_refused() -> None:
    met: list[Connection] = []
    line = application()
    line.on_connect(met.append)
    async with serving(line) as served:
        await answer(served, "/openline", "Origin: https://evil.example")
        assert line.connections == ()
        assert met == []
