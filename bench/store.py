"""Appends per second: the SQLite engine against memory, history on and off, so many publications waiting at a time.

Run it with ``python bench/store.py``; ``--folder`` says on which disk, ``--seconds`` how long each figure takes.
"""

import argparse
import asyncio
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import uvloop

from openline.brokers.memory import MemoryBroker
from openline.brokers.sqlite import SqliteBroker
from openline.hub.ports import Broker
from openline.hub.timers import Timers
from openline.model import NOTHING_KEPT, Publication, Retention
from openline.testing import FakeClock

HISTORIES = {"off": NOTHING_KEPT, "100": Retention(count=100, seconds=3600.0, size=10_000_000)}
ENGINES = ("memory", "sqlite", "sqlite synced")
PAYLOAD = b'{"text":"%s"}' % (b"x" * 87)


class Deaf:
    """A listener that only counts."""

    def __init__(self) -> None:
        self.heard = 0

    def on_publication(self, _: Publication) -> None:
        self.heard += 1


def make(engine: str, path: Path) -> Broker:
    timers = Timers(FakeClock())
    if engine == "memory":
        return MemoryBroker(timers)
    return SqliteBroker(str(path), loop=asyncio.get_running_loop(), timers=timers, synced="synced" in engine)


async def measure(
    broker: Broker, kept: Retention, waiting: int, seconds: float, *, channels: int, keyed: bool
) -> float:
    """Appends per second with ``waiting`` publications under way, in a steady state."""
    listener = Deaf()
    await broker.start(listener)
    names = [f"room:{n}" for n in range(channels)]
    for name in names:
        await broker.subscribe(name)
    publications = [Publication(name, "chat", PAYLOAD) for name in names]
    done = 0

    async def appends(until: float) -> int:
        nonlocal done
        begun = done
        while time.perf_counter() < until:
            outcomes = []
            for _ in range(waiting):
                key = str(done) if keyed else None
                outcomes.append(broker.publish(publications[done % channels], kept, key))
                done += 1
            for outcome in outcomes:
                await outcome
        return done - begun

    await appends(time.perf_counter() + seconds / 4)
    begun = time.perf_counter()
    count = await appends(begun + seconds)
    rate = count / (time.perf_counter() - begun)
    await broker.close()
    assert listener.heard == done, "an append was not told"
    return rate


def figures(folder: Path, seconds: float, runs: int, cell: Callable[[Path, str, str, int], float]) -> None:
    header = ["engine", "history", *(f"{n} waiting" for n in (1, 10, 100, 1000))]
    print(("{:<14}{:>8}" + "{:>14}" * 4).format(*header))
    for engine in ENGINES:
        for history in HISTORIES:
            rates = []
            for waiting in (1, 10, 100, 1000):
                samples = []
                for _ in range(runs):
                    with tempfile.TemporaryDirectory(dir=folder) as made:
                        samples.append(cell(Path(made) / "store.db", engine, history, waiting))
                rates.append(statistics.median(samples))
            print(("{:<14}{:>8}" + "{:>14,.0f}" * 4).format(engine, history, *rates), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--channels", type=int, default=10)
    parser.add_argument("--keyed", action="store_true", help="every publication has a key of its own")
    options = parser.parse_args()

    def cell(path: Path, engine: str, history: str, waiting: int) -> float:
        async def run() -> float:
            return await measure(
                make(engine, path),
                HISTORIES[history],
                waiting,
                options.seconds,
                channels=options.channels,
                keyed=options.keyed,
            )

        return uvloop.run(run())

    print(
        f"appends per second, median of {options.runs}; {len(PAYLOAD)} bytes each, {options.channels} channels, "
        f"{'with' if options.keyed else 'without'} keys; SQLite {sqlite3.sqlite_version}"
    )
    figures(options.folder, options.seconds, options.runs, cell)


if __name__ == "__main__":
    main()
