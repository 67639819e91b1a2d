"""The chat in a real browser where no WebSocket gets through, and where one does again."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.docs.nginx import UnawareNginx
from tests.hostile import Hostile

from .conftest import Demo
from .test_back_forward import come_back, leave
from .test_chat import PATIENCE, join, say, sent, texts

Open = Callable[[str], Page]
#: What nginx does with event streams, and what then carries the line.
PROXIES = {"": "stream", "proxy_ignore_headers X-Accel-Buffering;": "poll"}


@pytest.fixture
def hostile(demo: Demo) -> Iterator[Hostile]:
    with Hostile(demo.port, sockets="swallow") as hostile:
        yield hostile


def goes(page: Page, way: str) -> None:
    """Wait until ``way`` carries the page's line."""
    expect(page.locator("#app")).to_have_attribute("data-transport", way, timeout=PATIENCE)


@pytest.mark.nginx
@pytest.mark.parametrize(("more", "way"), PROXIES.items(), ids=PROXIES.values())
def test_two_people_chat_through_a_proxy_that_passes_no_upgrade(
    demo: Demo, open_page: Open, tmp_path: Path, more: str, way: str
) -> None:
    with UnawareNginx(tmp_path, demo.port, more) as nginx:
        ada, bob = join(open_page, nginx.port, "ada"), join(open_page, nginx.port, "bob")
        for page in (ada, bob):
            goes(page, way)
            expect(page.locator("#people > li")).to_have_count(2)
        bob.locator("#text").press_sequentially("hm")
        expect(ada.locator("#typing-text")).to_have_text("bob is typing…")
        bob.locator("#text").fill("")
        for number in range(5):
            say(ada, f"ada {number}")
            say(bob, f"bob {number}")
        ada.reload()
        goes(ada, way)
        sent(bob, 10)
        sent(ada, 10)
        assert texts(ada) == texts(bob)
    for number in range(5, 8):
        say(ada, f"ada {number}")
        say(bob, f"bob {number}")
    with nginx:
        sent(bob, 16)
        sent(ada, 16)
        assert texts(ada) == texts(bob)
        for name in ("ada", "bob"):
            assert [text for text in texts(ada) if text.startswith(name)] == [f"{name} {n}" for n in range(8)]
        expect(bob.locator("#people > li")).to_have_count(2)
        ada.close(run_before_unload=False)
        # At once, not when the server has lost its patience.
        expect(bob.locator("#people > li")).to_have_count(1, timeout=8000)


def test_the_chat_moves_up_when_websockets_pass_again_without_a_gap_and_nobody_notices(
    demo: Demo, hostile: Hostile, open_page: Open
) -> None:
    ada, bob = join(open_page, hostile.port, "ada"), join(open_page, demo.port, "bob")
    goes(ada, "stream")
    expect(ada.locator("#status-text")).to_have_text("Connected · event stream")
    ada.evaluate(
        "window.shown = []; new MutationObserver(() => shown.push(app.dataset.status)).observe(app, "
        "{ attributeFilter: ['data-status'] })"
    )
    goes(bob, "websocket")
    expect(bob.locator("#people > li")).to_have_count(2)
    for number in range(30):
        say(ada, f"ada {number}")
        say(bob, f"bob {number}")
        if number == 10:
            hostile.sockets = "pass"
            ada.evaluate("dispatchEvent(new Event('online'))")
    goes(ada, "websocket")
    expect(ada.locator("#status-text")).to_have_text("Connected")
    for page in (ada, bob):
        sent(page, 60)
        assert len(set(texts(page))) == 60
    assert texts(ada) == texts(bob)
    assert set(ada.evaluate("shown")) <= {"open"}
    expect(bob.locator("#people > li")).to_have_count(2)
    assert bob.locator("#messages li[data-kind=presence]").count() <= 1


def test_the_next_page_knows_at_once_what_the_last_one_found_out(demo: Demo, hostile: Hostile, open_page: Open) -> None:
    ada = join(open_page, hostile.port, "ada")
    goes(ada, "stream")
    hostile.asked.clear()
    ada.reload()
    goes(ada, "stream")
    assert "socket" not in hostile.asked


def test_a_page_over_an_event_stream_goes_into_the_cache_and_comes_back(
    demo: Demo, hostile: Hostile, open_page: Open
) -> None:
    ada, bob = join(open_page, hostile.port, "ada"), join(open_page, demo.port, "bob")
    goes(ada, "stream")
    say(bob, "before")
    sent(ada, 1)
    leave(ada, hostile.port)
    say(bob, "away")
    sent(bob, 2)
    come_back(ada)
    sent(ada, 2)
    assert texts(ada) == texts(bob)
    goes(ada, "stream")


#: Run in a page of another origin: says something over one way, and gives what came back and how.
ELSEWHERE = """async ([url, way]) => {
  const { connect } = await import("/openline.js");
  const line = connect(url, { transports: [way], token: "ada" });
  const chat = line.subscribe("chat:lobby");
  const heard = new Promise((resolve) => chat.on("message", resolve));
  await chat.ready;
  await chat.publish("message", way);
  const told = [line.transport, line.user, await heard];
  line.close();
  return told;
}"""


@pytest.mark.parametrize("listed", [True, False], ids=["listed", "any"])
def test_a_page_of_another_origin_that_may_come_in_comes_in_over_requests_too(
    demo: Demo, open_page: Open, tmp_path: Path, listed: bool
) -> None:
    (tmp_path / "other").mkdir()
    other = Demo(tmp_path / "other", "--allow-origin", f"http://127.0.0.1:{demo.port}" if listed else "*")
    try:
        other.start()
        page = open_page(f"http://127.0.0.1:{demo.port}/healthz")
        for way in ("stream", "poll"):
            url = f"http://127.0.0.1:{other.port}/openline?{way}"
            assert page.evaluate(ELSEWHERE, [url, way]) == [way, "ada", way]
    finally:
        other.end()
