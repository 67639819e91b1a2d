"""What the event loop's side of the store hands to the writer's, and gets back with the answer in it."""

from enum import Enum, auto
from typing import Final

from openline.brokers.sqlite_rows import Kept, kept_of
from openline.hub.outcome import Outcome
from openline.model import NOTHING_KEPT, Position, Publication, Retention

__all__ = ["Entry", "Kind"]


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


#: What an entry costs beside its publication, about.
_COST: Final = 512
_NONE: Final = Kept()


class Entry:
    """One thing to do; ``at`` is the store's time when it came in, ``size`` about the bytes that it costs as it waits.

    ``stamped`` says that it gets a stamp, ``told`` that it takes its place in the order of deliveries. The writer fills
    in ``stamp`` and ``previous``, ``repeated`` where its key was known, or ``error``.
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
        "size",
        "stamp",
        "stamped",
        "told",
        "weight",
    )

    def __init__(
        self,
        kind: Kind,
        name: str,
        at: int,
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
        self.kept = kept_of(retention) if kind is Kind.APPEND else _NONE
        self.key = key
        self.body = body
        #: What it counts for in its log.
        self.weight = 0 if publication is None else publication.size
        self.size = _COST + len(body) + self.weight
        self.stamped = kind is Kind.APPEND or kind is Kind.DIRECT
        self.told = self.stamped or kind is Kind.SCATTER
        self.outcome: Outcome[Position] = Outcome()
        self.stamp = self.previous = 0
        self.repeated = False
        self.error: str | None = None
