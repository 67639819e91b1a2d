"""The inner loop of fan-out: the same bytes to many descriptors, one system call each."""

import os
from array import array
from collections.abc import Sequence

from openline.accelerator import native

__all__ = ["send_many", "send_many_in_python"]


def send_many_in_python(descriptors: "array[int]", mark: int, data: bytes) -> Sequence[tuple[int, int]]:
    """Send ``data`` to the first ``mark`` descriptors, those below 0 left out.

    Returns (index, bytes taken) of each that did not take everything; -1 bytes where the peer is gone. Never raises,
    never blocks.
    """
    size = len(data)
    write = os.write
    short: list[tuple[int, int]] = []
    for index in range(mark):
        descriptor = descriptors[index]
        if descriptor < 0:
            continue
        try:
            taken = write(descriptor, data)
        except BlockingIOError:
            taken = 0
        except OSError:
            taken = -1
        if taken != size:
            short.append((index, taken))
    return short


send_many = send_many_in_python if native is None else native.send_many
