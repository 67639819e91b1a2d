"""The dialogues of spec/vectors/sessions.json, with this client as client a."""

import asyncio
import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from openline.client import Channel, History, Presence
from openline.errors import CommandError

from .stage import Stage, heard, on_stage, settle, start

SESSIONS = json.loads((Path(__file__).parents[2] / "spec/vectors/sessions.json").read_text())["sessions"]
ANYTHING = {"window": 30, "ping": 25, "message": "for people"}


def plain(frame: dict[str, Any]) -> Any:
    if frame.get("encoding") == "base64":
        return base64.b64decode(frame["payload"])
    return frame.get("payload")


class Play:
    """Plays one session: says what client a says by way of the client, and what the server says by hand."""

    def __init__(self, steps: list[dict[str, Any]], *, backwards: bool) -> None:
        self.steps = steps
        self.backwards = backwards
        # What the named wildcards stand for, the client's ids by those of the session, and what it promised.
        self.names: dict[Any, Any] = {}
        self.ids: dict[Any, Any] = {}
        self.outcomes: dict[Any, asyncio.Task[Any]] = {}
        self.promised: dict[Any, asyncio.Task[Any]] = {}
        self.channels: list[Channel] = []
        self.expected: list[tuple[str, Any, str | None]] = []
        self.opened = False
        self.stamp = 0

    async def run(self, stage: Stage) -> None:
        self.stage = stage
        for step in self.steps:
            value = self.known(step)
            if "on" not in step:
                await self.step(**value)
            await settle()
        events = [event for channel in self.channels for event in await heard(channel)]
        assert [(e.type, e.payload, e.position) for e in events if e.type != "$presence"] == self.expected
        assert not stage.socket.sent

    async def step(self, **step: Any) -> None:
        match step:
            case {"open": _}:
                if self.opened:
                    await self.stage.clock.advance(self.stage.statuses[-1].retry_in or 0)
                self.opened = True
            case {"client": frame}:
                await self.client(**frame)
            case {"server": frames}:
                await self.server(frames if isinstance(frames, list) else [frames])
            case {"cut": _}:
                self.stage.socket.end()
                await settle()

    async def client(self, id: Any, type: str, key: str | None = None, **fields: Any) -> None:
        if not any(frame["type"] == type for frame in self.stage.socket.sent):
            self.promised[key or id] = start(self.say(type, key, **fields))
            await settle()
        said = self.stage.socket.take(type)
        self.ids[id] = said.pop("id")
        if key is not None:
            assert said.pop("key") == key
        else:
            said.pop("key", None)
        assert {"payload": None, **said} == {"payload": None, "type": type, **fields}
        if type == "$connect":
            self.promised.pop(id, None)
        elif (key or id) in self.promised:
            self.outcomes[id] = self.promised[key or id]

    async def say(self, type: str, key: str | None, channel: str = "", **fields: Any) -> Any:
        line = self.stage.line
        verbs: dict[str, Callable[..., Any]] = {"$history": line.history, "$presence": line.presence}
        if type == "$subscribe":
            self.channels.append(await line.subscribe(channel, **fields))
            return None
        if type == "$unsubscribe":
            return self.channels[-1].unsubscribe()
        if type in verbs:
            return await verbs[type](channel, **fields)
        payload = plain(fields)
        if not channel:
            return await line.emit(type, payload, key=key)
        how = {name: fields[name] for name in ("volatile", "echo") if name in fields}
        return await line.publish(channel, type, payload, key=key, **how)

    async def server(self, frames: list[dict[str, Any]]) -> None:
        for frame in reversed(frames) if self.backwards else frames:
            self.expect(frame)
            number = frame.get("id")
            self.stage.socket.push({**frame, "id": self.ids[number]} if number is not None else frame)
            await settle()
            if number in self.outcomes:
                self.check(self.outcomes.pop(number), frame)

    def expect(self, frame: dict[str, Any]) -> None:
        payload = frame.get("payload")
        if isinstance(payload, dict) and "publications" in payload and "more" not in payload:
            if payload.get("recovered") is False:
                self.expected.append(("$gap", {"position": payload["position"]}, payload["position"]))
            self.expected += [(said["type"], plain(said), said.get("position")) for said in payload["publications"]]
        if "channel" in frame:
            self.expected.append((frame["type"], plain(frame), frame.get("position")))

    @staticmethod
    def check(task: asyncio.Task[Any], frame: dict[str, Any]) -> None:
        payload = frame.get("payload")
        if frame["type"] == "$error":
            with pytest.raises(CommandError) as refused:
                task.result()
            assert (refused.value.code, refused.value.field) == (frame["code"], frame.get("field"))
            return
        outcome = task.result()
        match outcome:
            case History():
                assert [event.payload for event in outcome.publications] == [plain(p) for p in payload["publications"]]
                assert (outcome.more, outcome.recovered) == (payload["more"], payload.get("recovered"))
            case Presence():
                assert outcome.count == payload["count"]
                assert [member.connection for member in outcome.members] == [
                    member["connection"] for member in payload["members"]
                ]
            case str():
                assert payload == {"position": outcome}
            case None:
                assert payload in (None, {}) or "publications" in payload
            case _:
                assert outcome == payload

    def known(self, value: Any, field: str = "") -> Any:
        """A step with values in place of its wildcards."""
        if isinstance(value, list):
            return [self.known(entry, field) for entry in value]
        if not isinstance(value, dict):
            return value
        if "$any" in value:
            return self.any(value["$any"], field)
        return {name: self.known(v, name) for name, v in value.items() if v != {"$none": True}}

    def any(self, name: Any, field: str) -> Any:
        if name is True:
            return ANYTHING.get(field) or self.position()
        if name not in self.names:
            self.names[name] = self.position() if field in ("position", "since") else f"the-{name}"
        return self.names[name]

    def position(self) -> str:
        self.stamp += 1
        return f"e.{self.stamp}"


@pytest.mark.parametrize("backwards", [False, True], ids=["in order", "where any order is allowed, backwards"])
@pytest.mark.parametrize("session", SESSIONS, ids=lambda session: session["name"])
async def test_the_dialogue_holds(session: dict[str, Any], backwards: bool) -> None:
    async with on_stage() as stage:
        await Play(session["steps"], backwards=backwards).run(stage)
