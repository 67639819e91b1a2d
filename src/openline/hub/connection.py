"""One client as the hub knows it: it keeps its identity, subscriptions and order of commands across transports."""

import re
from collections import deque
from collections.abc import Iterable, MutableMapping
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

from openline.errors import CloseCode, CommandError
from openline.hub.few import Few
from openline.hub.names import new_name
from openline.hub.outcome import Outcome
from openline.hub.ports import Wire
from openline.hub.recovery import Hold
from openline.hub.timers import Timer
from openline.model import JsonBytes, Position, Publication, User
from openline.protocol.channel_name import INTERNAL
from openline.protocol.commands import Command
from openline.protocol.frames import may_be_sent
from openline.protocol.socketio import DEFAULT
from openline.protocol.strict_json import encode_json

if TYPE_CHECKING:
    from openline.hub.channel import Channel
    from openline.hub.hub import Hub
    from openline.hub.load import Load

__all__ = ["Connection", "State", "Subscription", "is_connection_id"]


_ID_BYTES: Final = 9
_is_id: Final = re.compile(r"[A-Za-z0-9_-]{12}").fullmatch


def is_connection_id(text: str) -> bool:
    """Whether ``text`` may be the id of a connection, here or anywhere."""
    return _is_id(text) is not None


class State(Enum):
    """Where a connection stands in its life."""

    OPENING = "opening"
    LIVE = "live"
    DETACHED = "detached"
    ENDED = "ended"


class Subscription:
    """A connection's place in a channel.

    ``hold`` keeps what comes in while the log is read; ``begun`` is where it went live for the first time: what was
    published before then is none of a resume's business; ``presence``: it watches who comes and goes. ``paused``: its
    client reads page by page what it missed before it is in again, and counts as present meanwhile.
    """

    __slots__ = ("begun", "channel", "connection", "hold", "paused", "presence")

    def __init__(self, connection: "Connection", channel: "Channel", *, presence: bool) -> None:
        self.connection = connection
        self.channel = channel
        self.presence = presence
        self.paused = False
        self.hold: Hold | None = None
        self.begun: Position | None = None


