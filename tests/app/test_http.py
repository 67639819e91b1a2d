"""What Openline answers over plain HTTP: health, its own files, and a clear word for everything else."""

import gzip
import json
from itertools import product
from pathlib import Path

import pytest
from tests.clients import bare_socket, fetch
from tests.server import Served, plainly_serving, serving

from openline import Openline, Paths, Settings
from openline.cli.demo import demo_line
from openline.transports.asgi import Receive, Scope, Send


async def get(served: Served, path: str, *lines: str, method: str = "GET") -> tuple[int, dict[str, str], bytes]:
    return await fetch(served.port, "\r\n".join([f"{method} {path} HTTP/1.1", *lines]))


async def test_health_and_readiness_are_open_to_all_and_never_cached() -> None:
    async with serving(Openline()) as served:
        for path in ("/healthz", "/readyz"):
            status, headers, body = await get(served, path)
            assert (status, body, headers["cache-control"]) == (200, b"ok\n", "no-store")


async def test_a_draining_server_is_alive_but_not_ready() -> None:
    line = Openline()
    async with serving(line) as served:
        line.running.drain()
        assert (await get(served, "/readyz"))[0] == 503
        assert (await get(served, "/healthz"))[0] == 200


async def test_the_sdk_is_served_with_every_module_that_it_imports() -> None:
    async with serving(Openline()) as served:
        status, headers, body = await get(served, "/openline.js")
        assert (status, headers["content-type"]) == (200, "text/javascript; charset=utf-8")
        assert headers["x-content-type-options"] == "nosniff"
        for piece in body.decode().split('"'):
            if piece.startswith("./") and piece.endswith(".js"):
                assert (await get(served, piece[1:]))[0] == 200, piece


async def test_a_file_that_the_client_has_already_is_not_sent_again() -> None:
    async with serving(Openline()) as served:
        _, headers, body = await get(served, "/openline.js")
        for given in (headers["etag"], f"W/{headers['etag']}", f'"x", {headers["etag"]}'):
            status, again, rest = await get(served, "/openline.js", f"If-None-Match: {given}")
            assert (status, again["etag"], rest) == (304, headers["etag"], b"")
        status, _, whole = await get(served, "/openline.js", 'If-None-Match: "other"')
        assert (status, whole) == (200, body)


async def test_a_file_is_compressed_for_those_who_can_read_it() -> None:
    async with serving(Openline()) as served:
        _, plain, body = await get(served, "/openline.js")
        status, zipped, packed = await get(served, "/openline.js", "Accept-Encoding: deflate, gzip, br")
        assert (status, zipped["content-encoding"], gzip.decompress(packed)) == (200, "gzip", body)
        assert "content-encoding" not in plain
        assert plain["vary"] == zipped["vary"] == "accept-encoding"
        _, none, _ = await get(served, "/openline.js", "Accept-Encoding: gzip;q=0, identity")
        assert "content-encoding" not in none


async def test_head_is_get_without_the_body() -> None:
    async with serving(Openline()) as served:
        _, got, body = await get(served, "/openline.js")
        status, headers, nothing = await get(served, "/openline.js", method="HEAD")
        assert (status, nothing, headers["content-length"]) == (200, b"", str(len(body)))
        assert headers["etag"] == got["etag"]
        assert (await get(served, "/nothing", method="HEAD"))[0] == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
async def test_other_methods_are_refused(method: str) -> None:
    async with serving(Openline()) as served:
        status, headers, _ = await get(served, "/openline.js", "Content-Length: 0", method=method)
        assert (status, headers["allow"]) == (405, "get, head")


@pytest.mark.parametrize(
    "path",
    [
        "/../pyproject.toml",
        "/openline/../../__init__.py",
        "/openline/..%2f..%2f__init__.py",
        "/%2e%2e/%2e%2e/__init__.py",
        "/openline/%2e%2e/%2e%2e/version.py",
        "/..%5c..%5cversion.py",
        "/openline.js/",
        "/openline.js%00",
        "/openline.js%00.html",
        "//openline.js",
        "/./openline.js",
        "/%2fetc%2fpasswd",
        "//etc/passwd",
        "/demo../demo/index.html",
        "/demo/../openline.js",
        "/DEMO/index.html",
        "/demo",
        "/demo/",
        "/openline",
        "/__init__.py",
        "/openline/types.ts",
        "/\u00e4",
    ],
)
async def test_no_path_leads_to_any_other_file(path: str) -> None:
    for line in (Openline(), demo_line()):
        async with serving(line) as served, bare_socket(served.port) as socket:
            socket.send(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode())
            assert await socket.status() in (400, 404, 426)


async def test_a_door_visited_with_a_browser_says_what_it_is() -> None:
    async with serving(Openline()) as served:
        for path in ("/openline", "/raw/chat:1"):
            status, headers, body = await get(served, path)
            assert (status, headers["upgrade"]) == (426, "websocket")
            assert b"WebSocket" in body


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
async def test_a_door_for_websockets_takes_no_other_method(method: str) -> None:
    async with serving(Openline()) as served:
        status, headers, _ = await get(served, "/raw/chat:1", "Content-Length: 0", method=method)
        assert (status, headers["allow"]) == (405, "get, head")


