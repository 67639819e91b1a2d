"""Answers that are passed on: whether one got to its client the node that passed it knows, and says when asked."""

from collections import OrderedDict
from itertools import count
from typing import Any, Final

from openline.errors import BrokerError, CommandError
from openline.hub.hub import Hub
from openline.hub.outcome import Outcome

__all__ = ["HEADER", "Passage", "Passages"]

#: The header of a request that is passed on: by which node, and its number there.
HEADER: Final = b"openline-passage"
#: How long a node is waited for: one that was killed is in the directory for some seconds more.
_ASK_SECONDS: Final = 2.0
_MOST_DIGITS: Final = 16
#: How long it is remembered that an answer did not get through.
_KEPT_SECONDS: Final = 60.0
#: Of how many, at most; the oldest are forgotten first, as if they had got through.
_MOST_LOST: Final = 16_384


class Passage:
    """One request that is passed on; ``broken``: its client has gone before the whole answer."""

    __slots__ = ("broken", "number")

    def __init__(self, number: int) -> None:
        self.number = number
        self.broken = False


class Passages:
    """Those of this node, by number, and the way to ask about those of others."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._numbers = count()
        self._under_way: set[int] = set()
        # Whose answers have not gone out whole and never will, the oldest first, and until when that counts.
        self._lost: OrderedDict[int, float] = OrderedDict()
        if hub.cluster is not None:
            hub.cluster.post.on("passage", self._tell)

    def begin(self) -> Passage:
        """A request is about to be passed on."""
        passage = Passage(next(self._numbers))
        self._under_way.add(passage.number)
        return passage

    def header(self, passage: Passage) -> bytes:
        """What the other node is told, so that it can ask."""
        return f"{self._hub.mark}{passage.number}".encode()

    def through(self, passage: Passage) -> None:
        """Its answer has gone out whole."""
        self._under_way.discard(passage.number)

    def end(self, passage: Passage) -> None:
        """Nothing more comes of it."""
        if passage.number in self._under_way:
            self.through(passage)
            self._lost[passage.number] = self._hub.timers.now + _KEPT_SECONDS
            self._forget()

    def _forget(self) -> None:
        while len(self._lost) > _MOST_LOST or next(iter(self._lost.values())) <= self._hub.timers.now:
            self._lost.popitem(last=False)

    def _tell(self, number: Any) -> Outcome[Any]:
        """Another node asks whether the answer that it gave went out."""
        return Outcome.of(number not in self._under_way and number not in self._lost)

    async def got_lost(self, header: str) -> bool:
        """Whether the answer to the request that had this ``header`` did not get to its client.

        The node that passed it on says so, or says nothing any more. Where the engine does not answer, nobody knows,
        and nothing was lost.
        """
        cluster = self._hub.cluster
        node, _, number = header.rpartition(".")
        if cluster is None or not node or not (number.isascii() and number.isdecimal() and len(number) < _MOST_DIGITS):
            return False
        if node not in cluster.nodes:
            return True
        try:
            return await cluster.post.ask(node, "passage", int(number), _ASK_SECONDS) is not True
        except (BrokerError, CommandError):
            return False
        except TimeoutError:
            return True
