"""What a node has asked the engine process and has no answer to: bounded, in order, failed when it takes too long."""

from collections import deque
from collections.abc import Callable
from typing import Any, Final, Protocol, TypeVar

import msgspec

from openline.brokers import link_frames as frames
from openline.errors import BrokerError, CommandError, ErrorCode
from openline.hub.outcome import Outcome
from openline.hub.timers import Timers
from openline.model import Page, Position, Publication

__all__ = ["Line", "Request", "Requests"]

#: How long an answer is waited for, and after how much silence those who need not wait go on alone.
ANSWER_SECONDS: Final = 5.0
CATCH_SECONDS: Final = 30.0
STALL_SECONDS: Final = 1.0
#: Bytes of what waits to be answered, and of pages that are asked for together.
WAITING_BYTES: Final = 64 * 1024 * 1024
MOST_UNDER_WAY: Final = 4 * 1024 * 1024
_COST: Final = 256
_LOOK_SECONDS: Final = 0.25

T = TypeVar("T")


class Request:
    """Something asked, until it is answered.

    ``publication`` is what is to be told with the answer; a ``volatile`` one has no place in the log. ``again``: it may
    be asked again over another connection. ``reply`` are the bytes of its answer, about. ``gone``: its outcome is
    settled, or has failed.
    """

    __slots__ = (
        "again",
        "data",
        "gone",
        "number",
        "outcome",
        "publication",
        "read",
        "reply",
        "sent",
        "size",
        "until",
        "volatile",
    )

    def __init__(self, number: int, data: bytes, until: float) -> None:
        self.number = number
        self.data = data
        self.until = until
        self.size = len(data) + _COST
        self.sent = 0.0
        self.outcome: Outcome[Any] = Outcome()
        self.read: Callable[[frames.Answer], Any] = _nothing
        self.publication: Publication | None = None
        self.volatile = self.again = self.gone = False
        self.reply = 0

    def settle(self, answer: frames.Answer) -> None:
        """It has been answered."""
        if self.gone:
            return
        self.gone = True
        try:
            self.outcome.settle(self.read(answer))
        except (msgspec.DecodeError, ValueError, TypeError) as error:
            self.outcome.fail(BrokerError(f"what the engine process answers cannot be read: {error}"))

    def fail(self, reason: str) -> None:
        """It will not be answered well, or not in time."""
        if not self.gone:
            self.gone = True
            self.outcome.fail(BrokerError(reason))


def _nothing(_: frames.Answer) -> None:
    """There is nothing to know."""


def _page(answer: frames.Answer) -> Page:
    return frames.read_page(answer.value)


def _missed(answer: frames.Answer) -> frames.Missed:
    return frames.read_missed(answer.value)


class Line(Protocol):
    """What they go out over."""

    @property
    def up(self) -> bool:
        """Whether anything may be sent."""
        ...

    @property
    def reason(self) -> str:
        """Why not."""
        ...

    def write(self, data: bytes) -> None:
        """Send a frame."""
        ...

    def passed(self, request: Request) -> None:
        """A volatile one need not wait any more."""
        ...


