#!/usr/bin/env python3
"""What each engine costs: publishes per second in memory, in a file and in Redis, and what Redis does for each.

A Redis server is started on a free port of loopback, without a disk, and ended. Everything is measured in turns, round
after round; with Redis on a machine of few cores, it and the node take them from each other.

    python bench/engines.py            # a minute
    python bench/engines.py --quick    # ten seconds, not for quoting

Exit status: 0, 1 when something could not be measured, 2 when there is no redis-server.
"""

import argparse
import asyncio
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from shutil import which

import uvloop
from machine import stop_cleanly_on_sigterm
from measure import Figures
from rounds import interleave, medians

from openline.brokers.memory import MemoryBroker
from openline.brokers.redis import RedisBroker
from openline.brokers.redis_url import parse_redis_url
from openline.brokers.sqlite import SqliteBroker
from openline.hub.ports import Broker
from openline.hub.timers import Timers
from openline.model import NOTHING_KEPT, Publication, Retention
from openline.testing import FakeClock

ENGINES = ("memory", "sqlite", "redis", "redis signed")
HISTORIES = {"off": NOTHING_KEPT, "100": Retention(count=100, seconds=3600.0, size=10_000_000)}
WAITING = (1, 100)
#: Nodes that listen, beside the one that publishes and listens, too.
LISTENING = (0, 1, 4)
CHANNEL, PAYLOAD = "room", b'{"text":"%s"}' % (b"x" * 87)
_names = count()


class Listener:
    """Counts."""

    def __init__(self) -> None:
        self.heard = 0

    def on_publication(self, _: Publication) -> None:
        self.heard += 1

    def on_break(self, _: Collection[str] | None) -> None:
        raise AssertionError("the engine's stream broke")


@contextmanager
def redis_server() -> Iterator[str]:
    """The URL of one that ends with the block."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        options = ("--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder)
        with subprocess.Popen(("redis-server", *options), stdout=subprocess.DEVNULL) as server:
            try:
                yield f"redis://127.0.0.1:{port}"
            finally:
                server.terminate()


def make(engine: str, url: str, prefix: str, folder: str) -> Broker:
    timers, loop = Timers(FakeClock()), asyncio.get_running_loop()
    if engine == "memory":
        return MemoryBroker(timers)
    if engine == "sqlite":
        return SqliteBroker(str(Path(folder) / "store.db"), loop=loop, timers=timers)
    key = "a key for a measurement" if engine.endswith("signed") else ""
    return RedisBroker(parse_redis_url(f"{url}?prefix={prefix}"), loop=loop, timers=timers, cluster_key=key)


@dataclass(frozen=True, slots=True)
class Case:
    """Publishes with ``waiting`` of them under way, heard by their own node and by ``listening`` others here."""

    engine: str
    history: str
    waiting: int
    listening: int
    seconds: float
    url: str

    def __str__(self) -> str:
        return f"{self.engine}, history {self.history}, {self.waiting} waiting, {self.listening} more nodes"

    def measure(self) -> Figures:
        return uvloop.run(self._run())

    async def _run(self) -> Figures:
        prefix = f"bench{next(_names)}"
        with tempfile.TemporaryDirectory() as folder:
            brokers = [make(self.engine, self.url, prefix, folder) for _ in range(1 + self.listening)]
            listeners = [Listener() for _ in brokers]
            for broker, listener in zip(brokers, listeners, strict=True):
                await broker.start(listener)
                await broker.subscribe(CHANNEL)
            await self._publish(brokers[0], self.seconds / 4)
            before, cpu, begun = await self._redis(brokers[0]), time.process_time(), time.perf_counter()
            done = await self._publish(brokers[0], self.seconds)
            seconds, cpu = time.perf_counter() - begun, time.process_time() - cpu
            after = await self._redis(brokers[0])
            for broker in brokers:
                # Up to here everything has been heard.
                await broker.subscribe(CHANNEL)
                await broker.close()
            assert len({listener.heard for listener in listeners}) == 1, "a node heard less than another"
        figures = {"per_s": done / seconds, "cpu_us": cpu / done * 1e6}
        return figures | {name: (after[name] - before[name]) / done for name in before}

    async def _publish(self, broker: Broker, seconds: float) -> int:
        kept, until, done = HISTORIES[self.history], time.perf_counter() + seconds, 0
        while time.perf_counter() < until:
            outcomes = [broker.publish(Publication(CHANNEL, "chat", PAYLOAD), kept) for _ in range(self.waiting)]
            for outcome in outcomes:
                await outcome
            done += self.waiting
        return done

    async def _redis(self, broker: Broker) -> Figures:
        if not isinstance(broker, RedisBroker):
            return {}
        lines = (await broker.link.call("INFO")).decode().splitlines()
        facts = dict(line.split(":", 1) for line in lines if ":" in line)
        cpu = float(facts["used_cpu_user"]) + float(facts["used_cpu_sys"])
        traffic = {"in": float(facts["total_net_input_bytes"]), "out": float(facts["total_net_output_bytes"])}
        return {"redis_us": cpu * 1e6, **traffic}


def report(found: dict[Case, Figures], rounds: int) -> None:
    print(f"medians of {rounds} rounds, {len(PAYLOAD)} bytes each; the CPU of the node is that of all nodes together")
    head = f"{'engine':<14}{'history':>8}{'waiting':>9}{'nodes':>7}{'per second':>12}{'node µs':>9}"
    print(f"{head}{'Redis µs':>10}{'bytes in':>10}{'bytes out':>11}")
    for case, figures in found.items():
        line = f"{case.engine:<14}{case.history:>8}{case.waiting:>9}{1 + case.listening:>7}"
        line += f"{figures['per_s']:>12,.0f}{figures['cpu_us']:>9.1f}"
        if "redis_us" in figures:
            line += f"{figures['redis_us']:>10.1f}{figures['in']:>10.0f}{figures['out']:>11.0f}"
        print(line)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="how often each figure is measured")
    parser.add_argument("--quick", action="store_true", help="one short round")
    options = parser.parse_args()
    stop_cleanly_on_sigterm()
    if which("redis-server") is None:
        print("engines: there is no redis-server (Debian: apt-get install redis-server)", file=sys.stderr)
        return 2
    rounds, seconds = (1, 0.2) if options.quick else (options.rounds, 0.6)
    with redis_server() as url:
        cases = [
            Case(engine, history, waiting, 0, seconds, url)
            for engine in ENGINES
            for history in HISTORIES
            for waiting in WAITING
        ]
        cases += [Case("redis signed", "100", 100, listening, seconds, url) for listening in LISTENING if listening]
        outcome = interleave(dict.fromkeys(cases, rounds), Case.measure)
    report({case: medians(outcome.runs[case]) for case in cases if case in outcome.runs}, rounds)
    for case, error in outcome.errors.items():
        print(f"engines: {case}: {error}", file=sys.stderr)
    return int(bool(outcome.errors))


if __name__ == "__main__":
    sys.exit(main())
