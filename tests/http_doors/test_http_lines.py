"""A whole connection over plain HTTP is a connection like any other, and hops between lines without losing anything."""

import asyncio
import json
from typing import Any

import pytest

from openline import Connection, History, HttpSettings, HubSettings, LineSettings, Openline, Settings
from tests.http_doors.lines import LineGoneError, polled, socketed, streamed
from tests.http_doors.rig import HOSTINGS, PATIENCE, Hosting, natively, problem, web
from tests.server import until

hostings = pytest.mark.parametrize("hosting", HOSTINGS)
http = pytest.mark.parametrize("opened", [streamed, polled])
DOORS = [socketed, streamed, polled]


def application(**settings: Any) -> Openline:
    line = Openline(settings=Settings(**settings))
    line.channel("chat:*", history=History(count=100_000), presence=True, public=True)

    @line.on("hello")
    async def hello(connection: Connection, name: str) -> str:
        await asyncio.sleep(0)
        return f"Hello, {name}!"

    @line.on("ask me")
    async def ask_me(connection: Connection) -> Any:
        return await connection.ask("what?", 1)

    return line


@hostings
@http
async def test_everything_that_a_websocket_carries_is_carried(hosting: Hosting, opened: Any) -> None:
    line = application()
    async with hosting(line) as served, opened(served) as client, socketed(served) as other:
        told = await client.get("$connect")
        assert told["resumed"] is False
        assert told["resume"]
        assert await client.get("hello", payload="Ada") == "Hello, Ada!"
        await other.get("$subscribe", channel="chat:1")
        joined = await client.get("$subscribe", channel="chat:1", presence=True)
        assert joined["presence"]["count"] == 2
        said = await client.get("said", channel="chat:1", payload="hi\r\n\n")
        assert (await client.push())["payload"] == "hi\r\n\n"
        push = await other.push()
        assert (push["payload"], push["position"]) == ("hi\r\n\n", said["position"])
        assert push["from"]["connection"] == told["connection"]
        assert (await client.ask("nobody"))["code"] == "unknown_event"
        assert (await client.ask("$ping"))["type"] == "$pong"
        assert (await client.get("$history", channel="chat:1"))["publications"][0]["payload"] == "hi\r\n\n"
        await client.say(type="ask me", id=99)
        ask = await client.push()
        await client.say(type="$reply", id=ask["id"], payload={"answer": 2})
        assert (await client.push())["payload"] == {"answer": 2}


@http
async def test_several_commands_may_come_at_once_and_are_carried_out_in_order(opened: Any) -> None:
    async with natively(application()) as served, opened(served) as client:
        commands = [{"type": "hello", "id": n, "payload": str(n)} for n in range(5)]
        assert (await client.post(json.dumps(commands).encode())).status_code == 204
        assert [(await client.push())["payload"] for _ in range(5)] == [f"Hello, {n}!" for n in range(5)]


@http
async def test_what_comes_along_with_connect_shares_its_fate(opened: Any) -> None:
    line = application()
    line.authenticate(lambda token, request: "ada" if token == "good" else None)
    async with natively(line) as served:
        for token in ("good", "bad"):
            async with opened(served) as client:
                commands = [
                    {"type": "$connect", "id": 0, "token": token},
                    {"type": "$subscribe", "id": 1, "channel": "chat:1"},
                ]
                await client.post(json.dumps(commands).encode())
                answers = [await client.push(), await client.push()]
                assert [answer["id"] for answer in answers] == [0, 1]
                assert {answer.get("code") for answer in answers} == {None if token == "good" else "unauthorized"}


@http
async def test_a_pretty_printed_payload_breaks_no_event(opened: Any) -> None:
    async with natively(application()) as served, opened(served) as client:
        await client.get("$subscribe", channel="chat:1")
        text = json.dumps({"type": "said", "channel": "chat:1", "payload": {"a": [1, {"b": 2}]}}, indent=2)
        await client.post(text.replace("\n", "\r\n").encode())
        assert (await client.push())["payload"] == {"a": [1, {"b": 2}]}


