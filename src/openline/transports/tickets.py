"""One-time tickets: for ``EventSource``, which cannot send headers, and whose URL every log may keep."""

import secrets
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from openline.errors import BrokerError, CommandError, ErrorCode
from openline.hub.outcome import Outcome, drive
from openline.hub.timers import Timer
from openline.model import User
from openline.transports.doors import Doors
from openline.transports.exchange import Exchange
from openline.transports.settings import HttpSettings

__all__ = ["Tickets"]

_TICKET_BYTES: Final = 24
#: How long another node is waited for.
_ASK_SECONDS: Final = 2.0
_BAD: Final = "A ticket is good once and for a short while; get another one."


@dataclass(frozen=True, slots=True)
class _Ticket:
    user: User | None
    expiry: Timer


class Tickets:
    """Issues and takes them; each stands once, and for a while, for the user that ``authenticate`` returned."""

    def __init__(self, doors: Doors, settings: HttpSettings) -> None:
        self._doors = doors
        self._settings = settings
        self._tickets: dict[str, _Ticket] = {}
        if doors.hub.cluster is not None:
            doors.hub.cluster.post.on("ticket", self._tell)

    def __len__(self) -> int:
        return len(self._tickets)

    async def post(self, exchange: Exchange) -> None:
        """Answer with a ticket for whoever the request's token names, and where a first stream is to begin."""
        if self._doors.hub.lifecycle.closing:
            raise CommandError(ErrorCode.UNAVAILABLE, "The server restarts.", retry=True)
        user = await self._named(exchange)
        if len(self._tickets) >= self._settings.max_tickets:
            raise CommandError(ErrorCode.TOO_MANY, "Too many tickets are out already.", retry=True)
        # Whichever node it comes to finds this one.
        ticket = self._doors.hub.mark + secrets.token_urlsafe(_TICKET_BYTES)
        seconds = self._settings.ticket_seconds
        expiry = self._doors.timers.after(seconds, lambda: self._expire(ticket))
        self._tickets[ticket] = _Ticket(user, expiry)
        # A script never sees where its stream began, and each stream wants another ticket: it begins from here.
        position = str(self._doors.hub.broker.position)
        await exchange.answer(msgspec.json.encode({"ticket": ticket, "seconds": seconds, "position": position}))

    def _expire(self, ticket: str) -> None:
        self._tickets.pop(ticket, None)

    def who(self, exchange: Exchange) -> Outcome[User | None]:
        """Whoever the request's ticket stands for, if it has one; else whoever its token names.

        Fails with :class:`CommandError` (``unauthorized``).
        """
        text = exchange.parameter("ticket")
        if text is None:
            return self._named(exchange)
        ticket = self._take(text)
        if ticket is not None:
            return Outcome.of(ticket.user)
        cluster = self._doors.hub.cluster
        node, dot, _ = text.partition(".")
        if cluster is None or not dot or node == cluster.node or node not in cluster.nodes:
            return Outcome.failed(CommandError(ErrorCode.UNAUTHORIZED, _BAD))
        return drive(_told(cluster.post.ask(node, "ticket", text, _ASK_SECONDS)))

    def _take(self, text: str) -> _Ticket | None:
        ticket = self._tickets.pop(text, None)
        if ticket is not None:
            ticket.expiry.cancel()
        return ticket

    def _tell(self, text: Any) -> Outcome[Any]:
        """Another node has been shown a ticket of this one."""
        ticket = self._take(text)
        return Outcome.of(None if ticket is None else {"user": ticket.user})

    def _named(self, exchange: Exchange) -> Outcome[User | None]:
        return self._doors.hub.application.authenticate(exchange.request.token, exchange.request)


async def _told(answer: Outcome[Any]) -> User | None:
    """Who it is, by the node that gave the ticket; raises :class:`CommandError` (``unauthorized``)."""
    try:
        told = await answer.step()
    except (TimeoutError, BrokerError, CommandError):
        told = None
    if told is None:
        raise CommandError(ErrorCode.UNAUTHORIZED, _BAD)
    return msgspec.convert(told["user"], User | None)
