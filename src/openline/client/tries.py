"""How often one call is tried: what may pass is repeated while patience lasts, and with what it ends."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

import msgspec

from openline.client.calls import Call
from openline.client.ending import delay
from openline.errors import CommandError, ErrorCode, OpenlineError

__all__ = ["Answer", "Done", "Tries", "UnansweredError"]

T = TypeVar("T")
_PROBLEM: Final = "application/problem+json"
#: The request was not carried out, and may be soon.
_NOT_YET: Final = (408, 425, 429)
#: Whoever answers does not know whether it was carried out.
_UNKNOWN: Final = (502, 503, 504)
_SHOWN: Final = 200


class UnansweredError(OpenlineError):
    """No server answered while patience lasted; whether it did what was asked is unknown where it was ``sent``.

    ``key`` makes it safe to ask for once more, within five minutes.
    """

    def __init__(self, url: str, reason: str, *, sent: bool, key: str | None) -> None:
        outcome = "whether it was carried out is unknown" if sent else "it was not carried out"
        again = f"; repeat it with key={key!r}" if sent and key is not None else ""
        super().__init__(f"{url} did not answer ({reason}): {outcome}{again}")
        self.url = url
        self.reason = reason
        self.sent = sent
        self.key = key


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back over HTTP; ``headers`` by names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Done(Generic[T]):
    """The call's own value."""

    value: T


class _Problem(msgspec.Struct, frozen=True):
    code: str
    detail: str = ""
    field: str | None = None
    retry: bool = False


class Tries(Generic[T]):
    """The tries of one ``call`` at ``url``, the first of which is about to begin.

    ``now`` is the time in seconds, ``chance`` gives a number from 0 to 1.
    """

    def __init__(
        self, call: Call[T], url: str, patience: float, now: Callable[[], float], chance: Callable[[], float]
    ) -> None:
        self._call = call
        self._url = url
        self._now = now
        self._chance = chance
        self._until = now() + patience
        self._count = 0
        # Whether any of them may have reached the server and been carried out.
        self._sent = False

    def broken(self, reason: str, *, sent: bool) -> float:
        """Seconds until the next try, after one without an answer; ``sent``: the request may have arrived.

        Raises :class:`UnansweredError`.
        """
        self._sent = self._sent or sent
        pause = None if sent and not self._call.repeatable else self._pause(0.0)
        if pause is None:
            raise UnansweredError(self._url, reason, sent=self._sent, key=self._call.key)
        return pause

    def answered(self, answer: Answer) -> Done[T] | float:
        """The value, or seconds until the next try.

        Raises :class:`CommandError` with what the server says against it, or :class:`UnansweredError`.
        """
        if answer.status == 200:
            value = self._call.read(answer.body)
            pause = self._pause(0.0) if self._call.again(value) else None
            return Done(value) if pause is None else pause
        self._sent = self._sent or answer.status in _UNKNOWN
        pause = self._pause(_seconds(answer.headers.get("retry-after"))) if self._passes(answer.status) else None
        if pause is None:
            raise self._refusal(answer)
        return pause

    def _passes(self, status: int) -> bool:
        return status in _NOT_YET or (status in _UNKNOWN and self._call.repeatable)

    def _pause(self, least: float) -> float | None:
        """Seconds until the next try; None where patience ends first."""
        pause = max(least, delay(self._count, self._chance))
        self._count += 1
        return pause if self._now() + pause <= self._until else None

    def _refusal(self, answer: Answer) -> OpenlineError:
        if answer.headers.get("content-type", "").partition(";")[0].strip() == _PROBLEM:
            try:
                said = msgspec.json.decode(answer.body, type=_Problem)
            except (msgspec.MsgspecError, UnicodeError):
                pass
            else:
                return CommandError(said.code, said.detail, field=said.field, retry=said.retry)
        text = answer.body[:_SHOWN].decode(errors="replace").strip().partition("\n")[0]
        reason = f"HTTP {answer.status}{f': {text}' if text else ''}"
        if answer.status in (*_NOT_YET, *_UNKNOWN):
            return UnansweredError(self._url, reason, sent=self._sent, key=self._call.key)
        return CommandError(ErrorCode.FAILED, f"{self._url} is no backend API of Openline's: it answered {reason}.")


def _seconds(retry_after: str | None) -> float:
    text = retry_after or ""
    return float(text) if text.isascii() and text.isdigit() and len(text) < 6 else 0.0
