"""Polling: what is in an answer, how much, and who may ask."""

import asyncio
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from openline import Connection, Openline, Outcome, Settings, SettingsError, SocketIoSettings
from tests.clients import fetch, json_client
from tests.server import plainly_serving, serving, until
from tests.socketio_door.hands import Polled, application, polled, spoken
from tests.socketio_door.hosts import HOSTS

hosts = pytest.mark.parametrize("host", HOSTS)


@hosts
async def test_an_answer_holds_16_packets_at_most_and_the_rest_comes_next(host: str) -> None:
    line = application()

    @line.on("many")
    def many(connection: Connection) -> None:
        for n in range(40):
            connection.emit("n", bytes([n]) if n == 15 else n)

    async with HOSTS[host](line) as served, polled(served) as client:
        await client.enter()
        await client.say('42["many"]')
        answers = [(await client.get()).text.split("\x1e") for _ in range(3)]
        assert [len(answer) for answer in answers] == [16, 16, 9]
        packets = [packet for answer in answers for packet in answer]
        # The 16th event is two packets, which two answers share.
        assert packets[15:17] == ['451-["n",{"_placeholder":true,"num":0}]', "bDw=="]
        assert packets[17:] == [f'42["n",{n}]' for n in range(16, 40)]


async def test_any_number_of_packets_is_taken() -> None:
    line = application()
    heard: list[int] = []
    line.on("n")(lambda connection, n: heard.append(n))
    async with serving(line) as served, polled(served) as client:
        await client.enter()
        await client.say(*(f'42["n",{n}]' for n in range(2000)))
        await until(lambda: len(heard) == 2000)
        assert heard == list(range(2000))


@hosts
async def test_a_post_beyond_the_limit_is_answered_with_413_and_nothing_else(host: str) -> None:
    async with HOSTS[host](application(max_payload_bytes=2000)) as served, polled(served) as client:
        assert (await client.open())["maxPayload"] == 2000
        for body in ("4" * 2001, "4" * 100_000):
            answer = await client.post(body)
            assert (answer.status_code, answer.content) == (413, b"")

        async def chunks() -> Any:
            for _ in range(30):
                yield b"4" * 100

        answer = await client.http.post(client.url, params=client.query, content=chunks())
        assert (answer.status_code, answer.content) == (413, b"")
        # It did no harm.
        await client.say("40")
        assert (await client.hear()).startswith("40")


async def test_a_message_beyond_the_limit_closes_the_websocket_with_1009() -> None:
    async with serving(application(max_payload_bytes=2000)) as served, spoken(served) as client:
        await client.enter()
        await client.say("42" + "x" * 2000)
        assert await client.ended(0.25) == 1009


@pytest.mark.parametrize("body", [b"\xff", b"4\xed\xa0\x80", b"b*", b""])
async def test_what_is_no_payload_closes_the_session(body: bytes) -> None:
    async with serving(application()) as served, polled(served) as client:
        await client.enter()
        answer = await client.post(body)
        assert (answer.status_code, answer.json()["code"]) == (400, 3)
        assert (await client.get()).json() == {"code": 1, "message": "Session ID unknown"}
        assert (await client.post("4")).json()["code"] == 1


async def test_two_posts_at_once_close_the_session() -> None:
    line = application()
    async with serving(line) as served, polled(served) as client:
        await client.enter()
        begun = asyncio.Event()

        async def slow() -> Any:
            yield b'42["x"'
            begun.set()
            await asyncio.sleep(0.2)
            yield b"]"

        first = asyncio.ensure_future(  # noqa: TID251  a test's own
            client.http.post(client.url, params=client.query, content=slow())
        )
        await begun.wait()
        await asyncio.sleep(0.05)
        assert (await client.post("4x")).status_code == 400
        assert (await first).status_code == 400


async def test_nothing_else_than_get_and_post_is_answered() -> None:
    async with serving(application()) as served, polled(served) as client:
        await client.open()
        answer = await client.http.put(client.url, params=client.query)
        assert (answer.status_code, answer.json()["code"]) == (400, 3)


async def test_jsonp_and_raw_bytes_are_refused() -> None:
    async with serving(application()) as served, polled(served) as client:
        await client.open()
        answer = await client.http.get(client.url, params={**client.query, "j": "0"})
        assert answer.json()["code"] == 0
        answer = await client.post(b"\x00", headers={"content-type": "application/octet-stream"})
        assert answer.json()["code"] == 3


