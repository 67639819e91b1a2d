"""How a line ends: why, whether to come back, and when (``spec/protocol.md``, section 5)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from openline.errors import CloseCode, GoneError, OpenlineError

__all__ = ["LineClosedError", "Lost", "SocketLostError", "comes_back", "delay"]

_FINAL: Final = frozenset(
    {
        CloseCode.NORMAL,
        CloseCode.PROTOCOL_ERROR,
        CloseCode.UNSUPPORTED_DATA,
        CloseCode.INVALID_DATA,
        CloseCode.POLICY_VIOLATION,
        CloseCode.TOO_BIG,
    }
)
_WORDS: Final = {
    CloseCode.NORMAL: "it was ended cleanly",
    CloseCode.GOING_AWAY: "the server is going away",
    CloseCode.TOO_BIG: "a message was too big",
    CloseCode.UNAUTHORIZED: "there is no good token",
    CloseCode.REPLACED: "this connection was taken up elsewhere",
    CloseCode.DISCONNECTED: "the server disconnected this client",
}
_FIRST_SECONDS: Final = 0.5
_MOST_SECONDS: Final = 20.0


@dataclass(frozen=True, slots=True)
class Lost:
    """Why a line ended.

    ``code`` is 1006 where nobody said. ``refused``: the server will not have this connection, neither by its secret
    nor at all. ``hopeless``: a first attempt that ends so need not be repeated.
    """

    code: int
    reason: str = ""
    refused: bool = False
    hopeless: bool = False

    @property
    def text(self) -> str:
        """For people: what the other end said, or what the code means."""
        if self.reason:
            return self.reason
        known = next((word for code, word in _WORDS.items() if code == self.code), None)
        return known or f"the line broke (code {self.code})"


class SocketLostError(OpenlineError):
    """A socket could not be opened, or carries nothing any more."""

    def __init__(self, why: Lost) -> None:
        super().__init__(why.text)
        self.why = why


class LineClosedError(GoneError):
    """The line is closed for good: nothing more will come on it, and nothing is sent.

    ``url`` is the server's, ``code`` that of the close, ``reason`` is for people.
    """

    def __init__(self, url: str, why: Lost) -> None:
        super().__init__(f"the line to {url} is closed: {why.text}")
        self.url = url
        self.code = why.code
        self.reason = why.text


def comes_back(code: int) -> bool:
    """Whether a line that was closed with ``code`` is worth another try."""
    return code not in _FINAL and not 4000 <= code <= 4499


def delay(tries: int, chance: Callable[[], float]) -> float:
    """Seconds before the next try, after so many that failed.

    All of it is chance, so that a crowd comes back spread out.
    """
    return chance() * min(_MOST_SECONDS, _FIRST_SECONDS * 2.0 ** min(tries, 10))
