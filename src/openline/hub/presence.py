"""Who is in one channel: an exact count, and the members in order of arrival."""

from itertools import islice

from openline.model import JsonBytes

__all__ = ["Members", "joined_json", "left_json"]


class Members:
    """Connection ids and what others may see of each, as JSON."""

    __slots__ = ("_arrived", "_members")

    def __init__(self) -> None:
        self._arrived = 0
        # By connection id, in order of arrival: the number of the arrival, and what others see.
        self._members: dict[str, tuple[int, JsonBytes]] = {}

    def __len__(self) -> int:
        return len(self._members)

    def __contains__(self, connection_id: str) -> bool:
        return connection_id in self._members

    def add(self, connection_id: str, member: JsonBytes) -> bool:
        """Count somebody in; False where that one was in already."""
        if connection_id in self._members:
            return False
        self._arrived += 1
        self._members[connection_id] = (self._arrived, member)
        return True

    def remove(self, connection_id: str) -> JsonBytes | None:
        """Count somebody out; None where that one was not in."""
        _, member = self._members.pop(connection_id, (0, None))
        return member

    def as_json(self, limit: int, after: int = 0) -> JsonBytes:
        """``{"count", "members", "next"?}``: the first ``limit`` that arrived behind ``after``.

        ``next`` is there when there are more: the ``after`` to go on with. Who comes or goes meanwhile moves nobody.
        """
        later = self._members.values() if not after else (entry for entry in self._members.values() if entry[0] > after)
        page = list(islice(later, limit + 1))
        shown = page[:limit]
        following = b',"next":%d' % shown[-1][0] if shown and len(page) > limit else b""
        members = b",".join(member for _, member in shown)
        return b'{"count":%d,"members":[%b]%b}' % (len(self._members), members, following)


def joined_json(member: JsonBytes, count: int) -> JsonBytes:
    """The payload of ``$joined``."""
    return b'{"member":%b,"count":%d}' % (member, count)


def left_json(member: JsonBytes, reason: str, count: int) -> JsonBytes:
    """The payload of ``$left``."""
    return b'{"member":%b,"reason":"%b","count":%d}' % (member, reason.encode(), count)
