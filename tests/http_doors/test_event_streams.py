"""Event streams: stock EventSource gets every event, in order, and comes back to where it stood."""

import asyncio
import json
import socket as sockets
from typing import Any

import pytest

from openline import History, HttpSettings, LineSettings, Openline, Settings
from openline.transports.stream import AsgiStream, NativeStream
from tests.clients import bare_socket, json_client
from tests.http_doors.rig import HOSTINGS, Hosting, Source, natively, over_asgi, source, web
from tests.server import make_certificate, serving, until

hostings = pytest.mark.parametrize("hosting", HOSTINGS)


def application(**settings: Any) -> Openline:
    line = Openline(settings=Settings(**settings))
    line.channel("chat:*", history=1000, public=True)
    line.channel("price:*", last_value=True, public=True)
    line.channel("closed:*", history=10)
    return line


@hostings
async def test_the_head_comes_at_once_and_keeps_proxies_from_holding_the_stream_back(hosting: Hosting) -> None:
    async with hosting(application()) as served, source(served, "channel=chat:1") as events:
        headers = events.response.headers
        assert events.response.status_code == 200
        assert headers["content-type"] == "text/event-stream; charset=utf-8"
        assert headers["cache-control"] == "no-store, no-transform"
        assert headers["x-accel-buffering"] == "no"
        assert headers["x-content-type-options"] == "nosniff"


@hostings
async def test_every_event_is_one_json_object_with_its_position_as_id(hosting: Hosting) -> None:
    line = application()
    async with hosting(line) as served, source(served, "channel=chat:1&channel=chat:2") as events:
        await events.until(lambda: events.reader.last_id)
        async with json_client(served.ws) as other:
            for n in range(4):
                said = await other.get("said", channel=f"chat:{1 + n % 2}", payload={"n": n})
                event = await events.event()
                assert event.id == said["position"]
                assert event.type == "message"
                push = json.loads(event.data)
                assert push.pop("from").keys() == {"connection"}
                assert push == {"type": "said", "channel": f"chat:{1 + n % 2}", "payload": {"n": n}, **said}


@hostings
async def test_named_events_have_their_names_but_those_of_eventsource_itself(hosting: Hosting) -> None:
    line = application()
    async with hosting(line) as served, source(served, "channel=chat:1&named=1") as events:
        await events.until(lambda: events.reader.last_id)
        for type in ("said", "error", "open", "message"):
            line.publish("chat:1", type)
        assert [(await events.event()).type for _ in range(4)] == ["said", "message", "message", "message"]


async def test_presence_never_comes_unasked() -> None:
    line = Openline()
    line.channel("room:*", presence=True, public=True)
    async with natively(line) as served, source(served, "channel=room:1") as events:
        await events.until(lambda: events.reader.last_id)
        async with json_client(served.ws) as other:
            await other.get("$subscribe", channel="room:1", presence=True)
            await other.get("$unsubscribe", channel="room:1")
        line.publish("room:1", "said", 1)
        assert json.loads((await events.event()).data)["type"] == "said"


@hostings
async def test_whoever_comes_back_gets_all_channels_exactly(hosting: Hosting) -> None:
    line = application()
    async with hosting(line) as served:
        async with source(served, "channel=chat:1&channel=chat:2") as events:
            await events.until(lambda: events.reader.last_id)
            start = events.reader.last_id
            line.publish("chat:1", "n", 0)
            assert await events.payloads(1) == [0]
            last = events.reader.last_id
        for n in range(1, 6):
            line.publish(f"chat:{n % 3}", "n", n)
        for given in ({"last_event_id": last}, {"query": f"&since={last}"}):
            query = "channel=chat:1&channel=chat:2" + given.pop("query", "")
            async with source(served, query, **given) as events:
                assert await events.payloads(4) == [1, 2, 4, 5]
        async with source(served, f"channel=chat:1&since={start}", last_event_id=last) as events:
            assert await events.payloads(2) == [1, 4]
            line.publish("chat:1", "n", 6)
            assert await events.payloads(1) == [6]


@hostings
async def test_even_who_has_heard_nothing_yet_comes_back_to_where_it_stood(hosting: Hosting) -> None:
    line = application()
    async with hosting(line) as served:
        async with source(served, "channel=chat:1") as events:
            await events.until(lambda: events.reader.last_id)
            last = events.reader.last_id
        line.publish("chat:1", "n", 0)
        async with source(served, "channel=chat:1", last_event_id=last) as events:
            assert await events.payloads(1) == [0]


@hostings
async def test_a_heartbeat_is_no_event_and_says_where_the_client_stands(hosting: Hosting) -> None:
    line = application(line=LineSettings(ping_every_seconds=0.05, pong_within_seconds=0.05))
    async with hosting(line) as served, source(served, "channel=chat:1") as events:
        await events.until(lambda: events.reader.last_id)
        here = await line.publish("chat:2", "elsewhere")
        await events.until(lambda: events.reader.last_id == str(here))
        assert events.reader.events == []


