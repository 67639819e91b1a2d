"""The examples in a real browser, as ``openline demo`` runs them: each does what its page says, in several windows."""

import re
from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, WebSocketRoute, expect

from openline import Openline
from openline.app.loading import load
from openline.cli.examples import NAMES
from tests.server import openline

ROOT = Path(__file__).resolve().parents[2]
KEY = "a-key-for-the-examples"
#: Counts what comes in a channel that the page is in, from its line and with its module, for so many milliseconds.
COUNT = """async ([channel, type, time]) => {
  const { connect } = await import("./openline.js");
  const begun = performance.now();
  let count = 0;
  const stop = connect().subscribe(channel).on(type, () => (count += 1));
  await new Promise((done) => setTimeout(done, time));
  stop();
  return (count * 1000) / (performance.now() - begun);
}"""
#: Publishes, with a key, what a machine without /proc tells, until the page has shown it.
PORTABLE = """async (key) => {
  const headers = { authorization: `Bearer ${key}`, "content-type": "application/json" };
  const body = JSON.stringify({ channel: "machine", type: "now", payload: { disk: [8, 2], load: [0.5, 0.25, 0.125] } });
  const [less, cpu] = ["less", "cpu"].map((id) => document.getElementById(id));
  while (less.hidden) {
    await fetch("api/v1/publish", { method: "POST", headers, body });
    await new Promise(requestAnimationFrame);
  }
  const shown = ["load", "disk"].map((id) => document.querySelector(`#${id} .number`).textContent);
  return [less.textContent.includes("no /proc"), cpu.hidden, ...shown];
}"""
#: What others see of the two paddles, from now on until they are where ``wanted`` says.
PADDLES = """async (wanted) => {
  const { connect } = await import("./openline.js");
  const near = (y, at) => Math.abs(y - wanted[at]) < 0.02;
  await new Promise((done) => {
    const stop = connect().subscribe("court").on("now", ({ paddles }) => {
      if (Object.values(paddles).every(near)) done(stop());
    });
  });
}"""
#: How much of the whiteboard's left or right half is drawn upon, in pixels of a small copy.
DRAWN = """(left) => {
  const canvas = document.querySelector("canvas");
  const copy = new OffscreenCanvas(200, 250).getContext("2d", { willReadFrequently: true });
  copy.drawImage(canvas, left ? 0 : canvas.width / 2, 0, canvas.width / 2, canvas.height, 0, 0, 200, 250);
  const { data } = copy.getImageData(0, 0, 200, 250);
  return data.filter((value, at) => at % 4 === 3 && value > 0).length;
}"""


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The demo, once for all of them."""
    folder = tmp_path_factory.mktemp("demo")
    with openline(folder, "demo", "--port", "0", "--engine", "memory", "--api-key", KEY) as process:
        yield process.address()[0]
        assert process.end() == 0
        assert len(process.said.splitlines()) == 1, process.said


@pytest.fixture(scope="module")
def context(browser: Browser) -> Iterator[BrowserContext]:
    context = browser.new_context()
    yield context
    context.close()


@pytest.fixture
def window(browser: Browser, context: BrowserContext, url: str) -> Iterator[Callable[..., Page]]:
    """Opens a page of an example; whatever it says to the console fails the test."""
    opened: list[Page] = []
    said: list[str] = []

    def hear(message: ConsoleMessage) -> None:
        said.append(f"{message.type}: {message.text}")

    def window(path: str, **options: Any) -> Page:
        """In a browser of its own where there are ``options``."""
        page = browser.new_page(**options) if options else context.new_page()
        opened.append(page)
        page.on("console", hear)
        page.on("pageerror", lambda error: said.append(str(error)))
        page.goto(url + path)
        return page

    yield window
    for page in opened:
        page.close()
    assert said == []


def live(page: Page) -> Page:
    expect(page.locator("#status")).to_have_text("Live")
    return page


@pytest.mark.parametrize("name", NAMES)
def test_an_example_has_at_most_40_lines_of_python_and_is_served_by_itself(name: str) -> None:
    folder = ROOT / "examples" / name
    assert [file.name for file in folder.rglob("*.py")] == ["app.py"]
    assert folder.joinpath("app.py").read_bytes().count(b"\n") <= 40
    assert isinstance(load(f"examples.{name}.app:line"), Openline)
    # What the package has is the same file, not another one.
    assert Path(str(files("openline").joinpath("examples", name))).samefile(folder)


@pytest.mark.browser
def test_the_chat_leads_to_the_examples_and_each_runs_beside_its_own_code(
    window: Callable[..., Page], url: str
) -> None:
    page = window("/?name=ada&channel=lobby")
    page.locator("#examples").click()
    expect(page).to_have_url(f"{url}/examples/")
    for name in NAMES:
        page.locator(f"#examples a[data-name={name}]").click()
        title = page.locator("#title").inner_text()
        status = page.frame_locator("iframe").locator("#status")
        expect(status).to_have_text("Nobody is signed in" if name == "notifications" else "Live")
        expect(page.locator("iframe")).to_have_attribute("title", f"{title}, live")
        source = ROOT.joinpath("examples", name, "app.py").read_text()
        expect(page.locator("#code")).to_contain_text("@line.")
        expect(page.locator("#tab-app span")).to_have_text(f"{source.count(chr(10))} lines")
        assert page.locator("#code").text_content() == source
    page.locator("#two").click()
    expect(page.locator("iframe")).to_have_count(2)
    # A line that is left while it opens would be a word of the browser's in the console.
    for frame in page.locator("iframe").all():
        expect(frame.content_frame.locator("#status")).to_have_text("Live")
    page.locator("#tab-page").click()
    expect(page.locator("#code")).to_contain_text("<!doctype html>")
    page.go_back()
    expect(page.locator("#title")).to_have_text("Whiteboard")
    expect(page.frame_locator("iframe").first.locator("#status")).to_have_text("Live")


@pytest.mark.browser
def test_a_newcomer_to_the_ticker_sees_every_price_at_once_and_then_they_move(
    window: Callable[..., Page], url: str
) -> None:
    first = live(window("/examples/ticker/"))
    prices = first.locator(".number")
    expect(prices).to_have_count(6)
    expect(prices).to_have_text([re.compile(r"^\d+\.\d\d$")] * 6)
    # Nobody waits for a trade: the line of the past is there with the first price.
    points = first.locator("polyline").first.get_attribute("points")
    assert points is not None
    assert len(points.split()) >= 59
    seen = prices.all_inner_texts()
    expect(prices).not_to_have_text(seen)
    with httpx.stream("GET", f"{url}/examples/ticker/events?channel=price:ACME") as stream:
        data = next(row for row in stream.iter_lines() if row.startswith("data:"))
        assert '"channel":"price:ACME"' in data


@pytest.mark.browser
def test_the_dashboard_shows_this_machine_and_a_newcomer_gets_what_was_before(window: Callable[..., Page]) -> None:
    page = live(window("/examples/dashboard/"))
    assert Path("/proc/stat").exists()
    for card in ("cpu", "memory", "disk"):
        expect(page.locator(f"#{card} .number")).to_have_text(re.compile(r"^\d+ %$"))
    expect(page.locator("#less")).to_be_hidden()
    cores = len(re.findall(r"^cpu\d", Path("/proc/stat").read_text(), re.M))
    expect(page.locator("#cpu .soft")).to_have_text(f"{cores} cores")
    expect(page.locator("#cores i")).to_have_count(cores)
    # Once a second, whatever the figures say.
    assert 0.4 < page.evaluate(COUNT, ["machine", "now", 2200]) < 1.5
    # On another system there is less to see, and words for it.
    assert page.evaluate(PORTABLE, KEY) == [True, True, "0.50", "25 %"]


@pytest.mark.browser
def test_every_example_says_so_when_its_line_breaks(context: BrowserContext, url: str) -> None:
    for path in ("ticker/", "dashboard/", "notifications/?name=eve", "whiteboard/", "game/"):
        page = context.new_page()
        lines: list[WebSocketRoute] = []
        broken: list[bool] = []

        def pass_on(line: WebSocketRoute, lines: list[Any] = lines, broken: list[bool] = broken) -> None:
            lines.append(line)
            if broken:
                line.close()
            else:
                line.connect_to_server()

        page.route_web_socket(re.compile("/openline$"), pass_on)
        page.goto(f"{url}/examples/{path}")
        live(page)
        broken.append(True)
        lines[0].close()
        expect(page.locator("#status")).to_contain_text("Offline")
        page.close()


@pytest.mark.browser
def test_a_notification_reaches_all_tabs_of_one_person_also_later_and_nobody_else(
    window: Callable[..., Page], url: str
) -> None:
    ada, again, bob = (live(window(f"/examples/notifications/?name={name}")) for name in ("ada", "ada", "bob"))
    bob.get_by_label("To", exact=True).fill("ada")
    bob.get_by_label("Text").fill("<b>Lunch</b> at one?")
    bob.get_by_role("button", name="Send").click()
    for tab in (ada, again):
        expect(tab.locator("#notes p")).to_have_text(["<b>Lunch</b> at one?"])
        expect(tab.locator("#notes small")).to_have_text(["from bob"])
        expect(tab.locator("#badge")).to_have_text("1")
        expect(tab).to_have_title("(1) Notifications")
    expect(bob.locator("#said")).to_have_text("Sent to ada.")
    expect(bob.locator("#notes li")).to_have_count(0)
    again.get_by_role("button", name="Mark as read").click()
    expect(ada.locator("#badge")).to_be_hidden()

    # Away: from a program, with a key.
    for tab in (ada, again):
        tab.close()
    headers = {"authorization": f"Bearer {KEY}"}
    said = {"channel": "inbox:ada", "type": "note", "payload": "Your parcel is here"}
    assert httpx.post(f"{url}/examples/notifications/api/v1/publish", json=said, headers=headers).status_code == 200
    back = live(window("/examples/notifications/?name=ada"))
    expect(back.locator("#notes p")).to_have_text(["Your parcel is here", "<b>Lunch</b> at one?"])
    expect(back.locator("#badge")).to_have_text("1")
    expect(back.locator("[data-unread=true] small")).to_have_text(["from the server"])
    expect(bob.locator("#notes li")).to_have_count(0)


@pytest.mark.browser
def test_a_name_that_is_none_is_asked_for_again(window: Callable[..., Page]) -> None:
    page = window("/examples/notifications/?name=No+Good")
    expect(page.locator("#status")).to_have_attribute("data-line", "closed")
    page.get_by_label("Your name").fill("ada")
    page.get_by_role("button", name="Sign in").click()
    live(page)


def draw(page: Page, *points: tuple[float, float]) -> None:
    """Draw through ``points``, as parts of the board's width and height."""
    box = page.locator("canvas").bounding_box()
    assert box is not None
    places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in points]
    page.mouse.move(*places[0])
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*place, steps=5)
    page.mouse.up()


