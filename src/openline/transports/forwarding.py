"""Requests whose session or line is at another node: passed on as they are, and answered with what that one says."""

import asyncio
import ssl
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from contextlib import suppress
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import h11

from openline.hub.hub import Hub
from openline.transports.passages import HEADER as PASSAGE
from openline.transports.passages import Passage, Passages
from openline.transports.vouching import HEADER, Vouched, Vouching

__all__ = ["Forwarding", "Receive", "Send", "connect", "is_passed_on", "line_named", "session_named"]

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Headers = Sequence[tuple[bytes, bytes]]

_CONNECT_SECONDS: Final = 3.0
_CHUNK_BYTES: Final = 65_536
_PASSAGE_BYTES: Final = 64
_LINE: Final = b"openline-line"
_OURS: Final = HEADER.encode()
#: RFC 9110 §7.6.1: what concerns one hop alone; and what is expected is answered here, by asking for the body.
_ONE_HOP: Final = frozenset(
    (
        *(b"connection", b"expect", b"keep-alive", b"proxy-connection"),
        *(b"te", b"trailer", b"transfer-encoding", b"upgrade", _OURS, PASSAGE),
    )
)


class Forwarding:
    """Finds the node that a request belongs to, by the beginning of the id that it names."""

    def __init__(self, hub: Hub, vouching: Vouching) -> None:
        self._hub = hub
        self._vouching = vouching
        #: Which answers got through.
        self.passages = Passages(hub)

    def owner(self, named: str) -> str | None:
        """The address of another node, which lives, that has the session or line ``named``; None where none is."""
        cluster = self._hub.cluster
        node, dot, _ = named.partition(".")
        if cluster is None or not dot or node == cluster.node:
            return None
        return cluster.nodes.get(node) or None

    def voucher(self, method: str, path: str, query: str, vouched: Vouched) -> str:
        """What the other node is told of the client."""
        return self._vouching.write(method, path, query, vouched)

    def passage_of(self, method: str, path: str, query: str, headers: Headers) -> str:
        """By which passage a request has come here (see :class:`Passages`), empty where by none, or none of ours."""
        given = dict(headers)
        voucher, passage = given.get(_OURS), given.get(PASSAGE, b"")
        if voucher is None or not 0 < len(passage) <= _PASSAGE_BYTES:
            return ""
        ours = self._vouching.may_be_ours(voucher.decode("latin-1"), method, path, query)
        return passage.decode("latin-1") if ours else ""

    async def forward(self, address: str, scope: Scope, receive: Receive, send: Send, path: str) -> bool:
        """Have ``address`` answer; False, and nothing said yet, where it cannot be reached, or cannot be asked this."""
        other = h11.Connection(h11.CLIENT)
        passage = self.passages.begin()
        try:
            head = self._head(other, scope, path, passage)
            reader, writer = await connect(address)
        except (OSError, TimeoutError, h11.LocalProtocolError):
            self.passages.through(passage)
            return False
        except asyncio.CancelledError:
            self.passages.end(passage)
            raise
        try:
            writer.write(head)
            async with asyncio.TaskGroup() as tasks:
                upstream = tasks.create_task(_pass_body(other, writer, receive, passage))
                try:
                    return await self._pass_answer(other, reader, send, passage)
                finally:
                    upstream.cancel()
        finally:
            self.passages.end(passage)
            writer.transport.abort()

    def _head(self, other: h11.Connection, scope: Scope, path: str, passage: Passage) -> bytes:
        """Raises :class:`h11.LocalProtocolError` where it is no request as RFC 9112 has it: without a host, or two."""
        query: str = scope["query_string"].decode("latin-1")
        client = Vouched((scope.get("client") or ("",))[0], scope.get("scheme") == "https")
        voucher = self.voucher(scope["method"], path, query, client).encode("latin-1")
        return _request(other, scope, [(_OURS, voucher), (PASSAGE, self.passages.header(passage))])

    async def _pass_answer(
        self, other: h11.Connection, reader: asyncio.StreamReader, send: Send, passage: Passage
    ) -> bool:
        """Pass on what the other node says, as it comes; False where it said nothing."""
        begun = False
        while True:
            try:
                event = other.next_event()
                if event is h11.NEED_DATA:
                    other.receive_data(await reader.read(_CHUNK_BYTES))
                    continue
            except (OSError, h11.RemoteProtocolError):
                # Where it has begun, the client sees that it does not end.
                return begun
            if isinstance(event, h11.Response):
                begun = True
                headers = [(bytes(n), bytes(v)) for n, v in event.headers if bytes(n) not in _ONE_HOP]
                await send({"type": "http.response.start", "status": event.status_code, "headers": headers})
            elif isinstance(event, h11.Data):
                await send({"type": "http.response.body", "body": bytes(event.data), "more_body": True})
            elif isinstance(event, h11.EndOfMessage):
                there = not passage.broken
                await send({"type": "http.response.body", "body": b""})
                if there:
                    self.passages.through(passage)
                return True
            elif not isinstance(event, h11.InformationalResponse):
                return begun


async def connect(address: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect to another node; raises :class:`OSError` or :class:`TimeoutError`."""
    url = urlsplit(address)
    tls = ssl.create_default_context() if url.scheme == "https" else None
    async with asyncio.timeout(_CONNECT_SECONDS):
        return await asyncio.open_connection(url.hostname, url.port or (443 if tls else 80), ssl=tls)


def session_named(query: str) -> str:
    """The id of the session that a request of Socket.IO's clients is for, empty where it is for none."""
    return parse_qs(query).get("sid", [""])[-1] if "sid=" in query else ""


def line_named(headers: Headers) -> str:
    """The token of the line that a request is for, empty where it is for none."""
    return next((value.decode("latin-1") for name, value in headers if name == _LINE), "")


def is_passed_on(headers: Headers) -> bool:
    """Whether another node has passed the request on, or somebody says so: it is not passed on again."""
    return any(name == _OURS for name, _ in headers)


def _request(other: h11.Connection, scope: Scope, ours: Headers) -> bytes:
    """The head, for one exchange over a connection of its own."""
    headers = [(name, value) for name, value in scope["headers"] if name.lower() not in _ONE_HOP]
    names = {name.lower() for name, _ in scope["headers"]}
    # Of HTTP/2 nobody says whether there is a body.
    may_follow = b"transfer-encoding" in names or scope["method"] not in ("GET", "HEAD", "DELETE")
    if may_follow and b"content-length" not in names:
        headers.append((b"transfer-encoding", b"chunked"))
    headers += [(b"connection", b"close"), *ours]
    target: bytes = scope.get("raw_path") or scope["path"].encode()
    if scope["query_string"]:
        target += b"?" + scope["query_string"]
    return other.send(h11.Request(method=scope["method"], target=target, headers=headers)) or b""


async def _pass_body(other: h11.Connection, writer: asyncio.StreamWriter, receive: Receive, passage: Passage) -> None:
    """Pass on what the client sends; when it goes, so does the connection."""
    more = True
    while True:
        event = await receive()
        if event["type"] == "http.disconnect":
            passage.broken = True
            writer.transport.abort()
            return
        if not more:
            continue
        more = event.get("more_body", False)
        parts = [other.send(h11.Data(data=event["body"]))] if event.get("body") else []
        if not more:
            parts.append(other.send(h11.EndOfMessage()))
        writer.write(b"".join(part or b"" for part in parts))
        # Who answers ahead of the body's end does not read the rest.
        with suppress(OSError):
            await writer.drain()
