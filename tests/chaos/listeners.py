"""Clients on all doors that come back for ever and write down what they are told and what they receive."""

import asyncio
import json
import random
from abc import ABC, abstractmethod
from contextlib import AbstractAsyncContextManager, suppress
from typing import Any, ClassVar

import httpx
from websockets.exceptions import WebSocketException

from tests.chaos.cluster import Cluster
from tests.chaos.events import Came, Granted, History, Lost, Place, Received, Standing, Value
from tests.clients import JsonClient, json_client, opened
from tests.http_doors.rig import Source

__all__ = ["ANSWER_SECONDS", "TROUBLES", "Json", "Listener", "LongPoll", "Poll", "Raw", "Refused", "SocketIo", "Stream"]
__all__ += ["read_payload"]


class Refused(Exception):  # noqa: N818  what happened
    """The server said no, or not now."""


#: What becomes of a client when something is done to it or to the server.
TROUBLES = (OSError, EOFError, WebSocketException, httpx.HTTPError, TimeoutError, Refused)
#: How long a client waits for a line, or for an answer, before it gives the line up.
ANSWER_SECONDS = 10.0


def read_payload(payload: Any) -> tuple[str, Value]:
    """The channel it was meant for, and the value."""
    said = json.loads(payload) if isinstance(payload, str) else payload
    return said["channel"], Value(said["publisher"], said["number"])


class Listener(ABC):
    """One client of ``channels``, all of one tenant: ``x.kept1`` is of ``x``."""

    door: ClassVar[str]
    #: Whether it can be in several channels at once.
    several: ClassVar[bool] = True

    def __init__(
        self, name: str, channels: tuple[str, ...], cluster: Cluster, history: History, chance: random.Random
    ) -> None:
        self.name = name
        self.channels = channels if self.several else channels[:1]
        self.token = f"{channels[0].split('.')[0]}/{name}"
        self.headers = {"authorization": f"Bearer {self.token}"}
        #: The last value of each channel.
        self.last: dict[str, Value] = {}
        self.visits = 0
        self._stood = 0
        self._cluster = cluster
        self._history = history
        self._chance = chance
        self._ready = asyncio.Event()
        self._line: Any = None
        for channel in self.channels:
            history.note(Granted, client=name, channel=channel)

    async def run(self) -> None:
        """Come back, again and again; ends when it is cancelled."""
        tries = 0
        while True:
            self.visits += 1
            stood = self._stood
            with suppress(*TROUBLES):
                await self.visit(self._cluster.any(self._chance))
            self._line = None
            # Hundreds that knock ten times a second would keep a server from starting.
            tries = tries + 1 if self._stood == stood else 0
            await asyncio.sleep(self._chance.uniform(0.02, min(3.0, 0.3 * 2**tries)))

    async def ready(self) -> None:
        """Return when it has been let in for the first time."""
        await self._ready.wait()

    @abstractmethod
    async def visit(self, node: Any) -> None:
        """Open a line and hear, until it ends; raises one of ``TROUBLES``."""

    def cut(self) -> None:
        """Break the line without a word; nothing where there is none just now."""
        if self._line is not None:
            self._line.transport.abort()

    # -- what is written down

    def stand(self, channel: str, place: str | None, recovered: bool | None) -> None:
        self._ready.set()
        self._stood += 1
        where = None if place is None else Place.parse(place)
        self._history.note(Standing, client=self.name, channel=channel, place=where, recovered=recovered)

    def receive(self, channel: str, payload: Any, place: str | None) -> None:
        _, value = read_payload(payload)
        where = None if place is None else Place.parse(place)
        self._history.note(Received, client=self.name, channel=channel, value=value, place=where)
        self.last[channel] = value


