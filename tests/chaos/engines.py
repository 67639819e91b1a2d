"""Engines that are processes of their own: a Redis with a file of all that it was told, or two that Sentinels watch."""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import redis

from tests.redis_servers import RedisServer, free_port

__all__ = ["Redis", "Sentinels"]

#: How long a failover may take: Sentinels notice after a second, and a replica is filled again.
_FAILOVER_SECONDS = 60.0


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

    async def fail_over(self, dropping: float = 0.0) -> None:
        raise NotImplementedError

    def close(self) -> None:
        self.server.close()


class Sentinels:
    """A master, a replica and a Sentinel that watches them. A failover may lose what had not reached the replica.

    On a busy machine the Sentinel may see a master as gone that is slow, and change them by itself.
    """

    durable = False

    def __init__(self) -> None:
        self.servers = (RedisServer(), RedisServer())
        first, second = self.servers
        second.do("REPLICAOF", "127.0.0.1", first.port)
        self.port = free_port()
        config = (
            f"sentinel monitor mymaster 127.0.0.1 {first.port} 1\n"
            "sentinel down-after-milliseconds mymaster 1000\nsentinel failover-timeout mymaster 3000\n"
        )
        self._sentinel = RedisServer("--sentinel", port=str(self.port), config=config)
        self.url = f"redis+sentinel://127.0.0.1:{self.port}/mymaster"
        _wait(self._is_whole)

    @property
    def master(self) -> RedisServer:
        """The one that the Sentinel names."""
        with redis.Redis(port=self.port, protocol=2) as client:
            _, port = client.execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "mymaster")
        return next(server for server in self.servers if server.port == int(port))

    def _is_whole(self) -> bool:
        """Whether one is the master and the other its replica, as the Sentinel knows."""
        master = self.master
        [replica] = [server for server in self.servers if server is not master]
        with redis.Redis(port=self.port, protocol=2) as client:
            known = str(client.execute_command("SENTINEL", "REPLICAS", "mymaster"))
        linked = _replication(replica).get("master_link_status") == "up"
        return linked and _replication(master)["role"] == "master" and str(replica.port) in known

    async def fail_over(self, dropping: float = 0.0) -> None:
        """Kill the master; return when the other is one, and the first is back as its replica.

        The other does not have what was written in the ``dropping`` seconds before.
        """
        await _whole(partial(self._fail_over, dropping))

    def _fail_over(self, dropping: float) -> None:
        old = self.master
        if dropping:
            [replica] = [server for server in self.servers if server is not old]
            replica.do("REPLICAOF", "127.0.0.1", free_port())
            time.sleep(dropping)
        old.kill()
        _wait(lambda: self.master is not old and _replication(self.master)["role"] == "master")
        old.start()
        # The Sentinel would say so, too, a while later.
        old.do("REPLICAOF", "127.0.0.1", self.master.port)
        _wait(self._is_whole)

    async def kill(self) -> None:
        raise NotImplementedError

    start = freeze = thaw = flush = kill

    def close(self) -> None:
        for server in (self._sentinel, *self.servers):
            server.close()


def _replication(server: RedisServer) -> dict[str, Any]:
    with server.client as client:
        return dict(client.info("replication"))


def _wait(true: Any) -> None:
    end = time.monotonic() + _FAILOVER_SECONDS
    while time.monotonic() < end:
        # Who is asked may be down just now.
        with suppress(redis.ConnectionError, redis.TimeoutError):
            if true():
                return
        time.sleep(0.05)
    raise AssertionError("the failover did not come about")
