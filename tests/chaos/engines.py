"""Engines that are processes of their own: a Redis with a file of all that it was told, or two that Sentinels watch."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import redis

from tests.redis_servers import RedisServer, free_port

__all__ = ["Redis", "Sentinels"]

#: How long a failover may take: Sentinels notice after half a second, and wait for each other.
_FAILOVER_SECONDS = 30.0


async def _whole(call: Callable[[], None]) -> None:
    """Go through with ``call`` in a thread, also where this is cancelled meanwhile."""
    future = asyncio.get_running_loop().run_in_executor(None, call)
    try:
        await asyncio.shield(future)
    finally:
        await asyncio.wait((future,))


class Redis:
    """``fsync``: as its ``appendfsync``. With ``always``, what was acknowledged outlives its SIGKILL."""

    def __init__(self, fsync: str = "always", host: str = "") -> None:
        """``host``: another address, on which nodes reach it."""
        self.durable = fsync == "always"
        bind = f"127.0.0.1 {host}".strip()
        self.server = RedisServer(appendonly="yes", appendfsync=fsync, bind=bind, protected_mode="no")
        self.port = self.server.port
        self.url = f"redis://{host or '127.0.0.1'}:{self.port}"

    async def kill(self) -> None:
        await _whole(self.server.kill)

    async def start(self) -> None:
        await _whole(self.server.start)

    async def freeze(self) -> None:
        self.server.freeze()

    async def thaw(self) -> None:
        self.server.thaw()

    async def flush(self) -> None:
        await asyncio.to_thread(self.server.do, "FLUSHALL")

    async def fail_over(self) -> None:
        raise NotImplementedError

    def close(self) -> None:
        self.server.close()


class Sentinels:
    """A master, a replica and a Sentinel that watches them. A failover may lose what had not reached the replica."""

    durable = False

    def __init__(self) -> None:
        self.servers = [RedisServer(), RedisServer()]
        self.servers[1].do("REPLICAOF", "127.0.0.1", self.master.port)
        _wait(lambda: self._info(self.servers[1]).get("master_link_status") == "up")
        self.port = free_port()
        config = (
            f"sentinel monitor mymaster 127.0.0.1 {self.master.port} 1\n"
            "sentinel down-after-milliseconds mymaster 500\nsentinel failover-timeout mymaster 3000\n"
        )
        self._sentinel = RedisServer("--sentinel", port=str(self.port), config=config)
        self.url = f"redis+sentinel://127.0.0.1:{self.port}/mymaster"
        _wait(self._knows_the_replica)

    @property
    def master(self) -> RedisServer:
        return self.servers[0]

    @staticmethod
    def _info(server: RedisServer) -> dict[str, Any]:
        with server.client as client:
            return dict(client.info("replication"))

    def _knows_the_replica(self) -> bool:
        with redis.Redis(port=self.port, protocol=2) as client:
            [told] = client.execute_command("SENTINEL", "REPLICAS", "mymaster") or [None]
        return told is not None and str(self.servers[1].port) in str(told)

    async def fail_over(self) -> None:
        """Kill the master; return when the other is one, and the first is back as its replica."""
        await _whole(self._fail_over)

    def _fail_over(self) -> None:
        old, new = self.servers
        old.kill()
        self.servers = [new, old]
        _wait(lambda: self._info(new)["role"] == "master")
        old.start()
        old.do("REPLICAOF", "127.0.0.1", new.port)
        _wait(lambda: self._info(old).get("master_link_status") == "up")
        _wait(self._knows_the_replica)

    async def kill(self) -> None:
        raise NotImplementedError

    start = freeze = thaw = flush = kill

    def close(self) -> None:
        for server in (self._sentinel, *self.servers):
            server.close()


def _wait(true: Any) -> None:
    end = time.monotonic() + _FAILOVER_SECONDS
    while not true():
        assert time.monotonic() < end, "the failover did not come about"
        time.sleep(0.05)
