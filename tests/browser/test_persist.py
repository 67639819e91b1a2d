"""What somebody writes while the server is away, in a real Chromium: reloads, closed tabs, several tabs, kills."""

import signal
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Page, expect

from openline.app.pages import sdk_pages
from openline.cli.demo import demo_pages

from .conftest import Demo
from .site import Site
from .test_chat import PATIENCE, join, say, sent, texts

Open = Callable[[str], Page]

PENDING = "#messages li[data-kind=message][data-state=pending]"


@pytest.fixture
def site(demo: Demo) -> Iterator[Site]:
    """The pages are there whether the demo is or not."""
    site = Site(demo.port, {**sdk_pages(), **demo_pages()})
    yield site
    site.close()


def cut_off(demo: Demo, *pages: Page, how: signal.Signals = signal.SIGTERM) -> None:
    demo.end(how)
    for page in pages:
        expect(page.locator("#app")).not_to_have_attribute("data-status", "open", timeout=PATIENCE)


def pending(page: Page, *expected: str) -> None:
    """Wait until these messages stand there as on their way."""
    expect(page.locator(f"{PENDING} .text")).to_have_text(list(expected), timeout=PATIENCE)


def address(site: Site, name: str) -> str:
    return f"http://127.0.0.1:{site.port}/?name={name}&channel=lobby"


def test_what_was_written_offline_survives_a_reload_and_arrives_once_and_in_order(
    demo: Demo, site: Site, open_page: Open
) -> None:
    ada, bob = join(open_page, site.port, "ada"), join(open_page, demo.port, "bob")
    cut_off(demo, ada, bob)
    for text in ("one", "two", "three"):
        say(ada, text)
    pending(ada, "one", "two", "three")
    for _ in range(2):
        ada.reload()
        pending(ada, "one", "two", "three")
    say(ada, "four")
    demo.start()
    for page in (ada, bob):
        sent(page, 4)
        assert texts(page) == ["one", "two", "three", "four"]
    ada.reload()
    sent(ada, 4)


def test_a_message_that_was_under_way_when_the_server_was_killed_arrives_once(
    demo: Demo, site: Site, open_page: Open
) -> None:
    ada, bob = join(open_page, site.port, "ada"), join(open_page, demo.port, "bob")
    demo.send(signal.SIGSTOP)
    say(ada, "under way")
    pending(ada, "under way")
    demo.end(signal.SIGKILL)
    ada.reload()
    pending(ada, "under way")
    demo.start()
    for page in (ada, bob):
        sent(page, 1)
        assert texts(page) == ["under way"]


def test_a_message_that_the_server_takes_after_its_page_was_reloaded_arrives_once(
    demo: Demo, site: Site, open_page: Open
) -> None:
    ada, bob = join(open_page, site.port, "ada"), join(open_page, demo.port, "bob")
    demo.send(signal.SIGSTOP)
    say(ada, "said twice")
    pending(ada, "said twice")
    ada.reload()
    pending(ada, "said twice")
    # It reads now what the first page sent, its end, and the same from the second page.
    demo.send(signal.SIGCONT)
    for page in (ada, bob):
        sent(page, 1)
        assert texts(page) == ["said twice"]


def test_two_tabs_publish_each_their_own_and_what_a_closed_one_left(demo: Demo, site: Site, open_page: Open) -> None:
    first, bob = join(open_page, site.port, "ada"), join(open_page, demo.port, "bob")
    second = first.context.new_page()
    second.goto(address(site, "ada"))
    expect(second.locator("#main")).to_have_attribute("data-state", "ready")
    cut_off(demo, first, second)
    for number in range(3):
        say(first, f"first {number}")
        say(second, f"second {number}")
    second.reload()
    pending(second, *(f"second {number}" for number in range(3)))
    pending(first, *(f"first {number}" for number in range(3)))
    first.close()
    demo.start()
    for page in (second, bob):
        sent(page, 6)
        assert len(set(texts(page))) == 6
        for name in ("first", "second"):
            assert [text for text in texts(page) if text.startswith(name)] == [f"{name} {n}" for n in range(3)]


def test_a_closed_browser_tab_leaves_its_message_to_the_next_visit(demo: Demo, site: Site, open_page: Open) -> None:
    ada, bob = join(open_page, site.port, "ada"), join(open_page, demo.port, "bob")
    cut_off(demo, ada)
    say(ada, "goodbye")
    pending(ada, "goodbye")
    context = ada.context
    ada.close()
    demo.start()
    expect(bob.locator("#app")).to_have_attribute("data-status", "open", timeout=PATIENCE)
    assert texts(bob) == []
    page = context.new_page()
    page.goto(address(site, "ada"))
    for there in (page, bob):
        sent(there, 1)
        assert texts(there) == ["goodbye"]


def test_somebody_else_in_the_same_browser_neither_sees_nor_publishes_it(
    demo: Demo, site: Site, open_page: Open
) -> None:
    ada, bob = join(open_page, site.port, "ada"), join(open_page, demo.port, "bob")
    cut_off(demo, ada, bob)
    say(ada, "mine alone")
    pending(ada, "mine alone")
    ada.goto(address(site, "eve"))
    expect(ada.locator("#me-name")).to_have_text("eve")
    demo.start()
    expect(ada.locator("#main")).to_have_attribute("data-state", "ready", timeout=PATIENCE)
    say(ada, "from eve")
    expect(bob.locator("#messages .text")).to_have_text(["from eve"], timeout=PATIENCE)
    ada.goto(address(site, "ada"))
    for page in (ada, bob):
        sent(page, 2)
        assert texts(page) == ["from eve", "mine alone"]


def test_a_page_that_may_not_use_the_database_works_without_it(demo: Demo, site: Site, open_page: Open) -> None:
    ada, bob = join(open_page, site.port, "ada"), join(open_page, demo.port, "bob")
    ada.context.add_init_script("Object.defineProperty(window, 'indexedDB', { get() { throw new Error('no'); } })")
    ada.reload()
    expect(ada.locator("#main")).to_have_attribute("data-state", "ready")
    say(ada, "all the same")
    expect(bob.locator("#messages .text")).to_have_text(["all the same"])
