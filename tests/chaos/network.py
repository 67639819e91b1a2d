"""Where nodes stand: on loopback, or each in a network namespace of its own, whose lines can be cut without a word.

Namespaces take root, ``iproute2`` and ``nftables``. A bridge links them with this process and the engine, which stay in
the namespace that they are in. No setting of the machine is changed, and everything made goes at the end.
"""

import os
import subprocess
from collections.abc import Sequence
from itertools import count
from typing import Self

__all__ = ["Loopback", "Namespace", "Network", "NoNamespacesError"]

_numbers = count()


class NoNamespacesError(Exception):
    """This machine lets nobody make them here."""


class Loopback:
    """No network of its own: nothing can be cut."""

    host = "127.0.0.1"
    command: tuple[str, ...] = ()

    def cut(self, port: int, ways: Sequence[str] = ("input", "output")) -> None:
        raise NotImplementedError

    def mend(self) -> None:
        """Nothing was cut."""


class Namespace:
    """One node's: ``command`` runs something in it, ``host`` is its address."""

    def __init__(self, name: str, host: str) -> None:
        self.host = host
        self.command: tuple[str, ...] = ("ip", "netns", "exec", name)

    def cut(self, port: int, ways: Sequence[str] = ("input", "output")) -> None:
        """From now on every packet from or to ``port`` vanishes, on its way in, out, or both."""
        chains = "".join(
            f"chain {way} {{ type filter hook {way} priority 0; tcp sport {port} drop; tcp dport {port} drop; }}\n"
            for way in ways
        )
        _do(*self.command, "nft", "-f", "-", given=f"table inet cut {{\n{chains}}}\n")

    def mend(self) -> None:
        """All packets pass."""
        _do(*self.command, "nft", "flush", "ruleset")


class Network:
    """``size`` namespaces, and a bridge at ``host``; a context manager. Raises :class:`NoNamespacesError`."""

    def __init__(self, size: int) -> None:
        # Several processes do this at once: the names, and the addresses, are those of this one.
        pid, number = os.getpid(), next(_numbers)
        net = f"10.{128 + (pid >> 8) % 128}.{pid % 256}"
        self._name = f"ol{pid % 1_000_000}n{number % 100}"
        self.host = f"{net}.1"
        self._net = net
        self._made: list[tuple[str, ...]] = []
        self.places: list[Namespace] = []
        self._size = size

    def __enter__(self) -> Self:
        try:
            self._make()
        except (OSError, subprocess.CalledProcessError) as error:
            self.__exit__()
            said = getattr(error, "stderr", None) or error
            raise NoNamespacesError(
                f"Network namespaces are refused here, so partitions cannot be tried: {said}"
            ) from error
        return self

    def _make(self) -> None:
        bridge = self._name
        self._add(("link", "add", bridge, "type", "bridge"), ("link", "del", bridge))
        _do("ip", "address", "add", f"{self.host}/24", "dev", bridge)
        _do("ip", "link", "set", bridge, "up")
        for number in range(self._size):
            name = f"{bridge}{'abcdefgh'[number]}"
            self._add(("netns", "add", name), ("netns", "del", name))
            _do("ip", "link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", name)
            _do("ip", "link", "set", name, "master", bridge, "up")
            place = Namespace(name, f"{self._net}.{number + 2}")
            _do("ip", "-n", name, "address", "add", f"{place.host}/24", "dev", "eth0")
            for device in ("eth0", "lo"):
                _do("ip", "-n", name, "link", "set", device, "up")
            _do(*place.command, "nft", "flush", "ruleset")
            self.places.append(place)

    def _add(self, make: tuple[str, ...], unmake: tuple[str, ...]) -> None:
        _do("ip", *make)
        self._made.append(unmake)

    def __exit__(self, *_: object) -> None:
        for unmake in reversed(self._made):
            subprocess.run(("ip", *unmake), check=False, capture_output=True)


def _do(*command: str, given: str = "") -> None:
    subprocess.run(command, check=True, capture_output=True, text=True, input=given)
