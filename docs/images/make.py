"""Makes the pictures: starts the demo, lets people talk, draw and play in a real Chromium, and takes their picture.

Run it from the project's folder with ``.venv/bin/python docs/images/make.py``; it needs chromium.
"""

import math
import shutil
import subprocess
import sys
import tempfile
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from urllib.parse import urlencode

from playwright.sync_api import Browser, Page, sync_playwright

FOLDER = Path(__file__).parent
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
LOBBY = [
    ("mira", "Morning! The tomatoes on the roof are finally red."),
    ("jonas", "All of them? I only brought one bowl."),
    ("mira", "Enough for two bowls, and the basil wants cutting too."),
    ("tove", "I have bread from yesterday and a good cheese. Lunch up there at one?"),
    ("jonas", "Yes please. I'll carry the small table up."),
    ("mira", "Then I bring plates and the blue parasol, it will be bright."),
    ("tove", "There was a blackbird on the railing when I watered last night."),
    ("tove", "Completely unimpressed by me."),
    ("mira", "That one owns the place. We only rent."),
]
ELSEWHERE = [
    ("jonas", "chat:random", "Has anybody seen the corkscrew?"),
    ("tove", "chat:random", "Kitchen, second drawer"),
]
#: When they talk, whenever this runs.
MORNING = datetime(2026, 6, 20, 9, 12)
SAY = """async ([channel, text]) => {
  const { connect } = await import("/openline.js");
  await connect().subscribe(channel).publish("message", text);
}"""
BOARD = """<!doctype html><meta charset="utf-8"><style>
  body { margin: 0; width: 1280px; height: 800px; position: relative; overflow: hidden;
         background: linear-gradient(160deg, #dfe8e3, #c3d3cd 60%, #a9c0ba) }
  img { position: absolute; display: block; box-shadow: 0 18px 50px #12302a4d, 0 2px 8px #12302a33 }
  .desk { left: 36px; top: 44px; width: 980px; border-radius: 12px }
  .phone { right: 40px; top: 128px; width: 296px; border-radius: 30px; border: 9px solid #17211f }
</style><img class="desk" src="DESK"><img class="phone" src="PHONE">"""


class Demo:
    """``openline demo`` on a free port, as long as the block lasts."""

    def __enter__(self) -> str:
        command = [str(Path(sys.executable).with_name("openline")), "demo", "--port", "0", "--engine", "memory"]
        self._process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)  # noqa: S603  our own
        assert self._process.stderr is not None
        for said in self._process.stderr:
            if "ready on " in said:
                return said.partition("ready on ")[2].split()[0]
        raise SystemExit("the demo did not start")

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(30)


def enter(browser: Browser, url: str, name: str, width: int, height: int) -> Page:
    """A person with a window of their own."""
    context = browser.new_context(viewport={"width": width, "height": height}, device_scale_factor=2)
    page = context.new_page()
    page.goto(f"{url}/?{urlencode({'name': name, 'channel': 'lobby'})}")
    page.wait_for_selector("#main[data-state=ready]")
    return page


def talk(people: dict[str, Page]) -> None:
    """Everybody says what they have to say, in order; somebody has begun the next sentence."""
    for count, (name, text) in enumerate(LOBBY, 1):
        for page in people.values():
            page.clock.set_system_time(MORNING + count * timedelta(seconds=40))
        people[name].locator("#text").fill(text)
        people[name].locator("#text").press("Enter")
        for page in people.values():
            page.locator("#messages li[data-kind=message]").nth(count - 1).wait_for()
    for name, channel, text in ELSEWHERE:
        people[name].evaluate(SAY, [channel, text])


def picture(browser: Browser, url: str, folder: Path) -> None:
    """The board: a desk and a phone, both in the same conversation."""
    people = {
        "jonas": enter(browser, url, "jonas", 900, 700),
        "tove": enter(browser, url, "tove", 375, 700),
        "mira": enter(browser, url, "mira", 1240, 900),
    }
    talk(people)
    people["jonas"].locator("#text").press_sequentially("And I have found the cork")
    for name, file in (("mira", "desk.png"), ("tove", "phone.png")):
        people[name].wait_for_selector("#typing[data-active=true]")
        people[name].screenshot(path=folder / file)
    board = browser.new_context(viewport={"width": 1280, "height": 800}).new_page()
    (folder / "board.html").write_text(BOARD.replace("DESK", "desk.png").replace("PHONE", "phone.png"))
    board.goto((folder / "board.html").as_uri())
    board.screenshot(path=FOLDER / "chat.png")


