"""Pages written by hand, with nothing but ``WebSocket`` and a few lines, against the raw door and the JSON door."""

from collections.abc import Callable
from typing import Any

from playwright.sync_api import Page

from .conftest import Demo

# Run in a page of the demo's own origin; answers with what came after sending, or the close.
RAW = """(url) => new Promise((done) => {
  const socket = new WebSocket(url), got = [];
  socket.onopen = () => socket.send("hello from a bare page");
  socket.onmessage = (event) => { got.push(event.data); if (got.length === 2) { done(got); socket.close(); } };
  socket.onclose = (event) => done([event.code, event.reason]);
})"""
JSON = """(url) => new Promise((done) => {
  const socket = new WebSocket(url), got = [];
  socket.onopen = () => {
    socket.send(JSON.stringify({ type: "$subscribe", channel: "chat:lobby", id: 1 }));
    socket.send(JSON.stringify({ type: "message", channel: "chat:lobby", payload: "hi" }));
  };
  socket.onmessage = (event) => {
    got.push(JSON.parse(event.data));
    if (got.length === 2) { done(got); socket.close(); }
  };
})"""
SAY = """(url) => new Promise((done) => {
  const socket = new WebSocket(url);
  socket.onopen = () => { socket.send("one"); socket.send("two"); socket.close(); };
  socket.onclose = () => done(true);
})"""


def run(page: Page, script: str, url: str) -> Any:
    return page.evaluate(script, url)


def test_a_bare_page_talks_through_the_raw_door(demo: Demo, open_page: Callable[[str], Page]) -> None:
    page = open_page(f"http://127.0.0.1:{demo.port}/demo/icon.svg")
    page.goto(f"http://127.0.0.1:{demo.port}/healthz")
    host = f"ws://127.0.0.1:{demo.port}"
    listener = page.evaluate_handle(
        f"""() => {{ const socket = new WebSocket("{host}/raw/chat:lobby"), got = [];
        socket.onmessage = (event) => got.push(event.data);
        return new Promise((done) => {{ socket.onopen = () => done(got); }}); }}"""
    )
    assert run(page, SAY, f"{host}/raw/chat:lobby") is True
    page.wait_for_function("(got) => got.length >= 2", arg=listener)
    assert listener.json_value() == ["one", "two"]


def test_a_websocket_at_the_root_is_the_raw_lobby(demo: Demo, open_page: Callable[[str], Page]) -> None:
    page = open_page(f"http://127.0.0.1:{demo.port}/healthz")
    got = page.evaluate(
        """(url) => new Promise((done) => { const socket = new WebSocket(url);
        socket.onopen = () => socket.send("to myself"); socket.onmessage = (event) => done(event.data); })""",
        f"ws://127.0.0.1:{demo.port}/?echo=1",
    )
    assert got == "to myself"


def test_a_bare_page_speaks_json_without_connect(demo: Demo, open_page: Callable[[str], Page]) -> None:
    page = open_page(f"http://127.0.0.1:{demo.port}/healthz")
    reply, push = run(page, JSON, f"ws://127.0.0.1:{demo.port}/openline")
    assert (reply["type"], reply["payload"]["channel"]) == ("$reply", "chat:lobby")
    assert (push["type"], push["channel"], push["payload"]) == ("message", "chat:lobby", "hi")


def test_a_bad_channel_name_closes_with_4404_and_says_so(demo: Demo, open_page: Callable[[str], Page]) -> None:
    page = open_page(f"http://127.0.0.1:{demo.port}/healthz")
    code, reason = run(page, RAW, f"ws://127.0.0.1:{demo.port}/raw/no%20name")
    assert code == 4404
    assert "no channel name" in reason
