"""The hub's settings: how long a connection outlives its line, and what one connection may cost."""

from dataclasses import dataclass

from openline.errors import SettingsError

__all__ = ["HubSettings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class HubSettings:
    """What holds for every connection, whatever its door.

    ``window_seconds``: how long it outlives its line. ``backlog_bytes``: commands that may wait behind one that runs. ``hold_bytes``: what may come in while it
    catches up. ``direct_count`` and ``direct_bytes``: what
    is kept of the events sent to it alone, to its user, or to everybody, for its return.
    """

    window_seconds: float = 120.0
    backlog_bytes: int = 262_144
    max_subscriptions: int = 1000
    hold_bytes: int = 1_048_576
    direct_count: int = 200
    direct_bytes: int = 262_144
    ping_every_seconds: float = 25.0
    max_message_bytes: int = 65_536

    def __post_init__(self) -> None:
        if self.backlog_bytes < self.max_message_bytes:
            raise SettingsError("backlog_bytes", "must hold at least one message (max_message_bytes)")
        if self.window_seconds < 0 or self.ping_every_seconds <= 0:
            raise SettingsError("window_seconds", "is 0 or more; ping_every_seconds is above 0")
