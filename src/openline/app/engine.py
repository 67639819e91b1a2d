"""Engines by URL: what keeps the logs and links the nodes."""

import asyncio
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs

from openline.app.seat import seat
from openline.brokers.link import open_engine
from openline.brokers.link_broker import LinkBroker, LinkDirectory
from openline.brokers.log import LOGS_BYTES
from openline.brokers.memory import MemoryBroker
from openline.brokers.redis_url import SCHEMES, RedisUrl, parse_redis_url
from openline.brokers.sqlite import SqliteBroker
from openline.errors import BrokerError, SettingsError
from openline.hub.ports import Broker, Directory
from openline.hub.timers import Timers

__all__ = ["Engine", "check_engine", "make_broker", "make_directory"]

_KNOWN: Final = (
    "memory, memory?bytes=NUMBER, sqlite:PATH, sqlite:PATH?synced=1, redis://HOST, rediss://HOST, "
    "redis+sentinel://HOST:PORT,HOST:PORT/MASTER"
)
_YES: Final = ("1", "true", "yes")
_NO: Final = ("0", "false", "no")
#: Less than the log of one channel may take, unless it is told otherwise, would be a surprise.
_LEAST_BYTES: Final = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Engine:
    """What a URL says: the ``path`` of a file, empty for memory, whether each commit waits for the disk (``synced``),
    how many bytes all logs in memory may take (``logs_bytes``), or where a Redis is.
    """

    path: str = ""
    synced: bool = False
    logs_bytes: int = LOGS_BYTES
    redis: RedisUrl | None = None


def check_engine(url: str) -> Engine:
    """What ``url`` says; raises :class:`SettingsError` for what names no engine."""
    if "://" in url and url.partition("://")[0] in SCHEMES:
        if find_spec("hiredis") is None:
            raise SettingsError("engine", "Redis needs a package that is not installed: pip install 'openline[redis]'")
        return Engine(redis=parse_redis_url(url))
    name, _, query = url.partition("?")
    options = {key: values[-1].lower() for key, values in parse_qs(query, keep_blank_values=True).items()}
    if name == "memory" and options.keys() <= {"bytes"}:
        return Engine(logs_bytes=_bytes(options.get("bytes", str(LOGS_BYTES))))
    kind, _, path = name.partition(":")
    synced = options.get("synced", "0")
    if kind == "sqlite" and path and options.keys() <= {"synced"} and synced in (*_YES, *_NO):
        return Engine(path, synced in _YES)
    raise SettingsError("engine", f"{url!r} is not known; there is: {_KNOWN}")


def _bytes(text: str) -> int:
    if not text.isdecimal() or int(text) < _LEAST_BYTES:
        raise SettingsError("engine", f"bytes={text} is not a number from {_LEAST_BYTES} (4 MiB) on")
    return int(text)


def make_broker(
    url: str, *, loop: asyncio.AbstractEventLoop, timers: Timers, cluster_key: str = "", line: int = 0
) -> Broker:
    """The engine that ``url`` names, not started yet; raises :class:`SettingsError` for what names none.

    ``line`` says which Openline of its program it is for: workers have theirs in the engine process.
    """
    engine = check_engine(url)
    if engine.redis is not None:
        # Only who uses it needs what it stands on.
        from openline.brokers.redis import RedisBroker  # noqa: PLC0415

        return RedisBroker(engine.redis, loop=loop, timers=timers, cluster_key=cluster_key)
    worker = seat()
    if worker is not None:
        try:
            open_engine(worker.engine, url, line)
        except BrokerError as error:
            raise SettingsError("workers", str(error)) from error
        return LinkBroker(worker.engine, url, line, loop=loop, timers=timers)
    if not engine.path:
        return MemoryBroker(timers, logs_bytes=engine.logs_bytes)
    return SqliteBroker(str(Path(engine.path).expanduser()), loop=loop, timers=timers, synced=engine.synced)


def make_directory(broker: Broker) -> Directory | None:
    """What the nodes of ``broker``, which has not started, know each other by; None for an engine of one node."""
    if isinstance(broker, (MemoryBroker, SqliteBroker)):
        return None
    if isinstance(broker, LinkBroker):
        return LinkDirectory(broker.link)
    from openline.brokers.redis import RedisBroker  # noqa: PLC0415
    from openline.brokers.redis_directory import RedisDirectory  # noqa: PLC0415

    return RedisDirectory(broker.link, seal=broker.seal) if isinstance(broker, RedisBroker) else None
