"""What is done to a server with workers: one of them is killed, or the engine process, or all are replaced."""

import os
import signal
from contextlib import suppress
from pathlib import Path

from tests.chaos.cluster import Cluster, Embedded, Node
from tests.chaos.faults import Situation

__all__ = ["kill_engine_process", "kill_worker", "of_workers", "replace_workers"]


def of_workers(folder: Path, engine: str, count: int = 2) -> Cluster:
    """One server of so many workers; ``engine``: ``memory``, or ``sqlite`` for a file in ``folder``."""
    url = "memory" if engine == "memory" else "sqlite:kept.db"
    return Cluster([Node(folder, url, ("--workers", str(count)))], Embedded(url, durable=engine != "memory"))


def _children(situation: Situation, name: str) -> list[int]:
    pid = situation.cluster.nodes[0].running.child.pid
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(each) for each in children if name in Path(f"/proc/{each}/cmdline").read_text()]


async def _kill(situation: Situation, name: str, least: float, most: float) -> None:
    while True:
        await situation.pause(least, most)
        with suppress(OSError):
            found = _children(situation, name)
            if found:
                os.kill(situation.chance.choice(found), signal.SIGKILL)
                situation.done[f"kills of {name}"] += 1


async def kill_worker(situation: Situation) -> None:
    """SIGKILL of a worker at any moment."""
    await _kill(situation, "cli.worker", 1.5, 4.0)


async def kill_engine_process(situation: Situation) -> None:
    """SIGKILL of the engine process at any moment."""
    await _kill(situation, "engine_process", 1.5, 4.0)


async def replace_workers(situation: Situation) -> None:
    """SIGHUP, again and again."""
    while True:
        await situation.pause(3.0, 6.0)
        situation.cluster.nodes[0].running.child.send_signal(signal.SIGHUP)
        situation.done["replacements"] += 1
