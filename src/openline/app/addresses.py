"""Where the rooms of a namespace are: the channels that they are, and the connections that have one for themselves."""

from collections.abc import Iterable
from typing import Final

from openline.hub.connection import is_connection_id
from openline.hub.hub import Hub
from openline.protocol.rooms import room_channel

__all__ = ["addresses_of", "tell_apart"]

_SOCKET: Final = "$connection:"


def addresses_of(hub: Hub, namespace: str, rooms: Iterable[str]) -> list[str]:
    """The addresses of ``rooms``, each once: channels, and ``$connection:ID`` of sockets' own rooms."""
    return list(dict.fromkeys(address for room in rooms for address in _find(hub, namespace, room)))


def _find(hub: Hub, namespace: str, room: str) -> Iterable[str]:
    known = hub.lifecycle.connections.get(room)
    if known is not None and known.namespace == namespace:
        return (f"{_SOCKET}{room}",)
    channel = room_channel(namespace, room)
    if known is None and hub.cluster is not None and is_connection_id(room):
        # Nobody knows without asking whether it is a socket of another node, or a room: one of both has nobody in it.
        return (f"{_SOCKET}{room}", channel)
    return (channel,)


def tell_apart(addresses: Iterable[str]) -> tuple[frozenset[str], frozenset[str]]:
    """The ids of connections among ``addresses``, and the channels."""
    ids = frozenset(each.removeprefix(_SOCKET) for each in addresses if each.startswith(_SOCKET))
    return ids, frozenset(each for each in addresses if not each.startswith(_SOCKET))
