"""The pages that the README, the tutorial and the raw door's page show, opened in a real Chromium."""

import re
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.docs.blocks import ROOT, Block, Program, blocks
from tests.docs.conftest import Shown
from tests.server import openline

pytestmark = [pytest.mark.browser, pytest.mark.server]

#: A client that has failed to come back a few times waits for seconds.
PATIENCE_MS = 60_000

Start = Callable[[Program], Shown]
Open = Callable[[str], Page]


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Open]:
    """Opens a page as somebody new; what goes wrong on it fails the test."""
    wrong: list[str] = []
    pages: list[Page] = []

    def open_page(url: str) -> Page:
        page = browser.new_page()
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.goto(url)
        pages.append(page)
        return page

    yield open_page
    for page in pages:
        page.context.close()
    assert not wrong


def programs(page: str) -> list[Program]:
    """The programs of a page, in order."""
    return list(dict.fromkeys(block.program for block in blocks("python", page=page)))


def say(page: Page, text: str) -> None:
    page.locator("input").fill(text)
    page.locator("input").press("Enter")


def test_two_windows_of_the_first_example_talk_and_are_greeted(start: Start, open_page: Open) -> None:
    shown = start(programs("README.md")[0])
    ada, bob = open_page(shown.url), open_page(shown.url)
    expect(ada.locator("h1")).to_have_text("Hello, Ada.")
    say(ada, "The kettle is on.")
    say(bob, "<b>On my way</b>")
    for page in (ada, bob):
        expect(page.locator("li")).to_have_text(["The kettle is on.", "<b>On my way</b>"])
    expect(open_page(shown.url).locator("li")).to_have_count(2)


def test_the_chat_of_the_tutorial_shows_messages_typing_and_who_is_there(start: Start, open_page: Open) -> None:
    first, last = programs("tutorial.md")
    url = start(last).url
    ada, bob = open_page(f"{url}/?token=token-of-ada"), open_page(f"{url}/?token=token-of-bob")
    expect(ada.locator("#here")).to_have_text("ada, bob")
    bob.locator("#text").press_sequentially("hi")
    expect(ada.locator("#typing")).to_have_text("bob typing…")
    bob.locator("#text").press("Enter")
    expect(ada.locator("#messages li")).to_have_text(["bob: hi"])
    expect(ada.locator("#typing")).to_have_text("")
    bob.context.close()
    expect(ada.locator("#here")).to_have_text("ada")
    stranger = open_page(f"{url}/?token=guessed")
    expect(stranger.locator("#status")).to_have_text("closed")
    nobody = open_page(start(first).url)
    expect(nobody.locator("#status")).to_have_text("open")
    expect(nobody.locator("#here")).to_have_text("somebody")


def test_the_tutorials_windows_come_back_after_a_restart_with_what_was_typed_meanwhile(
    start: Start, open_page: Open
) -> None:
    program = programs("tutorial.md")[0]
    folder = start(program).folder
    with openline(folder, "serve", program.target, "--port", "0") as server:
        url, port = server.address()
        ada, bob = open_page(url), open_page(url)
        say(ada, "before")
        expect(bob.locator("#messages li")).to_have_text(["somebody: before"])
        assert server.end() == 0
    expect(ada.locator("#status")).not_to_have_text("open")
    say(ada, "meanwhile")
    with openline(folder, "serve", program.target, "--port", str(port)) as server:
        for page in (ada, bob):
            expect(page.locator("#messages li")).to_have_text(["somebody: meanwhile"], timeout=PATIENCE_MS)
        for page in (ada, bob):
            page.context.close()
        assert server.end() == 0


def test_the_bare_page_of_the_raw_door_hears_itself(start: Start, open_page: Open) -> None:
    page = open_page(start(programs("raw.md")[0]).url)
    expect(page.locator("output")).to_have_text("21.5 °C")


@pytest.mark.parametrize("block", blocks("html"), ids=str)
def test_a_page_that_is_shown_is_one_of_those_above(block: Block) -> None:
    assert (block.page.name, block.about) in {("tutorial.md", "index.html"), ("raw.md", "index.html")}
    assert re.search(r"<title>\w+</title>", block.text)


def test_the_readme_shows_lines_of_the_first_page() -> None:
    page = (ROOT / "examples" / "first" / "index.html").read_text()
    (block,) = blocks("js", page="README.md")
    shared = [line for line in block.text.splitlines() if line and "console.log" not in line and "kettle" not in line]
    assert shared
    assert all(line in page for line in shared)