class Json(Listener):
    """The JSON door: resumes, subscribes anew where it cannot, keeps a position for each channel as an SDK does."""

    door = "json"
    _resume: str | None = None
    _position: str | None = None

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self._live: set[str] = set()
        self._marks: dict[str, str] = {}
        self._connection: str | None = None
        #: Set while it does not read, as a client that is too slow.
        self.slow: asyncio.Event | None = None

    async def visit(self, node: Any) -> None:
        async with json_client(
            node.ws, within=ANSWER_SECONDS, additional_headers=self.headers, ping_interval=None
        ) as client:
            self._line = client.socket
            try:
                await self._enter(client)
                while True:
                    if self.slow is not None:
                        client.socket.transport.pause_reading()
                        await self.slow.wait()
                        client.socket.transport.resume_reading()
                    self._hear(await client.push())
            finally:
                if self._connection is not None:
                    self._history.note(Lost, connection=self._connection)

    async def _enter(self, client: JsonClient) -> None:
        fields = {} if self._resume is None else {"resume": self._resume, "since": self._position}
        told = await self._get(client, "$connect", **fields)
        self._resume, self._position, self._connection = told["resume"], told["position"], told["connection"]
        kept = {each["channel"]: each["recovered"] for each in told.get("subscriptions", ())} if told["resumed"] else {}
        anew = [channel for channel in self.channels if channel not in kept or channel not in self._live]
        self._live -= set(anew)
        for channel in self._live:
            self.stand(channel, told["position"], kept[channel])
            self._history.note(Came, connection=told["connection"], channel=channel)
        for channel in anew:
            await self._subscribe(client, channel)
        await self._try_the_others(client)

    async def _subscribe(self, client: JsonClient, channel: str) -> None:
        more = True
        while more:
            fields = {"since": self._marks[channel]} if channel in self._marks else {}
            told = await self._get(client, "$subscribe", channel=channel, **fields)
            for publication in told["publications"]:
                self.receive(channel, publication["payload"], publication["position"])
            self.stand(channel, told["position"], told.get("recovered"))
            self._marks[channel] = told["position"]
            more = told.get("more", False)
        self._live.add(channel)
        self._history.note(Came, connection=self._connection, channel=channel)

    async def _get(self, client: JsonClient, type: str, **fields: Any) -> Any:
        async with asyncio.timeout(ANSWER_SECONDS):
            answer = await client.ask(type, **fields)
        while client.pushes:
            self._hear(client.pushes.pop(0))
        if answer["type"] != "$reply":
            raise Refused(answer)
        return answer["payload"]

    async def _try_the_others(self, client: JsonClient) -> None:
        """A channel of the other tenant stays closed; where it does not, what is heard there is a leak."""
        other = ("y" if self.token.startswith("x") else "x") + self.channels[0][1:]
        with suppress(Refused):
            await self._get(client, "$subscribe", channel=other)
            self._live.add(other)

    def _hear(self, push: dict[str, Any]) -> None:
        position, channel = push.get("position"), push.get("channel")
        if push["type"] == "$ping":
            return  # its answer is owed only after 25 s
        if push["type"] == "$gap" and channel in self._live:
            self._marks[channel] = push["payload"]["position"]
            self.stand(channel, self._marks[channel], recovered=False)
        self._position = position or self._position
        if channel not in self._live or push["type"].startswith("$"):
            return  # what comes before the reply to a subscription is in that reply
        self.receive(channel, push["payload"], position)
        self._marks[channel] = position or self._marks[channel]


class Raw(Listener):
    """The raw door: live only, without positions."""

    door = "raw"
    several = False

    async def visit(self, node: Any) -> None:
        [channel] = self.channels
        async with opened(
            f"{node.ws}/raw/{channel}", within=ANSWER_SECONDS, additional_headers=self.headers, ping_interval=None
        ) as socket:
            self._line = socket
            self.stand(channel, None, recovered=None if self.visits == 1 else False)
            while True:
                self.receive(channel, await socket.recv(), None)


class SocketIo(Listener):
    """Socket.IO over a WebSocket, with the recovery of its clients: a secret, and the offset of the last event."""

    door = "socketio"
    #: Whether the server notices at once that its line is gone.
    noticed: ClassVar[bool] = True
    _told: dict[str, str] | None = None
    _offset: str | None = None
    _in: frozenset[str] = frozenset()

    async def visit(self, node: Any) -> None:
        async with self.session(node) as socket:
            self._line = socket
            await socket.recv()
            try:
                await self._enter(socket)
                while True:
                    await self._hear(socket, await socket.recv())
            finally:
                if self._told is not None and self.noticed:
                    self._history.note(Lost, connection=self._told["sid"])

    def session(self, node: Any) -> AbstractAsyncContextManager[Any]:
        """What packets go through: has ``send`` and ``recv``."""
        return opened(f"{node.ws}/socket.io/?EIO=4&transport=websocket", within=ANSWER_SECONDS, ping_interval=None)

    async def _enter(self, socket: Any) -> None:
        before = self._told
        auth = {"token": self.token}
        if before is not None:
            auth |= {"pid": before["pid"]} | ({} if self._offset is None else {"offset": self._offset})
        await socket.send(f"40{json.dumps(auth)}")
        answer = await self._answer(socket, "40")
        told = self._told = json.loads(answer[2:])
        if before is None or told["sid"] != before["sid"]:
            self._in = frozenset()
        # Where it went on, it was in all rooms that it knows of; the others were never reached.
        for channel in self._in:
            self.stand(channel, None, recovered=True)
            self._come(channel)
        for number, channel in enumerate(self.channels):
            if channel not in self._in:
                await socket.send(f"42{number}{json.dumps(['join', channel])}")
                assert await self._answer(socket, f"43{number}") == f"43{number}[true]"
                self.stand(channel, None, recovered=None if before is None else False)
                self._come(channel)
                self._in |= {channel}

    def _come(self, channel: str) -> None:
        if self._told is not None and self.noticed:
            self._history.note(Came, connection=self._told["sid"], channel=channel)

    async def _answer(self, socket: Any, beginning: str) -> str:
        while True:
            async with asyncio.timeout(ANSWER_SECONDS):
                packet = str(await socket.recv())
            if packet.startswith(beginning):
                return packet
            if packet.startswith("44"):
                raise Refused(packet)
            await self._hear(socket, packet)

    async def _hear(self, socket: Any, packet: str | bytes) -> None:
        text = str(packet)
        if text == "2":
            await socket.send("3")
        elif text.startswith("41"):
            raise Refused("disconnected")
        elif text.startswith("42"):
            _, payload, offset = json.loads(text[2:])
            channel, _ = read_payload(payload)
            if channel in self._in:
                self.receive(channel, payload, offset)
            self._offset = offset


