"""One request over plain HTTP at a door, and its one answer: judged by the gate, shared with listed origins (CORS)."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from ipaddress import IPv6Address, IPv6Network
from typing import Final
from urllib.parse import parse_qs

from openline.errors import BrokerError, CommandError, ErrorCode, RequestRefused, told_of
from openline.model import Request
from openline.protocol import problem
from openline.transports.admission import Gate
from openline.transports.asgi import Endpoint, Receive, Scope, Send

__all__ = ["JSON", "Exchange", "Handler", "endpoint"]

JSON: Final = "application/json"
_MAX_FIELDS: Final = 2000
#: What pages of other origins may send and read.
_REQUEST_HEADERS: Final = "authorization, content-type, if-none-match, idempotency-key, last-event-id, openline-line"
_ANSWER_HEADERS: Final = "etag, openline-batch, openline-position, retry-after"
_PREFLIGHT_SECONDS: Final = 600
_log: Final = logging.getLogger("openline")


class Exchange:
    """A request that the gate has let through.

    ``query`` has the parameters, each with every value that was given. ``answered`` is set once the answer's head is
    out.
    """

    def __init__(self, scope: Scope, receive: Receive, send: Send, request: Request, shared: Mapping[str, str]) -> None:
        self.method: str = scope["method"]
        self.receive = receive
        self.request = request
        self.answered = False
        self.query: dict[str, list[str]] = _query(request.query)
        self._send = send
        self._shared = shared

    @property
    def subscriber(self) -> str:
        """What limits of one client go by: its address, or the network of IPv6 that one site has (RFC 6177 §2)."""
        client = self.request.client
        if ":" not in client:
            return client
        try:
            address = IPv6Address(client)
        except ValueError:
            return client
        mapped = address.ipv4_mapped
        return str(IPv6Network((address, 64), strict=False)) if mapped is None else str(mapped)

    def parameter(self, name: str) -> str | None:
        """A parameter of the query; the last one counts, None where there is none."""
        return self.query.get(name, [None])[-1]

    async def body(self, limit: int, within_seconds: float) -> bytes:
        """The whole body.

        Raises :class:`CommandError`: ``too_large`` beyond ``limit`` bytes, ``too_slow``, ``bad_message`` where the
        client has gone ahead of its end.
        """
        length = self.request.headers.get("content-length", "")
        if length.isdecimal() and int(length) > limit:
            raise _too_large(limit)
        body = bytearray()
        try:
            async with asyncio.timeout(within_seconds):
                more = True
                while more:
                    event = await self.receive()
                    if event["type"] == "http.disconnect":
                        raise CommandError(ErrorCode.BAD_MESSAGE, "The request ended early.")
                    body += event.get("body", b"")
                    more = event.get("more_body", False)
                    if len(body) > limit:
                        raise _too_large(limit)
        except TimeoutError:
            raise CommandError(ErrorCode.TOO_SLOW, "The request's body took too long.") from None
        return bytes(body)

    def demand_json(self) -> None:
        """Raise :class:`CommandError` (``bad_content_type``) for a body of another kind: forms come from anywhere."""
        kind = self.request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != JSON:
            raise CommandError(ErrorCode.BAD_CONTENT_TYPE, f"Send JSON, with Content-Type: {JSON}.")

    async def disconnected(self) -> None:
        """Return when the client has gone; what it still sends is dropped."""
        while (await self.receive())["type"] != "http.disconnect":
            pass

    def head(self, content_type: str, more: Mapping[str, str]) -> dict[str, str]:
        """The headers of an answer, in lower case."""
        return {
            "content-type": content_type,
            "cache-control": "no-store",
            "x-content-type-options": "nosniff",
            **self._shared,
            **({"access-control-expose-headers": _ANSWER_HEADERS} if _is_shared(self._shared) else {}),
            **more,
        }

    async def answer(
        self,
        body: bytes = b"",
        *,
        status: int = 200,
        content_type: str = JSON,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Answer, whole; without a body where the method or the status has none."""
        said = self.head(content_type, headers or {})
        if status in (204, 304):
            del said["content-type"]
        else:
            said["content-length"] = str(len(body))
        await self.start(status, said)
        empty = self.method == "HEAD" or status in (204, 304)
        await self._send({"type": "http.response.body", "body": b"" if empty else body})

    async def start(self, status: int, headers: Mapping[str, str]) -> None:
        """Send the head of the answer."""
        self.answered = True
        lines = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
        await self._send({"type": "http.response.start", "status": status, "headers": lines})

    async def go_on(self, data: bytes) -> None:
        """Send more of an answer that was started."""
        await self._send({"type": "http.response.body", "body": data, "more_body": True})

    async def end(self) -> None:
        """End an answer that was started."""
        await self._send({"type": "http.response.body", "body": b""})

    async def refuse(self, error: CommandError, headers: Mapping[str, str] | None = None, **more: object) -> None:
        """Answer with a problem; ``more`` are members of it."""
        told = dict(headers or {})
        if error.code == ErrorCode.UNAUTHORIZED:
            told["www-authenticate"] = "Bearer"
        if error.code in (ErrorCode.TOO_MANY, ErrorCode.UNAVAILABLE):
            told.setdefault("retry-after", "1")
        await self.answer(
            problem.problem(error, **more),
            status=problem.status_of(error),
            content_type=problem.CONTENT_TYPE,
            headers=told,
        )


