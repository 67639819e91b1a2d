"""What an ASGI host is given, and may refuse: above all the end of a WebSocket, whose codes not every host takes."""

import logging
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any, Final

from openline.errors import CloseCode
from openline.protocol.frames import fit_reason

__all__ = ["goodbye", "hand", "say_goodbye"]

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_log = logging.getLogger("openline")
#: What is said instead to a host that takes no such codes (``spec/protocol.md``, section 5: 45.. means come back).
_OWN: Final[Mapping[int, int]] = {
    CloseCode.PROTOCOL_ERROR: 4002,
    CloseCode.UNSUPPORTED_DATA: 4003,
    CloseCode.INVALID_DATA: 4007,
    CloseCode.POLICY_VIOLATION: 4008,
    CloseCode.TOO_BIG: 4009,
    CloseCode.INTERNAL_ERROR: 4511,
    CloseCode.RESTART: 4512,
    CloseCode.TRY_LATER: 4513,
}


def goodbye(code: int, reason: str) -> dict[str, Any]:
    """The event that closes a WebSocket."""
    # A plain number: some hosts take no other.
    return {"type": "websocket.close", "code": int(code), "reason": fit_reason(reason)}


async def hand(send: Send, event: dict[str, Any]) -> bool:
    """Give the host an event; False where it takes it no more, which is the end of the line."""
    try:
        await send(event)
    except Exception as error:
        # ASGI has an OSError say that the client has gone, granian a RuntimeError.
        _log.debug("The host did not take a %s: %r", event["type"], error)
        return False
    return True


async def say_goodbye(send: Send, code: int, reason: str) -> None:
    """Close a WebSocket with ``code``, or with the one that stands for it where the host does not take that."""
    if not await hand(send, goodbye(code, reason)) and code in _OWN:
        # autobahn, and so daphne, takes none of the codes that RFC 6455 §7.4.1 names but 1000.
        await hand(send, goodbye(_OWN[code], reason))
