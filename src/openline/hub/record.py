"""What nodes tell each other of a connection, of themselves and of who is present: the values of the directory."""

import hashlib
from collections.abc import Mapping
from typing import Final, Literal

import msgspec

from openline.model import JsonBytes, Position, User

__all__ = ["BEAT_SECONDS", "LEASE_SECONDS", "SILENCE_SECONDS", "Beat", "Fate", "Place", "Record", "Turnout", "digest"]

#: How often a node renews its lease, and how long one lasts, by the engine's clock.
BEAT_SECONDS: Final = 1.0
LEASE_SECONDS: Final = 5.0
#: When no node was heard for so long, it was the engine that stood still: every lease gets its whole length again.
SILENCE_SECONDS: Final = 3.0

#: What became of a node that is no more: it was lost (its lease ran out), or it left.
Fate = Literal["lost", "left"]


class Place(msgspec.Struct, frozen=True, gc=False):
    """A subscription: where it began, None while its client still reads what came before.

    ``presence``: it watches who comes and goes.
    """

    begun: Position | None
    presence: bool = False


class Record(msgspec.Struct, frozen=True):
    """A connection as every node may take it up.

    ``owner`` is the node that serves it, ``fence`` grows whenever that changes. ``secrets`` are digests of what takes
    it up again. ``since`` is where it began, for a door whose clients do not always say where they stand; ``begun`` is
    when, in seconds of the day's clock.
    """

    id: str
    namespace: str
    user: User | None = None
    since: Position | None = None
    secrets: tuple[str, ...] = ()
    subscriptions: Mapping[str, Place] = {}
    owner: str = ""
    fence: int = 0
    begun: float = 0.0


class Beat(msgspec.Struct, frozen=True):
    """What a node learns when it renews its lease.

    ``held``: it has had it all the time. ``era`` is another one where the directory has forgotten everything. ``nodes``
    are those that live, with their addresses; ``gone`` those that do not, whose connections wait for somebody. ``cut``:
    since the beat before, what is volatile may not have reached this node.
    """

    held: bool
    era: str
    nodes: Mapping[str, str] = {}
    gone: Mapping[str, Fate] = {}
    cut: bool = False


class Turnout(msgspec.Struct, frozen=True):
    """What came of somebody's coming or going: how many there are now, as of which ``version``, and who it was."""

    count: int
    version: int
    member: JsonBytes


def digest(secret: str) -> str:
    """What stands for a secret where others may read it."""
    return hashlib.sha256(secret.encode()).hexdigest()[:40]
