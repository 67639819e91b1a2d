"""The link to an engine process keeps every promise of both ports, also where the process is replaced."""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection
from itertools import count
from pathlib import Path

import pytest

from openline.brokers import link_frames as frames
from openline.brokers.link import open_engine
from openline.brokers.link_broker import LinkBroker, LinkDirectory
from openline.brokers.link_server import LinkServer
from openline.brokers.memory import MemoryBroker
from openline.brokers.sqlite import SqliteBroker
from openline.errors import BrokerError, CommandError, SettingsError
from openline.hub.ports import Broker, Directory
from openline.hub.timers import Timers
from openline.model import Position, Publication, Retention
from openline.testing import FakeClock, check_broker, check_directory
from openline.testing.broker_bench import KEPT, texts
from tests.server import until


class Node:
    """One node's end, and everything that it was told."""

    def __init__(self, host: "Host", line: int = 0) -> None:
        self.clock = FakeClock(1000.0)
        loop = asyncio.get_running_loop()
        self.broker = LinkBroker(host.path, host.url, line, loop=loop, timers=Timers(self.clock))
        self.heard: list[Publication] = []
        self.breaks: list[Collection[str] | None] = []

    def on_publication(self, publication: Publication) -> None:
        self.heard.append(publication)

    def on_break(self, channels: Collection[str] | None) -> None:
        self.breaks.append(channels)

    async def start(self, *channels: str) -> "Node":
        await self.broker.start(self)
        for channel in channels:
            await self.broker.subscribe(channel)
        return self

    async def say(self, text: str, channel: str = "a", key: str | None = None) -> Position:
        return await self.broker.publish(_said(text, channel), KEPT, key)

    @property
    def texts(self) -> list[str]:
        return texts(self.heard)


def _said(text: str, channel: str = "a") -> Publication:
    return Publication(channel, "note", b'"%b"' % text.encode())


class Host:
    """What stands for the engine process, in this one: it may be ended as if it was killed, and started again."""

    def __init__(self, folder: Path) -> None:
        self.path = str(folder / "engine")
        self.url = "memory"
        self.clock = FakeClock(1000.0)
        self.timers = Timers(self.clock)
        self.server: LinkServer | None = None
        self.nodes: list[Node] = []

    def make(self, url: str) -> Broker:
        if url.startswith("sqlite:"):
            loop = asyncio.get_running_loop()
            return SqliteBroker(url.removeprefix("sqlite:"), loop=loop, timers=self.timers)
        return MemoryBroker(self.timers)

    async def start(self) -> None:
        self.server = LinkServer(self.make, self.clock.now)
        Path(self.path).unlink(missing_ok=True)
        await self.server.listen(self.path)

    async def stop(self) -> None:
        if self.server is not None:
            await self.server.close()

    async def node(self, *channels: str, line: int = 0) -> Node:
        node = await Node(self, line).start(*channels)
        self.nodes.append(node)
        return node


@pytest.fixture
async def host(tmp_path: Path) -> AsyncIterator[Host]:
    host = Host(tmp_path)
    await host.start()
    try:
        yield host
    finally:
        for node in host.nodes:
            await node.broker.close()
        await host.stop()


@pytest.mark.parametrize("engine", ["memory", "sqlite"])
async def test_a_broker_over_the_link_keeps_every_promise(host: Host, tmp_path: Path, engine: str) -> None:
    lines = count()

    def make(timers: Timers) -> LinkBroker:
        host.timers = timers
        line = next(lines)
        url = "memory" if engine == "memory" else f"sqlite:{tmp_path / str(line)}.db"
        return LinkBroker(host.path, url, line, loop=asyncio.get_running_loop(), timers=timers)

    await check_broker(make)


async def test_a_directory_over_the_link_keeps_every_promise(host: Host) -> None:
    lines = count(100)

    async def make() -> Callable[[], Directory]:
        node = await host.node(line=next(lines))
        # Nodes have links of their own in practice; each of their calls names its node.
        return lambda: LinkDirectory(node.broker.link)

    async def pass_time(seconds: float) -> None:
        host.clock.advance(seconds)

    await check_directory(make, pass_time)


