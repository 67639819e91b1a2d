"""A stock Socket.IO client's session over long polls, each of which goes to any node, as behind a plain balancer."""

import asyncio
import random
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, ClassVar

import httpx

from tests.chaos.cluster import Cluster
from tests.chaos.listeners import ANSWER_SECONDS, TROUBLES, Refused, SocketIo

__all__ = ["Polled"]

#: A poll without news is answered by a ping after 25 s.
_POLL_SECONDS = 35.0
_SEPARATOR = "\x1e"


class _Session:
    """Packets in and out, one poll at a time; raises :class:`Refused` where the server says that it is over."""

    def __init__(self, cluster: Cluster, chance: random.Random, http: httpx.AsyncClient) -> None:
        self._cluster = cluster
        self._chance = chance
        self._http = http
        self._packets: deque[str] = deque()
        self._polling: asyncio.Task[bool] | None = None
        self._id = ""
        # As a WebSocket: what cuts it.
        self.transport = self

    def abort(self) -> None:
        """The request that is under way is broken off, and its answer lost."""
        if self._polling is not None:
            self._polling.cancel()

    async def open(self) -> None:
        """The first packet of the server, which stays to be received."""
        packet = await self._ask("GET", ANSWER_SECONDS)
        self._id = packet.partition('"sid":"')[2].partition('"')[0]
        self._packets.append(packet)

    async def recv(self) -> str:
        """See a WebSocket's."""
        while not self._packets:
            async with asyncio.TaskGroup() as tasks:
                self._polling = tasks.create_task(self._poll())
            if self._polling.cancelled() or not self._polling.result():
                raise Refused("cut off")
        packet = self._packets.popleft()
        if packet == "1":
            raise Refused("closed")
        return packet

    async def _poll(self) -> bool:
        """Ask once; whether that went well."""
        with suppress(*TROUBLES):
            self._packets += (await self._ask("GET", _POLL_SECONDS)).split(_SEPARATOR)
            return True
        return False

    async def send(self, packet: str) -> None:
        """See a WebSocket's."""
        await self._ask("POST", ANSWER_SECONDS, packet)

    async def _ask(self, method: str, seconds: float, body: str | None = None) -> str:
        """One request, to any node; where nobody listens, to another, as a balancer does it."""
        session = f"&sid={self._id}" if self._id else ""
        nodes = self._chance.sample(self._cluster.nodes, len(self._cluster.nodes))
        for node in nodes:
            url = f"{node.http}/socket.io/?EIO=4&transport=polling{session}"
            with suppress(httpx.ConnectError, httpx.ConnectTimeout):
                answer = await self._http.request(method, url, content=body, timeout=httpx.Timeout(seconds, connect=2))
                if answer.status_code != 200:
                    raise Refused(answer.text)
                return answer.text
        raise Refused("nobody is there")


class Polled(SocketIo):
    """Nobody notices that it is gone before its next ping: it is not held against who is present."""

    door = "polled"
    noticed: ClassVar[bool] = False

    @asynccontextmanager
    async def session(self, node: Any) -> AsyncIterator[_Session]:
        """See :class:`SocketIo`."""
        async with httpx.AsyncClient(trust_env=False) as http:
            session = _Session(self._cluster, self._chance, http)
            await session.open()
            yield session