class Http(Listener):
    """What those have in common that ask over plain HTTP: one request of theirs at a time, which may be cut."""

    _request: asyncio.Task[None] | None = None
    _since: str | None = None

    @property
    def _query(self) -> str:
        return "&".join(f"channel={channel}" for channel in self.channels)

    async def visit(self, node: Any) -> None:
        async with asyncio.TaskGroup() as tasks:
            self._request = tasks.create_task(self._ask(node))

    async def _ask(self, node: Any) -> None:
        async with httpx.AsyncClient(
            base_url=node.http, trust_env=False, verify=False, headers=self.headers, timeout=8
        ) as client:
            with suppress(*TROUBLES):
                await self.requests(client)

    @abstractmethod
    async def requests(self, client: httpx.AsyncClient) -> None:
        """Ask until something goes wrong."""

    def cut(self) -> None:
        """See :class:`Listener`: what is under way is given up, and its connection closed."""
        if self._request is not None:
            self._request.cancel()

    def stand_everywhere(self, place: str, recovered: bool | None) -> None:
        self._since = place
        for channel in self.channels:
            self.stand(channel, place, recovered)


class Stream(Http):
    """An event stream, read as ``EventSource`` reads it."""

    door = "stream"

    async def requests(self, client: httpx.AsyncClient) -> None:
        headers = {} if self._since is None else {"last-event-id": self._since}
        async with client.stream("GET", f"/events?{self._query}", headers=headers) as response:
            if response.status_code != 200:
                raise Refused(response.status_code)
            source, taken = Source(response), 0
            while await source.read():
                for event in source.reader.events[taken:]:
                    self._hear(json.loads(event.data), event.id)
                taken = len(source.reader.events)
                if source.reader.last_id not in ("", self._since):
                    self.stand_everywhere(source.reader.last_id, None if self._since is None else True)

    def _hear(self, push: dict[str, Any], place: str) -> None:
        channel = push.get("channel")
        if push["type"] == "$gap" and channel is not None:
            self.stand(channel, place, recovered=False)
        elif push["type"] == "$gap" and push["payload"].get("position"):
            # Of what is sent to this user: it is told of its channels, too.
            pass
        elif not push["type"].startswith("$"):
            self.receive(channel or "", push["payload"], push.get("position"))
        self._since = place or self._since


class Poll(Http):
    """Short polls, or long ones, each to any node."""

    door = "poll"
    wait: ClassVar[str] = ""
    pause: ClassVar[float] = 0.1

    async def requests(self, client: httpx.AsyncClient) -> None:
        while True:
            since = "" if self._since is None else f"&since={self._since}{self.wait}"
            node = self._cluster.any(self._chance)
            polled = await client.get(f"{node.http}/api/messages?{self._query}{since}")
            if polled.status_code == 410:
                self.stand_everywhere(polled.headers["openline-position"], recovered=False)
            elif polled.status_code != 200:
                raise Refused(polled.status_code)
            elif self._since is None:
                self.stand_everywhere(polled.headers["openline-position"], recovered=None)
            else:
                for message in polled.json():
                    self.receive(message["channel"], message["payload"], message["id"])
                self.stand_everywhere(polled.headers["openline-position"], recovered=True)
            await asyncio.sleep(self.pause)


class LongPoll(Poll):
    door = "longpoll"
    wait = "&wait=2"
    pause = 0.0
