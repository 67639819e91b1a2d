"""The machine that serves this, once a second: its cores, memory, network, disk and load."""

import asyncio
import os
import shutil
from pathlib import Path

from openline import Openline

HERE, PROC = Path(__file__).parent, Path("/proc")

line = Openline()
line.channel("machine", history=60, last_value=True, subscribe=True, see_history=True)
line.page("/", HERE / "index.html")
line.page("/look.css", HERE.parent / "look.css")


def rows(file: str) -> list[list[str]]:
    return [row.replace(":", " ").split() for row in (PROC / file).read_text().splitlines()]


def linux() -> dict[str, list]:
    """What only Linux tells; ticks and bytes are counted from its start, so the page shows what has been added."""
    ticks = [[int(ticks) for ticks in row[1:]] for row in rows("stat") if row[0].startswith("cpu")][1:]
    cards = [(int(row[1]), int(row[9])) for row in rows("net/dev")[2:] if row[0] != "lo"]
    kib = {row[0]: int(row[1]) for row in rows("meminfo")}
    return {
        "cores": [(sum(core) - core[3] - core[4], sum(core)) for core in ticks],  # busy: neither idle nor waiting
        "network": [sum(received for received, _ in cards), sum(sent for _, sent in cards)],
        "memory": [kib["MemTotal"] - kib["MemAvailable"], kib["MemTotal"]],
    }


@line.task
async def watch():
    while True:
        more = linux() if PROC.joinpath("stat").exists() else {}
        load = os.getloadavg() if hasattr(os, "getloadavg") else None
        line.publish("machine", "now", {"disk": shutil.disk_usage("/")[:2], "load": load, **more})
        await asyncio.sleep(1)
