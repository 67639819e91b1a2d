"""The inner loops of fan-out: the same bytes to many descriptors, and several bytes to several such lists at once."""

import os
import sys
from array import array
from collections.abc import Sequence
from itertools import repeat
from typing import Final

from openline.accelerator import native

__all__ = [
    "Row",
    "Shortfall",
    "send_many",
    "send_many_in_python",
    "send_rows",
    "send_rows_between",
    "send_rows_between_in_python",
    "send_rows_in_python",
]

#: Descriptors, how many of them count, and what they get; or one descriptor, 1, and what it gets.
Row = tuple["array[int] | int", int, bytes]

#: The first row that has a descriptor, its place there, the bytes that it took of all its rows, and which these are.
Shortfall = tuple[int, int, int, Sequence[int]]

_MOST_AT_ONCE: Final = 64


def send_many_in_python(descriptors: "array[int]", start: int, stop: int, data: bytes) -> Sequence[tuple[int, int]]:
    """Send ``data`` to the descriptors from ``start`` to ``stop``, those below 0 left out.

    Returns (index, bytes taken) of each that did not take everything; -1 bytes where the peer is gone. Never raises,
    never blocks.
    """
    size = len(data)
    taken: list[int] = []
    writes = map(os.write, descriptors[start:stop], repeat(data))
    while True:
        try:
            # What was written before an error stays in the list, and the next time goes on behind it.
            taken.extend(writes)
        except BlockingIOError:
            taken.append(0)
        except OSError:
            taken.append(size if descriptors[start + len(taken)] < 0 else -1)
        else:
            break
    if taken.count(size) == len(taken):
        return []
    return [(start + place, count) for place, count in enumerate(taken) if count != size]


def send_rows_in_python(rows: list[Row]) -> Sequence[Shortfall]:
    """Send the rows' bytes in their order; a descriptor that is in several rows gets all of its bytes in one call.

    Returns a :data:`Shortfall` for each that did not take everything; -1 bytes where the peer is gone, and had taken
    nothing. Never raises, never blocks.
    """
    return send_rows_between_in_python(rows, 0, sys.maxsize)[0]


def send_rows_between_in_python(rows: list[Row], start: int, stop: int) -> tuple[Sequence[Shortfall], int]:
    """As :func:`send_rows`, to the descriptors from ``start`` to ``stop`` only; and the least from ``stop`` on, or -1.

    ``start`` is 0 or more.
    """
    members: dict[int, list[int]] = {}
    places: dict[int, int] = {}
    following = -1
    for number, (target, count, _) in enumerate(rows):
        for place, descriptor in enumerate((target,) if isinstance(target, int) else target[:count]):
            if descriptor >= stop:
                following = descriptor if following < 0 else min(following, descriptor)
            elif descriptor >= start:
                mine = members.get(descriptor)
                if mine is None:
                    members[descriptor] = [number]
                    places[descriptor] = place
                else:
                    mine.append(number)
    short: list[Shortfall] = []
    for descriptor, mine in members.items():
        taken = _send_all(descriptor, [rows[number][2] for number in mine])
        if taken is not None:
            short.append((mine[0], places[descriptor], taken, mine))
    return short, following


def _send_all(descriptor: int, pieces: Sequence[bytes]) -> int | None:
    """None where everything was taken, else how much; -1 where the peer is gone, and had taken nothing."""
    total = 0
    for begin in range(0, len(pieces), _MOST_AT_ONCE):
        some = pieces[begin : begin + _MOST_AT_ONCE]
        try:
            taken = os.write(descriptor, some[0]) if len(some) == 1 else os.writev(descriptor, some)
        except BlockingIOError:
            return total
        except OSError:
            return total or -1
        total += taken
        if taken != sum(map(len, some)):
            return total
    return None


send_many = send_many_in_python if native is None else native.send_many
send_rows = send_rows_in_python if native is None else native.send_rows
send_rows_between = send_rows_between_in_python if native is None else native.send_rows_between