@hostings
@http
async def test_a_client_that_says_goodbye_is_gone_at_once(hosting: Hosting, opened: Any) -> None:
    line = application()
    reasons: list[str] = []
    line.on_disconnect(lambda connection, reason: reasons.append(reason))
    async with hosting(line) as served, opened(served) as client:
        await client.get("$connect")
        ended = await client.client.delete("/openline", headers={"openline-line": client.token})
        assert ended.status_code == 204
        assert reasons == ["closed"]
        assert line.connections == ()
        told = await client.push()
        assert told == {"type": "$closed", "payload": {"code": 1000, "reason": ""}}
        with pytest.raises(LineGoneError):
            while True:
                await client.listen()


@hostings
async def test_a_goodbye_that_comes_behind_the_end_of_its_stream_counts(hosting: Hosting) -> None:
    line = application()
    reasons: list[str] = []
    line.on_disconnect(lambda connection, reason: reasons.append(reason))
    async with hosting(line) as served, web(served) as client:
        async with streamed(served) as stream:
            await stream.get("$connect")
        alive = line.running.hub.lifecycle.connections
        await until(lambda: all(connection.wire is None for connection in alive.values()))
        for status in (204, 404):
            ended = await client.delete("/openline", headers={"openline-line": stream.token})
            assert ended.status_code == status
        assert reasons == ["closed"]


@http
async def test_a_client_whose_first_request_takes_long_is_waited_for(opened: Any) -> None:
    line = application(line=LineSettings(silent_after_seconds=0.05))
    async with natively(line) as served, opened(served) as client:
        await asyncio.sleep(0.2)
        assert line.connections == ()
        assert await client.get("$connect")


@http
async def test_the_close_code_of_a_websocket_is_told_as_a_message(opened: Any) -> None:
    line = application()
    async with natively(line) as served, opened(served) as client:
        await client.get("$connect")
        line.connections[0].disconnect("Enough.")
        assert await client.push() == {"type": "$closed", "payload": {"code": 4410, "reason": "Enough."}}


@http
async def test_without_a_good_token_the_line_ends_with_4401(opened: Any) -> None:
    line = application(line=LineSettings(connect_within_seconds=0.3, silent_after_seconds=0.1))
    line.authenticate(lambda token, request: "ada" if token == "good" else None)
    async with natively(line) as served:
        async with opened(served) as client:
            assert (await client.push())["payload"]["code"] == 4401
        async with opened(served) as client:
            assert (await client.ask("$connect", token="bad"))["code"] == "unauthorized"
            assert (await client.push())["payload"]["code"] == 4401
        async with opened(served) as client:
            assert (await client.get("$connect", token="good"))["user"] == "ada"
        async with opened(served, authorization="Bearer good") as client:
            assert (await client.get("$connect"))["user"] == "ada"


@http
async def test_the_line_that_another_replaces_is_told(opened: Any) -> None:
    async with natively(application()) as served, opened(served) as client, socketed(served) as other:
        told = await client.get("$connect")
        again = await other.get("$connect", resume=told["resume"], since=told["position"])
        assert again["resumed"] is True
        assert (await client.push())["payload"]["code"] == 4409


@hostings
@http
async def test_a_line_ends_with_the_server_and_its_client_is_told(hosting: Hosting, opened: Any) -> None:
    line = application()
    async with hosting(line) as served, opened(served) as client:
        await client.get("$connect")
        line.running.drain()
        assert (await client.push())["payload"]["code"] == 1012
        async with web(served) as other:
            for path in ("/openline/events", "/openline/poll"):
                assert problem(await other.get(path)) == (503, "unavailable")


