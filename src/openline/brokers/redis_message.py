"""How a publication stands on the way from Redis to the nodes: its place, written by the script, and its envelope."""

from typing import Final, NamedTuple

from openline.brokers.envelope import Poison

__all__ = ["Message", "read_message", "write_volatile"]

_MOST: Final = 2**53
_DIGITS: Final = 16


class Message(NamedTuple):
    """``stamp`` is 0 for a volatile one, which names the node that ``sent`` it.

    ``fresh``: nothing was known of its channel before it, and ``previous`` is only a bound.
    """

    stamp: int
    previous: int
    fresh: bool
    sent: bytes
    epoch: bytes
    envelope: bytes


def read_message(data: bytes) -> Message:
    """What ``STAMP PREVIOUS EPOCH ENVELOPE`` or ``0 NODE EPOCH ENVELOPE`` says; raises :class:`Poison`."""
    parts = data.split(b" ", 3)
    if len(parts) != 4:
        raise Poison("it does not begin as what a node sends does")
    first, second, epoch, envelope = parts
    if first == b"0":
        return Message(0, 0, fresh=False, sent=second, epoch=epoch, envelope=envelope)
    fresh = second[:1] == b"~"
    before = second[fresh:]
    if not (first.isdigit() and before.isdigit() and len(first) <= _DIGITS and len(before) <= _DIGITS):
        raise Poison("its place is no place")
    stamp, previous = int(first), int(before)
    if not previous < stamp < _MOST:
        raise Poison("its place is no place")
    return Message(stamp, previous, fresh, b"", epoch, envelope)


def write_volatile(node: str, epoch: str, envelope: bytes) -> bytes:
    """What a node sends that has no place in the log."""
    return f"0 {node} {epoch} ".encode() + envelope
