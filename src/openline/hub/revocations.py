"""What was ordered of users who have no connection yet, or none at all: polls that wait, tickets, lines being let in.

A connection is ended, or taken out of a channel, by itself; whatever else stands for a user asks here.
"""

from collections.abc import Callable
from typing import Final

from openline.model import User

__all__ = ["Revocations"]

_MOST: Final = 10_000


class Revocations:
    """Tells at once those who watch, and later those who ask what came behind their mark.

    ``number`` is how many there were: the mark of whoever begins to find out now who somebody is.
    """

    def __init__(self) -> None:
        self.number = 0
        # By user and channel (none: of everything), the newest last.
        self._last: dict[tuple[str, str], int] = {}
        self._forgotten = 0
        self._watching: dict[str, dict[Callable[[str], None], None]] = {}

    def revoke(self, user: str, channel: str = "") -> None:
        """Whoever stands for ``user`` by now does so no more, in ``channel`` or at all."""
        self.number += 1
        self._last.pop((user, channel), None)
        self._last[user, channel] = self.number
        if len(self._last) > _MOST:
            self._forgotten = self._last.pop(next(iter(self._last)))
        for told in tuple(self._watching.get(user, ())):
            told(channel)

    def came(self, user: User | None, mark: int, *channels: str) -> bool:
        """Whether ``user`` was revoked since ``mark``, altogether or in one of ``channels``.

        Of what is too long ago to be known it may have been.
        """
        if user is None or mark == self.number:
            return False
        return any(self._last.get((user.id, name), self._forgotten) > mark for name in ("", *channels))

    def watch(self, user: User | None, told: Callable[[str], None]) -> Callable[[], None]:
        """Have ``told`` called with the channel, or an empty string, until what comes out is called."""
        if user is None:
            return _nothing
        watching = self._watching.setdefault(user.id, {})
        watching[told] = None

        def end() -> None:
            watching.pop(told, None)
            if not watching and self._watching.get(user.id) is watching:
                del self._watching[user.id]

        return end


def _nothing() -> None:
    """Nobody can be told of who is nobody."""
