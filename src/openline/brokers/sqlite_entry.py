"""What the event loop's side of the store hands to the writer's, and gets back with the answer in it."""

from enum import Enum, auto
from typing import Final

from openline.brokers.sqlite_rows import Kept
from openline.hub.outcome import Outcome
from openline.model import NOTHING_KEPT, Position, Publication, Retention

__all__ = ["STAMPED", "Entry", "Kind"]


class Kind(Enum):
    """What is to be done with an entry."""

    #: Stamp it, store it, tell the listener.
    APPEND = auto()
    #: Stamp it, tell the listener: our own channels, whose logs end with the process.
    DIRECT = auto()
    #: Tell the listener.
    SCATTER = auto()
    #: Remember from now on whether something was published in its channel.
    TOUCH = auto()
    #: Drop its channel's log.
    FORGET = auto()
    #: Drop what nobody can see any more, in small steps.
    SWEEP = auto()
    #: Nothing comes behind it.
    STOP = auto()


#: What gets a stamp, and what takes its place in the order of deliveries.
STAMPED: Final = frozenset({Kind.APPEND, Kind.DIRECT})
_TOLD: Final = STAMPED | {Kind.SCATTER}
_NONE: Final = Kept()
#: What an entry costs beside its publication, about.
_COST: Final = 512


class Entry:
    """One thing to do; ``at`` is the store's time when it came in.

    The writer fills in ``stamp`` and ``previous``, ``repeated`` where its key was known, or ``error``.
    """

    __slots__ = (
        "at",
        "body",
        "error",
        "kept",
        "key",
        "kind",
        "name",
        "outcome",
        "previous",
        "publication",
        "repeated",
        "retention",
        "stamp",
    )

    def __init__(
        self,
        kind: Kind,
        name: str,
        at: int,
        *,
        publication: Publication | None = None,
        retention: Retention = NOTHING_KEPT,
        key: str | None = None,
        body: bytes = b"",
    ) -> None:
        self.kind = kind
        self.name = name
        self.at = at
        self.publication = publication
        self.retention = retention
        self.kept = Kept.of(retention) if kind is Kind.APPEND else _NONE
        self.key = key
        self.body = body
        self.outcome: Outcome[Position] = Outcome()
        self.stamp = self.previous = 0
        self.repeated = False
        self.error: str | None = None

    @property
    def told(self) -> bool:
        """Whether it takes its place in the order of deliveries."""
        return self.kind in _TOLD

    @property
    def size(self) -> int:
        """Bytes that it costs while it waits, about."""
        return _COST + len(self.body) + (0 if self.publication is None else self.publication.size)
