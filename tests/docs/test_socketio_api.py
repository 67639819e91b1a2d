"""The page of Socket.IO's API leaves out nothing that somebody who comes from python-socketio may have used."""

import inspect
import re
from pathlib import Path

import engineio
import socketio

PAGE = Path(__file__).parents[2] / "docs" / "socketio-api.md"
#: What nobody calls or gives by name.
INTERNALS = {
    "self",
    "kwargs",
    "socketio_server",
    "handle_request",
    "is_asyncio_based",
    "reserved_events",
    "trigger_event",
}
SIGNATURES = (
    socketio.AsyncServer.__init__,
    socketio.AsyncServer.emit,
    socketio.AsyncServer.call,
    socketio.ASGIApp.__init__,
    engineio.AsyncServer.__init__,
)


def test_every_word_of_python_socketio_stands_on_the_page() -> None:
    words = {name for cls in (socketio.AsyncServer, socketio.AsyncNamespace) for name in dir(cls) if name[0] != "_"}
    words |= {name for function in SIGNATURES for name in inspect.signature(function).parameters}
    # Options that are handed on are in its documentation only.
    words |= set(re.findall(r":param (\w+):", socketio.AsyncServer.__doc__ or ""))
    page = PAGE.read_text()
    assert sorted(word for word in words - INTERNALS if not re.search(rf"\b{word}\b", page)) == []
