"""A process that publishes into a store until it is killed; it says what it has sent, and what was acknowledged.

``python -m tests.brokers.load PATH SEED ROUND``. Lines: ``sent N``, written ahead of the publication; ``ack N STAMP``.
"""

import asyncio
import os
import random
import sys

from openline.brokers import sqlite_writer
from openline.brokers.sqlite import SqliteBroker
from openline.hub.timers import Timers
from openline.model import Publication, Retention
from openline.testing import FakeClock

#: One channel keeps all of it, one is pruned all the time, one keeps nothing.
KEPT = {
    "all": Retention(count=10**6, seconds=1e6, size=10**9),
    "few": Retention(count=20, seconds=1e6, size=10**9),
    "none": Retention(),
}
#: Moving the write-ahead log into the file often, so that a kill falls into it as well.
CHECKPOINT_BYTES = 200_000


def publication(name: str, n: int) -> Publication:
    return Publication(name, "note", b'{"n":%d,"text":"%s"}' % (n, b"x" * (n * 37 % 500)))


def channel(turn: int, n: int) -> str:
    return f"{tuple(KEPT)[n % 3]}-{turn}"


class Deaf:
    def on_publication(self, publication: Publication) -> None:
        pass


def say(text: str) -> None:
    os.write(1, text.encode())


async def load(path: str, seed: int, turn: int) -> None:
    rng = random.Random(seed)
    sqlite_writer.CHECKPOINT_BYTES = CHECKPOINT_BYTES  # type: ignore[misc]
    broker = SqliteBroker(path, loop=asyncio.get_running_loop(), timers=Timers(FakeClock()))
    broker.start(Deaf())
    n = 0
    while True:
        batch = range(n, n + rng.choice([1, 7, 100]))
        n = batch.stop
        say(f"sent {batch.stop - 1}\n")
        outcomes = []
        for each in batch:
            name = channel(turn, each)
            outcome = broker.publish(publication(name, each), KEPT[name.partition("-")[0]], f"{turn}-{each}")
            outcome.then(lambda it, each=each: say(f"ack {each} {it.result().stamp}\n"))
            outcomes.append(outcome)
        for outcome in outcomes:
            await outcome
        if rng.random() < 0.1:
            broker.sweep()


if __name__ == "__main__":
    asyncio.run(load(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
