"""What this process is told where it is one of several workers of one server; nothing in a process of its own."""

from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

__all__ = ["Seat", "seat", "take_seat"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Seat:
    """``engine`` is the socket of the engine process, ``key`` what all workers share, ``address`` where the others
    reach this one, ``supervisor`` the process that started them all.
    """

    engine: str
    key: str
    address: str
    supervisor: int

    def reached(self, advertised: str) -> str:
        """Where other nodes reach this worker: at its own port, of the host that is ``advertised``, if one is."""
        if not advertised:
            return self.address
        own, other = urlsplit(self.address), urlsplit(advertised)
        host = other.hostname or ""
        return f"{own.scheme}://{f'[{host}]' if ':' in host else host}:{own.port}"


_taken: Final[list[Seat]] = []


def take_seat(seat: Seat) -> None:
    """From now on this process is a worker."""
    _taken[:] = [seat]


def seat() -> Seat | None:
    """The seat of this process; None where it is a server of its own."""
    return _taken[0] if _taken else None
