"""Makes chat.png: starts the demo, lets three people talk in a real Chromium, and takes their picture.

Run it from the project's folder with ``.venv/bin/python docs/images/make.py``; it needs chromium.
"""

import shutil
import subprocess
import sys
import tempfile
from datetime import datetime, timedelta
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
        command = [str(Path(sys.executable).with_name("openline")), "demo", "--port", "0"]
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


def main() -> None:
    """Make the picture."""
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        raise SystemExit("chromium is missing; on Debian: apt-get install chromium")
    with tempfile.TemporaryDirectory() as folder, Demo() as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        picture(browser, url, Path(folder))
        browser.close()


if __name__ == "__main__":
    main()