async def test_what_one_node_publishes_the_others_hear_once_and_in_order(host: Host) -> None:
    a, b = await host.node("a"), await host.node("a")
    elsewhere, deaf = await host.node("a", line=1), await host.node("b")
    for number in range(10):
        await (a, b)[number % 2].say(str(number))
        await a.broker.scatter(_said(f"{number}v"))
    expected = [text for number in range(10) for text in (str(number), f"{number}v")]
    await until(lambda: b.texts == expected)
    assert a.texts == expected
    assert [each.previous for each in a.heard] == [each.previous for each in b.heard]
    assert (elsewhere.heard, deaf.heard) == ([], [])


async def test_a_key_counts_for_all_nodes(host: Host) -> None:
    a, b = await host.node("a"), await host.node()
    first = await a.say("first", key="k")
    assert await b.say("again", key="k") == first
    assert a.texts == ["first"]


async def test_an_engine_in_memory_that_was_lost_is_another_epoch_and_everybody_is_told(host: Host) -> None:
    a = await host.node("a")
    before = await a.say("lost")
    await host.stop()
    await until(lambda: a.broker.trouble is not None)
    await host.start()
    assert (await a.say("new")).epoch != before.epoch
    assert (a.breaks, a.texts) == ([None], ["lost", "new"])
    page = await a.broker.read("a", after=before)
    assert not page.complete


async def test_an_engine_in_a_file_that_was_lost_goes_on_where_it_was(host: Host, tmp_path: Path) -> None:
    host.url = f"sqlite:{tmp_path / 'chat.db'}"
    a = await host.node("a")
    before = await a.say("kept")
    await host.stop()
    await until(lambda: a.broker.trouble is not None)
    await host.start()
    assert (await a.say("new")).stamp == before.stamp + 1
    assert (a.breaks, a.texts) == ([], ["kept", "new"])


async def test_what_a_node_missed_while_its_link_was_cut_it_is_told_in_order(host: Host) -> None:
    a, b = await host.node("a", "b"), await host.node("a", "b")
    await a.say("0")
    await until(lambda: b.texts == ["0"])
    # It is not given the time to connect again before all of it is published.
    b.broker.link._wire.abort()  # type: ignore[union-attr]
    sent = [a.broker.publish(_said(str(n), "ab"[n % 2]), KEPT) for n in range(1, 7)]
    for outcome in sent:
        await outcome
    await until(lambda: len(b.heard) >= 7)
    await a.say("live")
    await until(lambda: b.texts == [*map(str, range(7)), "live"])
    assert b.breaks == []


async def test_what_is_no_longer_kept_is_told_to_be_lost(host: Host) -> None:
    a, b = await host.node("a"), await host.node("a", "quiet")
    b.broker.link._wire.abort()  # type: ignore[union-attr]
    for text in ("gone", "kept"):
        await a.broker.publish(_said(text), Retention(count=1, seconds=3600.0, size=1000))
    await until(lambda: bool(b.breaks))
    assert b.breaks == [("a",)]


async def test_a_publish_that_was_under_way_fails_as_unknown_and_one_that_waits_is_sent(host: Host) -> None:
    a = await host.node("a")
    assert host.server is not None
    under_way = a.broker.publish(_said("unknown"), KEPT)
    for end in host.server.ends:
        end._transport.abort()  # type: ignore[union-attr]
    await until(lambda: a.broker.trouble is not None)
    waits = a.broker.publish(_said("waits"), KEPT)
    with pytest.raises(BrokerError):
        await under_way
    assert (await waits).stamp
    assert a.texts[-1] == "waits"
    assert a.broker.trouble is None


class Frozen:
    """An engine that hears everything and answers nothing."""

    def __init__(self) -> None:
        self.frozen = True
        self.written: list[bytes] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(frames.frame(frames.Opened(Position("e", 0))))
        cutter = frames.Frames()
        while data := await reader.read(65_536):
            self.written += cutter.take(data)
            while not self.frozen and self.written:
                message = frames.read_up(self.written.pop(0))
                if not isinstance(message, frames.Open):
                    writer.write(frames.frame(frames.Answer(message.number, 1, 0)))
        writer.close()


