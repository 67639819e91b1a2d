"""What a run is to do: how many connections, who is in which channel, who publishes."""

from dataclasses import dataclass
from typing import Final

import msgspec

from openline.errors import SettingsError

try:
    import resource
except ImportError:  # Windows has no such limit
    resource = None  # type: ignore[assignment]

__all__ = ["EVENT", "LEAST_BYTES", "Plan", "Sample", "allow_descriptors"]

#: The type of what is published.
EVENT: Final = "bench"
#: What a payload without padding may take.
LEAST_BYTES: Final = 64
_SPARE_DESCRIPTORS: Final = 64


class Sample(msgspec.Struct, gc=False):
    """A payload: of which run, the how manieth of its channel, and when it was sent (µs of the monotonic clock)."""

    run: str
    n: int
    at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The settings of a run; ``rate`` is in publications per second, over all channels together."""

    url: str
    token: str | None
    connections: int
    channels: int
    prefix: str
    rate: float
    size: int
    seconds: float

    @property
    def publications(self) -> int:
        """How many are to be published."""
        return max(1, round(self.rate * self.seconds))

    def name(self, channel: int) -> str:
        """The name of a channel."""
        return f"{self.prefix}{channel}"

    def channels_of(self, connection: int) -> range:
        """One where there are enough connections for all channels; else they are shared out.

        They count modulo :attr:`channels`.
        """
        return range(connection, max(self.connections, self.channels), self.connections)

    def members_of(self, channel: int) -> int:
        """How many connections are in it."""
        return len(range(channel, max(self.connections, self.channels), self.channels))

    def publisher_of(self, channel: int) -> int:
        """Its first member."""
        return channel % self.connections

    def payload(self, run: str, number: int, at: int) -> bytes:
        """A :class:`Sample` as JSON of :attr:`size` bytes."""
        front = b'{"run":"%s","n":%d,"at":%d,"pad":"' % (run.encode(), number, at)
        return front.ljust(self.size - 2, b"x") + b'"}'


def allow_descriptors(connections: int) -> None:
    """Let this process open so many; raises :class:`SettingsError` where the system does not let it."""
    if resource is None:
        return
    needed = connections + _SPARE_DESCRIPTORS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and needed > hard:
        raise SettingsError(
            "connections",
            f"{connections} of them need {needed} descriptors, and this process may have {hard} (ulimit -Hn); "
            "let the system allow more, or run several of these side by side with fewer each",
        )
    if soft != resource.RLIM_INFINITY and soft < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