def drawn(page: Page, *, left: bool) -> None:
    """Wait until something stands in that half of the board."""
    page.wait_for_function(f"(left) => ({DRAWN})(left) > 100", arg=left)


@pytest.mark.browser
def test_what_is_drawn_appears_elsewhere_and_later_and_cursors_move_until_their_window_closes(
    window: Callable[..., Page],
) -> None:
    ada, bob = live(window("/examples/whiteboard/")), live(window("/examples/whiteboard/", has_touch=True))
    ada.get_by_label("Your name").fill("<i>Ada</i>")
    draw(ada, (0.1, 0.2), (0.4, 0.7), (0.2, 0.9))
    drawn(bob, left=True)
    assert bob.evaluate(DRAWN, False) == 0
    draw(bob, (0.7, 0.2), (0.9, 0.7))
    drawn(ada, left=False)
    cursor = bob.locator(".cursor")
    expect(cursor).to_have_text("<i>Ada</i>")
    before = cursor.get_attribute("style")
    ada.mouse.move(300, 300)
    expect(cursor).not_to_have_attribute("style", before or "")

    carol = live(window("/examples/whiteboard/", viewport={"width": 375, "height": 700}))
    drawn(carol, left=True)
    drawn(carol, left=False)
    ada.close()
    expect(cursor).to_have_count(0)
    bob.get_by_role("button", name="Clear").click()
    carol.wait_for_function(f"() => ({DRAWN})(true) + ({DRAWN})(false) === 0")


