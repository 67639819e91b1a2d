"""Requests made to hurt a running server: slow, silent, endless, smuggled; each has a defined end, and others go on."""

import asyncio
import contextlib
import logging

import pytest
from tests.clients import BareSocket, bare_line, bare_socket, fetch, json_client, upgrade_head
from tests.server import Served, serving

from openline import LineSettings, Openline, Settings

QUICK = Settings(line=LineSettings(head_within_seconds=0.2, silent_after_seconds=0.01))


def application(settings: Settings | None = None) -> Openline:
    line = Openline(settings=settings)
    line.channel("chat:*", public=True)
    return line


async def alive(served: Served) -> None:
    """The server still serves."""
    async with json_client(served.ws) as client:
        assert (await client.ask("$ping"))["type"] == "$pong"


# -- time


async def test_a_tcp_connection_that_says_nothing_is_closed_in_time() -> None:
    async with serving(application(QUICK)) as served, bare_socket(served.port) as socket:
        assert b" 408 " in await socket.rest(within=2)
        await served.until(lambda: not served.connections)


async def drip(socket: BareSocket, data: bytes) -> None:
    for byte in data:
        if socket.writer.is_closing() or socket.reader.at_eof():
            return
        socket.send(bytes((byte,)))
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("head", [upgrade_head(), b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n" + b"X: y\r\n" * 50])
async def test_a_head_that_comes_byte_by_byte_is_cut_off_in_time_however_lively_it_is(head: bytes) -> None:
    async with (
        serving(application(QUICK)) as served,
        bare_socket(served.port) as socket,
        asyncio.TaskGroup() as tasks,
    ):
        dripping = tasks.create_task(drip(socket, head))
        assert b" 408 " in await socket.rest(within=2)
        dripping.cancel()


async def test_empty_lines_do_not_keep_a_connection() -> None:
    async with serving(application(QUICK)) as served, bare_socket(served.port) as socket:
        socket.send(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert await socket.status() == 200
        async with asyncio.TaskGroup() as tasks:
            dripping = tasks.create_task(drip(socket, b"\r\n" * 200))
            assert b" 408 " in await socket.rest(within=2)
            dripping.cancel()


async def test_the_deadline_of_the_head_ends_with_the_head() -> None:
    async with serving(application(QUICK)) as served, bare_line(served.port) as socket:
        await asyncio.sleep(0.6)  # there is nothing to wait for: the point is that nothing comes
        socket.send_text('{"type":"$ping","id":1}')
        assert (await socket.item())[1] == b'{"type":"$pong","id":1}'


# -- size


@pytest.mark.parametrize(
    "head",
    [
        pytest.param(b"GET /" + b"a" * 40_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", id="target"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 40_000 + b"\r\n\r\n", id="value"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: x\r\n" + b"a" * 40_000 + b": x\r\n\r\n", id="name"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 10_000 + b"\r\n", id="many"),
        pytest.param(upgrade_head("/openline", *(["X: y"] * 10_000)), id="upgrade"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 1_000_000, id="endless value"),
        pytest.param(b"GET /" + b"a" * 1_000_000, id="endless target"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 200_000, id="endless lines"),
    ],
)
async def test_a_head_that_is_too_large_gets_431_and_the_connection_ends(head: bytes) -> None:
    async with serving(application()) as served:
        async with bare_socket(served.port) as socket:
            socket.send(head)
            try:
                said = await socket.head()
            except (ConnectionError, asyncio.IncompleteReadError):  # it wrote on after we had closed
                said = b"HTTP/1.1 431 "
            assert said.startswith(b"HTTP/1.1 431 ")
        await served.until(lambda: not served.connections)
        await alive(served)


@pytest.mark.parametrize(
    "tail",
    [
        pytest.param(b"0\r\n" + b"X: y\r\n" * 20_000, id="many trailers"),
        pytest.param(b"0\r\nX: " + b"a" * 1_000_000, id="endless trailer"),
        pytest.param(b"5;" + b"a" * 1_000_000, id="endless chunk extension"),
    ],
)
async def test_what_follows_a_chunked_body_counts_too(tail: bytes) -> None:
    async with serving(application()) as served:
        async with bare_socket(served.port) as socket:
            socket.send(b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n" + tail)
            with contextlib.suppress(ConnectionError):
                await socket.rest()
        await served.until(lambda: not served.connections)
        await alive(served)


async def test_a_large_body_is_no_large_head() -> None:
    async with serving(application()) as served:
        for _ in range(3):
            body = b"x" * 300_000
            head = f"POST /healthz/x HTTP/1.1\r\nContent-Length: {len(body)}"
            assert (await fetch(served.port, head, body))[0] == 404


async def test_a_head_of_a_usual_size_passes_in_whatever_pieces() -> None:
    head = upgrade_head("/openline", *(f"X-{n}: {'v' * 100}" for n in range(200)))
    async with serving(application()) as served:
        for step in (1_000, 7_000, len(head)):
            async with bare_socket(served.port) as socket:
                for start in range(0, len(head), step):
                    socket.send(head[start : start + step])
                    await asyncio.sleep(0)
                assert await socket.status() == 101


# -- smuggling

UPGRADE = b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
UPGRADE += b"Sec-WebSocket-Version: 13\r\n"


@pytest.mark.parametrize(
    ("lines", "body"),
    [
        (b"Content-Length: 5\r\n", b"hello"),
        (b"Content-Length: 5\r\nContent-Length: 6\r\n", b"hello!"),
        (b"Transfer-Encoding: chunked\r\n", b"0\r\n\r\n"),
        (b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", b"0\r\n\r\n"),
        (b"Transfer-Encoding: xchunked\r\n", b""),
        (b"Transfer-Encoding : chunked\r\n", b"0\r\n\r\n"),
        (b"Transfer-Encoding:\x0bchunked\r\n", b"0\r\n\r\n"),
        (b"Content-Length: -1\r\n", b""),
        (b"Content-Length: +5\r\n", b"hello"),
        (b"Content-Length: 0x5\r\n", b"hello"),
        (b"Host: other\r\n", b""),
        (b" folded: x\r\n", b""),
        (b"X\x00: y\r\n", b""),
        (b"no colon\r\n", b""),
    ],
)
async def test_an_upgrade_with_a_body_or_an_ambiguous_head_is_refused_and_the_connection_not_used_again(
    lines: bytes, body: bytes
) -> None:
    async with serving(application()) as served:
        async with bare_socket(served.port) as socket:
            smuggled = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
            socket.send(b"GET /openline HTTP/1.1\r\nHost: 127.0.0.1\r\n" + UPGRADE + lines + b"\r\n" + body + smuggled)
            said = await socket.rest()
            assert said.split(b" ")[1] in (b"400", b"426"), said
            assert said.count(b"HTTP/1.1") == 1
        await alive(served)


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"POST /openline HTTP/1.1\r\nHost: 127.0.0.1\r\n" + UPGRADE + b"\r\n", b"405"),
        (b"GET /openline HTTP/1.0\r\nHost: 127.0.0.1\r\n" + UPGRADE + b"\r\n", b"400"),
        (b"GET /openline HTTP/1.1\r\n" + UPGRADE + b"\r\n", b"400"),
        (b"GET /openline HTTP/1.1\r\nHost: 127.0.0.1\r\n" + UPGRADE.replace(b"13", b"8") + b"\r\n", b"426"),
        (b"GET /openline HTTP/1.1\r\nHost: 127.0.0.1\r\n" + UPGRADE.replace(b"==", b"") + b"\r\n", b"400"),
        (b"GET /nowhere HTTP/1.1\r\nHost: 127.0.0.1\r\n" + UPGRADE + b"\r\n", b"404"),
        (b"GET /raw HTTP/1.1\r\nHost: 127.0.0.1\r\n" + UPGRADE + b"\r\n", b"404"),
        (b"GET /\xff\xfe HTTP/1.1\r\nHost: 127.0.0.1\r\n" + UPGRADE + b"\r\n", b"400"),
        (b"GET /%ff%00 HTTP/1.1\r\nHost: 127.0.0.1\r\n" + UPGRADE + b"\r\n", b"404"),
        (b"GET * HTTP/1.1\r\nHost: 127.0.0.1\r\n" + UPGRADE + b"\r\n", None),
        (b"GET http://[ HTTP/1.1\r\nHost: 127.0.0.1\r\n" + UPGRADE + b"\r\n", b"400"),
        (b"GET http://127.0.0.1 HTTP/1.1\r\nHost: 127.0.0.1\r\n" + UPGRADE + b"\r\n", b"404"),
        (b"GET http://127.0.0.1:99999/ HTTP/1.1\r\nHost: 127.0.0.1\r\n" + UPGRADE + b"\r\n", None),
        (b"GET //openline HTTP/1.1\r\nHost: 127.0.0.1\r\n" + UPGRADE + b"\r\n", b"404"),
        (b"CONNECT 127.0.0.1:80 HTTP/1.1\r\nHost: 127.0.0.1\r\n" + UPGRADE + b"\r\n", None),
        (b"GET /openline\r\n\r\n", b"426"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"400"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"400"),
        (b"\x00" * 100, b"400"),
        (b"{}\n", b"400"),
    ],
)
async def test_no_head_gets_anything_but_a_defined_answer(
    head: bytes, status: bytes | None, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(application()) as served:
        async with bare_socket(served.port) as socket:
            socket.send(head)
            socket.writer.write_eof()
            said = await socket.rest()
            assert not said.startswith(b"HTTP/1.1 101")
            assert status is None or said.split(b" ")[1] == status, said
            assert said.count(b"HTTP/1.1 ") <= 1
        await alive(served)
    # asyncio logs what escapes from a protocol.
    assert not [r for r in caplog.records if r.levelno >= logging.ERROR]


async def test_an_upgrade_behind_a_request_that_waits_for_its_answer_is_refused() -> None:
    async with serving(application()) as served:
        async with bare_socket(served.port) as socket:
            socket.send(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" + upgrade_head())
            said = await socket.rest()
            assert b" 101 " not in said
        await alive(served)


async def test_an_upgrade_on_a_connection_that_served_a_request_before_is_taken() -> None:
    async with serving(application()) as served, bare_socket(served.port) as socket:
        socket.send(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert await socket.status() == 200
        assert await socket.reader.readexactly(3) == b"ok\n"
        socket.send(upgrade_head())
        assert await socket.status() == 101


async def test_frames_that_follow_the_head_at_once_are_read() -> None:
    from openline.protocol.websocket import Opcode, encode_masked

    ping = encode_masked(Opcode.TEXT, b'{"type":"$ping","id":1}', b"mask")
    everything = upgrade_head() + ping
    async with serving(application()) as served:
        for cut in (10, len(everything) - len(ping), len(everything) - 5, len(everything)):
            async with bare_socket(served.port) as socket:
                socket.send(everything[:cut])
                await asyncio.sleep(0.01)
                socket.send(everything[cut:])
                assert await socket.status() == 101
                assert (await socket.item())[1] == b'{"type":"$pong","id":1}'


async def test_the_target_of_a_raw_door_is_decoded_once() -> None:
    async with serving(application()) as served:
        async with bare_line(served.port, "/raw/chat%3Alobby?echo=1") as socket:
            socket.send_text("hello")
            assert (await socket.item())[1] == b"hello"
        async with bare_line(served.port, "/raw/chat%253Alobby") as socket:
            assert await socket.close_code() == 4404


async def test_what_a_client_sends_cannot_split_the_answer() -> None:
    async with serving(application()) as served:
        for line in (
            "Sec-WebSocket-Protocol: a\rSet-Cookie: x=1",
            "Sec-WebSocket-Protocol: a b",
            "Origin: http://x\ry",
        ):
            async with bare_socket(served.port) as socket:
                socket.send(upgrade_head("/openline", line))
                head = await socket.head()
                assert head.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 403 "))
                assert b"set-cookie" not in head.lower()
