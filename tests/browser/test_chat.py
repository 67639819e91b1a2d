"""The chat demo in a real browser: two people, a broken network, a server that stops."""

import signal
from collections.abc import Callable

from playwright.sync_api import Page, expect

from .conftest import Demo
from .relay import Relay

PATIENCE = 60_000


def join(open_page: Callable[[str], Page], port: int, name: str) -> Page:
    page = open_page(f"http://127.0.0.1:{port}/?name={name}&channel=lobby")
    expect(page.locator("#main")).to_have_attribute("data-state", "ready")
    return page


def say(page: Page, text: str) -> None:
    page.locator("#text").fill(text)
    page.locator("#text").press("Enter")


def texts(page: Page) -> list[str]:
    return page.locator("#messages li[data-kind=message] .text").all_inner_texts()


def sent(page: Page, count: int) -> None:
    """Wait until ``count`` messages stand there and none is pending."""
    expect(page.locator("#messages li[data-kind=message]")).to_have_count(count, timeout=PATIENCE)
    expect(page.locator("#messages li[data-kind=message][data-state=pending]")).to_have_count(0, timeout=PATIENCE)


def test_two_people_chat_and_markup_stays_text(demo: Demo, open_page: Callable[[str], Page]) -> None:
    ada, bob = join(open_page, demo.port, "ada"), join(open_page, demo.port, "bob")
    say(ada, "hello bob")
    expect(bob.locator("#messages .text")).to_have_text(["hello bob"])
    say(bob, '<img src=x onerror="document.title=1"><b>hi</b>')
    expect(ada.locator("#messages .text")).to_have_text(
        ["hello bob", '<img src=x onerror="document.title=1"><b>hi</b>']
    )
    assert ada.locator("#messages img").count() == 0
    assert bob.locator("li[data-kind=message]").first.get_attribute("data-author") == "ada"


def test_typing_appears_and_expires_by_itself(demo: Demo, open_page: Callable[[str], Page]) -> None:
    ada, bob = join(open_page, demo.port, "ada"), join(open_page, demo.port, "bob")
    bob.locator("#text").press_sequentially("hm")
    expect(ada.locator("#typing-text")).to_have_text("bob is typing…")
    expect(ada.locator("#typing")).not_to_have_attribute("data-active", "true", timeout=8000)
    bob.locator("#text").press_sequentially("m")
    expect(ada.locator("#typing-text")).to_have_text("bob is typing…")
    bob.locator("#text").press("Enter")
    expect(ada.locator("#messages .text")).to_have_text(["hmm"])
    expect(ada.locator("#typing")).not_to_have_attribute("data-active", "true", timeout=1000)
    bob.locator("#text").press_sequentially("again")
    expect(ada.locator("#typing-text")).to_have_text("bob is typing…", timeout=1000)


def test_presence_follows_a_closed_tab(demo: Demo, open_page: Callable[[str], Page]) -> None:
    ada, bob = join(open_page, demo.port, "ada"), join(open_page, demo.port, "bob")
    expect(ada.locator("#people > li")).to_have_count(2)
    bob.close(run_before_unload=False)
    expect(ada.locator("#people > li")).to_have_count(1)
    expect(ada.locator("#people > li")).to_have_attribute("data-name", "ada")


def test_newcomers_get_the_history_and_others_an_unread_count(demo: Demo, open_page: Callable[[str], Page]) -> None:
    ada = join(open_page, demo.port, "ada")
    for number in range(60):
        say(ada, f"message {number}")
    sent(ada, 60)
    bob = join(open_page, demo.port, "bob")
    expect(bob.locator("#messages li[data-kind=message]")).to_have_count(50)
    # Not by the mouse, for which the list is scrolled: near its beginning it loads them by itself.
    bob.locator("#older").dispatch_event("click")
    expect(bob.locator("#messages li[data-kind=message]")).to_have_count(60)
    assert texts(bob) == [f"message {number}" for number in range(60)]
    bob.locator('#channels button[data-channel="chat:random"]').click()
    say(ada, "psst")
    expect(bob.locator('#channels button[data-channel="chat:lobby"]')).to_have_attribute("data-unread", "1")


