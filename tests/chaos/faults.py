"""What is done to clients, nodes and the engine while a trial runs: each goes on until it is cancelled, and heals.

A fault of an engine or of many nodes takes what it needs of the same situation: ``cluster.nodes``, ``cluster.engine``.
"""

import asyncio
import random
import signal
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from tests.chaos.cluster import Cluster
from tests.chaos.events import History
from tests.chaos.listeners import Json, Listener
from tests.chaos.publishers import Publisher

__all__ = ["FAULTS", "Fault", "Situation"]


@dataclass
class Situation:
    """Everything that a fault may reach."""

    cluster: Cluster
    listeners: Sequence[Listener]
    publishers: Sequence[Publisher]
    chance: random.Random
    #: How often what was done.
    done: Counter[str] = field(default_factory=Counter)
    history: History = field(default_factory=History)

    async def pause(self, least: float, most: float) -> None:
        await asyncio.sleep(self.chance.uniform(least, most))


Fault = Callable[[Situation], Awaitable[None]]


async def cut(situation: Situation) -> None:
    """One client after the other loses its line."""
    while True:
        await situation.pause(0.02, 0.15)
        situation.chance.choice(situation.listeners).cut()
        situation.done["cuts"] += 1


async def kill(situation: Situation) -> None:
    """SIGKILL of a node at any moment, which starts again after a while."""
    while True:
        await situation.pause(0.3, 2.5)
        node = situation.chance.choice(situation.cluster.nodes)
        await node.kill()
        situation.done["kills"] += 1
        await situation.pause(0.0, 0.5)
        await node.start()


async def freeze(situation: Situation) -> None:
    """A node stands still, and goes on."""
    while True:
        await situation.pause(0.5, 2.0)
        node = situation.chance.choice(situation.cluster.nodes)
        node.freeze()
        situation.done["freezes"] += 1
        try:
            await situation.pause(0.3, 2.0)
        finally:
            node.thaw()


async def drain(situation: Situation) -> None:
    """A deploy: SIGTERM, and the next process in the same place."""
    while True:
        await situation.pause(0.5, 2.5)
        node = situation.chance.choice(situation.cluster.nodes)
        code = await node.end(signal.SIGTERM, within=35.0)
        assert code == 0, node.said
        situation.done["drains"] += 1
        await node.start()


async def slow(situation: Situation) -> None:
    """A client stops reading while much is said, until it is closed for that; then it comes back."""
    victims = [each for each in situation.listeners if isinstance(each, Json)]
    while True:
        await situation.pause(0.2, 1.0)
        victim = situation.chance.choice(victims)
        victim.slow = going_on = asyncio.Event()
        for publisher in situation.publishers:
            publisher.padding, publisher.every = "x" * 8_000, 0.004
        try:
            await situation.pause(1.0, 3.0)
            situation.done["slow"] += 1
        finally:
            for publisher in situation.publishers:
                publisher.padding, publisher.every = "", 0.05
            victim.slow = None
            going_on.set()


async def everything(situation: Situation) -> None:
    """Cuts all the time, and one of the others after the other."""
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(cut(situation))
        while True:
            fault = situation.chance.choice((kill, freeze, slow))
            with suppress(TimeoutError):
                async with asyncio.timeout(situation.chance.uniform(1.5, 4.0)):
                    await fault(situation)
            await situation.cluster.heal()


FAULTS: dict[str, Fault] = {
    "cut": cut,
    "kill": kill,
    "freeze": freeze,
    "slow": slow,
    "drain": drain,
    "everything": everything,
}