async def test_an_engine_that_stands_still_fails_publishes_and_lets_volatile_ones_pass(tmp_path: Path) -> None:
    frozen = Frozen()
    path = str(tmp_path / "engine")
    server = await asyncio.start_unix_server(frozen.serve, path)
    host = Host(tmp_path)
    node = Node(host)
    await node.broker.start(node)
    want = node.broker.subscribe("a")
    published = node.broker.publish(_said("unknown"), KEPT)
    scattered = node.broker.scatter(_said("volatile"))
    await until(lambda: len(frozen.written) == 4)
    node.clock.advance(2)
    assert node.broker.trouble == "the engine process does not answer"
    assert (await scattered, node.texts) == (None, ["volatile"])
    await node.broker.scatter(_said("at once"))
    assert node.texts == ["volatile", "at once"]
    node.clock.advance(4)
    for outcome in (want, published):
        with pytest.raises(BrokerError):
            await outcome
    # It was published after all: this node's own clients hear it, once; what was volatile they have heard already.
    frozen.frozen = False
    again = node.broker.publish(_said("again"), KEPT)
    await again
    assert node.texts == ["volatile", "at once", "unknown", "again"]
    assert node.broker.trouble is None
    await node.broker.close()
    server.close()


async def test_no_more_waits_for_an_engine_than_there_is_room_for(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("openline.brokers.link_requests.WAITING_BYTES", 100_000)
    node = await host.node("a")
    large = Publication("a", "note", b"x" * 60_000, binary=True)
    first, second = node.broker.publish(large, KEPT), node.broker.publish(large, KEPT)
    with pytest.raises(BrokerError, match="does not keep up"):
        await second
    await first
    await node.broker.publish(large, KEPT)


async def test_a_node_that_does_not_read_is_cut_off_and_makes_up_for_it(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("openline.brokers.link_server.MOST_WAITING", 200_000)
    a, b = await host.node("a"), await host.node("a")
    wire = b.broker.link._wire
    assert wire is not None
    assert wire._transport is not None
    wire._transport.pause_reading()
    large = Publication("a", "note", b"x" * 100_000, binary=True)
    assert host.server is not None
    while len(host.server.ends) == 2:
        await a.broker.publish(large, KEPT)
    wire._transport.resume_reading()
    last = await a.say("last")
    await until(lambda: b.broker.position == last)
    assert [each.stamp for each in b.heard] == list(range(1, last.stamp + 1))


async def test_text_that_is_not_unicode_is_refused(host: Host) -> None:
    node = await host.node()
    with pytest.raises(CommandError):
        await node.broker.publish(Publication("a", "\ud800", b"1"), KEPT)


async def test_pages_wait_for_each_other_where_they_are_large(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("openline.brokers.link_requests.MOST_UNDER_WAY", 1000)
    node = await host.node("a")
    for number in range(5):
        await node.say(str(number))
    pages = [node.broker.read("a", size=800) for _ in range(10)]
    assert len(node.broker.link.requests.pending) < 3
    assert [len((await page).publications) for page in pages] == [4] * 10


async def test_a_process_that_has_ended_frees_what_its_nodes_had_at_once(host: Host) -> None:
    a, b = await host.node(), await host.node()
    one, other = LinkDirectory(a.broker.link), LinkDirectory(b.broker.link)
    await one.join("a", "")
    await other.join("b", "")
    assert host.server is not None
    (engine,) = host.server._engines.values()
    engine.processes["a"] = 7
    host.server.ended(7)
    beat = await other.beat()
    assert (dict(beat.gone), set(beat.nodes)) == ({"a": "lost"}, {"b"})
    assert not (await one.beat()).held


async def test_an_engine_that_cannot_be_opened_says_why(host: Host, tmp_path: Path) -> None:
    path = tmp_path / "no.db"
    path.write_text("this is no database, " * 1000)
    with pytest.raises(SettingsError, match="database"):
        await asyncio.to_thread(open_engine, host.path, f"sqlite:{path}", 0)
    await asyncio.to_thread(open_engine, host.path, "memory", 0)
    with pytest.raises(BrokerError, match="cannot be reached"):
        open_engine(str(tmp_path / "nothing"), "memory", 0, patience=0.05)


@pytest.mark.parametrize("size", [0, 1, 3, 70_000])
def test_frames_are_cut_wherever_they_come_apart(size: int) -> None:
    message = frames.Hear(Publication("a", "t", b"x" * size, binary=True))
    data = frames.frame(message) * 3
    for step in (1, 2, 5, 1000, len(data)):
        if len(data) / step > 1000:
            continue
        cutter = frames.Frames()
        found = [each for at in range(0, len(data), step) for each in cutter.take(data[at : at + step])]
        assert [frames.read_down(each) for each in found] == [message] * 3


def test_a_frame_that_is_too_long_is_refused() -> None:
    with pytest.raises(ValueError, match="a frame of"):
        list(frames.Frames().take(b"\xff\xff\xff\xff"))