@http
async def test_a_client_that_is_away_for_too_long_has_lost_its_line_and_finds_its_connection(opened: Any) -> None:
    line = application(line=LineSettings(ping_every_seconds=0.3, pong_within_seconds=0.2))
    async with natively(line) as served:
        async with opened(served) as client:
            told = await client.get("$connect")
            await client.get("$subscribe", channel="chat:1")
            [connection] = line.connections
            # Its answers to pings do not come: a stream is read no more, a poll not asked.
            await until(lambda: connection.wire is None)
            assert connection.alive
            line.publish("chat:1", "n", 1)
        async with opened(served) as client:
            again = await client.get("$connect", resume=told["resume"], since=told["position"])
            assert (again["resumed"], again["recovered"]) == (True, True)
            assert (await client.push())["payload"] == 1


async def test_a_client_that_answers_pings_keeps_its_line() -> None:
    line = application(line=LineSettings(ping_every_seconds=0.1, pong_within_seconds=0.1))
    async with natively(line) as served, streamed(served) as client:
        await client.get("$connect")
        for _ in range(5):
            assert (await client.push())["type"] == "$ping"
            await client.say(type="$pong")
        assert line.connections[0].wire is not None


async def test_an_answer_that_was_lost_on_its_way_is_given_again() -> None:
    line = application()
    async with natively(line) as served, polled(served) as client:
        await client.get("$subscribe", channel="chat:1")
        line.publish("chat:1", "n", 1)
        headers = {"openline-line": client.token}
        first = await client.client.get(f"/openline/poll?after={client.batch}", headers=headers)
        line.publish("chat:1", "n", 2)
        again = await client.client.get(f"/openline/poll?after={client.batch}", headers=headers)
        assert [m["payload"] for m in first.json()] == [1]
        assert (again.content, again.headers["openline-batch"]) == (first.content, first.headers["openline-batch"])
        client.batch = int(again.headers["openline-batch"])
        assert (await client.push())["payload"] == 2
        for after in ("0", "999", "-1", "x", "", "1e3", "9" * 30):
            refused = await client.client.get(f"/openline/poll?after={after}", headers=headers)
            assert problem(refused) == (400, "bad_field")
        assert problem(await client.client.get("/openline/poll", headers=headers)) == (400, "bad_field")


async def test_the_newer_of_two_polls_wins_and_the_older_ends_empty() -> None:
    line = application()
    async with natively(line) as served, polled(served) as client:
        await client.get("$subscribe", channel="chat:1")
        async with asyncio.TaskGroup() as tasks:
            headers = {"openline-line": client.token}
            path = f"/openline/poll?after={client.batch}"
            older = tasks.create_task(client.client.get(path, headers=headers))
            await until(lambda: line.running.doors.waiting)
            newer = tasks.create_task(client.client.get(path, headers=headers))
            assert (await older).json() == []
            assert older.result().headers["openline-batch"] == str(client.batch)
            line.publish("chat:1", "n", 1)
            assert [m["payload"] for m in (await newer).json()] == [1]


async def test_a_poll_that_hears_nothing_ends_empty_and_a_burst_is_one_answer() -> None:
    line = application(http=HttpSettings(max_wait_seconds=0.1))
    async with natively(line) as served, polled(served) as client:
        await client.get("$subscribe", channel="chat:1")
        assert await client.hear() == []
        for n in range(3):
            line.publish("chat:1", "n", n)
        assert [m["payload"] for m in await client.hear()] == [0, 1, 2]
        assert await client.hear() == []


async def test_a_poll_is_answered_before_its_client_takes_the_silence_for_the_end() -> None:
    line = application(line=LineSettings(ping_every_seconds=0.1), http=HttpSettings(max_wait_seconds=3600))
    async with natively(line) as served, polled(served) as client:
        assert await client.get("$connect")
        async with asyncio.timeout(PATIENCE):
            assert await client.hear() == []


