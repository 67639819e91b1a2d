"""Engines by URL: what keeps the logs and links the nodes."""

import asyncio
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs

from openline.brokers.memory import MemoryBroker
from openline.brokers.sqlite import SqliteBroker
from openline.errors import SettingsError
from openline.hub.ports import Broker
from openline.hub.timers import Timers

__all__ = ["check_engine", "make_broker"]

_KNOWN: Final = "memory, sqlite:PATH, sqlite:PATH?synced=1"
_YES: Final = ("1", "true", "yes")
_NO: Final = ("0", "false", "no")


def check_engine(url: str) -> tuple[str, bool]:
    """The file of ``url``, empty for memory, and whether each commit waits for the disk.

    Raises :class:`SettingsError` for what names no engine.
    """
    kind, colon, rest = url.partition(":")
    if url == "memory":
        return "", False
    path, _, query = rest.partition("?")
    options = parse_qs(query, keep_blank_values=True)
    synced = options.pop("synced", ["0"])[-1].lower()
    if kind != "sqlite" or not colon or not path or options or synced not in (*_YES, *_NO):
        raise SettingsError("engine", f"{url!r} is not known; there is: {_KNOWN}")
    return path, synced in _YES


def make_broker(url: str, *, loop: asyncio.AbstractEventLoop, timers: Timers) -> Broker:
    """The engine that ``url`` names, not started yet; raises :class:`SettingsError` for what names none."""
    path, synced = check_engine(url)
    if not path:
        return MemoryBroker(timers)
    return SqliteBroker(str(Path(path).expanduser()), loop=loop, timers=timers, synced=synced)
