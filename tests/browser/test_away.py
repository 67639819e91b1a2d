"""EventSource of a page of another listed origin comes back when the server does, through the proxies that we show."""

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser

from openline.app.pages import Page as Served
from tests.deploy.haproxy import HaProxy
from tests.docs.nginx import Nginx
from tests.http_doors.restarts import Restarting

from .site import Site
from .test_chat import PATIENCE

pytestmark = [pytest.mark.nginx, pytest.mark.haproxy]
DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
FOLLOW = """(base) => {
  globalThis.follow = (withCredentials) => {
    const seen = { opened: 0, away: 0, got: [] };
    const source = new EventSource(`${base}/events?channel=chat:1`, { withCredentials });
    source.onopen = () => (seen.opened += 1);
    source.onerror = () => (seen.away += 1, seen.state = source.readyState);
    source.onmessage = ({ data }) => {
      const { channel, payload } = JSON.parse(data);
      if (channel) seen.got.push(payload);
    };
    return seen;
  };
  globalThis.all = [follow(false), follow(true)];
}"""


@pytest.fixture
def site() -> Iterator[Site]:
    site = Site(0, {"/": Served(b"", "text/html")})
    yield site
    site.close()


def proxy(shown: str, folder: Path, port: int) -> Nginx | HaProxy:
    """The configuration ``shown``, in front of the one server at ``port``."""
    if shown == "serving.md":
        return Nginx.of_the_page(folder, port)
    places = {f"127.0.0.1:800{n}": f"127.0.0.1:{port}" for n in (1, 2, 3)}
    kind = HaProxy if shown == "haproxy.cfg" else Nginx
    return kind(folder, (DEPLOY / shown).read_text(), places)


def await_way(through: Nginx | HaProxy) -> None:
    """Wait until the proxy passes on: until then its answer for a server that is away opens an EventSource, too."""
    deadline = time.monotonic() + PATIENCE / 1000
    with httpx.Client(verify=False, trust_env=False) as client:
        while client.get(f"https://localhost:{through.port}/healthz").status_code != 200:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def publish(server: Restarting, payload: int) -> None:
    said = {"channel": "chat:1", "type": "n", "payload": payload}
    assert httpx.post(f"{server.url}/api/messages", json=said, trust_env=False).status_code == 200


@pytest.mark.parametrize("shown", ["serving.md", "nginx.conf", "haproxy.cfg"])
def test_a_page_of_a_listed_origin_comes_back_and_has_missed_nothing(
    shown: str, site: Site, tmp_path: Path, browser: Browser
) -> None:
    origin = f"http://127.0.0.1:{site.port}"
    options = ("--trust-proxy", "127.0.0.1", "--allow-origin", origin)
    with Restarting(tmp_path, *options) as server, proxy(shown, tmp_path, server.port) as before:
        await_way(before)
        context = browser.new_context(ignore_https_errors=True)
        page = context.new_page()
        page.goto(origin)
        page.evaluate(FOLLOW, f"https://localhost:{before.port}")

        def until(true: str) -> None:
            page.wait_for_function(f"() => all.every((seen) => {true})", timeout=PATIENCE)

        until("seen.opened > 0")
        publish(server, 0)
        until("seen.got.length === 1")
        # Without a word: the proxy finds out by itself, and one of the two may ask before it has.
        server.end(signal.SIGKILL)
        until("seen.away >= 3 || seen.state === 2")
        server.start()
        publish(server, 1)
        until("seen.got.length === 2 || seen.state === 2")
        assert page.evaluate("all.map(({ got, state }) => [got, state])") == [[[0, 1], 0]] * 2
        context.close()