async def test_polled_lines_are_bounded_by_address_and_in_all() -> None:
    for settings in (HttpSettings(max_waiting=2), HttpSettings(max_waiting_per_client=2)):
        line = application(http=settings)
        async with natively(line) as served, polled(served) as one, polled(served), web(served) as client:
            assert problem(await client.get("/openline/poll")) == (429, "too_many")
            await one.client.delete("/openline", headers={"openline-line": one.token})
            with pytest.raises(LineGoneError):
                while True:
                    await one.listen()
            async with polled(served):
                pass


async def test_a_client_that_polls_too_rarely_for_what_comes_is_too_slow() -> None:
    line = application(line=LineSettings(outbox_bytes=262_144))
    async with natively(line) as served, polled(served) as client:
        told = await client.get("$connect")
        await client.get("$subscribe", channel="chat:1")
        for n in range(60):
            line.publish("chat:1", "n", [n, "x" * 10_000])
        pushes = []
        while not pushes or pushes[-1]["type"] != "$closed":
            pushes.append(await client.push())
        assert pushes[-1]["payload"]["code"] == 4500
        since = pushes[-2]["position"] if len(pushes) > 1 else told["position"]
        got = [push["payload"][0] for push in pushes[:-1]]
        async with polled(served) as again:
            assert (await again.get("$connect", resume=told["resume"], since=since))["resumed"]
            while len(got) < 60:
                got.append((await again.push())["payload"][0])
        assert got == list(range(60))


@hostings
@http
async def test_what_is_no_message_is_refused(hosting: Hosting, opened: Any) -> None:
    async with hosting(application()) as served, opened(served) as client:
        assert problem(await client.post(b"{}", **{"openline-line": "x" * 32})) == (404, "unknown_line")
        assert problem(await client.client.post("/openline", json={})) == (404, "unknown_line")
        assert problem(await client.client.delete("/openline")) == (404, "unknown_line")
        assert problem(await client.post(b"{}", **{"content-type": "text/plain"})) == (415, "bad_content_type")
        assert problem(await client.post(b"\xff")) == (400, "bad_message")
        assert problem(await client.post(b"[" + b" " * 65_536 + b"]")) == (413, "too_large")
        assert problem(await client.post(b"{}", origin="https://evil.example")) == (403, "forbidden")
        for body in (b"", b"not json", b"[1]", b'{"type":1}'):
            assert (await client.post(body)).status_code == 204
            assert (await client.push())["type"] == "$error"
        assert await client.get("hello", payload="Ada") == "Hello, Ada!"


@http
async def test_more_commands_than_may_wait_are_refused_and_those_before_are_carried_out(opened: Any) -> None:
    line = application(hub=HubSettings(backlog_bytes=2048))
    let_go = asyncio.Event()

    @line.on("wait")
    async def wait(connection: Connection, number: int) -> int:
        await let_go.wait()
        return number

    async with natively(line) as served, opened(served) as client:
        taken = 0
        while (said := await client.post(b'{"type":"wait","id":%d,"payload":%d}' % (taken, taken))).status_code == 204:
            taken += 1
            assert taken < 20
        assert problem(said) == (429, "too_many")
        assert said.headers["retry-after"] == "1"
        let_go.set()
        assert [(await client.push())["payload"] for _ in range(taken)] == list(range(taken))
        assert await client.get("hello", payload="Ada") == "Hello, Ada!"


async def test_a_polled_line_and_a_streamed_one_are_not_mistaken_for_each_other() -> None:
    async with natively(application()) as served, streamed(served) as client:
        refused = await client.client.get("/openline/poll?after=0", headers={"openline-line": client.token})
        assert problem(refused) == (400, "bad_field")


async def test_nothing_stays_of_lines_that_have_gone() -> None:
    line = application(
        line=LineSettings(pong_within_seconds=0.1, ping_every_seconds=0.2), hub=HubSettings(window_seconds=0.0)
    )
    async with natively(line) as served:
        for opened in (streamed, polled):
            async with opened(served) as client:
                await client.get("$connect")
        await until(lambda: not line.connections)
        assert line.running.hub.membership._channels == {}
