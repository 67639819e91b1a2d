"""One-time tickets: for ``EventSource``, which cannot send headers, and whose URL every log may keep."""

import secrets
from dataclasses import dataclass
from typing import Final

import msgspec

from openline.errors import CommandError, ErrorCode
from openline.hub.outcome import Outcome
from openline.hub.timers import Timer
from openline.model import User
from openline.transports.doors import Doors
from openline.transports.exchange import Exchange
from openline.transports.settings import HttpSettings

__all__ = ["Tickets"]

_TICKET_BYTES: Final = 24


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

    def __len__(self) -> int:
        return len(self._tickets)

    async def post(self, exchange: Exchange) -> None:
        """Answer with a ticket for whoever the request's token names."""
        user = await self._named(exchange)
        if len(self._tickets) >= self._settings.max_tickets:
            raise CommandError(ErrorCode.TOO_MANY, "Too many tickets are out already.", retry=True)
        ticket = secrets.token_urlsafe(_TICKET_BYTES)
        seconds = self._settings.ticket_seconds
        expiry = self._doors.timers.after(seconds, lambda: self._expire(ticket))
        self._tickets[ticket] = _Ticket(user, expiry)
        await exchange.answer(msgspec.json.encode({"ticket": ticket, "seconds": seconds}))

    def _expire(self, ticket: str) -> None:
        self._tickets.pop(ticket, None)

    def who(self, exchange: Exchange) -> Outcome[User | None]:
        """Whoever the request's ticket stands for, if it has one; else whoever its token names.

        Fails with :class:`CommandError` (``unauthorized``).
        """
        text = exchange.parameter("ticket")
        if text is None:
            return self._named(exchange)
        ticket = self._tickets.pop(text, None)
        if ticket is None:
            message = "A ticket is good once and for a short while; get another one."
            return Outcome.failed(CommandError(ErrorCode.UNAUTHORIZED, message))
        ticket.expiry.cancel()
        return Outcome.of(ticket.user)

    def _named(self, exchange: Exchange) -> Outcome[User | None]:
        return self._doors.hub.application.authenticate(exchange.request.token, exchange.request)
