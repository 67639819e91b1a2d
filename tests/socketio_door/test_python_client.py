"""python-socketio's client, the second opinion."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import socketio

from openline import ConnectError, Connection, Socket
from tests.server import Served, openline, serving, until
from tests.socketio_door.hands import PROGRAM, application

TRANSPORTS = (["polling"], ["websocket"], ["polling", "websocket"])
transports = pytest.mark.parametrize("transports", TRANSPORTS, ids="-".join)


@asynccontextmanager
async def client(served: Served, transports: list[str], **options: Any) -> AsyncIterator[socketio.AsyncClient]:
    one = socketio.AsyncClient(reconnection=False)
    try:
        await one.connect(served.http, transports=transports, wait_timeout=5, **options)
        yield one
    finally:
        await one.disconnect()


@transports
async def test_events_and_acknowledgements_go_both_ways_with_bytes_in_them(transports: list[str]) -> None:
    line = application()
    space = line.of("/")
    space.on("echo")(lambda socket, *values: values)

    @space.on("ask me")
    async def ask(socket: Socket, value: Any) -> Any:
        return await socket.emit_with_ack("question", value)

    async with serving(line) as served, client(served, transports) as one:
        one.on("question", lambda value: {"got": value})
        assert await one.call("echo", 1) == 1
        assert await one.call("echo", (1, {"a": b"\x00\x01"}, "é")) == (1, {"a": b"\x00\x01"}, "é")
        assert await one.call("ask me", b"xyz") == {"got": b"xyz"}
        assert await one.call("ask me", [1]) == {"got": [1]}


@transports
async def test_auth_namespaces_and_refusals(transports: list[str]) -> None:
    line = application()
    line.of("/chat").on("who")(lambda socket: socket.handshake.auth["name"])

    @line.of("/chat").use
    def guard(socket: Socket) -> None:
        if socket.handshake is None or "name" not in socket.handshake.auth:
            raise ConnectError("who are you?", {"ask": "name"})

    async with serving(line) as served:
        async with client(served, transports, auth={"name": "ada"}, namespaces=["/", "/chat"]) as one:
            assert await one.call("who", namespace="/chat") == "ada"
        refused: list[Any] = []
        other = socketio.AsyncClient(reconnection=False)
        other.on("connect_error", refused.append, namespace="/chat")
        with pytest.raises(socketio.exceptions.ConnectionError):
            await other.connect(served.http, transports=transports, namespaces=["/chat"], wait_timeout=5)
        await other.disconnect()
        assert refused == [{"message": "who are you?", "data": {"ask": "name"}}]


@transports
async def test_many_messages_at_once_come_in_order_whatever_carries_them(transports: list[str]) -> None:
    line = application()
    count = 300

    @line.on("go")
    def go(connection: Connection) -> None:
        for n in range(count):
            connection.emit("n", n)

    async with serving(line) as served, client(served, transports) as one:
        got: list[int] = []
        one.on("n", got.append)
        await one.emit("go")
        await until(lambda: len(got) == count)
        assert got == list(range(count))


@transports
async def test_rooms_are_joined_left_and_spared(transports: list[str]) -> None:
    line = application()
    space = line.of("/")
    space.on("join")(lambda socket, room: (socket.join(room), True)[1])
    space.on("leave")(lambda socket, room: (socket.leave(room), True)[1])
    space.on("say")(lambda socket, room, text: (socket.to(room).emit("said", text), True)[1])
    async with serving(line) as served, client(served, transports) as one, client(served, transports) as two:
        got: list[str] = []
        for each in (one, two):
            each.on("said", lambda text, each=each: got.append(f"{'one' if each is one else 'two'} {text}"))
            assert await each.call("join", "red")
        assert await two.call("join", "blue")
        assert await one.call("say", ("red", "a"))
        assert await two.call("say", ("blue", "nobody else is there"))
        assert await two.call("leave", "red")
        assert await one.call("say", ("red", "nobody else is there"))
        assert await one.call("say", ("blue", "b"))
        assert await two.call("say", ("red", "c"))
        await until(lambda: len(got) == 3)
        assert got == ["two a", "two b", "one c"]


@transports
async def test_it_comes_back_after_a_line_that_the_server_closes(transports: list[str]) -> None:
    line = application()
    async with serving(line) as served:
        one = socketio.AsyncClient(reconnection_delay=0.02, randomization_factor=0)
        came: list[str] = []
        one.on("connect", lambda: came.append("connect"))
        one.on("disconnect", lambda *reason: came.append("disconnect"))
        await one.connect(served.http, transports=transports, wait_timeout=5)
        line.connections[0].disconnect(code=1012)
        await until(lambda: came == ["connect", "disconnect", "connect"])
        line.broadcast("said", 1)
        await one.disconnect()
        await until(lambda: not line.connections)
        # Its tasks end a moment after it says that it is through.
        await asyncio.sleep(0.05)


@transports
@pytest.mark.server
async def test_after_a_restart_of_the_server_it_is_back_by_itself(transports: list[str], tmp_path: Path) -> None:
    (tmp_path / "chat.py").write_text(PROGRAM)
    one = socketio.AsyncClient(reconnection_delay=0.05, reconnection_delay_max=0.2, randomization_factor=0)
    came: list[str] = []
    one.on("connect", lambda: came.append("connect"))
    one.on("disconnect", lambda *reason: came.append("disconnect"))
    with openline(tmp_path, "serve", "chat:line", "--port", "0") as process:
        url, port = process.address()
        await one.connect(url, transports=transports, wait_timeout=5)
        first = one.get_sid()
        assert await one.call("echo", 1) == 1
        assert process.end() == 0
        await until(lambda: came == ["connect", "disconnect"])
        with openline(tmp_path, "serve", "chat:line", "--port", str(port)) as again:
            again.address()
            await until(lambda: came == ["connect", "disconnect", "connect"])
            assert await one.call("echo", (2, b"\x00")) == (2, b"\x00")
            assert one.get_sid() != first
            await one.disconnect()
            await asyncio.sleep(0.05)


async def test_where_others_recover_it_declines_so_that_its_handlers_fit() -> None:
    line = application(recovery=True)
    async with serving(line) as served:
        for auth, count in (({"recovery": False}, 1), ({}, 2)):
            async with client(served, ["websocket"], auth=auth) as one:
                got: list[Any] = []
                one.on("said", lambda *came, got=got: got.extend(came))
                line.broadcast("said", 1)
                await until(lambda got=got: got)
                assert (got[0], len(got)) == (1, count)