#: Answers one request; what it raises becomes a problem.
Handler = Callable[[Exchange], Awaitable[None]]


def endpoint(gate: Gate, path: str, methods: Mapping[str, Handler]) -> Endpoint:
    """What answers HTTP at ``path``, method by method.

    The gate judges first; preflights and methods that are not here are answered for them.
    """
    allowed = ", ".join((*methods, "OPTIONS"))

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        shared: Mapping[str, str] = {}
        try:
            request = _admit(gate, path, scope)
            shared = gate.shared_with(request)
            exchange = Exchange(scope, receive, send, request, shared)
        except (RequestRefused, CommandError) as error:
            refusal = problem.refused(error) if isinstance(error, RequestRefused) else error
            nobody = Exchange(scope, receive, send, Request(path), shared)
            await nobody.refuse(refusal)
            return
        await _perform(exchange, methods, allowed)

    return answer


async def _perform(exchange: Exchange, methods: Mapping[str, Handler], allowed: str) -> None:
    if exchange.method == "OPTIONS":
        await _preflight(exchange, allowed)
        return
    try:
        handler = methods.get(exchange.method)
        if handler is None:
            raise CommandError(ErrorCode.BAD_METHOD, f"The methods here are {allowed}.")
        await handler(exchange)
    except Exception as error:
        if exchange.answered:
            _log.exception("The answer to %s %s broke off", exchange.method, exchange.request.path)
            raise
        refusal = _explain(error, exchange)
        await exchange.refuse(refusal, {"allow": allowed} if refusal.code == ErrorCode.BAD_METHOD else None)


def _explain(error: Exception, exchange: Exchange) -> CommandError:
    if not isinstance(error, CommandError | BrokerError):
        _log.error("%s %s failed", exchange.method, exchange.request.path, exc_info=error)
    return told_of(error)


def _admit(gate: Gate, path: str, scope: Scope) -> Request:
    return gate.admit(
        path=path,
        query=scope["query_string"].decode("latin-1"),
        headers=scope["headers"],
        peer=(scope.get("client") or ("",))[0],
        secure=scope.get("scheme") == "https",
        method=scope["method"],
    )


async def _preflight(exchange: Exchange, allowed: str) -> None:
    await exchange.answer(
        status=204,
        headers={
            "allow": allowed,
            "access-control-allow-methods": allowed,
            "access-control-allow-headers": _REQUEST_HEADERS,
            "access-control-max-age": str(_PREFLIGHT_SECONDS),
        },
    )


def _is_shared(shared: Mapping[str, str]) -> bool:
    return "access-control-allow-origin" in shared


def _query(query: str) -> dict[str, list[str]]:
    try:
        return parse_qs(query, keep_blank_values=True, max_num_fields=_MAX_FIELDS, errors="replace")
    except ValueError as error:
        raise CommandError(ErrorCode.TOO_MANY, f"A query has {_MAX_FIELDS} parameters at most.") from error


def _too_large(limit: int) -> CommandError:
    return CommandError(ErrorCode.TOO_LARGE, f"A request's body has {limit} bytes at most.")
