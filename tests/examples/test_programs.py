"""The examples without a browser: a module of its own, because Playwright has an event loop running in the other."""

from pathlib import Path

import pytest

from openline.app.loading import load
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