async def test_only_the_transports_of_the_settings_are_served() -> None:
    async with serving(application(transports=("polling",))) as served, polled(served) as client:
        assert (await client.open())["upgrades"] == []
        with pytest.raises(InvalidStatus):
            async with spoken(served):
                pass
    async with serving(application(transports=("websocket",))) as served, polled(served) as client:
        assert (await client.get()).json() == {"code": 0, "message": "Transport unknown"}
        async with spoken(served) as line:
            await line.enter()


async def test_the_path_is_a_setting() -> None:
    line = Openline(settings=Settings(socketio=SocketIoSettings(path="/live/io")))
    async with serving(line) as served:
        for path, status in (("/live/io/", 200), ("/live/io", 200), ("/socket.io/", 404), ("/live/io/x", 404)):
            found = await fetch(served.port, f"GET {path}?EIO=4&transport=polling HTTP/1.1")
            assert found[0] == status, path
    line = Openline(settings=Settings(socketio=SocketIoSettings(path=None)))
    async with serving(line) as served:
        assert (await fetch(served.port, "GET /socket.io/?EIO=4&transport=polling HTTP/1.1"))[0] == 404


@pytest.mark.parametrize(
    "settings",
    [
        {"path": "socket.io"},
        {"path": "/"},
        {"path": "/x/"},
        {"transports": ()},
        {"transports": ("webtransport",)},
        {"ping_interval_seconds": 0},
        {"max_payload_bytes": 10},
        {"cookie": "a b"},
    ],
)
def test_settings_that_cannot_work_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(SettingsError):
        SocketIoSettings(**settings)


async def test_a_cookie_is_set_only_where_the_settings_name_one() -> None:
    async with serving(application()) as served, polled(served) as client:
        assert "set-cookie" not in (await client.get()).headers
    async with serving(application(cookie="io")) as served, polled(served) as client:
        answer = await client.get()
        sid = answer.text.split('"sid":"')[1].split('"')[0]
        assert answer.headers["set-cookie"] == f"io={sid}; Path=/; HttpOnly; SameSite=Lax"
        client.query["sid"] = sid
        await client.say("40")
        assert "set-cookie" not in (await client.get()).headers


# -- pages of other sites


async def origins(client: Polled, origin: str, method: str = "GET") -> httpx.Response:
    headers = {"origin": origin, "access-control-request-headers": "x-mine"}
    return await client.http.request(method, client.url, params=client.query, headers=headers)


async def test_a_page_of_a_listed_origin_may_read_the_answers_with_its_cookies() -> None:
    line = application()
    line.allow(origins=["https://app.example.com"])
    async with serving(line) as served, polled(served) as client:
        answer = await origins(client, "https://app.example.com")
        assert answer.status_code == 200
        assert answer.headers["access-control-allow-origin"] == "https://app.example.com"
        assert answer.headers["access-control-allow-credentials"] == "true"
        assert answer.headers["vary"] == "Origin"
        asked = await origins(client, "https://app.example.com", "OPTIONS")
        assert asked.status_code == 204
        assert asked.headers["access-control-allow-methods"] == "GET, POST"
        assert asked.headers["access-control-allow-headers"] == "x-mine"
        # RFC 9110 §8.6: what has no content says no length, and nothing of chunks either.
        assert not {"content-length", "transfer-encoding", "content-type"} & set(asked.headers)
        client.query["transport"] = "nonsense"
        refused = await origins(client, "https://app.example.com")
        assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (400, "https://app.example.com")


@pytest.mark.parametrize(
    "origin", ["https://evil.example.com", "null", "https://app.example.com.evil", "http://127.0.0.1:1"]
)
async def test_pages_of_other_origins_are_refused_whatever_the_transport(origin: str) -> None:
    line = application()
    line.allow(origins=["https://app.example.com"])
    async with serving(line) as served, polled(served) as client:
        for method in ("GET", "POST", "OPTIONS"):
            answer = await origins(client, origin, method)
            assert answer.status_code == 403
            assert "access-control-allow-origin" not in answer.headers
        assert not line.doors.socketio.engine.sessions
        with pytest.raises(InvalidStatus) as refused:
            async with spoken(served, origin=origin):
                pass
        assert refused.value.response.status_code == 403


async def test_with_every_origin_let_in_no_credentials_are_asked_for() -> None:
    line = application()
    line.allow(origins=["*"])
    async with serving(line) as served, polled(served) as client:
        answer = await origins(client, "https://any.example.com")
        assert answer.headers["access-control-allow-origin"] == "https://any.example.com"
        assert "access-control-allow-credentials" not in answer.headers


