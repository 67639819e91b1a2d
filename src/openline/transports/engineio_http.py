"""Engine.IO over plain HTTP: handshakes, polls and posts, with CORS for the pages of other sites that are let in."""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from typing import Any, Final

from openline.errors import RequestRefused
from openline.hub.outcome import Outcome
from openline.model import Request
from openline.protocol.engineio import Fault, fault, read_query
from openline.transports.doors import Doors
from openline.transports.engineio import Session
from openline.transports.engineio_door import EngineDoor
from openline.transports.uvicorn_host import Host

__all__ = ["serve_engine"]

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

_TEXT: Final = (b"content-type", b"text/plain; charset=UTF-8")
_TAKEN: Final = (200, b"ok", [(b"content-type", b"text/html")])
_JSON: Final = (b"content-type", b"application/json")
_KEPT_BY_NOBODY: Final = (b"cache-control", b"no-store")
_PREFLIGHT_SECONDS: Final = b"600"


class _Gone(Exception):  # noqa: N818  what happened, not an error that anybody is told
    """The client has gone before its answer."""


async def serve_engine(host: Host, scope: Scope, receive: Receive, send: Send, path: str) -> None:
    """Answer one HTTP request of an Engine.IO client at ``path`` below our mount."""
    headers: Headers = [_KEPT_BY_NOBODY]
    try:
        request = _admit(host, scope, path)
        headers += _cors(host, request)
        if scope["method"] == "OPTIONS":
            await _respond(send, 204, b"", [*headers, *_preflight(scope)])
            return
        status, body, more = await _answer(host.doors, request, scope, receive)
        await _respond(send, status, body, [*headers, *more])
    except RequestRefused as error:
        text = error.reason.encode()
        kind = _JSON if text.startswith(b"{") else _TEXT
        more = [(name.lower().encode(), value.encode()) for name, value in error.headers]
        await _respond(send, error.status, text, [*headers, kind, *more])
    except _Gone:
        return


def _admit(host: Host, scope: Scope, path: str) -> Request:
    return host.gate.admit(
        path=path,
        query=scope["query_string"].decode("latin-1"),
        headers=scope["headers"],
        peer=(scope.get("client") or ("",))[0],
        secure=scope.get("scheme") == "https",
        method=scope["method"],
    )


def _cors(host: Host, request: Request) -> Headers:
    """What lets a page of another site read the answer; whoever is not let in has been refused already."""
    if request.origin is None:
        return []
    return [(name.encode(), value.encode()) for name, value in host.gate.shared_with(request).items()]


def _preflight(scope: Scope) -> Headers:
    asked = next((value for name, value in scope["headers"] if name == b"access-control-request-headers"), b"")
    headers = [
        (b"access-control-allow-methods", b"GET, POST"),
        (b"access-control-max-age", _PREFLIGHT_SECONDS),
    ]
    return [*headers, (b"access-control-allow-headers", asked)] if asked else headers


async def _answer(doors: Doors, request: Request, scope: Scope, receive: Receive) -> tuple[int, bytes, Headers]:
    method: str = scope["method"]
    engine = doors.socketio.engine
    query = read_query(request.query, method=method, upgrade=False, transports=engine.settings.transports)
    if query.sid is None:
        doors.demand_open()
        wanted = [(name.lower().encode(), value.encode()) for name, value in await doors.ask(request)]
        session = engine.handshake(request)
        return 200, await _poll(session, session.poll(), receive), [_TEXT, *_cookie(engine, session), *wanted]
    session, forwarding = engine.session(query.sid), doors.forwarding
    passage = "" if forwarding is None else forwarding.passage_of(method, request.path, request.query, scope["headers"])
    if method == "GET":
        lost = await _got_lost(doors, session.again.poll_passage(query.mark))
        return 200, await _poll(session, session.poll(query.mark, passage, lost=lost), receive), [_TEXT]
    if method == "POST":
        return await _post(doors, session, query.mark, passage, scope, receive)
    raise fault(Fault.REQUEST)


def _cookie(engine: EngineDoor, session: Session) -> Headers:
    name = engine.settings.cookie
    if name is None:
        return []
    return [(b"set-cookie", f"{name}={session.sid}; Path=/; HttpOnly; SameSite=Lax".encode())]


async def _poll(session: Session, answer: Outcome[bytes], receive: Receive) -> bytes:
    """Wait for the answer; raises :func:`fault`. When the client gives up first, the session is closed."""
    if not answer.done:
        async with asyncio.TaskGroup() as tasks:
            watch = tasks.create_task(_watch(session, answer, receive))
            with suppress(RequestRefused):
                await answer
            watch.cancel()
    return answer.result()


async def _watch(session: Session, answer: Outcome[bytes], receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        continue
    session.poll_lost(answer)


async def _got_lost(doors: Doors, passage: str) -> bool:
    """Whether the answer that another node passed on by ``passage`` did not get to the client."""
    return bool(passage) and doors.forwarding is not None and await doors.forwarding.passages.got_lost(passage)


async def _post(
    doors: Doors, session: Session, mark: str, passage: str, scope: Scope, receive: Receive
) -> tuple[int, bytes, Headers]:
    session.begin_post()
    settings = doors.socketio.settings
    try:
        # No longer than a client may be silent.
        async with asyncio.timeout(settings.ping_interval_seconds + settings.ping_timeout_seconds):
            body = await _body(scope, receive, settings.max_payload_bytes)
        if body is None:
            return 413, b"", []
        if await _got_lost(doors, session.again.post_passage(mark, body)):
            return _TAKEN
        session.again.posts(mark, passage, body)
        session.post(body)
        await session.readable()
    except TimeoutError:
        raise RequestRefused(408, "The body took too long.\n") from None
    finally:
        session.end_post()
    return _TAKEN


async def _body(scope: Scope, receive: Receive, limit: int) -> bytes | None:
    """The body; None where it has more than ``limit`` bytes, as soon as that is known."""
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit() and int(value) > limit:
            return None
        if name == b"content-type" and value == b"application/octet-stream":
            raise fault(Fault.REQUEST, "Binary travels as base64 in protocol 4")
    body = bytearray()
    while True:
        event = await receive()
        if event["type"] == "http.disconnect":
            raise _Gone
        body += event.get("body", b"")
        if len(body) > limit:
            return None
        if not event.get("more_body", False):
            return bytes(body)


async def _respond(send: Send, status: int, body: bytes, headers: Headers) -> None:
    headers = [*headers, (b"x-content-type-options", b"nosniff")]
    if status != 204:  # RFC 9110 §8.6: such an answer has no content, and says no length
        headers.append((b"content-length", b"%d" % len(body)))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
