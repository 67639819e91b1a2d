"""The stock client in Chromium, from the script that Openline serves: its scenarios, and the chat from both sides."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page

from tests.server import openline

from .conftest import Demo

ROOT = Path(__file__).parents[2]
PLAY = """async ([name, transports]) => {
  const { io } = await import("/socket.io/socket.io.esm.min.js");
  const { play } = await import("/stock.js");
  return await play(io, name, location.origin, transports.split(","));
}"""
#: A page as its author wrote it for Socket.IO's own chat.
CHAT = """async (transports) => {
  const script = document.createElement("script");
  script.src = "/socket.io/socket.io.js";
  await new Promise((done) => { script.onload = done; document.head.append(script); });
  const socket = window.io({ transports }), got = (window.got = []);
  window.socket = socket;
  socket.on("chat message", (text) => got.push(["chat message", text]));
  socket.on("message", (text) => got.push(["message", text]));
  await new Promise((done) => socket.on("connect", done));
}"""


@pytest.fixture(scope="module")
def stock() -> Iterator[str]:
    with openline(ROOT, "serve", "tests.socketio_door.stock:in_browser", "--port", "0") as process:
        yield process.address()[0]
        assert process.end() == 0
        process.log.unlink()


@pytest.mark.parametrize("transports", ["polling", "websocket", "polling,websocket"])
def test_every_scenario_holds_in_a_browser(stock: str, open_page: Callable[[str], Page], transports: str) -> None:
    page = open_page(f"{stock}/")

    def play(name: str) -> Any:
        # The client remembers in the page what it has opened before.
        page.reload()
        return page.evaluate(PLAY, [name, transports])

    assert play("auth")["message"] == "no such token"
    acks = play("acks")
    assert (acks["one"], acks["asked"], acks["silent"]) == ({"a": 1}, [42, "more"], [True, True, True])
    assert play("binary")["nested"] == [[4], [], "é"]
    assert play("namespaces")["sameLine"] is True
    assert play("rooms")["asked"] == {"answered": ["a1", "b1"], "missing": 1}
    found = play("recovery")
    assert found["same"] is True
    for name in ("early", "late"):
        assert found[name]["recovered"] is True
        assert [text for _, text in found[name]["came"]] == [f"{name} room", f"{name} own", f"{name} end"]
    assert play("reasons") == [
        "io client disconnect",
        "io server disconnect",
        "io server disconnect",
        "forced close",
    ]


@pytest.mark.parametrize("transports", ["polling", "websocket", "polling,websocket"])
def test_after_a_restart_the_page_is_back_by_itself_as_somebody_new(
    demo: Demo, open_page: Callable[[str], Page], transports: str
) -> None:
    page = open_page(f"http://127.0.0.1:{demo.port}/healthz")
    page.evaluate(CHAT, transports.split(","))
    page.evaluate(
        """() => { window.seen = [socket.id];
        socket.on("disconnect", (reason) => seen.push(reason));
        socket.on("connect", () => seen.push(socket.id, Boolean(socket.recovered))); }"""
    )
    demo.end()
    demo.start()
    page.wait_for_function("() => seen.length === 4", timeout=15_000)
    before, reason, after, recovered = page.evaluate("() => seen")
    assert reason in ("transport close", "transport error")
    assert before != after
    assert recovered is False
    page.evaluate("""() => socket.emit("chat message", "back")""")
    page.wait_for_function("""() => got.some(([, text]) => text === "back")""")


@pytest.mark.parametrize("transports", [["polling"], ["websocket"], ["polling", "websocket"]], ids="-".join)
def test_a_page_written_for_socket_io_and_the_chat_talk_to_each_other(
    demo: Demo, open_page: Callable[[str], Page], transports: list[str]
) -> None:
    url = f"http://127.0.0.1:{demo.port}"
    page = open_page(f"{url}/healthz")
    page.evaluate(CHAT, transports)
    other = open_page(f"{url}/healthz")
    other.evaluate(CHAT, ["websocket"])
    page.evaluate("""() => socket.emit("chat message", "hello")""")
    for each in (page, other):
        each.wait_for_function("() => got.length >= 2")
        assert each.evaluate("() => got.splice(0)") == [["message", "hello"], ["chat message", "hello"]]
    page.evaluate(
        """(url) => new Promise((done) => { const raw = new WebSocket(url);
        raw.onopen = () => { raw.send("from raw"); raw.close(); }; raw.onclose = done; })""",
        f"ws://127.0.0.1:{demo.port}/raw/chat:lobby",
    )
    other.wait_for_function("() => got.length >= 2")
    assert other.evaluate("() => got") == [["message", "from raw"], ["chat message", "from raw"]]
