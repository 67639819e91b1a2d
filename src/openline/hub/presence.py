"""Who is in one channel: an exact count, and the members in order of arrival."""

from itertools import islice

from openline.model import JsonBytes

__all__ = ["Members", "joined_json", "left_json"]


class Members:
    """Connection ids and what others may see of each, as JSON."""

    __slots__ = ("_members",)

    def __init__(self) -> None:
        self._members: dict[str, JsonBytes] = {}

    def __len__(self) -> int:
        return len(self._members)

    def __contains__(self, connection_id: str) -> bool:
        return connection_id in self._members

    def add(self, connection_id: str, member: JsonBytes) -> bool:
        """Count somebody in; False where that one was in already."""
        if connection_id in self._members:
            return False
        self._members[connection_id] = member
        return True

    def remove(self, connection_id: str) -> JsonBytes | None:
        """Count somebody out; None where that one was not in."""
        return self._members.pop(connection_id, None)

    def as_json(self, limit: int) -> JsonBytes:
        """``{"count", "members"}`` with the first ``limit`` members."""
        return b'{"count":%d,"members":[%b]}' % (len(self._members), b",".join(islice(self._members.values(), limit)))


def joined_json(member: JsonBytes, count: int) -> JsonBytes:
    """The payload of ``$joined``."""
    return b'{"member":%b,"count":%d}' % (member, count)


def left_json(member: JsonBytes, reason: str, count: int) -> JsonBytes:
    """The payload of ``$left``."""
    return b'{"member":%b,"reason":"%b","count":%d}' % (member, reason.encode(), count)
