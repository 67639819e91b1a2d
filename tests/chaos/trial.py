"""One trial: clients on all doors and publishers, a fault for so many seconds, quiet, and the history of all of it."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from tests.chaos.cluster import Cluster, Node
from tests.chaos.events import Came, Ended, Entry, Event, Final, History, Looked, Over, Place, Stuck, Value
from tests.chaos.faults import Fault, Situation
from tests.chaos.listeners import (
    ANSWER_SECONDS,
    TROUBLES,
    Json,
    Listener,
    LongPoll,
    Poll,
    Raw,
    SocketIo,
    Stream,
    read_payload,
)
from tests.chaos.polled import Polled
from tests.chaos.publishers import PUBLISHERS, Post, Publisher
from tests.clients import json_client

__all__ = ["LISTENERS", "Trial", "hold"]

LISTENERS: tuple[type[Listener], ...] = (Json, Raw, SocketIo, Polled, Stream, Poll, LongPoll)
CHANNELS = ("kept1", "kept2", "plain1", "here1")
TENANTS = ("x", "y")
#: How long everybody has, once all is whole again, to be back and to have heard the last.
_QUIET_SECONDS = 60.0


@dataclass
class Trial:
    """What came out of one run; ``done`` counts faults, ``events`` is its history.

    ``slowest``: seconds until the last publisher was answered, whatever it was told.
    """

    events: list[Event]
    done: Counter[str] = field(default_factory=Counter)
    slowest: float = 0.0


async def hold(
    cluster: Cluster, fault: Fault, *, seconds: float, seed: int, each: int = 1, ends_within: float | None = None
) -> Trial:
    """Run ``fault`` against ``cluster``, which is running, with ``each`` clients per door and tenant.

    A fault that ends by itself has as long as it takes. ``ends_within``: so many seconds after everybody has gone it is
    over for all of them. Channels are named after the seed: trials that share a cluster have different ones.
    """
    began = time.monotonic()
    chance = random.Random(seed)
    history = History()

    def made(kind: Any, tenant: str, number: int, names: Sequence[str]) -> Any:
        channels = tuple(f"{tenant}.{name}-{seed}" for name in names)
        name = f"{kind.__module__.rpartition('.')[2]}-{tenant}-{kind.door}-{number}"
        return kind(name, channels, cluster, history, random.Random(chance.random()))

    listeners: list[Listener] = [
        made(kind, tenant, n, _channels_for(kind)) for tenant in TENANTS for kind in LISTENERS for n in range(each)
    ]
    publishers: list[Publisher] = [made(kind, tenant, 0, CHANNELS) for tenant in TENANTS for kind in PUBLISHERS]
    enders: list[Post] = [made(Post, tenant, 99, CHANNELS) for tenant in TENANTS]
    situation = Situation(cluster, listeners, publishers, random.Random(chance.random()), history=history)
    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(listener.run()) for listener in listeners]
        async with asyncio.timeout(_QUIET_SECONDS):
            for listener in listeners:
                await listener.ready()
        looking = tasks.create_task(_look(cluster, history, random.Random(chance.random()), f"here1-{seed}"))
        async with asyncio.TaskGroup() as speaking:
            for publisher in publishers:
                speaking.create_task(publisher.run())
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await fault(situation)
            # A fault that was given up half-way leaves no node down.
            await cluster.heal()
            for publisher in publishers:
                publisher.finish()
        await _hear_out(listeners, enders, history)
        for task in (*running, looking):
            task.cancel()
    for tenant in TENANTS:
        for name in CHANNELS:
            await _read_log(cluster.nodes[0], f"{tenant}.{name}-{seed}", history)
    if ends_within is not None:
        await _wait_for_ends(cluster, history, ends_within)
    endings = [event for node in cluster.nodes for event in node.endings(began)]
    return Trial([*history.events, *endings], situation.done, max(each.slowest for each in publishers))


async def _wait_for_ends(cluster: Cluster, history: History, seconds: float) -> None:
    """Until the handlers of disconnect have run for everybody who was there."""
    there = {event.connection for event in history.events if isinstance(event, Came)}
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while there:
                await asyncio.sleep(0.5)
                ended = [event for node in cluster.nodes for event in node.endings()]
                there -= {event.connection for event in ended if isinstance(event, Ended)}
    history.note(Over)


def _channels_for(kind: type[Listener]) -> Sequence[str]:
    """Whose coming and going nobody writes down does not go where attendance is looked at.

    Between two polls nothing is heard of a channel that keeps nothing.
    """
    if issubclass(kind, Json | SocketIo) and kind is not Polled:
        return CHANNELS
    return CHANNELS[:2] if issubclass(kind, Poll) else CHANNELS[:3]


async def _hear_out(listeners: Sequence[Listener], enders: Sequence[Post], history: History) -> None:
    """Say the last word in every channel, and wait until everybody has heard it.

    Who hears only what is live, or has been told of a break, never hears what was said before it was back: it is said
    again.
    """
    last: dict[str, Value] = {}

    def missing() -> list[tuple[Listener, str]]:
        return [(each, name) for each in listeners for name in each.channels if each.last.get(name) != last.get(name)]

    async def say(wanted: set[str]) -> None:
        for ender in enders:
            for channel in wanted & set(ender._channels):
                last[channel] = await _last_word(ender, channel)

    rounds = 0
    with suppress(TimeoutError):
        async with asyncio.timeout(3 * _QUIET_SECONDS):
            await say({name for ender in enders for name in ender._channels})
            # Where the machine has no time for us, a round takes longer than its second.
            while missing() and rounds < _QUIET_SECONDS:
                rounds += 1
                await asyncio.sleep(1.0)
                await say({name for _, name in missing()})
    for listener, channel in missing():
        history.note(Stuck, client=listener.name, channel=channel)


async def _last_word(ender: Post, channel: str) -> Value:
    while True:
        with suppress(*TROUBLES):
            async with ender.line(ender._cluster.any(ender._chance)) as line:
                return await ender.say(line, channel)


async def _look(cluster: Cluster, history: History, chance: random.Random, name: str) -> None:
    """Ask now and then who is in the channel ``name`` of each tenant."""
    loop = asyncio.get_running_loop()
    while True:
        await asyncio.sleep(chance.uniform(0.2, 1.0))
        for tenant in TENANTS:
            with suppress(*TROUBLES):
                headers = {"authorization": f"Bearer {tenant}/looker"}
                async with (
                    asyncio.timeout(ANSWER_SECONDS),
                    json_client(cluster.any(chance).ws, additional_headers=headers, ping_interval=None) as client,
                ):
                    asked = loop.time()
                    channel = f"{tenant}.{name}"
                    answer = await client.ask("$presence", channel=channel)
                    if answer["type"] == "$reply":
                        members = tuple(member["connection"] for member in answer["payload"]["members"])
                        history.note(Looked, channel=channel, asked=asked, members=members)


async def _read_log(node: Node, channel: str, history: History) -> None:
    """All of a channel's log, page by page from its end."""
    entries: list[Entry] = []
    headers = {"authorization": f"Bearer {channel.split('.', maxsplit=1)[0]}/reader"}
    async with json_client(node.ws, additional_headers=headers) as client:
        fields: dict[str, Any] = {}
        epoch = ""
        more = True
        while more:
            page = await client.get("$history", channel=channel, limit=1000, **fields)
            epoch = epoch or Place.parse(page["position"]).epoch
            found = [
                Entry(Place.parse(each["position"]), read_payload(each["payload"])[1]) for each in page["publications"]
            ]
            entries[:0] = found
            more = page.get("more", False) and bool(found)
            if more:
                fields = {"before": page["publications"][0]["position"]}
    kept = ".plain" not in channel
    history.note(Final, channel=channel, epoch=epoch, entries=tuple(entries), kept=kept)
