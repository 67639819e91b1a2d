"""One timer wheel for every ping, deadline and expiry: the event loop sees a single timer, however many wait."""

import logging
from collections.abc import Callable
from typing import Any, Final, TypeVar, overload

from openline.hub.ports import Clock, Handle

__all__ = ["Timer", "Timers"]

T = TypeVar("T")
_log = logging.getLogger("openline")
_NOTHING: Final[Any] = object()


class Timer:
    """A call that is due at some turn of the wheel."""

    __slots__ = ("_callback", "_subject")

    def __init__(self, callback: Callable[..., None], subject: Any) -> None:
        self._callback: Callable[..., None] | None = callback
        self._subject = subject

    def cancel(self) -> None:
        """It will not be called."""
        self._callback = self._subject = None

    def ring(self) -> None:
        """Call it, once; what it raises is logged, so that one timer never stops the others."""
        callback, subject = self._callback, self._subject
        self.cancel()
        if callback is not None:
            try:
                if subject is _NOTHING:
                    callback()
                else:
                    callback(subject)
            except Exception:
                _log.exception("A timer failed")


class Timers:
    """A wheel that turns every ``turn`` seconds while something is due.

    A call comes up to one turn late, never early.
    """

    def __init__(self, clock: Clock, turn: float = 0.25) -> None:
        self._clock = clock
        self._turn = turn
        self._slots: dict[int, list[Timer]] = {}
        self._ringing: list[Timer] = []
        self._done = int(clock.now() / turn)
        self._handle: Handle | None = None
        self._finer: list[Timers] = []

    @property
    def now(self) -> float:
        """The clock's time, in seconds."""
        return self._clock.now()

    @overload
    def after(self, seconds: float, callback: Callable[[], None]) -> Timer: ...
    @overload
    def after(self, seconds: float, callback: Callable[[T], None], subject: T) -> Timer: ...
    def after(self, seconds: float, callback: Callable[..., None], subject: Any = _NOTHING) -> Timer:
        """Call ``callback`` once, with ``subject`` if there is one, in ``seconds`` (at least 0) or up to a turn later.

        What every line waits for is a function and the line: a bound method of each would be kept besides.
        """
        timer = Timer(callback, subject)
        now = self._clock.now()
        slot = int((now + seconds if seconds > 0.0 else now) / self._turn) + 1
        if not self._slots:
            self._done = int(now / self._turn)
        due = self._slots.get(slot)
        if due is None:
            self._slots[slot] = [timer]
        else:
            due.append(timer)
        if self._handle is None:
            self._arm()
        return timer

    def finer(self, turn: float) -> "Timers":
        """Another wheel by the same clock, for what cannot wait so long; it stops with this one."""
        wheel = Timers(self._clock, turn)
        self._finer.append(wheel)
        return wheel

    def stop(self) -> None:
        """Drop everything that is due, also in the turn that runs."""
        for wheel in self._finer:
            wheel.stop()
        self._slots.clear()
        self._ringing.clear()
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _arm(self) -> None:
        """Wake up when the turn that runs now ends: a slot is due at its beginning, not some time within."""
        now = self._clock.now()
        self._handle = self._clock.call_later((int(now / self._turn) + 1) * self._turn - now, self._advance)

    def _advance(self) -> None:
        self._handle = None
        today = int(self._clock.now() / self._turn)
        # After a stall many slots are due at once: only those that exist are visited, in order.
        due = (
            range(self._done + 1, today + 1)
            if today - self._done < len(self._slots)
            else sorted(s for s in self._slots if s <= today)
        )
        for slot in due:
            self._done = slot
            self._ringing = self._slots.pop(slot, [])
            for timer in self._ringing:
                timer.ring()
        self._ringing = []
        self._done = max(self._done, today)
        if self._slots and self._handle is None:
            self._arm()