async def test_a_page_of_our_own_needs_nothing() -> None:
    async with serving(application()) as served, polled(served) as client:
        answer = await origins(client, served.http)
        assert (answer.status_code, "access-control-allow-origin" in answer.headers) == (200, False)


# -- hosting


@pytest.mark.parametrize("prefix", ["", "/live"])
@pytest.mark.parametrize("hosting", [serving, plainly_serving])
async def test_a_line_that_is_mounted_in_fastapi_serves_below_its_mount(prefix: str, hosting: Any) -> None:
    app = FastAPI()
    line = application()
    line.on("echo")(lambda connection, value: value)
    app.mount(prefix or "/", line)
    async with hosting(app) as served, polled(served) as client:
        client.url = f"{served.http}{prefix}/socket.io/"
        await client.enter()
        await client.say('421["echo",1]')
        assert await client.hear() == "431[1]"
        url = f"{served.ws}{prefix}/socket.io/?EIO=4&transport=websocket&sid={client.sid}"
        async with connect(url, compression=None, proxy=None) as socket:
            for message in ("2probe", "5", '422["echo",2]'):
                await socket.send(message)
            assert [await socket.recv(), await socket.recv()] == ["3probe", "432[2]"]


# -- load


async def test_a_body_that_does_not_end_is_given_up() -> None:
    line = application(ping_interval_seconds=0.2, ping_timeout_seconds=0.2)
    async with serving(line) as served, polled(served) as client:
        await client.enter()

        async def slowly() -> Any:
            for _ in range(20):
                yield b"4"
                await asyncio.sleep(0.1)

        answer = await client.http.post(client.url, params=client.query, content=slowly())
        assert answer.status_code == 408
        assert not line.doors.socketio.engine.sessions


async def test_who_sends_faster_than_handlers_run_is_kept_waiting_for_the_ok() -> None:
    line, gate = application(), Outcome[None]()
    done: list[int] = []

    @line.on("work")
    async def work(connection: Connection, n: int, ballast: str) -> None:
        await gate
        done.append(n)

    async with serving(line) as served, polled(served) as client:
        await client.enter()
        body = "\x1e".join(f'42["work",{n},"{"x" * 1000}"]' for n in range(400))
        post = asyncio.ensure_future(client.post(body))  # noqa: TID251  a test's own
        await asyncio.sleep(0.1)
        assert not post.done()
        gate.settle(None)
        assert (await post).text == "ok"
        await until(lambda: len(done) == 400)
        assert done == list(range(400))


@pytest.mark.parametrize("how", ["polling", "websocket"])
async def test_who_does_not_read_is_closed_once_too_much_waits(how: str) -> None:
    line = application()
    gone: list[str] = []
    line.of("/").on_disconnect(lambda socket, reason: gone.append(reason))
    async with serving(line) as served, json_client(served.ws):
        if how == "polling":
            async with polled(served) as client:
                await client.enter()
                for _ in range(12):
                    line.broadcast("blob", "x" * 100_000)
                assert (await client.get()).status_code == 400
        else:
            async with spoken(served) as client:
                await client.enter()
                client.socket.transport.pause_reading()
                for _ in range(400):
                    line.broadcast("blob", "x" * 100_000)
                    await asyncio.sleep(0)
        await until(lambda: gone)


@pytest.mark.parametrize("upgrading", [False, True])
async def test_the_last_words_reach_a_client_that_is_between_two_polls_or_upgrading(upgrading: bool) -> None:
    line = application()
    async with serving(line) as served, polled(served) as client:
        await client.enter()
        socket = line.of("/").fetch_sockets()[0]
        if upgrading:
            async with spoken(served, f"EIO=4&transport=websocket&sid={client.sid}") as upgraded:
                await upgraded.say("2probe")
                await upgraded.hear()
                socket.emit("last", 1)
                socket.disconnect(True)
                await upgraded.say("5")
                assert [await upgraded.hear(), await upgraded.hear()] == ['42["last",1]', "41"]
                assert await upgraded.ended() == 1000
        else:
            socket.emit("last", 1)
            socket.disconnect(True)
            assert (await client.post("4x")).status_code == 200
            # The stock client takes a goodbye ahead of all else in its payload, and would call it a broken transport.
            assert [(await client.get()).text, (await client.get()).text] == ['42["last",1]\x1e41', "1"]
        assert (await client.get()).json()["code"] == 1
        assert not line.doors.socketio.engine.sessions


# -- clients mark their requests with a `t`, and not each with another one
