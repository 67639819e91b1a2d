"""The recipes of the pages that follow a channel lose nothing, whatever becomes of the server and of their line."""

import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.browser.relay import Relay
from tests.docs.blocks import blocks
from tests.http_doors.restarts import Restarting

pytestmark = pytest.mark.server

HARNESS = Path(__file__).with_name("run_recipe.mjs")
PATIENCE = 60.0
#: As the recipe of a page is found, where it listens, and how it prints a payload.
RECIPES = {
    "event-streams.md": ("async function listen", "news:world", "ada says {}"),
    "polling.md": ("async function follow", "chat:wait", "message {}"),
}
#: A handler that goes on until it is let end: so long the server drains.
SLOW = """
import asyncio, pathlib

@line.on("slow", channel="*")
async def slow(connection):
    pathlib.Path("begun").touch()
    while not pathlib.Path("enough").exists():
        await asyncio.sleep(0.01)
"""


class Recipe:
    """A recipe that runs, and what it has printed."""

    def __init__(self, text: str, url: str, folder: Path) -> None:
        (folder / "recipe.mjs").write_text(text)
        self._log = folder / "recipe.txt"
        with self._log.open("wb") as output:
            command = ["node", str(HARNESS), str(folder / "recipe.mjs"), f"{url}/"]
            self._node = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)

    @property
    def lines(self) -> list[str]:
        return self._log.read_text().split("\n")[:-1]

    @property
    def told(self) -> list[str]:
        """What it showed of the channel."""
        return [line for line in self.lines if not line.startswith("# ")]

    def noted(self, *notes: str) -> int:
        return sum(self.lines.count(f"# {note}") for note in notes)

    def until(self, true: Callable[[], object]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not true():
            assert self._node.poll() is None, self.lines
            assert time.monotonic() < deadline, self.lines
            time.sleep(0.01)

    def end(self) -> None:
        self._node.kill()
        self._node.wait()


def recipe_of(page: str) -> tuple[str, str]:
    """The program of a page, and its recipe as it stands there, less what it publishes itself."""
    start, _, _ = RECIPES[page]
    [block] = [each for each in blocks("js", page=page) if start in each.text]
    text, tail, _ = block.text.rpartition("\nawait fetch(")
    assert tail
    return block.program.text, text


@pytest.fixture(params=RECIPES)
def page(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def server(page: str, tmp_path: Path) -> Iterator[Restarting]:
    with Restarting(tmp_path, "--engine", "sqlite:kept.db", program=recipe_of(page)[0] + SLOW) as server:
        yield server


@pytest.fixture
def relay(server: Restarting) -> Iterator[Relay]:
    relay = Relay(server.port)
    yield relay
    relay.close()


@pytest.fixture
def recipe(page: str, relay: Relay, tmp_path: Path) -> Iterator[Recipe]:
    recipe = Recipe(recipe_of(page)[1], f"http://127.0.0.1:{relay.port}", tmp_path)
    yield recipe
    recipe.end()


def test_a_recipe_misses_nothing_through_a_restart_a_cut_and_a_drain_from_its_first_moment_on(
    page: str, server: Restarting, relay: Relay, recipe: Recipe, tmp_path: Path
) -> None:
    _, channel, shown = RECIPES[page]

    def publish(type: str, payload: int) -> int:
        said = {"type": type, "channel": channel, "payload": payload}
        headers = {"Authorization": "Bearer ada"}
        with httpx.Client(trust_env=False, timeout=PATIENCE, headers=headers) as client:
            return client.post(f"{server.url}/api/messages", json=said).status_code

    expected: list[str] = []

    def say() -> None:
        expected.append(shown.format(len(expected)))
        assert publish("message", len(expected) - 1) == 200

    # It has heard nothing yet, and is away when the first one comes.
    recipe.until(lambda: recipe.noted("open" if "listen" in RECIPES[page][0] else "asks"))
    relay.cut()
    server.end(signal.SIGKILL)
    recipe.until(lambda: recipe.noted("failed"))
    server.start()
    say()
    relay.mend()
    recipe.until(lambda: recipe.told == expected)

    failed = recipe.noted("failed")
    relay.cut()
    say()
    say()
    recipe.until(lambda: recipe.noted("failed") > failed)
    relay.mend()
    recipe.until(lambda: recipe.told == expected)

    with ThreadPoolExecutor() as threads:
        slow = threads.submit(publish, "slow", 0)
        recipe.until((tmp_path / "begun").exists)
        server.tell_to_end()
        recipe.until(lambda: recipe.noted("503"))
        (tmp_path / "enough").touch()
        slow.result()
    server.end(signal.SIGTERM)
    server.start()
    say()
    recipe.until(lambda: recipe.told == expected)
    assert not re.search("missing|rror", "\n".join(recipe.lines))
