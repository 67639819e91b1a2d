"""A page that comes back out of the back-forward cache of a real Chromium."""

from collections.abc import Callable

from playwright.sync_api import Page, expect

from .conftest import Demo
from .relay import Relay
from .test_chat import PATIENCE, join, say, sent, texts

Open = Callable[[str], Page]

#: Run in the page before it goes: it is the same page later if it still knows this, and it heard that it was kept.
MARK = """() => { window.shown = []; window.onpageshow = ({ persisted }) => shown.push(persisted); }"""


def leave(page: Page, port: int) -> None:
    """Follow a link to another page."""
    page.evaluate(MARK)
    page.goto(f"http://127.0.0.1:{port}/healthz")


def come_back(page: Page) -> None:
    """Press the browser's back button; the page must come out of the cache, not be loaded anew."""
    page.evaluate("() => { history.back(); }")
    page.wait_for_function("() => window.shown?.length === 1", timeout=PATIENCE)
    assert page.evaluate("() => shown") == [True]
    assert page.evaluate("() => performance.getEntriesByType('navigation')[0].notRestoredReasons") is None


def test_a_page_out_of_the_cache_shows_at_once_what_it_missed_in_order_and_once(demo: Demo, open_page: Open) -> None:
    ada, bob = join(open_page, demo.port, "ada"), join(open_page, demo.port, "bob")
    for number in range(3):
        say(bob, f"before {number}")
    sent(ada, 3)
    for turn in range(3):
        leave(ada, demo.port)
        for number in range(3):
            say(bob, f"away {turn}.{number}")
        sent(bob, 6 + 3 * turn)
        come_back(ada)
        sent(ada, 6 + 3 * turn)
        assert texts(ada) == texts(bob)
    expect(ada.locator("#app")).to_have_attribute("data-status", "open", timeout=PATIENCE)
    say(ada, "and on it goes")
    sent(bob, 13)
    # Quick enough for nobody to notice: the same connection went on.
    assert bob.locator("#messages li[data-kind=presence]").count() == 0
    expect(ada.locator("#people > li")).to_have_count(2)


def test_what_waited_when_the_page_went_into_the_cache_is_published_once_when_it_is_back(
    demo: Demo, relay: Relay, open_page: Open
) -> None:
    ada, bob = join(open_page, relay.port, "ada"), join(open_page, demo.port, "bob")
    relay.cut()
    for text in ("one", "two"):
        say(ada, text)
    ada.evaluate(MARK)
    ada.goto(f"http://127.0.0.1:{demo.port}/healthz")
    relay.mend()
    come_back(ada)
    for page in (ada, bob):
        sent(page, 2)
        assert texts(page) == ["one", "two"]


def test_what_another_tab_has_published_meanwhile_is_not_published_again(
    demo: Demo, relay: Relay, open_page: Open
) -> None:
    ada, bob = join(open_page, relay.port, "ada"), join(open_page, demo.port, "bob")
    relay.cut()
    say(ada, "once")
    leave(ada, demo.port)
    relay.mend()
    other = ada.context.new_page()
    other.goto(f"http://127.0.0.1:{relay.port}/?name=ada&channel=lobby")
    for page in (other, bob):
        sent(page, 1)
    come_back(ada)
    say(ada, "then this")
    for page in (ada, other, bob):
        sent(page, 2)
        assert texts(page) == ["once", "then this"]
