"""The application that the stock client's scenarios talk to, and how they are run."""

import asyncio
import json
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from openline import CommandError, ConnectError, Openline, Socket, User
from openline.app.pages import Page
from tests.socketio_door.hands import application

ROOT = Path(__file__).parents[2]
SCRIPT = Path(__file__).with_suffix(".mjs")
TRANSPORTS = ("polling", "websocket", "polling,websocket")


def stock_line(**socketio: Any) -> Openline:
    line = application(**socketio)
    line.channel("room:*", history=100)
    space = line.of("/")
    refusals = Counter[str]()

    def turn_away(namespace: str, times: int) -> None:
        refusals[namespace] += 1
        if refusals[namespace] <= times:
            raise CommandError("busy", "Not just now.", retry=True)

    @line.authenticate
    def who(token: str | None, request: Any) -> User | None:
        if token == "bad":
            raise ConnectError("no such token", {"hint": "ask for one"})
        if token == "busy":
            turn_away("/", 2)
        return User(token) if token else None

    line.allow()
    line._handlers.let_in(anonymous=True)

    space.on("who")(lambda socket: socket.user.id)
    space.on("echo")(lambda socket, value: value)
    space.on("spread")(lambda socket, *values: values)
    space.on("nothing")(lambda socket: ())
    space.on("silent")(lambda socket, value: None)
    space.on("rooms")(lambda socket: sorted(socket.rooms))
    space.on("note")(lambda socket, text: (socket.emit("noted", text), True)[1])
    space.on("disconnect me")(lambda socket, close: socket.disconnect(close))
    space.on("push me")(lambda socket, *values: (socket.emit("pushed", *values), None)[1])

    @space.on("failing")
    def failing(socket: Socket, value: int) -> None:
        raise ConnectError("not this time")

    @space.on("ask me")
    async def ask(socket: Socket, value: Any) -> Any:
        answer = await socket.emit_with_ack("question", value, timeout=2)
        return list(answer) if isinstance(answer, tuple) else answer

    @space.on("ask room")
    async def ask_room(socket: Socket, room: str) -> Any:
        answers = await space.timeout(0.3).to(room).emit_with_ack("question", 1)
        return {"answered": sorted(answers.answered.values()), "missing": len(answers.missing)}

    @space.on("join")
    async def join(socket: Socket, rooms: list[str]) -> bool:
        await socket.join(rooms)
        return True

    @space.on("leave")
    def leave(socket: Socket, room: str) -> bool:
        socket.leave(room)
        return True

    @space.on("say")
    def say(socket: Socket, what: dict[str, Any]) -> bool:
        audience = space.all if what.get("server") else socket.broadcast
        audience = audience.to(what["to"]).except_(what.get("except", []))
        (audience.volatile if what.get("volatile") else audience).emit("said", what["text"])
        return True

    @space.on("publish")
    def publish(socket: Socket, text: str) -> bool:
        line.publish("chat:1", "said", text)
        return True

    @space.on("when I am gone")
    async def when_gone(socket: Socket, name: str) -> None:
        await asyncio.sleep(0)

        async def speak() -> None:
            while socket.connection.wire is not None:
                await asyncio.sleep(0.005)
            line.publish("chat:1", "said", f"{name} room")
            socket.emit("said", f"{name} own")
            space.volatile.emit("said", "never")
            line.publish("chat:1", "said", f"{name} end")

        line.running.hub.tasks.start(speak())

    admin = line.of("/admin")
    admin.on_connect(lambda socket: (socket.emit("welcome", socket.handshake.auth["token"]), None)[1])
    line.of("/org-*").on("name")(lambda socket: socket.nsp.name)

    @line.of("/guarded").use
    async def guard(socket: Socket) -> None:
        await asyncio.sleep(0)
        raise ConnectError("not you", {"because": "guarded"})

    @line.of("/busy").use
    def busy(socket: Socket) -> None:
        turn_away("/busy", 1)

    return line


def in_browser() -> Openline:
    """The same, with an empty page and the scenarios for it; its positions are in every event."""
    line = stock_line(recovery=True)
    line.add_pages(
        {
            "/": Page(b"<!doctype html><title>stock</title>", "text/html"),
            "/stock.js": Page(SCRIPT.read_bytes(), "text/javascript"),
        }
    )
    return line


class Play:
    """A scenario that runs in Node."""

    def __init__(self, child: asyncio.subprocess.Process) -> None:
        self.child = child

    async def line(self) -> dict[str, Any]:
        assert self.child.stdout is not None
        async with asyncio.timeout(60):
            raw = await self.child.stdout.readline()
        assert raw, "the scenario ended without a result"
        said: dict[str, Any] = json.loads(raw)
        return said

    async def result(self) -> Any:
        return (await self.line())["result"]


@asynccontextmanager
async def playing(name: str, url: str, transports: str) -> AsyncIterator[Play]:
    child = await asyncio.create_subprocess_exec(
        "node", str(SCRIPT), name, url, transports, cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=sys.stderr
    )
    try:
        yield Play(child)
    finally:
        if child.returncode is None:
            child.kill()
        await child.wait()


async def play(name: str, url: str, transports: str) -> Any:
    async with playing(name, url, transports) as scenario:
        return await scenario.result()