async def test_our_own_pages_are_guarded_and_those_of_the_user_are_left_alone(tmp_path: Path) -> None:
    page = tmp_path / "index.html"
    page.write_text("<script>alert('mine')</script>")
    line = Openline()
    line.page("/", page)
    async with serving(line) as served:
        status, headers, body = await get(served, "/")
        assert (status, body) == (200, page.read_bytes())
        assert "content-security-policy" not in headers
    async with serving(demo_line()) as served:
        _, headers, _ = await get(served, "/")
        policy = headers["content-security-policy"]
        assert "script-src 'self'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy


async def test_the_policy_of_our_pages_never_reaches_the_routes_of_the_application_around_us() -> None:
    from fastapi import FastAPI

    app = FastAPI()

    @app.get("/mine")
    def mine() -> str:
        return "mine"

    app.mount("/", demo_line())
    async with plainly_serving(app) as served:
        assert "content-security-policy" not in (await get(served, "/mine"))[1]
        assert "content-security-policy" in (await get(served, "/"))[1]


async def test_the_demos_pages_have_no_inline_script_and_load_nothing_from_elsewhere() -> None:
    async with serving(demo_line()) as served:
        body = (await get(served, "/"))[2].decode()
    assert "<script>" not in body
    assert " onclick=" not in body
    assert 'src="http' not in body
    assert 'href="http' not in body.replace('href="https://github', "")


async def test_answers_stay_whole_on_a_connection_that_is_used_again() -> None:
    async with serving(Openline()) as served, bare_socket(served.port) as socket:
        for _ in range(3):
            socket.send(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" * 3)
            for _ in range(3):
                head = await socket.head()
                assert head.startswith(b"HTTP/1.1 200")
                assert await socket.reader.readexactly(3) == b"ok\n"


async def test_a_user_may_put_an_own_page_where_one_of_ours_is(tmp_path: Path) -> None:
    mine = tmp_path / "mine.json"
    mine.write_text(json.dumps({"mine": True}))
    line = Openline()
    line.page("/openline.js", mine)
    async with serving(line) as served:
        assert json.loads((await get(served, "/openline.js"))[2]) == {"mine": True}
        assert (await get(served, "/openline/line.js"))[0] == 200


async def test_a_path_with_an_endpoint_is_its_whatever_the_method_and_a_page_goes_before_it(tmp_path: Path) -> None:
    async def echo(scope: Scope, receive: Receive, send: Send) -> None:
        body = b"%b %b" % (scope["method"].encode(), (await receive())["body"])
        headers = [(b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    mine = tmp_path / "mine.txt"
    mine.write_text("mine")
    line = Openline()
    line.page("/page", mine)
    async with serving(line) as served:
        line.running.endpoints |= {"/echo/": echo, "/page": echo}
        for method in ("GET", "POST", "OPTIONS"):
            assert (await get(served, "/echo/", method=method))[2] == f"{method} ".encode()
        _, _, body = await fetch(served.port, "POST /echo/ HTTP/1.1\r\nContent-Length: 2", b"hi")
        assert body == b"POST hi"
        assert (await get(served, "/page"))[2] == b"mine"
        assert (await get(served, "/page", method="PUT"))[2] == b"PUT "
        assert (await get(served, "/echo"))[0] == 404


async def test_the_demos_lobby_is_what_streams_and_polls_mean_that_name_no_channel() -> None:
    line = demo_line()
    async with serving(line) as served:
        said = b'{"type":"message","payload":"hi"}'
        kind = f"Content-Type: application/json\r\nContent-Length: {len(said)}"
        assert (await fetch(served.port, f"POST /api/messages HTTP/1.1\r\n{kind}", said))[0] == 200
        status, _, body = await get(served, "/api/messages")
        assert (status, [message["channel"] for message in json.loads(body)]) == (200, ["chat:lobby"])
        async with bare_socket(served.port) as socket:
            socket.send(b"GET /events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            assert await socket.status() == 200
            await socket.reader.readuntil(b"id: ")
            line.publish("chat:lobby", "message", "again")
            assert b'"again"' in await socket.reader.readuntil(b"}\n\n")


async def test_programs_are_told_as_a_problem_that_nothing_is_at_a_path_and_people_in_a_line() -> None:
    moved = Settings(paths=Paths(api="/back", messages="/messages"))
    below = ("/api/v1/nothing", "/api/v1/", "/api/v1", "/api/v2/publish", "/api/messages/1", "/api/")
    for line, paths in ((Openline(), below), (Openline(settings=moved), ("/back/nothing", "/messages/1"))):
        async with serving(line) as served:
            for path, method in product(paths, ("GET", "POST", "DELETE")):
                status, headers, body = await get(served, path, method=method)
                assert (status, headers["content-type"]) == (404, "application/problem+json"), path
                assert json.loads(body)["code"] == "not_found"
            for path in ("/apis", "/messages2", "/nothing"):
                status, headers, _ = await get(served, path)
                assert (status, headers["content-type"]) == (404, "text/plain; charset=utf-8")