async def test_clients_are_told_to_come_back_at_different_times() -> None:
    async with natively(application(http=HttpSettings(retry_seconds=2.0))) as served:
        told = set()
        for _ in range(20):
            async with source(served, "channel=chat:1") as events:
                await events.until(lambda: events.reader.reconnection_time)
                told.add(events.reader.reconnection_time or 0)
        assert len(told) > 10
        assert 1000 <= min(told) < max(told) <= 3000


@pytest.mark.parametrize(
    ("last", "gaps"), [("elsewhere.4", [None, "chat:1"]), ("7", [None, "chat:1"]), ("\xff", [None, "chat:1"])]
)
async def test_a_position_that_says_nothing_is_a_gap_and_not_the_end(last: str, gaps: list[str | None]) -> None:
    line = application()
    async with natively(line) as served, web(served) as client:
        line.publish("chat:1", "before")
        given = {b"last-event-id": last.encode("latin-1")}
        async with client.stream("GET", "/events?channel=chat:1", headers=given) as response:
            events = Source(response)
            told = [await events.push() for _ in gaps]
            assert [push["type"] for push in told] == ["$gap", "$gap"]
            assert [push.get("channel") for push in told] == gaps
            last = events.reader.last_id
        async with source(served, "channel=chat:1", last_event_id=last) as events:
            line.publish("chat:1", "n", 1)
            assert await events.payloads(1) == [1]


async def test_http_1_0_gets_a_plain_stream() -> None:
    line = application()
    async with natively(line) as served, bare_socket(served.port) as socket:
        socket.send(b"GET /events?channel=chat:1 HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n")
        head = (await socket.head()).lower()
        assert head.startswith(b"http/1.1 200 ")
        assert b"chunked" not in head
        assert b"connection: close" in head
        await until(lambda: line.connections)
        line.publish("chat:1", "n", 1)
        line.running.drain()
        body = await socket.rest()
        assert body.startswith(b"retry: ")
        assert body.endswith(b'"}\n\n')


@hostings
async def test_streams_end_with_the_server_behind_everything_queued(hosting: Hosting) -> None:
    line = application()
    async with hosting(line) as served, source(served, "channel=chat:1") as events:
        await events.until(lambda: events.reader.last_id)
        line.publish("chat:1", "n", 1)
        line.running.drain()
        assert [push["payload"] for push in await events.rest()] == [1]


async def test_streams_ride_the_fan_out_of_websockets() -> None:
    line = application()
    async with (
        natively(line) as served,
        source(served, "channel=chat:1") as one,
        source(served, "channel=chat:1") as other,
    ):
        for events in (one, other):
            await events.until(lambda: events.reader.last_id)  # noqa: B023
        channel = line.running.hub.membership.get("chat:1")
        assert channel is not None
        [group] = channel.seats._groups.values()
        assert len(group) == 2
        assert not group._aside, "both are written to directly"
        assert len([c for c in served.connections if isinstance(c, NativeStream)]) == 2
        line.publish("chat:1", "n", 1)
        assert await one.payloads(1) == await other.payloads(1) == [1]


async def test_over_plain_asgi_no_transport_is_taken() -> None:
    line = application()
    async with over_asgi(line) as served, source(served, "channel=chat:1") as events:
        await events.until(lambda: events.reader.last_id)
        assert not [c for c in served.connections if isinstance(c, NativeStream)]
        [connection] = line.connections
        assert isinstance(connection.wire.close.__self__._close.__self__, AsgiStream)  # type: ignore[union-attr]


@hostings
async def test_a_client_that_stops_reading_is_cut_and_comes_back_without_a_hole(hosting: Hosting) -> None:
    line = Openline(settings=Settings(line=LineSettings(outbox_bytes=262_144, close_within_seconds=0.1)))
    line.channel("chat:*", history=History(count=100_000, size=1 << 30), public=True)
    async with hosting(line) as served:
        async with source(served, "channel=chat:1") as events:
            await events.until(lambda: events.reader.last_id)
            start = events.reader.last_id
            raw = next(iter(served.connections))
            transport = getattr(raw, "_transport", None) or raw.transport
            transport.get_extra_info("socket").setsockopt(sockets.SOL_SOCKET, sockets.SO_SNDBUF, 16_384)
            [connection] = line.connections
            count = 0
            while connection.alive:
                line.publish("chat:1", "n", [count, "x" * 10_000])
                count += 1
                if count % 10 == 0:
                    await asyncio.sleep(0)
                assert count < 5_000, "it was never cut"
            await events.rest()
            got = [json.loads(event.data)["payload"][0] for event in events.reader.events]
            last = events.reader.last_id or start
        async with source(served, "channel=chat:1", last_event_id=last) as events:
            while len(got) < count:
                got.append((await events.push())["payload"][0])
        assert got == list(range(count))


