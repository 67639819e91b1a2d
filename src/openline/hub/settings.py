"""The hub's settings: how long a connection outlives its line, and what one connection may cost."""

from dataclasses import dataclass

from openline.errors import SettingsError
from openline.hub.tick import HOLD_SECONDS
from openline.model import Retention

__all__ = ["HubSettings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class HubSettings:
    """What holds for every connection, whatever its door.

    ``window_seconds``: how long it outlives its line. ``backlog_bytes``: commands of one line that may wait behind
    those that run. ``hold_bytes``: what may come in while it catches up. ``direct_count`` and ``direct_bytes``: what is
    kept of the events sent to it alone, to its user, or to everybody, for its return. ``flush_seconds``: how long
    writing what has come together may hold the event loop, before it has its turn and the writing goes on.
    """

    window_seconds: float = 120.0
    backlog_bytes: int = 262_144
    max_subscriptions: int = 1000
    hold_bytes: int = 1_048_576
    direct_count: int = 200
    direct_bytes: int = 262_144
    flush_seconds: float = HOLD_SECONDS

    @property
    def direct(self) -> Retention:
        """How much is kept for who may come back, where nothing else is said."""
        return Retention(self.direct_count, self.window_seconds + 10.0, self.direct_bytes)

    def __post_init__(self) -> None:
        if self.window_seconds < 0:
            raise SettingsError("window_seconds", "is 0 or more")
        if self.backlog_bytes < 1024 or self.hold_bytes < 1024:
            raise SettingsError("backlog_bytes", "is 1024 or more, as is hold_bytes")
        if self.flush_seconds < 0:
            raise SettingsError("flush_seconds", "is 0 or more")