def test_what_is_written_while_the_network_is_cut_arrives_once_and_in_order(
    demo: Demo, relay: Relay, open_page: Callable[[str], Page]
) -> None:
    ada, bob = join(open_page, relay.port, "ada"), join(open_page, demo.port, "bob")
    expect(bob.locator("#people > li")).to_have_count(2)
    for number in range(24):
        say(ada, f"ada {number}")
        say(bob, f"bob {number}")
        if number % 8 == 3:
            relay.cut()
        if number % 8 == 6:
            relay.mend()
    sent(ada, 48)
    sent(bob, 48)
    assert texts(ada) == texts(bob)
    for name in ("ada", "bob"):
        assert [text for text in texts(ada) if text.startswith(name)] == [f"{name} {number}" for number in range(24)]
    # The same connection came back: nobody left, nobody joined.
    expect(bob.locator("#people > li")).to_have_count(2)
    assert bob.locator("#messages li[data-kind=presence]").count() <= 1


def talk_over_a_restart(demo: Demo, open_page: Callable[[str], Page], how: signal.Signals) -> tuple[Page, Page]:
    """Both talk on while the server is ended and started again; then both show the same, nothing twice."""
    ada, bob = join(open_page, demo.port, "ada"), join(open_page, demo.port, "bob")
    for number in range(20):
        say(ada, f"ada {number}")
        say(bob, f"bob {number}")
        if number == 6:
            demo.end(how)
        if number == 12:
            demo.start()
    sent(ada, 40)
    sent(bob, 40)
    assert len(set(texts(ada))) == 40
    assert texts(ada) == texts(bob)
    return ada, bob


def test_a_restart_costs_no_message_and_no_history(demo: Demo, open_page: Callable[[str], Page]) -> None:
    ada, bob = talk_over_a_restart(demo, open_page, signal.SIGTERM)
    for page in (ada, bob):
        assert page.locator("#messages li[data-kind=gap]").count() == 0


def test_a_restart_costs_no_message_where_history_is_in_memory(
    forgetful_demo: Demo, open_page: Callable[[str], Page]
) -> None:
    talk_over_a_restart(forgetful_demo, open_page, signal.SIGTERM)


def test_after_kill_9_both_resume_and_end_with_the_same_list(demo: Demo, open_page: Callable[[str], Page]) -> None:
    ada, bob = talk_over_a_restart(demo, open_page, signal.SIGKILL)
    for page in (ada, bob):
        assert page.locator("#messages li[data-kind=gap]").count() == 0
    carol = join(open_page, demo.port, "carol")
    sent(carol, 40)
    assert texts(carol) == texts(ada)


def test_after_kill_9_without_a_file_both_are_told_that_history_was_lost_and_go_on(
    forgetful_demo: Demo, open_page: Callable[[str], Page]
) -> None:
    demo = forgetful_demo
    ada, bob = join(open_page, demo.port, "ada"), join(open_page, demo.port, "bob")
    say(ada, "before")
    expect(bob.locator("#messages .text")).to_have_text(["before"])
    demo.end(signal.SIGKILL)
    demo.start()
    for page in (ada, bob):
        expect(page.locator("#messages li[data-kind=gap]")).to_have_count(1, timeout=PATIENCE)
        expect(page.locator("#app")).to_have_attribute("data-status", "open", timeout=PATIENCE)
    say(bob, "after")
    for page in (ada, bob):
        expect(page.locator("#messages .text")).to_have_text(["before", "after"], timeout=PATIENCE)


def test_a_name_is_asked_for_first_and_a_bad_channel_is_explained(demo: Demo, open_page: Callable[[str], Page]) -> None:
    page = open_page(f"http://127.0.0.1:{demo.port}/")
    page.locator("#name").fill("  grace  ")
    page.locator("#name-submit").click()
    expect(page.locator("#me-name")).to_have_text("grace")
    expect(page.locator("#main")).to_have_attribute("data-state", "ready")
    page.locator("#join-name").fill("no spaces, please")
    page.locator("#join-name").press("Enter")
    expect(page.locator("#join-error")).to_be_visible()


def test_a_phone_shows_the_chat_and_opens_the_drawers(demo: Demo, open_page: Callable[[str], Page]) -> None:
    page = open_page(f"http://127.0.0.1:{demo.port}/?name=ada")
    page.set_viewport_size({"width": 360, "height": 640})
    expect(page.locator("#text")).to_be_visible()
    page.locator("#people-open").click()
    expect(page.locator("#people > li").first).to_be_in_viewport()
    assert page.evaluate("() => document.documentElement.scrollWidth <= 360")
