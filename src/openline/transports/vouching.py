"""What one node tells another of a request that it passes on: whose it is, signed with the key that all nodes share."""

import hashlib
import hmac
import time
from collections.abc import Callable
from typing import Final, NamedTuple

__all__ = ["HEADER", "Vouched", "Vouching"]

#: The header of a request that has been passed on; whoever sends it is not passed on again.
HEADER: Final = "openline-forwarded"
#: How long, and by how much the clocks of two machines may differ.
_SECONDS: Final = 10.0


class Vouched(NamedTuple):
    """The ``client`` that the first node saw at the other end, and whether it came over TLS."""

    client: str
    secure: bool


class Vouching:
    """Makes and reads the header. Without a ``key`` nothing is believed: the request is the passing node's own."""

    def __init__(self, key: str, now: Callable[[], float] = time.time) -> None:
        self._key = key.encode()
        self._now = now

    def write(self, method: str, path: str, query: str, vouched: Vouched) -> str:
        """The header's value for a request of ``vouched``; ``path`` is below the mount."""
        said = f"{int(self._now())} {'tls' if vouched.secure else 'plain'} {vouched.client or '-'}"
        return f"{said} {self._sign(said, method, path, query)}"

    def read(self, value: str, method: str, path: str, query: str) -> Vouched | None:
        """Whose the request is; None where ``value`` is not signed with our key, is for another one, or is too old."""
        said, _, signature = value.rpartition(" ")
        expected = self._sign(said, method, path, query)
        if not self._key or not hmac.compare_digest(signature.encode("latin-1", "replace"), expected.encode()):
            return None
        at, scheme, client = said.split(" ")
        if abs(self._now() - int(at)) > _SECONDS:
            return None
        return Vouched("" if client == "-" else client, scheme == "tls")

    def may_be_ours(self, value: str, method: str, path: str, query: str) -> bool:
        """Whether a node of ours may have passed the request on: without a key nobody can tell."""
        return not self._key or self.read(value, method, path, query) is not None

    def _sign(self, *parts: str) -> str:
        told = b"\n".join(part.encode("utf-8", "surrogateescape") for part in parts)
        return hmac.new(self._key, b"openline forwarded\n" + told, hashlib.sha256).hexdigest()
