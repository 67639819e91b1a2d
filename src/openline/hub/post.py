"""Messages between nodes: volatile publications to an address that each of them has, and answers to them."""

import logging
import secrets
from collections.abc import Callable
from typing import Any, Final

import msgspec

from openline.errors import BrokerError, CommandError, ErrorCode
from openline.hub.outcome import Outcome
from openline.hub.ports import Broker
from openline.hub.timers import Timers
from openline.model import Publication
from openline.protocol.channel_name import INTERNAL

__all__ = ["Post"]

_ANSWER: Final = "$answer"
_REFUSAL: Final = "$refusal"
_log = logging.getLogger("openline")

#: Takes what another node says, as plain values; what comes out is the answer.
Hearer = Callable[[Any], Outcome[Any]]


class Post:
    """What this node says to others, and hears from them."""

    def __init__(self, broker: Broker, timers: Timers) -> None:
        self.node = ""
        self._broker = broker
        self._timers = timers
        self._hearers: dict[str, Hearer] = {}
        self._asked: dict[str, Outcome[Any]] = {}

    def on(self, kind: str, hearer: Hearer) -> None:
        """Have ``hearer`` called for messages of ``kind``."""
        self._hearers[INTERNAL + kind] = hearer

    def settle_at(self, node: str) -> Outcome[None]:
        """From now on this node is called ``node``; settled when it hears what is sent there."""
        if self.node:
            self._broker.unsubscribe(_address(self.node))
        self.node = node
        return self._broker.subscribe(_address(node))

    def tell(self, node: str, kind: str, payload: object) -> None:
        """Say something to ``node``, which hears it if it can."""
        self._send(node, INTERNAL + kind, payload).then(_look)

    def ask(self, node: str, kind: str, payload: object, timeout: float) -> Outcome[Any]:
        """What ``node`` answers.

        Fails with :class:`TimeoutError` after ``timeout`` seconds, with :class:`BrokerError` where it cannot be asked
        and with :class:`CommandError` where it refuses.
        """
        number = secrets.token_hex(6)
        answer: Outcome[Any] = Outcome()
        self._asked[number] = answer
        late = self._timers.after(timeout, lambda: answer.fail(TimeoutError(f"node {node} did not answer")))

        def forget(_: Outcome[Any]) -> None:
            late.cancel()
            del self._asked[number]

        answer.then(forget)
        self._send(node, INTERNAL + kind, payload, number).then(lambda sent: _pass_failure(sent, answer))
        return answer

    def _send(self, node: str, type: str, payload: object, ask: str | None = None) -> Outcome[None]:
        sender = msgspec.json.encode(self.node)
        # As MessagePack, which leaves bytes as they are.
        said = msgspec.msgpack.encode(payload)
        return self._broker.scatter(Publication(_address(node), type, said, binary=True, sender=sender, ask=ask))

    def hear(self, publication: Publication) -> None:
        """Another node has said something to this one."""
        if publication.channel != _address(self.node):
            return
        said = msgspec.msgpack.decode(publication.payload)
        if publication.type in (_ANSWER, _REFUSAL):
            self._take_answer(publication, said)
            return
        hearer = self._hearers.get(publication.type)
        if hearer is None:
            _log.warning("A node sent %s, which this one does not know: their versions differ", publication.type)
            return
        answer = hearer(said)
        if publication.ask is None or publication.sender is None:
            answer.then(_look)
            return
        sender: str = msgspec.json.decode(publication.sender)
        answer.then(lambda done: self._answer(sender, publication.ask, done))

    def _take_answer(self, publication: Publication, said: Any) -> None:
        waiting = self._asked.get(publication.ask or "")
        if waiting is None:
            return
        if publication.type == _ANSWER:
            waiting.settle(said)
        else:
            waiting.fail(CommandError(ErrorCode.FAILED, str(said)))

    def _answer(self, node: str, ask: str | None, done: Outcome[Any]) -> None:
        try:
            said, type = done.result(), _ANSWER
        except (CommandError, BrokerError) as error:
            said, type = str(error), _REFUSAL
        except Exception:
            _log.exception("What another node asked for failed")
            said, type = "failed", _REFUSAL
        self._send(node, type, said, ask).then(_look)


def _address(node: str) -> str:
    return f"$node:{node}"


def _look(outcome: Outcome[Any]) -> None:
    """The other side finds out by itself: nobody waits for this one."""
    try:
        outcome.result()
    except BrokerError:
        return
    except Exception:
        _log.exception("What another node asked for failed")


def _pass_failure(sent: Outcome[None], answer: Outcome[Any]) -> None:
    try:
        sent.result()
    except BrokerError as error:
        answer.fail(error)
