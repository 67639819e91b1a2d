"""Owns what bench/store.py measures: appends, fan-out through a server, and appends while old rows are pruned."""

import asyncio
import sqlite3
import tempfile
import threading
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvloop
from measure import Figures, Load, Places, measure
from servers import OPENLINE_MEMBER, Server

from openline.brokers.memory import MemoryBroker
from openline.brokers.sqlite import SqliteBroker
from openline.hub.ports import Broker
from openline.hub.timers import Timers
from openline.model import NOTHING_KEPT, Publication, Retention
from openline.testing import FakeClock

HISTORIES = {"off": NOTHING_KEPT, "100": Retention(count=100, seconds=3600.0, size=10_000_000)}
ENGINES = ("memory", "sqlite", "sqlite synced")
PAYLOAD = b'{"text":"%s"}' % (b"x" * 87)
HOUR = 3600.0

#: So many rows are pruned, out of so many channels, while so many publications a second come in elsewhere.
OLD_ROWS, OLD_CHANNELS, PER_SECOND = 200_000, 200, 500
QUIET_SECONDS = 5.0


class Deaf:
    """A listener that only counts."""

    def __init__(self) -> None:
        self.heard = 0

    def on_publication(self, _: Publication) -> None:
        self.heard += 1


def make(engine: str, path: Path, clock: FakeClock) -> Broker:
    timers = Timers(clock)
    if engine == "memory":
        return MemoryBroker(timers)
    return SqliteBroker(str(path), loop=asyncio.get_running_loop(), timers=timers, synced="synced" in engine)


def in_folder(folder: Path, work: Callable[[Path], Coroutine[Any, Any, Figures]]) -> Figures:
    with tempfile.TemporaryDirectory(dir=folder) as made:
        return uvloop.run(work(Path(made) / "store.db"))


@dataclass(frozen=True, slots=True)
class Appends:
    """Appends per second with ``waiting`` of them under way, in a steady state, over ``channels`` channels."""

    engine: str
    history: str
    waiting: int
    channels: int
    keyed: bool
    seconds: float

    def __str__(self) -> str:
        return f"appends: {self.engine}, history {self.history}, {self.waiting} waiting"

    def measure(self, folder: Path, _: Places) -> Figures:
        return in_folder(folder, self._run)

    async def _run(self, path: Path) -> Figures:
        broker = make(self.engine, path, FakeClock())
        listener = Deaf()
        await broker.start(listener)
        names = [f"room:{n}" for n in range(self.channels)]
        for name in names:
            await broker.subscribe(name)
        done = await self._append(broker, names, 0, time.perf_counter() + self.seconds / 4)
        begun = time.perf_counter()
        count = await self._append(broker, names, done, begun + self.seconds)
        rate = count / (time.perf_counter() - begun)
        await broker.close()
        assert listener.heard == done + count, "an append was not told"
        return {"appends_per_s": rate}

    async def _append(self, broker: Broker, names: list[str], number: int, until: float) -> int:
        kept = HISTORIES[self.history]
        publications = [Publication(name, "chat", PAYLOAD) for name in names]
        begun = number
        while time.perf_counter() < until:
            outcomes = []
            for _ in range(self.waiting):
                key = str(number) if self.keyed else None
                outcomes.append(broker.publish(publications[number % len(names)], kept, key))
                number += 1
            for outcome in outcomes:
                await outcome
        return number - begun


@dataclass(frozen=True, slots=True)
class FanOut:
    """To 1 000 members over loopback, ``window`` messages in flight."""

    engine: str
    history: str
    window: int
    rounds: int

    def __str__(self) -> str:
        return f"fan-out: {self.engine}, history {self.history}, {self.window} in flight"

    def measure(self, folder: Path, places: Places) -> Figures:
        server = "{this_python} {peers}/openline_store_server.py {port} {mode}"
        command = f"{server} {self.engine} {HISTORIES[self.history].count} {folder}"
        load = Load(mode="fanout", clients=1000, window=self.window, messages=self.rounds)
        return measure(Server(str(self), command, OPENLINE_MEMBER), load, places)


@dataclass(frozen=True, slots=True)
class Pruning:
    """How long an append takes while 200 000 rows that have grown too old leave the file, and when nothing does."""

    def __str__(self) -> str:
        return "pruning"

    def measure(self, folder: Path, _: Places) -> Figures:
        return in_folder(folder, self._run)

    async def _run(self, path: Path) -> Figures:
        clock = FakeClock()
        broker = make("sqlite", path, clock)
        assert isinstance(broker, SqliteBroker)
        await broker.start(Deaf())
        await _fill(broker)
        quiet_until = time.perf_counter() + QUIET_SECONDS
        quiet = await _append_steadily(broker, lambda: time.perf_counter() > quiet_until)
        # The engine's own rhythm would ask for sweeps of the hours between.
        clock.stall(2 * HOUR)
        broker.sweep()
        begun = time.perf_counter()
        gone = threading.Event()
        watcher = threading.Thread(target=_watch, args=(path, gone))
        watcher.start()
        pruning = await _append_steadily(broker, gone.is_set)
        seconds = time.perf_counter() - begun
        watcher.join()
        await broker.close()
        return {"seconds": seconds, **_spread("quiet", quiet), **_spread("pruning", pruning)}


async def _fill(broker: Broker) -> None:
    kept = Retention(count=10**6, seconds=HOUR, size=10**9)
    for begun in range(0, OLD_ROWS, 1000):
        outcomes = [
            broker.publish(Publication(f"old:{n % OLD_CHANNELS}", "chat", PAYLOAD), kept)
            for n in range(begun, begun + 1000)
        ]
        for outcome in outcomes:
            await outcome


async def _append_steadily(broker: Broker, done: Callable[[], bool]) -> list[float]:
    """How long each took, in milliseconds; they come in at their time, whether the ones before are done or not."""
    took: list[float] = []
    kept = Retention(count=100, seconds=1000 * HOUR, size=10**8)
    due = time.perf_counter()
    while not done():
        due += 1 / PER_SECOND
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        outcome = broker.publish(Publication("live", "chat", PAYLOAD), kept)
        # Counted from when it should have come in: a loop that was held is part of it.
        outcome.then(lambda _, due=due: took.append((time.perf_counter() - due) * 1000))
    await outcome
    return took


def _watch(path: Path, gone: threading.Event) -> None:
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    left = "SELECT 1 FROM log WHERE channel <= ? LIMIT 1"
    while connection.execute(left, (OLD_CHANNELS,)).fetchone() is not None:
        time.sleep(0.1)
    connection.close()
    gone.set()


def _spread(name: str, took: list[float]) -> Figures:
    took = sorted(took)
    return {
        f"{name}_p50_ms": took[len(took) // 2],
        f"{name}_p99_ms": took[len(took) * 99 // 100],
        f"{name}_max_ms": took[-1],
    }
