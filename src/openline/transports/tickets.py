"""One-time tickets: for ``EventSource``, which cannot send headers, and whose URL every log may keep."""

import secrets
from collections import Counter
from collections.abc import Callable
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
_AWAY: Final = "The node that gave this ticket does not answer."
_SHOWN: Final = "ticket-shown"
_BACK: Final = "ticket-back"


@dataclass(slots=True)
class _Ticket:
    """``loan`` names the request that it was shown with, if it was."""

    user: User | None
    client: str
    expiry: Timer
    unwatch: Callable[[], None]
    loan: str = ""


class Tickets:
    """Issues and takes them; each stands once, and for a while, for the user that ``authenticate`` returned.

    What is revoked of a user takes the tickets away that it has by then.
    """

    def __init__(self, doors: Doors, settings: HttpSettings) -> None:
        self._doors = doors
        self._settings = settings
        self._tickets: dict[str, _Ticket] = {}
        # Those that were shown: they come back where the stream could not begin.
        self._lent: dict[str, _Ticket] = {}
        self._by_client: Counter[str] = Counter()
        if doors.hub.cluster is not None:
            doors.hub.cluster.post.on(_SHOWN, self._tell)
            doors.hub.cluster.post.on(_BACK, self._hear_of_return)

    def __len__(self) -> int:
        return len(self._tickets)

    async def post(self, exchange: Exchange) -> None:
        """Answer with a ticket for whoever the request's token names, and where a first stream is to begin.

        Raises :class:`CommandError`: ``too_many`` where its address has many already, or all have together,
        ``unavailable`` while the server drains.
        """
        if self._doors.hub.lifecycle.closing:
            raise CommandError(ErrorCode.UNAVAILABLE, "The server restarts.", retry=True)
        revocations = self._doors.hub.revocations
        mark = revocations.number
        user = await self._named(exchange)
        if revocations.came(user, mark):
            raise CommandError(ErrorCode.UNAUTHORIZED, "The application has sent this user away just now.")
        client = exchange.subscriber
        mine, all_ = self._by_client[client], len(self._tickets)
        if all_ >= self._settings.max_tickets or mine >= self._settings.max_tickets_per_client:
            raise CommandError(ErrorCode.TOO_MANY, "Too many tickets are out already.", retry=True)
        # Whichever node it comes to finds this one.
        text = self._doors.hub.mark + secrets.token_urlsafe(_TICKET_BYTES)
        seconds = self._settings.ticket_seconds
        expiry = self._doors.timers.after(seconds, lambda: self._end(text))
        unwatch = revocations.watch(user, lambda _channel: self._end(text))
        self._put(text, _Ticket(user, client, expiry, unwatch))
        # A script never sees where its stream began, and each stream wants another ticket: it begins from here.
        position = str(self._doors.hub.broker.position)
        await exchange.answer(msgspec.json.encode({"ticket": text, "seconds": seconds, "position": position}))

    def who(self, exchange: Exchange, loan: str = "") -> Outcome[User | None]:
        """Whoever the request's ticket stands for, if it has one; else whoever its token names.

        With a ``loan`` that is its one time, unless it is given back under the same name; without, it is only looked
        at. Fails with :class:`CommandError`: ``unauthorized``, or ``unavailable`` where another node cannot say.
        """
        text = exchange.parameter("ticket")
        if text is None:
            return self._named(exchange)
        ticket = self._show(text, loan)
        if ticket is not None:
            return Outcome.of(ticket.user)
        cluster, node = self._doors.hub.cluster, self._issuer(text)
        if cluster is None or node is None:
            return Outcome.failed(CommandError(ErrorCode.UNAUTHORIZED, _BAD))
        return drive(_told(cluster.post.ask(node, _SHOWN, {"ticket": text, "loan": loan}, _ASK_SECONDS)))

    def give_back(self, exchange: Exchange, loan: str) -> None:
        """What the request was to open could not begin: its ticket may be shown again, if it was shown as ``loan``."""
        text = exchange.parameter("ticket")
        if text is None:
            return
        cluster, node = self._doors.hub.cluster, self._issuer(text)
        if cluster is not None and node is not None:
            cluster.post.tell(node, _BACK, {"ticket": text, "loan": loan})
        else:
            self._return(text, loan)

    # -- those of this node

    def _put(self, text: str, ticket: _Ticket) -> None:
        self._tickets[text] = ticket
        self._by_client[ticket.client] += 1

    def _take(self, text: str) -> _Ticket | None:
        ticket = self._tickets.pop(text, None)
        if ticket is not None:
            self._by_client[ticket.client] -= 1
            if not self._by_client[ticket.client]:
                del self._by_client[ticket.client]
        return ticket

    def _show(self, text: str, loan: str) -> _Ticket | None:
        if not loan:
            return self._tickets.get(text)
        ticket = self._take(text)
        if ticket is not None:
            ticket.loan = loan
            self._lent[text] = ticket
            if len(self._lent) > self._settings.max_tickets:
                self._end(next(iter(self._lent)))
        return ticket

    def _return(self, text: str, loan: str) -> None:
        ticket = self._lent.get(text)
        if ticket is not None and ticket.loan == loan:
            self._put(text, self._lent.pop(text))

    def _end(self, text: str) -> None:
        ticket = self._take(text) or self._lent.pop(text, None)
        if ticket is not None:
            ticket.expiry.cancel()
            ticket.unwatch()

    def _named(self, exchange: Exchange) -> Outcome[User | None]:
        return self._doors.hub.application.authenticate(exchange.request.token, exchange.request)

    # -- those of other nodes

    def _issuer(self, text: str) -> str | None:
        """The other node that gave a ticket, where there is one."""
        cluster = self._doors.hub.cluster
        node, dot, _ = text.partition(".")
        if cluster is None or not dot or node == cluster.node or node not in cluster.nodes:
            return None
        return node

    def _tell(self, said: Any) -> Outcome[Any]:
        """Another node has been shown a ticket of this one."""
        ticket = self._show(said["ticket"], said["loan"])
        return Outcome.of(None if ticket is None else {"user": ticket.user})

    def _hear_of_return(self, said: Any) -> Outcome[Any]:
        self._return(said["ticket"], said["loan"])
        return Outcome.of(None)


async def _told(answer: Outcome[Any]) -> User | None:
    """Who it is, by the node that gave the ticket; see :meth:`Tickets.who`."""
    try:
        told = await answer.step()
    except (TimeoutError, BrokerError) as error:
        raise CommandError(ErrorCode.UNAVAILABLE, _AWAY, retry=True) from error
    except CommandError:
        told = None
    if told is None:
        raise CommandError(ErrorCode.UNAUTHORIZED, _BAD)
    return msgspec.convert(told["user"], User | None)
