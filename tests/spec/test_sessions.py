"""The dialogues of ``spec/vectors/sessions.json`` hold for the server, word for word."""

import asyncio
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from websockets.asyncio.client import ClientConnection, connect

from openline import Openline
from openline.hub.connection import State
from tests.server import PATIENCE, Served, serving, until

VECTORS = json.loads((Path(__file__).parents[2] / "spec" / "vectors" / "sessions.json").read_text())


class Terms(msgspec.Struct):
    a: int
    b: int


def vector_line() -> Openline:
    """The server that the vectors ask for."""
    line = Openline()
    line.channel("chat:*", history=100, presence=True, public=True)

    @line.on("add")
    def add(connection: Any, payload: Terms) -> int:
        return payload.a + payload.b

    @line.on("fail")
    def fail(connection: Any) -> None:
        raise RuntimeError("as the vectors ask")

    return line


class Stage:
    """Plays one session: what the clients do, and what must come of it."""

    def __init__(self, line: Openline, served: Served) -> None:
        self._line = line
        self._served = served
        self._sockets: dict[str, ClientConnection] = {}
        self._names: dict[str, Any] = {}

    async def play(self, steps: list[dict[str, Any]]) -> None:
        for step in steps:
            who = step.get("on", "a")
            if "open" in step:
                self._sockets[who] = await connect(f"{self._served.ws}/openline", compression=None)
            elif "client" in step:
                await self._sockets[who].send(json.dumps(self._filled(step["client"])))
            elif "server" in step:
                await self._expect(self._sockets[who], step["server"])
            elif "cut" in step:
                await self._cut(who)
            elif "forget" in step:
                self._forget()
            else:
                raise AssertionError(f"unknown step {step}")

    async def close(self) -> None:
        for socket in self._sockets.values():
            await socket.close()

    async def _cut(self, who: str) -> None:
        lines = len(self._served.connections)
        self._sockets.pop(who).transport.abort()
        await until(lambda: len(self._served.connections) < lines)

    def _forget(self) -> None:
        for connection in self._line.connections:
            if connection.stage is State.DETACHED:
                self._line.running.hub.lifecycle.end(connection, "lost")

    async def _expect(self, socket: ClientConnection, expected: Any) -> None:
        frames = expected if isinstance(expected, list) else [expected]
        left = list(frames)
        for _ in frames:
            async with asyncio.timeout(PATIENCE):
                got = json.loads(await socket.recv())
            fitting = next((frame for frame in left if self._fits(frame, got, {})), None)
            assert fitting is not None, f"{got} came instead of {left}"
            self._fits(fitting, got, self._names)
            left.remove(fitting)

    def _fits(self, expected: Any, got: Any, learn: dict[str, Any]) -> bool:
        if isinstance(expected, dict):
            if set(expected) == {"$any"}:
                return self._is_any(expected["$any"], got, learn)
            return isinstance(got, dict) and all(
                self._fits_field(name, expected[name], got, learn) for name in expected
            )
        if isinstance(expected, list):
            same = isinstance(got, list) and len(got) == len(expected)
            return same and all(self._fits(e, g, learn) for e, g in zip(expected, got, strict=True))
        return bool(expected == got)

    def _fits_field(self, name: str, expected: Any, got: dict[str, Any], learn: dict[str, Any]) -> bool:
        if expected == {"$none": True}:
            return name not in got
        return name in got and self._fits(expected, got[name], learn)

    def _is_any(self, name: Any, got: Any, learn: dict[str, Any]) -> bool:
        if name is True:
            return True
        if name in self._names:
            return bool(self._names[name] == got)
        learn[name] = got
        return True

    def _filled(self, frame: Any) -> Any:
        if isinstance(frame, dict):
            if set(frame) == {"$any"}:
                return self._names[frame["$any"]]
            return {name: self._filled(value) for name, value in frame.items()}
        return [self._filled(value) for value in frame] if isinstance(frame, list) else frame


@pytest.mark.parametrize("session", VECTORS["sessions"], ids=lambda session: session["name"])
async def test_the_server_answers_as_the_vectors_say(session: dict[str, Any]) -> None:
    line = vector_line()
    async with serving(line) as served:
        stage = Stage(line, served)
        try:
            await stage.play(session["steps"])
        finally:
            await stage.close()
