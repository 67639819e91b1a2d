"""This node among others: its lease, who else there is, and what it does when it was away for longer than that."""

import logging
import secrets
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from openline.errors import BrokerError, CloseCode
from openline.hub.attendance import Attendance
from openline.hub.outcome import Outcome, drive
from openline.hub.ports import Directory
from openline.hub.post import Post
from openline.hub.record import BEAT_SECONDS, LEASE_SECONDS, Beat
from openline.hub.registry import Registry
from openline.model import Publication
from openline.protocol.commands import Word

if TYPE_CHECKING:
    from openline.hub.hub import Hub

__all__ = ["Cluster"]

_AWAY = "This server was away; come back."
_log = logging.getLogger("openline")


class Cluster:
    """A hub that has one shares its engine with others; a lone one has none, and writes nothing down.

    ``node`` is what this one is called until it loses its lease, empty until it has one.
    """

    def __init__(self, hub: "Hub", directory: Directory, address: str = "") -> None:
        self._hub = hub
        self._directory = directory
        self._address = address
        self.node = ""
        self.nodes: Mapping[str, str] = {}
        self.post = Post(hub.broker, hub.timers)
        self.attendance = Attendance(hub, directory)
        self.registry = Registry(hub, self, directory)
        self.post.on("here", self._hear_of)
        self._era: str = ""
        self._epoch: str = ""
        self._joining = self._doubtful = False
        self._closed = False
        # When this process was last seen to run, and when a beat was sent last that was answered.
        self._awake = self._confirmed = hub.timers.now
        hub.tick.guard = self._wake

    @property
    def ready(self) -> bool:
        """Whether it has a lease, as far as it knows."""
        return bool(self.node) and self._hub.timers.now - self._confirmed < LEASE_SECONDS

    @property
    def era(self) -> str:
        """In which this node has written down whom it has; empty where the engine may have lost some of that."""
        return self._era if self._hub.broker.position.epoch == self._epoch else ""

    def begin(self) -> None:
        """Take a lease, and renew it from now on."""
        self._hub.timers.after(BEAT_SECONDS, self._turn)
        drive(self._renew())

    def advertise(self, address: str) -> None:
        """Others reach this node at ``address``, unless it was told another before."""
        if not self._address:
            self._address = address
            if self.node:
                drive(self._announce(self.node))

    async def _announce(self, node: str) -> None:
        try:
            beat = await self._directory.join(node, self._address).step()
        except BrokerError:
            return
        self._tell_others(beat, node)

    def _tell_others(self, beat: Beat, node: str) -> None:
        for name in beat.nodes:
            if name != node:
                self.post.tell(name, "here", {"node": node, "address": self._address})

    def settle(self) -> Outcome[None]:
        """Settled when everything that was asked of the directory so far has been answered, or will not be."""
        return _heard(self._directory.count(()))

    def leave(self) -> Outcome[None]:
        """Others take what is still here; what was asked before is answered by then, or will not be."""
        self._closed = True
        self._hub.tick.guard = None
        return _heard(self._directory.leave())

    def hear(self, publication: Publication) -> None:
        """What a node says: to this one, or to all who have a channel."""
        if publication.type in (Word.JOINED, Word.LEFT):
            self.attendance.hear(publication)
        else:
            self.post.hear(publication)

    def _hear_of(self, said: Any) -> Outcome[Any]:
        """A node has joined: it counts at once."""
        self.nodes = {**self.nodes, said["node"]: said["address"]}
        return Outcome.of(None)

    # -- the lease

    def _turn(self) -> None:
        if not self._closed:
            self._hub.timers.after(BEAT_SECONDS, self._turn)
            self._wake()
            drive(self._renew())

    def _wake(self) -> bool:
        """The process runs; whether anything may leave it.

        Where it stood still for a lease, others may have what it had: nothing leaves before that is known.
        """
        now = self._hub.timers.now
        asleep, self._awake = now - self._awake, now
        if asleep >= LEASE_SECONDS and self.node and not self._doubtful:
            _log.warning("This node stood still for %.1f s", asleep)
            self._doubtful = True
            drive(self._find_out(self.node))
        return not self._doubtful

    async def _find_out(self, node: str) -> None:
        try:
            await self._beat(node)
        except BrokerError:
            # Nobody can have heard of others either: they are told when the engine is there again.
            pass
        finally:
            self._doubtful = False
            self._hub.tick.flush()

    def _start_over(self) -> None:
        """The lease is lost: close what is here, and be another node from now on."""
        self.node, self.nodes = "", {}
        if self._doubtful:
            self._doubtful = False
            self._hub.tick.discard()
        self.registry.abandon()
        self.attendance.abandon()
        for connection in tuple(self._hub.lifecycle.connections.values()):
            self._hub.lifecycle.let_go(connection, CloseCode.RESTART, _AWAY)

    async def _renew(self) -> None:
        try:
            # A beat does not wait for the one before, which may have been lost.
            if self.node:
                await self._beat(self.node)
            elif not self._joining:
                await self._join()
        except BrokerError:
            # The next beat tries again.
            return

    async def _join(self) -> None:
        node = secrets.token_hex(4)
        sent = self._hub.timers.now
        self._joining = True
        try:
            await self.post.settle_at(node).step()
            beat = await self._directory.join(node, self._address).step()
        finally:
            self._joining = False
        self.node, self._era, self._epoch = node, beat.era, self._hub.broker.position.epoch
        self._tell_others(beat, node)
        await self._go_on(beat, sent)

    async def _beat(self, node: str) -> None:
        sent = self._hub.timers.now
        beat = await self._directory.beat().step()
        if node != self.node:
            return
        forgotten = beat.era != self._era
        if not beat.held and not forgotten:
            _log.warning("This node lost its lease: its clients are told to come back")
            self._start_over()
            await self._join()
            return
        if not beat.held:
            beat = await self._directory.join(node, self._address).step()
        epoch = self._hub.broker.position.epoch
        if forgotten or epoch != self._epoch:
            self.registry.write_all()
            self._era, self._epoch = beat.era, epoch
        await self._go_on(beat, sent)

    async def _go_on(self, beat: Beat, sent: float) -> None:
        self._confirmed = max(self._confirmed, sent)
        self.nodes = beat.nodes
        self.registry.say_again()
        self.attendance.say_again()
        for node, fate in beat.gone.items():
            await self.registry.adopt(node, fate)


def _heard(outcome: Outcome[Any]) -> Outcome[None]:
    """Settled with ``outcome``, whatever that is: when a node stops, others find out by its lease."""
    settled: Outcome[None] = Outcome()

    def look(outcome: Outcome[Any]) -> None:
        try:
            outcome.result()
        except BrokerError:
            _log.warning("The engine does not answer while this node stops; others will miss it")
        settled.settle(None)

    outcome.then(look)
    return settled
