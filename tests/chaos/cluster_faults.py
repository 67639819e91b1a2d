"""What is done to several nodes, to the engine between them, and to the lines between all of them.

Each goes on until it is cancelled; what it leaves undone then, :meth:`~tests.chaos.cluster.Cluster.heal` and its own
end make good. ``SETTINGS`` says of every fault what it needs, and how long somebody who went may be shown under it.
"""

import asyncio
import signal
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from tests.chaos.cluster import Node
from tests.chaos.events import Dropped, Forgot
from tests.chaos.faults import FAULTS, Fault, Situation, cut

__all__ = ["CLUSTER_FAULTS", "SETTINGS", "Setting", "times"]


def times(number: int, fault: Fault) -> Fault:
    """``fault``, until it has done so many deeds; cuts do not count."""

    async def limited(situation: Situation) -> None:
        async with asyncio.TaskGroup() as tasks:
            task = tasks.create_task(fault(situation))
            while situation.done.total() - situation.done["cuts"] < number:
                await asyncio.sleep(0.02)
            task.cancel()

    return limited


#: Longer than a lease, after which others have what a node had.
_PAST_A_LEASE = (5.5, 9.0)


async def roll(situation: Situation) -> None:
    """A deploy: one node after the other is drained and started anew."""
    while True:
        for node in situation.cluster.nodes:
            await situation.pause(0.2, 1.0)
            code = await node.end(signal.SIGTERM, within=35.0)
            assert code == 0, node.said
            await node.start()
            await node.ready()
            situation.done["drains in turn"] += 1


async def stand_still(situation: Situation) -> None:
    """A node stands still for longer than its lease, and goes on."""
    while True:
        await situation.pause(0.3, 1.5)
        node = situation.chance.choice(situation.cluster.nodes)
        node.freeze()
        try:
            await situation.pause(*_PAST_A_LEASE)
            situation.done["freezes past a lease"] += 1
        finally:
            node.thaw()
        await situation.pause(2.0, 4.0)


async def kill_engine(situation: Situation) -> None:
    """SIGKILL of the engine, which starts again with what it has on disk."""
    engine = situation.cluster.engine
    while True:
        await situation.pause(0.5, 2.5)
        try:
            await engine.kill()
            situation.done["kills of the engine"] += 1
            await situation.pause(0.0, 3.0)
        finally:
            await engine.start()


async def freeze_engine(situation: Situation) -> None:
    """The engine stands still for 8 s, and goes on."""
    engine = situation.cluster.engine
    while True:
        await situation.pause(0.3, 1.0)
        await engine.freeze()
        try:
            await asyncio.sleep(8.0)
            situation.done["freezes of the engine"] += 1
        finally:
            await engine.thaw()
        await situation.pause(1.0, 3.0)


async def flush(situation: Situation) -> None:
    """Everything in the engine is deleted."""
    while True:
        await situation.pause(0.5, 4.0)
        await situation.cluster.engine.flush()
        situation.history.note(Forgot)
        situation.done["flushes"] += 1


async def fail_over(situation: Situation) -> None:
    """The master is killed, and its replica takes its place, every other time without what was written last."""
    while True:
        for dropping in (0.0, 0.5):
            await situation.pause(0.5, 2.0)
            if dropping:
                situation.history.note(Dropped)
            await situation.cluster.engine.fail_over(dropping)
            if dropping:
                situation.history.note(Forgot)
            situation.done["failovers that drop writes" if dropping else "failovers"] += 1


async def _partition(
    situation: Situation, name: str, port: Callable[[Node], int], seconds: tuple[float, float]
) -> None:
    """Cut one node's packets from and to a port, at times in one direction only; then mend it."""
    while True:
        await situation.pause(0.3, 1.5)
        node = situation.chance.choice(situation.cluster.nodes)
        ways = situation.chance.choice((("input", "output"), ("input", "output"), ("input",), ("output",)))
        node.place.cut(port(node), ways)
        try:
            await situation.pause(*seconds)
            situation.done[name] += 1
        finally:
            node.place.mend()
        await situation.pause(0.5, 3.0)


async def part_from_engine(situation: Situation) -> None:
    """A node and the engine do not reach each other, for less or more than a lease."""
    engine = situation.cluster.engine
    await _partition(situation, "partitions from the engine", lambda _: engine.port, (1.0, 9.0))


async def part_from_clients(situation: Situation) -> None:
    """Nobody but the engine reaches a node; some clients give up meanwhile."""
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(cut(situation))
        await _partition(situation, "partitions from clients", lambda node: node.port, (1.0, 9.0))


async def everything_of_many(situation: Situation) -> None:
    """Cuts all the time, and one of the others after the other."""
    await _in_turn(situation, (FAULTS["kill"], FAULTS["freeze"], kill_engine, freeze_engine, stand_still))


async def _in_turn(situation: Situation, faults: Sequence[Fault]) -> None:
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(cut(situation))
        while True:
            fault = situation.chance.choice(faults)
            with suppress(TimeoutError):
                async with asyncio.timeout(situation.chance.uniform(2.0, 12.0)):
                    await fault(situation)
            await situation.cluster.heal()


async def everything_parted(situation: Situation) -> None:
    """Cuts all the time, and lines of nodes that are cut one after the other, while nodes and the engine are killed."""
    await _in_turn(situation, (part_from_engine, part_from_clients, FAULTS["kill"], kill_engine))


@dataclass(frozen=True)
class Setting:
    """What a fault needs. ``engines``: by name; ``ghost_seconds``: how long one who went may still be shown.

    ``durable``: it leaves an engine what it has on disk.
    """

    engines: tuple[str, ...]
    ghost_seconds: float
    namespaces: bool = False
    durable: bool = True


_ONE = ("memory", "sqlite")
#: A node is missed within 10 s; a client that was cut off notices up to as much later that it is.
_MANY = Setting(("redis", "everysec", "sentinel"), 12.0)
CLUSTER_FAULTS: dict[str, Fault] = {
    "roll": roll,
    "stand-still": stand_still,
    "kill-engine": kill_engine,
    "freeze-engine": freeze_engine,
    "flush": flush,
    "fail-over": fail_over,
    "part-from-engine": part_from_engine,
    "part-from-clients": part_from_clients,
    "mixed": everything_of_many,
    "mixed-parted": everything_parted,
}
SETTINGS: dict[str, Setting] = {
    **{name: Setting((*_ONE, *_MANY.engines), 20.0) for name in ("cut", "kill", "freeze", "slow", "drain")},
    "everything": Setting(_ONE, 20.0),
    "roll": _MANY,
    "stand-still": Setting(("redis", "everysec"), 25.0),
    "kill-engine": Setting(("redis", "everysec"), 25.0),
    # Nobody is missed because the engine stood still.
    "freeze-engine": Setting(("redis", "everysec"), 30.0),
    "flush": Setting(("redis",), 25.0, durable=False),
    "fail-over": Setting(("sentinel",), 30.0),
    # Whose line is silent is found dead by its next ping.
    "part-from-engine": Setting(("redis",), 30.0, namespaces=True),
    "part-from-clients": Setting(("redis",), 60.0, namespaces=True),
    "mixed": Setting(("redis", "everysec"), 30.0),
    "mixed-parted": Setting(("redis",), 60.0, namespaces=True),
}
