"""A page that is signed in by cookie is who it is on every way in, and no page of another origin is."""

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Page

from openline.app.pages import Page as Served
from tests.server import Process, openline, own_port

from .site import Site

PROGRAM = """
from http.cookies import SimpleCookie

from openline import Openline

line = Openline()
line.channel("chat:*", history=100, public=True)


@line.authenticate
def who(token, request):
    session = SimpleCookie(request.headers.get("cookie", "")).get("session")
    user = None if session is None else session.value
    print(f"asked {request.query} from {request.origin} by {user}", flush=True)
    return user


@line.on("whoami")
def whoami(connection):
    return connection.user.id
"""
#: One way in each: who the page is there, or how it was turned away.
WAYS = """async ([base, mark]) => {
  const credentials = "include";
  const url = (path) => `${base}${path}${path.includes("?") ? "&" : "?"}${mark}`;
  const ways = {
    events: () => new Promise((done) => {
      const source = new EventSource(url("/events?channel=chat:1"), { withCredentials: true });
      source.onopen = () => { source.close(); done("open"); };
      source.onerror = () => done(source.readyState);
    }),
    poll: async () => (await fetch(url("/api/messages?channel=chat:1"), { credentials })).status,
    blind: async () => (await fetch(url("/api/messages?channel=chat:1"), { mode: "no-cors", credentials })).type,
    io: async () => {
      const { io } = await import(`${base}/socket.io/socket.io.esm.min.js`);
      const more = { reconnection: false, withCredentials: true, query: { [mark]: "" } };
      const socket = io(base, { transports: ["polling"], ...more });
      const answer = await new Promise((done) => {
        socket.on("connect", () => socket.emit("whoami", done));
        socket.on("connect_error", () => done("refused"));
      });
      socket.close();
      return answer;
    },
  };
  // The SDK is there for pages of the server's own.
  const sdk = base === location.origin ? { websocket: "websocket", stream: "stream", "long poll": "poll" } : {};
  for (const [name, way] of Object.entries(sdk)) ways[name] = async () => {
    const { connect } = await import("/openline.js");
    const line = connect(url("/openline"), { transports: [way] });
    const answer = await new Promise((done) => line.on("$status", ({ status, code }) => {
      if (status === "open") done(line.user);
      if (status === "closed") done(code);
    }));
    line.close();
    return answer;
  };
  const found = {};
  for (const [name, ask] of Object.entries(ways)) found[name] = await ask().catch((error) => error.name);
  return found;
}"""


class Signed:
    """The server, which lists its own origin as 127.0.0.1 and not as localhost."""

    def __init__(self, process: Process, port: int) -> None:
        self.process = process
        self.port = port
        self.url = f"http://127.0.0.1:{port}"

    def asked(self, mark: str) -> set[tuple[str, str]]:
        """As which origins and users requests with ``mark`` came to the application."""
        lines = [line.split(" ") for line in self.process.said.splitlines() if line.startswith("asked ")]
        return {(origin, user) for _, query, _, origin, _, user in lines if mark in query}


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Signed]:
    folder, port = tmp_path_factory.mktemp("signed"), own_port()
    (folder / "program.py").write_text(PROGRAM)
    own = f"http://127.0.0.1:{port}"
    with openline(folder, "serve", "program:line", "--port", str(port), "--allow-origin", own) as process:
        process.address()
        yield Signed(process, port)
        assert "Traceback" not in process.said, process.said


def signed_in(open_page: Callable[[str], Page], url: str) -> Page:
    page = open_page(f"{url}/healthz")
    page.context.add_cookies([{"name": "session", "value": "ada", "url": url}])
    return page


def test_on_every_way_in_our_own_listed_page_is_who_its_cookie_says(
    signed: Signed, open_page: Callable[[str], Page]
) -> None:
    page = signed_in(open_page, signed.url)
    assert page.evaluate(WAYS, [signed.url, "own"]) == {
        "events": "open",
        "poll": 200,
        "blind": "basic",
        "io": "ada",
        "websocket": "ada",
        "stream": "ada",
        "long poll": "ada",
    }
    assert signed.asked("own") == {(signed.url, "ada")}


def test_our_own_page_under_a_name_that_is_not_listed_is_nobody(
    signed: Signed, open_page: Callable[[str], Page]
) -> None:
    url = f"http://localhost:{signed.port}"
    page = signed_in(open_page, url)
    assert page.evaluate(WAYS, [url, "unlisted"]) == {
        "events": 2,
        "poll": 401,
        "blind": "basic",
        "io": "refused",
        "websocket": 4401,
        "stream": 4401,
        "long poll": 4401,
    }
    assert signed.asked("unlisted") == {(url, "None")}


# Of the same site, where the browser does send the cookie along, and of another one.
@pytest.mark.parametrize("name", ["127.0.0.1", "localhost"])
def test_a_page_of_another_origin_is_nobody_whatever_the_browser_sends_along(
    signed: Signed, open_page: Callable[[str], Page], name: str
) -> None:
    site = Site(signed.port, {"/healthz": Served(b"", "text/html")})
    try:
        page = signed_in(open_page, f"http://{name}:{site.port}")
        page.context.add_cookies([{"name": "session", "value": "ada", "url": signed.url}])
        mark = f"foreign-{name}"
        found = page.evaluate(WAYS, [signed.url, mark])
    finally:
        site.close()
    assert found == {"events": 2, "poll": "TypeError", "blind": "opaque", "io": "refused"}
    # What asks without an Origin, and is not told the answer, gets as far as the application; its cookie does not.
    assert signed.asked(mark) == {("None", "None")}
