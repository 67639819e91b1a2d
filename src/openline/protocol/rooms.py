"""How Socket.IO's rooms and namespaces are called as channels: injective, readable, the same name where it can be.

A room of the default namespace is the channel of its name; a room of ``/admin`` is ``admin~:ROOM``. What a channel name
cannot hold, and ``~`` itself, is written ``~HH`` per byte of UTF-8. Where a name would begin with what no channel name
begins with, ``_~_`` stands in front.
"""

import re
from typing import Final

from openline.errors import CommandError, ErrorCode
from openline.protocol.channel_name import is_channel
from openline.protocol.socketio import DEFAULT

__all__ = ["everybody", "room_channel", "room_of"]

_ESCAPED: Final = re.compile(rb"[^A-Za-z0-9_\-.:@]")
_BYTE: Final = re.compile(rb"~([0-9A-F]{2})")
_FRONT: Final = "_~_"
_BEHIND_NAMESPACE: Final = "~:"


def everybody(namespace: str) -> str:
    """The internal channel that everybody in ``namespace`` is in; the default one's is that of every other door."""
    return "$all" if namespace == DEFAULT else f"$all:{namespace}"


def room_channel(namespace: str, room: str) -> str:
    """The channel that is ``room`` of ``namespace``; raises :class:`CommandError` (``bad_channel``) for a long one."""
    escaped = _escape(room)
    name = escaped if namespace == DEFAULT else f"{_escape(namespace.removeprefix('/'))}{_BEHIND_NAMESPACE}{escaped}"
    if not name[:1].isalnum() and not name.startswith("_"):
        name = _FRONT + name
    if not is_channel(name):
        message = (
            f"Room {room[:40]!r} is too long: with {namespace!r} it makes a channel name of {len(name)} characters."
        )
        raise CommandError(ErrorCode.BAD_CHANNEL, message, field="channel")
    return name


def room_of(namespace: str, channel: str) -> str | None:
    """The room of ``namespace`` that ``channel`` is; None where it is none."""
    name = channel.removeprefix(_FRONT)
    prefix, mark, rest = name.rpartition(_BEHIND_NAMESPACE)
    if namespace == DEFAULT:
        return None if mark else _unescape(name)
    return _unescape(rest) if mark and prefix == _escape(namespace.removeprefix("/")) else None


def _escape(text: str) -> str:
    return _ESCAPED.sub(lambda found: b"~%02X" % found[0][0], text.encode("utf-8", "replace")).decode()


def _unescape(text: str) -> str:
    return _BYTE.sub(lambda found: bytes.fromhex(found[1].decode()), text.encode()).decode("utf-8", "replace")
