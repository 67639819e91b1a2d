"""The hook in front of every session, and the stock client's scripts."""

import asyncio

import pytest
from websockets.exceptions import InvalidStatus

from openline import CommandError, Openline, Request
from openline.app import pages
from tests.clients import fetch, json_client
from tests.server import serving
from tests.socketio_door.hands import application, polled, spoken
from tests.socketio_door.hosts import HOSTS

hosts = pytest.mark.parametrize("host", HOSTS)


def asking() -> tuple[Openline, list[str]]:
    line, asked = application(), list[str]()

    @line.on_handshake
    async def check(request: Request) -> dict[str, str]:
        asked.append(request.query.partition("transport=")[2])
        await asyncio.sleep(0.05)
        if request.headers.get("x-banned"):
            raise CommandError("banned", "Not from there.")
        if request.headers.get("x-broken"):
            raise RuntimeError("a secret")
        return {"X-Served-By": "node 1"}

    return line, asked


@hosts
async def test_a_hook_may_take_its_time_and_set_headers(host: str) -> None:
    line, asked = asking()
    async with HOSTS[host](line) as served:
        async with polled(served) as client:
            answer = await client.get()
            assert (answer.status_code, answer.headers["x-served-by"]) == (200, "node 1")
            client.query["sid"] = answer.text.split('"sid":"')[1].split('"')[0]
            await client.say("40")
            assert "x-served-by" not in (await client.get()).headers
        async with spoken(served) as client:
            assert client.socket.response is not None
            assert client.socket.response.headers["x-served-by"] == "node 1"
            await client.enter()
        async with json_client(served.ws) as other:
            await other.get("$connect")
    assert asked == ["polling", "websocket"]


@hosts
@pytest.mark.parametrize(("header", "told"), [("x-banned", "Not from there."), ("x-broken", "failed")])
async def test_a_hook_that_raises_refuses_the_handshake(host: str, header: str, told: str) -> None:
    line, _ = asking()
    async with HOSTS[host](line) as served, polled(served) as client:
        answer = await client.get(headers={header: "1"})
        assert (answer.status_code, answer.json()["code"]) == (403, 4)
        assert told in answer.json()["message"]
        with pytest.raises(InvalidStatus) as refused:
            async with spoken(served, additional_headers={header: "1"}):
                pass
        assert refused.value.response.status_code == 403
        assert not line.doors.socketio.engine.sessions


@hosts
@pytest.mark.parametrize("more", ["ssid=1", "token=abc.sid=x", "s=sid=", "token=sid%3D1", "SID=1"])
async def test_whatever_else_is_in_the_query_the_hook_is_asked(host: str, more: str) -> None:
    line, asked = asking()
    async with HOSTS[host](line) as served, polled(served) as client:
        url = f"{client.url}?EIO=4&{more}&transport=polling"
        assert (await client.http.get(url, headers={"x-banned": "1"})).json()["code"] == 4
        with pytest.raises(InvalidStatus) as refused:
            async with spoken(served, f"EIO=4&{more}&transport=websocket", additional_headers={"x-banned": "1"}):
                pass
        assert refused.value.response.status_code == 403
    assert asked == ["polling", "websocket"]


async def test_the_stock_client_is_served_with_its_maps_to_pages_of_any_origin() -> None:
    async with serving(application()) as served:
        for name, word in (
            ("socket.io.js", b"io"),
            ("socket.io.min.js", b"io"),
            ("socket.io.esm.min.js", b"export"),
            ("socket.io.js.map", b"sources"),
            ("socket.io.min.js.map", b"sources"),
            ("socket.io.esm.min.js.map", b"sources"),
        ):
            status, headers, body = await fetch(served.port, f"GET /socket.io/{name} HTTP/1.1")
            assert (status, headers["access-control-allow-origin"], word in body) == (200, "*", True)
            kind = "application/json" if name.endswith(".map") else "text/javascript; charset=utf-8"
            assert headers["content-type"] == kind
        assert (await fetch(served.port, "GET /socket.io/version HTTP/1.1"))[0] == 404


async def test_where_the_client_was_not_fetched_a_404_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "client_pages", lambda base: {})
    monkeypatch.setattr("openline.app.served.client_pages", lambda base: {})
    async with serving(application()) as served:
        status, _, body = await fetch(served.port, "GET /socket.io/socket.io.js HTTP/1.1")
        assert (status, b"npm install socket.io-client" in body) == (404, True)
        assert b"npm" not in (await fetch(served.port, "GET /socket.io/other.js HTTP/1.1"))[2]
