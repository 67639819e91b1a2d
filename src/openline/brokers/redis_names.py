"""How the Redis engine's things are named in the store; ``redis_script`` says what each is."""

from typing import Final

__all__ = ["Names"]


class Names:
    """All begin with a ``prefix``; those of a channel are ``head``, ``log`` or ``live`` with the channel behind it.

    Under ``live`` a channel is published, under ``breaks`` that a new epoch has begun.
    """

    def __init__(self, prefix: str, node: str) -> None:
        self.prefix: Final = prefix
        self.epoch: Final = f"{prefix}:epoch"
        self.breaks: Final = f"{prefix}:breaks"
        self.head: Final = f"{prefix}:head:"
        self.log: Final = f"{prefix}:log:"
        self.live: Final = f"{prefix}:c:"
        self.sent: Final = f"{prefix}:sent:{node}"
        self._stamp = f"{prefix}:stamp:"
        self._key = f"{prefix}:key:"

    def stamp(self, epoch: str) -> str:
        """The counter of an epoch."""
        return self._stamp + epoch

    def key(self, channel: str, key: str) -> str:
        """What is known of an idempotency key; no channel has a space in its name."""
        return f"{self._key}{channel} {key}"

    def log_of(self, channel: str) -> tuple[str, str]:
        """A channel's head and its log."""
        return self.head + channel, self.log + channel