async def test_over_plain_asgi_a_client_that_reads_nothing_is_given_up_though_no_more_waits_than_may() -> None:
    line = application(line=LineSettings(ping_every_seconds=0.5, close_within_seconds=0.1))
    async with (
        over_asgi(line) as served,
        source(served, "channel=chat:1") as reads,
        bare_socket(served.port, limit=1024) as slow,
    ):
        slow.send(b"GET /events?channel=chat:1 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        await slow.head()
        slow.reader._transport.pause_reading()  # type: ignore[attr-defined]
        for each in served.connections:
            each.transport.get_extra_info("socket").setsockopt(sockets.SOL_SOCKET, sockets.SO_SNDBUF, 16_384)
        await until(lambda: len(line.connections) == 2)
        for n in range(90):
            line.publish("chat:1", "n", [n, "x" * 10_000])
        assert len(await reads.payloads(90)) == 90
        await until(lambda: len(line.connections) == 1)
        # Who reads what little there is stays, heartbeat by heartbeat.
        for _ in range(3):
            assert await reads.read()
        assert len(line.connections) == 1


async def test_what_a_client_goes_on_sending_is_dropped() -> None:
    line = application()
    async with natively(line) as served, bare_socket(served.port) as socket:
        request = b"GET /events?channel=chat:1 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
        socket.send(request * 3)
        await socket.head()
        await until(lambda: line.connections)
        socket.send(b"GET / HTTP/1.1\r\n\r\n" * 100 + b"\0\xff" * 1000)
        line.publish("chat:1", "n", 1)
        async with asyncio.timeout(30):
            said = await socket.reader.readuntil(b'"payload":1')
        assert said.count(b"HTTP/1.1") == 0
        assert len(line.connections) == 1


async def test_a_stream_behind_an_answer_that_is_still_on_its_way_waits_for_it(tmp_path: Any) -> None:
    big = tmp_path / "big.bin"
    big.write_bytes(bytes(8_000_000))
    line = application()
    line.page("/big.bin", big)
    async with natively(line) as served, bare_socket(served.port, limit=1024) as socket:
        head = b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
        socket.send(b"GET /big.bin" + head + b"GET /events?channel=chat:1" + head)
        await socket.head()
        assert await socket.reader.readexactly(8_000_000) == bytes(8_000_000)
        async with asyncio.timeout(30):
            stream = await socket.reader.readuntil(b"\r\n\r\n")
            assert stream.startswith(b"HTTP/1.1 200 ")
            await socket.reader.readuntil(b"id: ")
            line.publish("chat:1", "n", 1)
            while b'"payload":1' not in await socket.reader.readuntil(b"\n\n"):
                pass


async def test_a_client_that_goes_before_its_answer_leaves_nothing() -> None:
    line = application()
    asked, let_go = asyncio.Event(), asyncio.Event()

    @line.authenticate
    async def who(token: str | None, request: Any) -> str:
        asked.set()
        await let_go.wait()
        return "ada"

    reasons: list[str] = []
    line.on_disconnect(lambda connection, reason: reasons.append(reason))
    async with natively(line) as served:
        async with bare_socket(served.port) as socket:
            socket.send(b"GET /events?channel=chat:1 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            await asked.wait()
        await until(lambda: not served.connections)
        let_go.set()
        await until(lambda: reasons)
        assert reasons == ["closed"]
        assert line.connections == ()


async def test_streams_work_over_tls(tmp_path: Any) -> None:
    certificate, key = make_certificate(tmp_path)
    line = application()
    options = {"ssl_certfile": str(certificate), "ssl_keyfile": str(key)}
    async with serving(line, **options) as served, source(served, "channel=chat:1") as events:
        await events.until(lambda: events.reader.last_id)
        line.publish("chat:1", "n", 1)
        assert await events.payloads(1) == [1]


async def test_a_peer_that_acknowledges_nothing_is_given_up_by_the_kernel() -> None:
    line = application(line=LineSettings(pong_within_seconds=7.0))
    async with natively(line) as served, source(served, "channel=chat:1") as events:
        await events.until(lambda: events.reader.last_id)
        [stream] = [c for c in served.connections if isinstance(c, NativeStream)]
        raw = stream._transport.get_extra_info("socket")
        assert raw.getsockopt(sockets.IPPROTO_TCP, sockets.TCP_USER_TIMEOUT) == 7000


async def test_last_values_are_shown_to_newcomers() -> None:
    line = application()
    async with natively(line) as served:
        for n in range(3):
            line.publish("price:gold", "price", n)
        async with source(served, "channel=price:gold") as events:
            assert await events.payloads(1) == [2]
