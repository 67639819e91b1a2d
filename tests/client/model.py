"""A small model of the server, and a network between it and the client that a seed moves."""

import random
from collections import deque
from collections.abc import Callable
from typing import Any

from .stage import FakeSocket, Stage, settle


class Link:
    """Frames under way on one socket."""

    def __init__(self, socket: FakeSocket) -> None:
        self.socket = socket
        self.down: deque[dict[str, Any]] = deque()
        self.connection: dict[str, Any] | None = None


class Model:
    """The server as the protocol describes it, without anything that takes time."""

    def __init__(self) -> None:
        self.epoch = 1
        self.stamp = 0
        # Everything that was published, in order: (epoch, channel, stamp, frame).
        self.log: list[tuple[int, str, int, dict[str, Any]]] = []
        self.keys: dict[str, str] = {}
        self.connections: dict[str, dict[str, Any]] = {}
        # What the handler of events was called with.
        self.applied: list[Any] = []
        self.made = 0
        # How many publications of a channel are remembered, and how many go into a reply.
        self.retention = 1_000_000
        self.page = 3
        # Asked before each publication: "taken", "lost" or "refused"; the last two are told as an unknown outcome.
        self.engine: Callable[[], str] = lambda: "taken"

    @property
    def position(self) -> str:
        return f"e{self.epoch}.{self.stamp}"

    def restart(self) -> None:
        """The log and all connections are gone."""
        self.epoch += 1
        self.stamp = 0
        self.keys.clear()
        self.connections.clear()

    def forget(self) -> None:
        """The window of every connection without a line is over."""
        self.connections = {secret: c for secret, c in self.connections.items() if c["link"] is not None}

    def publish(self, channel: str, payload: Any) -> None:
        self.stamp += 1
        frame = {"type": "message", "channel": channel, "payload": payload, "position": self.position}
        self.log.append((self.epoch, channel, self.stamp, frame))
        for connection in {id(c): c for c in self.connections.values()}.values():
            if channel in connection["channels"] and connection["link"] is not None:
                connection["link"].down.append(frame)

    def positions(self, channel: str) -> list[str]:
        return [frame["position"] for _, name, _, frame in self.log if name == channel]

    def behind(self, channel: str, position: str) -> list[dict[str, Any]] | None:
        """What a channel said behind a position; None where that is not known any more."""
        epoch, stamp = map(int, position[1:].split("."))
        kept = [entry for entry in self.log if entry[0] == self.epoch and entry[1] == channel]
        gone = kept[-self.retention - 1][2] if len(kept) > self.retention else 0
        if epoch != self.epoch or stamp < gone:
            return None
        return [frame for _, _, at, frame in kept if at > stamp]

    def take(self, link: Link, frame: dict[str, Any]) -> None:
        """Carry out a frame that came on ``link``."""
        number = frame.get("id")

        def reply(payload: Any) -> None:
            link.down.append({"type": "$reply", "id": number, "payload": payload})

        match frame:
            case {"type": "$connect"}:
                self._connect(link, frame, reply)
            case {"type": "$subscribe"}:
                self._subscribe(link, frame, reply)
            case {"type": "$unsubscribe", "channel": channel}:
                link.connection["channels"].discard(channel)
                reply({})
            case {"channel": _}:
                self._publication(link, frame, reply)
            case _:
                self._event(link, frame, reply)

    def _connect(self, link: Link, frame: dict[str, Any], reply: Callable[[Any], None]) -> None:
        self.made += 1
        known = self.connections.pop(frame.get("resume", ""), None)
        connection = known or {"id": f"c{self.made}", "channels": set(), "events": set()}
        connection["link"] = link
        link.connection = connection
        self.connections[f"secret-{self.made}"] = connection
        missed = {name: self.behind(name, frame["since"]) for name in connection["channels"]}
        whole = known is not None and all(said is not None for said in missed.values())
        reply(
            {
                "connection": connection["id"],
                "resume": f"secret-{self.made}",
                "window": 30,
                "ping": 25,
                "resumed": known is not None,
                "position": frame["since"] if whole else self.position,
                "subscriptions": [{"channel": name, "recovered": said is not None} for name, said in missed.items()],
            }
        )
        every = [said for of_channel in missed.values() for said in of_channel or ()]
        link.down.extend(sorted(every, key=lambda said: int(said["position"].split(".")[1])))

    def _subscribe(self, link: Link, frame: dict[str, Any], reply: Callable[[Any], None]) -> None:
        channel, since = frame["channel"], frame.get("since")
        missed = [] if since is None else self.behind(channel, since)
        page = (missed or [])[: self.page]
        answer = {"channel": channel, "position": self.position, "publications": page}
        if since is not None:
            answer["recovered"] = missed is not None
        if len(missed or []) > self.page:
            answer |= {"more": True, "position": page[-1]["position"]}
        else:
            link.connection["channels"].add(channel)
        reply(answer)

    def _publication(self, link: Link, frame: dict[str, Any], reply: Callable[[Any], None]) -> None:
        key = frame["key"]
        outcome = "known" if key in self.keys else self.engine()
        if outcome in ("taken", "lost"):
            self.publish(frame["channel"], frame.get("payload"))
            self.keys[key] = self.position
        if outcome in ("taken", "known"):
            reply({"position": self.keys[key]})
        else:
            link.down.append({"type": "$error", "id": frame["id"], "code": "unavailable", "retry": True})

    def _event(self, link: Link, frame: dict[str, Any], reply: Callable[[Any], None]) -> None:
        seen = link.connection["events"]
        if frame["key"] not in seen:
            self.applied.append(frame.get("payload"))
        seen.add(frame["key"])
        reply(frame.get("payload"))


class World:
    """A client and a model, with frames under way between them."""

    def __init__(self, stage: Stage, seed: int) -> None:
        self.stage = stage
        self.line = stage.line
        self.model = Model()
        self.random = random.Random(seed)
        stage.luck = 0.5
        self._links: dict[int, Link] = {}

    @property
    def link(self) -> Link | None:
        """The line as it is now, if there is one."""
        if not self.stage.sockets or not self.stage.socket.alive:
            return None
        return self._links.setdefault(id(self.stage.socket), Link(self.stage.socket))

    def up(self) -> None:
        """One frame goes up."""
        link = self.link
        if link and link.socket.sent:
            frame = link.socket.sent.popleft()
            if frame["type"] != "$pong":
                self.model.take(link, frame)

    def down(self) -> None:
        """One frame comes down."""
        link = self.link
        if link and link.down:
            link.socket.push(link.down.popleft())

    def cut(self) -> None:
        """The line breaks, with everything that is under way on it."""
        link = self.link
        if link is None:
            return
        if link.connection is not None and link.connection["link"] is link:
            link.connection["link"] = None
        link.socket.end()

    async def calm(self) -> None:
        """Everything arrives that is under way, and everything that follows from it."""
        idle = 0
        while idle < 4:
            link = self.link
            busy = link is not None and bool(link.socket.sent or link.down)
            idle = 0 if busy else idle + 1
            self.up()
            self.down()
            if busy:
                await settle()
                continue
            if link is not None:
                link.socket.push({"type": "$ping"})
            await self.stage.clock.advance(7.0)
            if link is not None and link.socket.sent and link.socket.sent[-1]["type"] == "$pong":
                link.socket.sent.pop()