@pytest.mark.browser
def test_two_play_at_20_updates_a_second_a_third_watches_and_leaving_is_told(window: Callable[..., Page]) -> None:
    ada, bob, carol = (live(window("/examples/game/")) for _ in range(3))
    court = "#court"
    ada.get_by_role("button", name="Play").click()
    expect(ada.locator("#words")).to_contain_text("Waiting for a second player")
    bob.get_by_role("button", name="Play").click()
    for page in (ada, bob):
        expect(page.locator(court)).to_have_attribute("data-state", "playing")
    expect(carol.locator(court)).to_have_attribute("data-state", "watching")
    # Real time, on a machine that others use.
    assert 12 < bob.evaluate(COUNT, ["court", "now", 1500]) < 21

    for page, y in ((ada, 0.2), (bob, 0.8)):
        box = page.locator(court).bounding_box()
        assert box is not None
        page.mouse.move(box["x"] + box["width"] / 2, box["y"] + y * box["height"])
    for page in (ada, bob, carol):
        page.evaluate(PADDLES, [0.2, 0.8])
    ada.keyboard.down("ArrowDown")
    carol.evaluate(PADDLES, [1, 0.8])
    ada.keyboard.up("ArrowDown")

    carol.get_by_role("button", name="Play").click()
    expect(carol.locator("#words")).to_contain_text("as soon as one of them leaves")
    ada.close()
    for page in (bob, carol):
        expect(page.locator(court)).to_have_attribute("data-state", "playing")
    carol.close()
    expect(bob.locator("#words")).to_contain_text("The other one has left")
