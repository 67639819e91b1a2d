"""Whether a request is another node's to answer, and its way there: over HTTP, and natively for WebSockets."""

from collections.abc import MutableMapping
from contextlib import suppress
from typing import Any

from openline.errors import CommandError
from openline.hub.outcome import Outcome
from openline.protocol.engineio import Fault, fault
from openline.transports.doors import Doors
from openline.transports.forwarding import Receive, Send, is_passed_on, line_named, session_named
from openline.transports.pipe import Pipe, with_voucher
from openline.transports.vouching import HEADER, Vouched
from openline.transports.whole_head import Asked

__all__ = ["passed_on", "piped"]


async def passed_on(doors: Doors, scope: MutableMapping[str, Any], receive: Receive, send: Send, path: str) -> bool:
    """Whether another node has answered, whose session or line it is."""
    forwarding, headers = doors.forwarding, scope["headers"]
    if forwarding is None or is_passed_on(headers):
        return False
    engine = doors.is_engine(path)
    named = session_named(scope["query_string"].decode("latin-1")) if engine else line_named(headers)
    owner = forwarding.owner(named)
    return owner is not None and await forwarding.forward(owner, scope, receive, send, path)


def piped(doors: Doors, asked: Asked, data: bytes, transport: Any, peer: str, connections: set[Any]) -> bool:
    """Whether a WebSocket that is to carry on another node's session has been given to that one.

    ``data`` is all that has come of it, ``peer`` the address of its client.
    """
    forwarding = doors.forwarding
    if forwarding is None or "sid=" not in asked.query or HEADER in asked.headers:
        return False
    address = forwarding.owner(session_named(asked.query)) if doors.is_engine(asked.path) else None
    if address is None:
        return False
    client = Vouched(peer, transport.get_extra_info("ssl_object") is not None)
    voucher = forwarding.voucher("GET", asked.path, asked.query, client)
    pipe = Pipe(transport, connections, doors.timers)
    opening = pipe.open(address, with_voucher(data, voucher), fault(Fault.SESSION))
    doors.hub.tasks.start(opening).then(_look)
    return True


def _look(outcome: Outcome[None]) -> None:
    """The pipe tells its client by itself; at the end of the server it is closed."""
    with suppress(CommandError):
        outcome.result()