class Requests:
    """All of one link."""

    def __init__(self, line: Line, timers: Timers) -> None:
        self._line = line
        self._timers = timers
        self._number = 0
        #: What was sent and not answered; what is yet to be sent; and readings that wait for others to be answered.
        self.pending: dict[int, Request] = {}
        self._waiting: deque[Request] = deque()
        self._reads: deque[Request] = deque()
        self._bytes = self._under_way = 0
        self._heard_at = 0.0
        self._looking = self._suspected = self._closed = False
        #: Whether the engine owes an answer for so long that nobody should wait for it.
        self.stalled = False

    # -- asking

    def ask(
        self,
        make: Callable[[int], Any],
        read: Callable[[frames.Answer], T],
        *,
        publication: Publication | None = None,
        volatile: bool = False,
        again: bool = False,
        reply: int = 0,
    ) -> Outcome[T]:
        """Send what ``make`` makes of a number; what ``read`` makes of the answer comes out.

        Fails with :class:`BrokerError`, and with :class:`CommandError` for text that is not Unicode.
        """
        if self._closed:
            return Outcome.failed(BrokerError("the engine is closed"))
        try:
            request = self._new(make, ANSWER_SECONDS)
        except UnicodeEncodeError:
            return Outcome.failed(CommandError(ErrorCode.BAD_FIELD, "There is text in it that is not Unicode."))
        if len(request.data) > frames.MOST_BYTES or (self._bytes and self._bytes + request.size > WAITING_BYTES):
            return Outcome.failed(BrokerError("the engine process does not keep up"))
        request.read, request.publication, request.volatile = read, publication, volatile
        request.again, request.reply = again, reply
        self._put(request, self._reads if reply else self._waiting)
        return request.outcome

    def read(
        self, channel: str, after: Position | None, before: Position | None, limit: int, size: int
    ) -> Outcome[Page]:
        """Read a log; pages wait where many are under way."""
        return self.ask(
            lambda number: frames.Read(number, channel, after, before, limit, size), _page, again=True, reply=size
        )

    def scatter(self, publication: Publication) -> Outcome[None]:
        """Send what is volatile, and is told here with the answer."""
        return self.ask(
            lambda number: frames.Scatter(number, publication), _nothing, publication=publication, volatile=True
        )

    def want(self, channel: str) -> Outcome[None]:
        """Subscribe."""
        return self.ask(lambda number: frames.Want(number, channel), _nothing, again=True)

    def catch_up(self, after: Position) -> Outcome[frames.Missed]:
        """What was missed; sent at once, before the line is up."""
        request = self._new(lambda number: frames.Catch(number, after), CATCH_SECONDS)
        request.read = _missed
        self._bytes += request.size
        self._send(request)
        self._look_later()
        return request.outcome

    def tell(self, message: Any) -> None:
        """Send something that nobody answers; it waits while the line is down, as long as there is room."""
        try:
            request = Request(0, frames.frame(message), self._timers.now + ANSWER_SECONDS)
        except UnicodeEncodeError:
            return
        if not self._closed and self._bytes + request.size <= WAITING_BYTES:
            self._put(request, self._waiting)

    def _new(self, make: Callable[[int], Any], seconds: float) -> Request:
        self._number += 1
        return Request(self._number, frames.frame(make(self._number)), self._timers.now + seconds)

    def _put(self, request: Request, queue: "deque[Request]") -> None:
        self._bytes += request.size
        queue.append(request)
        self.go_on()
        self._look_later()

    def go_on(self) -> None:
        """Send what may be sent."""
        while self._waiting and self._line.up:
            self._send(self._waiting.popleft())
        while self._reads and self._line.up and self._under_way <= MOST_UNDER_WAY:
            self._send(self._reads.popleft())

    def _send(self, request: Request) -> None:
        if request.number:
            request.sent = self._timers.now
            self.pending[request.number] = request
            self._under_way += request.reply
        else:
            self._bytes -= request.size
        self._line.write(request.data)

    # -- answers, and none

    def heard(self) -> None:
        """Something has come."""
        self._heard_at = self._timers.now
        self.stalled = self._suspected = False

    def take(self, number: int) -> Request | None:
        """What ``number`` was, which is answered; None for nothing that is waited for."""
        request = self.pending.pop(number, None)
        if request is not None:
            self._bytes -= request.size
            self._under_way -= request.reply
            if self._reads:
                self.go_on()
        return request

    def cut(self, reason: str) -> None:
        """The line is gone: nobody knows what came of what was sent. What changes nothing is asked again."""
        self.stalled, self._under_way = False, 0
        pending, self.pending = self.pending, {}
        back: list[Request] = []
        for request in pending.values():
            if request.again and not request.gone:
                back.append(request)
                continue
            self._bytes -= request.size
            if request.volatile:
                self._let_pass(request)
            else:
                request.fail(f"the engine process did not answer: {reason}")
        for request in reversed(back):
            (self._reads if request.reply else self._waiting).appendleft(request)

    def close(self) -> None:
        """Fail what waits."""
        self._closed = True
        self.cut("it is closed")
        for queue in (self._waiting, self._reads):
            for request in queue:
                request.fail("the engine is closed")
            queue.clear()

    def _let_pass(self, request: Request) -> None:
        if not request.gone:
            request.gone = True
            self._line.passed(request)
            request.outcome.settle(None)

    def _look_later(self) -> None:
        if not self._looking:
            self._looking = True
            self._timers.after(_LOOK_SECONDS, self._look)

    def _look(self) -> None:
        """Fail what has waited too long, and judge silence.

        That takes two looks: what came in while this process stood still is read between them.
        """
        self._looking = False
        now = self._timers.now
        first = next(iter(self.pending.values()), None)
        silent = 0.0 if first is None or not self._line.up else now - max(self._heard_at, first.sent)
        self.stalled = silent > STALL_SECONDS and (self.stalled or self._suspected)
        self._suspected = silent > STALL_SECONDS
        for request in tuple(self.pending.values()):
            if self.stalled and request.volatile:
                self._let_pass(request)
            elif request.until <= now:
                # It stays: if it was published after all, this node's own clients are to hear it.
                request.fail("the engine process did not answer")
        for queue in (self._waiting, self._reads):
            while queue and queue[0].until <= now:
                late = queue.popleft()
                self._bytes -= late.size
                late.fail(f"the engine process did not answer: {self._line.reason}")
        if self.pending or self._waiting or self._reads:
            self._look_later()
