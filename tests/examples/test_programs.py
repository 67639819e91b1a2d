"""The examples without a browser: a module of its own, because Playwright has an event loop running in the other."""

from pathlib import Path

import pytest

from openline.app.loading import load
from openline.errors import CommandError
from openline.testing import client


async def test_without_proc_the_dashboard_tells_what_python_knows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = load("examples.dashboard.app:line")
    monkeypatch.setattr("examples.dashboard.app.PROC", tmp_path)
    async with client(line) as somebody:
        machine = await somebody.subscribe("machine")
        told = (await machine.next()).payload
    assert set(told) == {"disk", "load"}
    assert told["disk"][0] >= told["disk"][1] > 0


async def test_nobody_plays_against_themselves() -> None:
    async with client(load("examples.game.app:line")) as ada, client(load("examples.game.app:line")) as bob:
        court = await bob.subscribe("court")
        for _ in range(2):
            await ada.emit("play")
        assert (await ada.next()).type == "over"
        for player in (ada, bob):
            await player.emit("play")
        assert set((await court.next()).payload["paddles"]) == {ada.connection, bob.connection}


async def test_nobody_writes_on_the_whiteboard_but_its_handlers() -> None:
    good = {"id": "1", "colour": 0, "width": 3, "points": [[1, 1], [5, 5]]}
    async with client(load("examples.whiteboard.app:line")) as ada, client(load("examples.whiteboard.app:line")) as eve:
        hands, elsewhere = await ada.subscribe("hands"), await eve.subscribe("hands")
        await hands.publish("stroke", good)
        for type, payload in (("stroke", good), ("clear", None), ("anything", "no stroke")):
            with pytest.raises(CommandError, match="forbidden"):
                await eve.publish("board", type, payload)
        with pytest.raises(CommandError, match="bad_payload"):
            await elsewhere.publish("stroke", {**good, "points": []})
        await elsewhere.publish("anything", "no stroke")
        newcomer = await eve.subscribe("board", last=2000)
        assert [(each.type, each.payload) for each in await newcomer.heard()] == [("stroke", good)]
        await elsewhere.publish("clear")
        assert (await newcomer.next()).type == "clear"