class Connection:
    """One client.

    Handlers get it as their first argument. ``id`` is public; ``user`` is what ``authenticate`` returned, None for
    nobody; ``state`` is a dict for the application's own notes, and ends with the connection. ``namespace`` is
    Socket.IO's; every other door leads to ``/``.
    """

    __slots__ = (
        "_hub",
        "_member",
        "_state",
        "answered",
        "answered_bytes",
        "asks",
        "backlog",
        "backlog_bytes",
        "begun",
        "busy",
        "digests",
        "expiry",
        "farewell",
        "fence",
        "graces",
        "hold",
        "id",
        "load",
        "namespace",
        "resume",
        "session",
        "since",
        "stage",
        "subscriptions",
        "user",
        "wire",
    )

    def __init__(self, hub: "Hub", wire: Wire | None) -> None:
        self.id = new_name(_ID_BYTES)
        self.user: User | None = None
        self.namespace = DEFAULT
        self._hub = hub
        self._state: dict[str, Any] | None = None
        self._member: JsonBytes | None = None
        # What its door keeps with it, where that keeps something.
        self.session: object | None = None
        #: Where it stood when it was let in, for a door whose clients have no position before they have received
        #: something.
        self.since: Position | None = None
        # What follows is the hub's. When it began, in seconds of the day's clock, where there are other nodes.
        self.begun = 0.0
        self.wire: Wire | None = wire
        self.stage = State.OPENING
        # Grows whenever another node takes it up.
        self.fence = 0
        self.subscriptions: MutableMapping[str, Subscription] = Few()
        # The secrets that take it up again, the newest first.
        self.resume: tuple[str, ...] = ()
        #: What takes it up where another node had it, until its client is here.
        self.digests: tuple[str, ...] = ()
        # When it stops counting as present while it has no line.
        self.graces: tuple[Timer, ...] = ()
        self.hold: Hold | None = None
        self.expiry: Timer | None = None
        self.busy = 0
        # Why it ends, once the commands that it left behind have been carried out.
        self.farewell: str | None = None
        #: Commands that wait, each with the line that it came on.
        self.backlog: deque[tuple[Wire, Command]] | None = None
        self.backlog_bytes = 0
        #: Of the line that it is on, or was on at last; None while nothing waits.
        self.load: Load | None = None
        self.asks: dict[str, Outcome[JsonBytes]] | None = None
        self.answered_bytes = 0
        self.answered: dict[str, JsonBytes | CommandError] | None = None

    def __repr__(self) -> str:
        return f"<Connection {self.id} {self.stage.value}{f' of {self.user.id!r}' if self.user else ''}>"

    @property
    def state(self) -> dict[str, Any]:
        """The application's own notes about this connection."""
        if self._state is None:
            self._state = {}
        return self._state

    @property
    def alive(self) -> bool:
        """Whether it may still be reached: its line is open, or may come back."""
        return self.stage is not State.ENDED

    @property
    def channels(self) -> Iterable[str]:
        """The names of the channels it is subscribed to."""
        return tuple(name for name in self.subscriptions if not name.startswith(INTERNAL))

    @property
    def member(self) -> JsonBytes:
        """What others see of it, as JSON: connection id, user id, the user's public data."""
        if self._member is None:
            shown: dict[str, Any] = {"connection": self.id}
            if self.user is not None:
                shown["user"] = self.user.id
                if self.user.data is not None:
                    shown["data"] = self.user.data
            self._member = encode_json(shown)
        return self._member

    def is_excluded(self, publication: Publication) -> bool:
        """The hub's: whether ``publication`` is not for it, whatever it is in."""
        if self.id in publication.exclude:
            return True
        excluded = publication.exclude_channels
        return bool(excluded) and any(self._was_in(channel, publication) for channel in excluded)

    def _was_in(self, channel: str, publication: Publication) -> bool:
        """Whether it is in ``channel``, and was when ``publication`` came; a volatile one comes just now."""
        subscription = self.subscriptions.get(channel)
        begun = None if subscription is None else subscription.begun
        if begun is None:
            return False
        return not publication.stamp or begun.epoch != publication.epoch or begun.stamp < publication.stamp

    def become(self, user: User | None) -> None:
        """The hub's: the same user, with other data."""
        self.user = user
        self._member = None

    def tell_later(self, lost: dict[str, int]) -> None:
        """A wire's, which ends: so many publications of channels were dropped that its client has not been told of."""
        if lost and self.alive:
            self._hub.lifecycle.remember_losses(self, lost)

    def emit(self, type: str, payload: Any = None) -> Outcome[Position | None]:
        """Send an event to this client alone; None comes out when it is gone for good. It need not be awaited.

        Where it is not in yet, as in a guard, it gets it when it is; the position is None then, too.
        Raises :class:`TypeError` or :class:`ValueError` for a type or a payload that cannot be.
        """
        return self._hub.tasks.on_loop(lambda: self._hub.emit(self, type, payload))

    async def ask(self, type: str, payload: Any = None, *, timeout: float = 10.0) -> Any:  # noqa: ASYNC109
        """Send an event to this client and wait for its answer, which is returned as plain Python values.

        Raises :class:`TimeoutError` after ``timeout`` seconds, :class:`~openline.errors.GoneError` when the client
        ends first, and :class:`~openline.errors.CommandError` when it answers with an error.
        """
        return await self._hub.ask(self, type, payload, timeout)

    def subscribe(self, channel: str) -> Outcome[None]:
        """Put this client into ``channel``, whatever the rules for clients say; it is told with ``$subscribed``.

        Raises :class:`ValueError` for a name that is none.
        """
        return self._hub.tasks.on_loop(lambda: self._hub.put_into(self, channel))

    def unsubscribe(self, channel: str) -> None:
        """Take this client out of ``channel``; it is told with ``$unsubscribed``."""
        self._hub.tasks.on_loop(lambda: self._hub.take_out(self, channel))

    def disconnect(self, reason: str = "", code: int = CloseCode.DISCONNECTED) -> None:
        """End this connection for good.

        ``reason`` (at most 123 bytes) reaches the client with close code ``code`` (4410). Raises :class:`ValueError`
        for a code that no close frame may carry (RFC 6455 §7.4).
        """
        if not may_be_sent(code):
            raise ValueError(f"close code {code} may not be sent; 4000 to 4999 are an application's own")
        self._hub.tasks.on_loop(lambda: self._hub.disconnect(self, code, reason))
