"""The backend API over HTTP: who may ask, which request a path means, and the answer in JSON."""

import hmac
import os
import signal
from collections.abc import Iterable
from functools import partial
from hashlib import sha256
from typing import Final

import msgspec

from openline.errors import CommandError, ErrorCode
from openline.hub.backend import Backend
from openline.hub.hub import Hub
from openline.hub.outcome import drive
from openline.hub.plans import Plans
from openline.protocol import api
from openline.protocol.api import OPERATIONS, Operation
from openline.protocol.api_reading import read_body, read_query
from openline.protocol.openapi import document
from openline.transports.admission import Gate
from openline.transports.asgi import Endpoint, Receive, Scope, Send
from openline.transports.exchange import Exchange, Handler, endpoint
from openline.transports.polling import idempotency_key
from openline.transports.settings import ApiSettings, HttpSettings

__all__ = ["Api"]

_OFF: Final = (
    "The backend API is off, because this server has no keys for it. Set OPENLINE_API_KEYS in its environment, "
    "start it with --api-key KEY, or make Openline(api_keys=[KEY])."
)
_NO_KEY: Final = "This wants a key of the server: send the header Authorization: Bearer KEY."
_BAD_KEY: Final = "The key is none of this server's."


class Api:
    """Answers whoever has a key; ``process`` is the one to end where the server is told to."""

    def __init__(self, hub: Hub, settings: ApiSettings, http: HttpSettings, plans: Plans, process: int) -> None:
        self._backend = Backend(hub)
        self._plans = plans
        self._process = process
        self._keys = _Keys(settings.keys)
        self._max_body_bytes = settings.max_body_bytes
        self._body_within_seconds = http.body_within_seconds

    def endpoints(self, gate: Gate, root: str) -> dict[str, Endpoint]:
        """What answers at which path below ``root``."""
        methods: dict[str, dict[str, Handler]] = {}
        for each in OPERATIONS:
            methods.setdefault(f"{root}/{each.name}", {}).update(_methods(each, partial(self._answer, each)))
        found = {path: endpoint(gate, path, handlers) for path, handlers in methods.items()}
        path = f"{root}/openapi.json"

        async def describe(scope: Scope, receive: Receive, send: Send) -> None:
            # Where we are mounted, only a request tells.
            answer = partial(self._describe, scope.get("root_path", "") + root)
            await endpoint(gate, path, {"GET": answer, "HEAD": answer})(scope, receive, send)

        return found | {path: describe}

    async def _describe(self, root: str, exchange: Exchange) -> None:
        self._keys.demand_some()
        await exchange.answer(document(root))

    async def _answer(self, operation: Operation, exchange: Exchange) -> None:
        # Before anything is read of somebody who may not ask.
        self._keys.demand(exchange.request.token)
        if operation.method == "GET":
            request = read_query(exchange.query, operation.request)
        else:
            exchange.demand_json()
            body = await exchange.body(self._max_body_bytes, self._body_within_seconds)
            request = read_body(body, operation.request)
        if operation.keyed:
            request = _keyed(request, exchange.request.headers.get("idempotency-key"))
        answer = await drive(self._perform(request))
        await exchange.answer(msgspec.json.encode(answer), status=operation.status)

    async def _perform(self, request: msgspec.Struct) -> msgspec.Struct:
        if not isinstance(request, api.Drain | api.DrainQuery):
            return await self._backend.perform(request)
        plan = await self._plans.sum().step()
        if isinstance(request, api.Drain):
            # This server ends as its supervisor would end it, whichever server hosts us.
            os.kill(self._process, signal.SIGTERM)
        return plan


class _Keys:
    """The keys that open the API; several, so that one can follow another without a gap."""

    def __init__(self, keys: Iterable[str]) -> None:
        # Of one length whatever the key's: a comparison tells nothing, not even that.
        self._digests = tuple(sha256(key.encode()).digest() for key in keys)

    def demand_some(self) -> None:
        """Raise :class:`CommandError` (``not_found``) where there are none."""
        if not self._digests:
            raise CommandError(ErrorCode.NOT_FOUND, _OFF)

    def demand(self, given: str | None) -> None:
        """Raise :class:`CommandError` (``not_found``, ``unauthorized``) unless ``given`` is one of them.

        How long that takes depends on neither: all are looked at.
        """
        self.demand_some()
        if given is None:
            raise CommandError(ErrorCode.UNAUTHORIZED, _NO_KEY)
        digest = sha256(given.encode()).digest()
        good = False
        for known in self._digests:
            good |= hmac.compare_digest(digest, known)
        if not good:
            raise CommandError(ErrorCode.UNAUTHORIZED, _BAD_KEY)


def _methods(operation: Operation, perform: Handler) -> dict[str, Handler]:
    return {"GET": perform, "HEAD": perform} if operation.method == "GET" else {"POST": perform}


def _keyed(request: msgspec.Struct, header: str | None) -> msgspec.Struct:
    if header is None:
        return request
    said: str | None = getattr(request, "key", None) or None
    return msgspec.structs.replace(request, key=idempotency_key(header, said))
