"""EventSource of a real browser, through restarts of the server: nothing lost, nothing doubled."""

import signal
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Page

from tests.http_doors.restarts import Publisher, Restarting

FOLLOW = """() => new Promise((done) => {
  globalThis.got = [], globalThis.other = [], globalThis.opened = 0;
  const source = new EventSource("/events?channel=chat:1");
  source.onmessage = ({ data, lastEventId }) => {
    const said = JSON.parse(data);
    if (said.type === "n" && said.position === lastEventId) got.push(said.payload);
    else other.push(said);
  };
  source.onopen = () => { opened += 1; done(); };
})"""


def test_nothing_is_lost_or_doubled_while_the_server_is_restarted_mid_stream(
    tmp_path: Path, open_page: Callable[[str], Page]
) -> None:
    with Restarting(tmp_path) as server:
        page = open_page(f"{server.url}/healthz")
        page.evaluate(FOLLOW)
        with Publisher(server.url) as publisher:
            for how in (signal.SIGTERM, signal.SIGKILL, signal.SIGTERM):
                publisher.until(publisher.count + 20)
                page.wait_for_function("(count) => got.length >= count", arg=publisher.count)
                server.restart(how)
                publisher.until(publisher.count + 20)
        page.wait_for_function("(count) => got.length >= count", arg=publisher.count)
        assert page.evaluate("got") == list(range(publisher.count))
        # What was sent to everybody does not outlive the process; that may be told, and nothing else.
        assert {(said["type"], said.get("channel")) for said in page.evaluate("other")} <= {("$gap", None)}
        assert page.evaluate("opened") == 4