def visit(browser: Browser, url: str, example: str, *, height: int = 460) -> Page:
    """A window of an example's own, as a reader would have it."""
    page = browser.new_context(viewport={"width": 760, "height": height}, device_scale_factor=1.5).new_page()
    page.goto(f"{url}/examples/{example}")
    page.wait_for_selector("#status[data-line=open]")
    return page


def draw(page: Page, colour: str, *points: tuple[float, float]) -> None:
    """One stroke through ``points``, as parts of the board's width and height."""
    page.get_by_label(colour, exact=True).check(force=True)
    box = page.locator("canvas").bounding_box()
    assert box is not None
    places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in points]
    page.mouse.move(*places[0])
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*place)
    page.mouse.up()


def whiteboard(browser: Browser, url: str) -> None:
    """A house by the sea, by two hands."""
    wren, otter = (visit(browser, url, "whiteboard/", height=560) for _ in range(2))
    for page, name in ((wren, "Wren"), (otter, "Otter")):
        page.get_by_label("Your name").fill(name)
    left, right, ground, eaves = 0.22, 0.44, 0.7, 0.46
    walls = [(left, ground), (left, eaves), (0.33, 0.28), (right, eaves), (right, ground), (left, ground)]
    for (x, y), (to_x, to_y) in pairwise([*walls, (left, eaves), (right, eaves)]):
        draw(wren, "Ink", *((x + (to_x - x) * step / 9, y + (to_y - y) * step / 9) for step in range(10)))
    draw(wren, "Red", (0.3, 0.7), (0.3, 0.56), (0.36, 0.56), (0.36, 0.7))
    turns = [step / 40 * math.tau for step in range(41)]
    draw(otter, "Amber", *((0.74 + 0.07 * math.cos(t), 0.27 + 0.112 * math.sin(t)) for t in turns))
    for t in turns[2::5]:
        ray = [(0.74 + far * math.cos(t), 0.27 + 1.6 * far * math.sin(t)) for far in (0.09, 0.1, 0.115)]
        draw(otter, "Amber", *ray)
    for row in range(3):
        steps = [step / 50 for step in range(51)]
        draw(otter, "Blue", *((0.06 + 0.88 * x, 0.79 + row * 0.07 + 0.018 * math.sin(x * 30 + row)) for x in steps))
    draw(wren, "Green", *((0.04 + 0.16 * x / 20, 0.7 - 0.09 * math.sin(x / 20 * math.pi)) for x in range(21)))
    otter.mouse.move(620, 300)
    page = wren
    page.locator(".cursor b").wait_for()
    page.wait_for_timeout(500)
    page.screenshot(path=FOLDER / "whiteboard.png")


def game(browser: Browser, url: str) -> None:
    """Two who play, as one of them sees it."""
    players = [visit(browser, url, "game/", height=600) for _ in range(2)]
    for page in players:
        page.get_by_role("button", name="Play").click()
    for page, y in zip(players, (320, 420), strict=True):
        page.wait_for_selector("#court[data-state=playing]")
        page.mouse.move(380, y)
    players[0].wait_for_timeout(700)
    players[0].screenshot(path=FOLDER / "game.png")


def notifications(browser: Browser, url: str) -> None:
    """What came to ada, some of it read."""
    ada, jonas = (visit(browser, url, f"notifications/?name={name}", height=590) for name in ("ada", "jonas"))
    for text in ("Your parcel is at the neighbour's", "The build is green again", "Lunch on the roof at one?"):
        jonas.get_by_label("To", exact=True).fill("ada")
        jonas.get_by_label("Text").fill(text)
        jonas.get_by_role("button", name="Send").click()
        ada.get_by_text(text).wait_for()
        if "parcel" in text:
            ada.get_by_role("button", name="Mark as read").click()
            ada.locator("#badge").wait_for(state="hidden")
    ada.wait_for_timeout(500)
    ada.screenshot(path=FOLDER / "notifications.png")


def plain(browser: Browser, url: str, example: str, height: int) -> None:
    """One that needs nobody."""
    page = visit(browser, url, f"{example}/", height=height)
    page.wait_for_timeout(2500)
    page.screenshot(path=FOLDER / f"{example}.png")


def main() -> None:
    """Make all of them."""
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        raise SystemExit("chromium is missing; on Debian: apt-get install chromium")
    with tempfile.TemporaryDirectory() as folder, Demo() as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        picture(browser, url, Path(folder))
        for each in (whiteboard, game, notifications):
            each(browser, url)
        plain(browser, url, "ticker", 520)
        plain(browser, url, "dashboard", 750)
        browser.close()


if __name__ == "__main__":
    main()
