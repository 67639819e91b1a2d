"""Two nodes on a real Redis while things go wrong: nothing acknowledged is lost, nothing comes twice, all heals."""

import asyncio
import random
from collections.abc import Iterator
from itertools import count

import pytest

from openline.errors import BrokerError
from openline.model import NOTHING_KEPT, Publication
from tests.brokers.redis_links import until
from tests.brokers.redis_nodes import Load, Node, check, nodes
from tests.redis_servers import RedisServer, redis_server

pytestmark = pytest.mark.redis
_prefixes = count()


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    """Every answer is on the disk."""
    with redis_server(appendonly="yes", appendfsync="always") as server:
        yield server


@pytest.fixture
def url(server: RedisServer) -> str:
    return f"{server.url}?prefix=faults{next(_prefixes)}&probe=0.5"


async def test_what_two_nodes_publish_reaches_both_in_one_order(url: str) -> None:
    async with nodes(url) as made:
        for node in made:
            await node.want("a", "b")
        loads = [Load(node, "ab"[n % 2], f"{n}", 0.001) for n, node in enumerate(made * 2)]
        await asyncio.sleep(0.5)
        told = {f"{n}": await load.stop() for n, load in enumerate(loads)}
        await check("a", made, {name: told[name] for name in "02"})
        await check("b", made, {name: told[name] for name in "13"})
        one, other = ([p.stamp for p in node.heard] for node in made)
        assert one == other == sorted(one)


async def test_connections_that_are_cut_again_and_again_lose_and_double_nothing(server: RedisServer, url: str) -> None:
    rng = random.Random(7)
    async with nodes(url) as made:
        for node in made:
            await node.want("a")
        loads = {f"{n}": Load(node, "a", f"{n}", 0.001) for n, node in enumerate(made)}
        for _ in range(15):
            await asyncio.sleep(rng.uniform(0.02, 0.15))
            server.do("CLIENT", "KILL", "TYPE", "pubsub")
        told = {name: await load.stop() for name, load in loads.items()}
        assert len(await check("a", made, told)) > 200
        assert not any(each.unknown for each in told.values())
        assert not any(node.breaks for node in made)


async def test_scripts_that_are_forgotten_under_load_change_no_order(server: RedisServer, url: str) -> None:
    async with nodes(url) as made:
        for node in made:
            await node.want("a")
        loads = {f"{n}": Load(node, "a", f"{n}", 0.001) for n, node in enumerate(made)}
        for _ in range(5):
            await asyncio.sleep(0.05)
            server.do("SCRIPT", "FLUSH")
        told = {name: await load.stop() for name, load in loads.items()}
        await check("a", made, told)
        assert not any(each.unknown for each in told.values())


async def test_a_server_that_is_killed_and_comes_back_with_its_file_has_lost_nothing(
    server: RedisServer, url: str
) -> None:
    async with nodes(url) as made:
        for node in made:
            await node.want("a")
        epoch = made[0].broker.position.epoch
        loads = {f"{n}": Load(node, "a", f"{n}") for n, node in enumerate(made)}
        await asyncio.sleep(0.3)
        server.kill()
        await asyncio.sleep(1.0)
        assert made[0].broker.trouble is not None
        server.start()
        await until(lambda: all(node.broker.link.up for node in made))
        await asyncio.sleep(0.3)
        told = {name: await load.stop() for name, load in loads.items()}
        await check("a", made, told)
        # What waited was sent once it was back.
        assert not any(each.unknown for each in told.values())
        assert not any(node.breaks for node in made)
        assert {node.broker.position.epoch for node in made} == {epoch}
        assert made[0].broker.trouble is None


@pytest.mark.alone
async def test_a_frozen_server_fails_publishes_in_time_doubles_nothing_and_holds_up_nothing_volatile(
    server: RedisServer, url: str
) -> None:
    async with nodes(url) as made:
        for node in made:
            await node.want("a", "quick")
        loads = {f"{n}": Load(node, "a", f"{n}") for n, node in enumerate(made)}
        await asyncio.sleep(0.3)
        server.freeze()
        try:
            sent = 0
            for _ in range(60):
                await asyncio.sleep(0.1)
                made[0].broker.scatter(Publication("quick", "note", b"%d" % sent))
                sent += 1
            # All but what the first second's silence may still hold up.
            assert len(made[0].texts("quick")) == sent
            assert made[0].broker.trouble is not None
        finally:
            server.thaw()
        await until(lambda: all(node.broker.trouble is None for node in made), 10.0)
        await asyncio.sleep(0.3)
        told = {name: await load.stop() for name, load in loads.items()}
        assert max(each.slowest for each in told.values()) <= 5.0
        assert all(each.unknown for each in told.values())
        await check("a", made, told)
        assert made[0].texts("quick") == list(range(sent))


async def test_a_server_that_forgets_everything_is_noticed_at_rest_and_all_nodes_tell_of_it(
    server: RedisServer, url: str
) -> None:
    async with nodes(url) as made:
        for node in made:
            await node.want("a")
        before = await made[0].send("a", 1)
        server.do("FLUSHALL")
        await until(lambda: all(node.breaks == [None] for node in made))
        after = await made[1].send("a", 2)
        assert after.epoch != before.epoch
        assert after.stamp > before.stamp
        assert not (await made[0].broker.read("a", after=before)).complete
        await made[0].want("a")
        assert made[0].texts("a") == made[1].texts("a") == [1, 2]
        assert {node.broker.position.epoch for node in made} == {after.epoch}


async def test_a_publish_into_a_server_that_has_forgotten_everything_is_kept_behind_the_break(
    server: RedisServer, url: str
) -> None:
    async with nodes(url.replace("probe=0.5", "probe=3")) as made:
        for node in made:
            await node.want("a")
        before = await made[0].send("a", 1)
        server.do("FLUSHALL")
        positions = await asyncio.gather(*(_of(made[0], n) for n in range(2, 20)))
        assert {position.epoch for position in positions}.isdisjoint({before.epoch})
        await until(lambda: all(node.breaks for node in made))
        assert made[0].texts("a") == list(range(1, 20))


async def _of(node: Node, n: int) -> object:
    return await node.send("a", n)


async def test_a_pause_of_the_server_is_sat_out(server: RedisServer, url: str) -> None:
    async with nodes(url) as made:
        for node in made:
            await node.want("a")
        server.do("CLIENT", "PAUSE", "1500")
        loads = {f"{n}": Load(node, "a", f"{n}") for n, node in enumerate(made)}
        await asyncio.sleep(2.0)
        told = {name: await load.stop() for name, load in loads.items()}
        await check("a", made, told)
        assert not any(each.unknown for each in told.values())


async def test_a_full_memory_refuses_at_once_and_takes_again_when_there_is_room(server: RedisServer, url: str) -> None:
    async with nodes(url) as made:
        await made[0].want("a")
        first = await made[0].send("a", 1)
        server.do("CONFIG", "SET", "maxmemory", "1")
        try:
            outcomes = [made[0].send("a", n) for n in range(100, 150)]
            for outcome in outcomes:
                with pytest.raises(BrokerError, match="OOM"):
                    await outcome
        finally:
            server.do("CONFIG", "SET", "maxmemory", "0")
        await made[0].send("a", 2)
        assert made[0].texts("a") == [1, 2]
        assert made[0].breaks == []
        assert made[0].broker.position.epoch == first.epoch


async def test_a_server_that_becomes_a_replica_is_left_until_it_takes_writes_again(
    server: RedisServer, url: str
) -> None:
    async with nodes(url) as made:
        await made[0].want("a")
        await made[0].send("a", 1)
        server.do("REPLICAOF", "127.0.0.1", "1")
        waiting = made[0].send("a", 2)
        await until(lambda: made[0].broker.trouble is not None)
        server.do("REPLICAOF", "NO", "ONE")
        await waiting
        assert made[0].texts("a") == [1, 2]
        assert made[0].breaks == []


async def test_a_log_that_lost_a_piece_is_not_complete(server: RedisServer, url: str) -> None:
    prefix = url.partition("prefix=")[2].partition("&")[0]
    async with nodes(url) as made:
        positions = [await made[0].send("a", n) for n in range(6)]
        server.do("XDEL", f"{prefix}:log:a", f"{positions[3].stamp}-0")
        page = await made[0].broker.read("a", after=positions[1])
        assert (page.complete, page.publications) == (False, ())
        page = await made[0].broker.read("a", after=positions[3])
        assert [p.position for p in page.publications] == positions[4:]
        server.do("DEL", f"{prefix}:log:a")
        assert not (await made[0].broker.read("a", after=positions[3])).complete


async def test_a_channel_without_history_tells_of_what_was_published_while_a_node_was_cut_off(
    server: RedisServer, url: str
) -> None:
    async with nodes(url) as made:
        for node in made:
            await node.want("kept", "unkept", "quiet")
        await made[0].send("quiet", 1)
        made[1].broker.link.abort("cut off by the test")
        await made[0].send("kept", 2)
        await made[0].send("unkept", 3, kept=NOTHING_KEPT)
        await until(lambda: made[1].broker.link.up and made[1].breaks)
        assert [set(each or ()) for each in made[1].breaks] == [{"unkept"}]
        assert made[1].texts("kept") == [2]
        await made[0].send("unkept", 4, kept=NOTHING_KEPT)
        await made[1].want("unkept")
        assert made[1].texts("unkept") == [4]


def deafen(node: Node, word: str, channel: str) -> None:
    """Behind the link's back, the server is told what this node wants to hear."""
    connection = node.broker.link._connection
    assert connection is not None
    connection.change(word, (f"{node.broker._names.live}{channel}".encode(),), lambda _: None)


async def test_a_piece_that_never_came_is_noticed_by_the_next_and_told_as_a_break(url: str) -> None:
    async with nodes(url.replace("probe=0.5", "probe=3")) as made:
        for node in made:
            await node.want("a", "b")
        await made[0].send("a", 1)
        await made[1].want("a")
        deafen(made[1], "UNSUBSCRIBE", "a")
        await made[1].want("b")
        await made[0].send("a", 2)
        deafen(made[1], "SUBSCRIBE", "a")
        await made[1].want("b")
        await made[0].send("b", 3)
        await made[0].send("a", 4)
        await until(lambda: made[1].texts("a") == [1, 4])
        assert [set(each or ()) for each in made[1].breaks] == [{"a"}]
        assert made[1].texts("b") == [3]


async def test_a_node_that_no_longer_hears_one_channel_notices_while_all_is_quiet(url: str) -> None:
    async with nodes(url) as made:
        for node in made:
            await node.want("a", "b")
        deafen(made[1], "UNSUBSCRIBE", "a")
        await made[1].want("b")
        await made[0].send("a", 1)
        await until(lambda: made[1].texts("a") == [1] or made[1].breaks)
        await made[0].send("a", 2)
        await until(lambda: made[1].texts("a")[-1:] == [2])


async def test_what_comes_in_before_a_node_knows_what_it_missed_waits_for_that(url: str) -> None:
    async with nodes(url) as made:
        for node in made:
            await node.want("a", "b")
        await made[0].send("a", 1)
        await made[1].want("a")
        late = made[1].broker
        late.link.abort("cut off by the test")
        await made[0].send("a", 2)
        turn = late.link.turn
        while late.link.turn == turn:
            await asyncio.sleep(0)
        # It is subscribed, or about to be, and has not asked for the logs yet.
        late._on_message(f"{late._names.live}b".encode(), b"%d ~0 x \x01" % (late.position.stamp + 2))
        await made[0].send("b", 3)
        await until(lambda: late.link.up)
        await made[1].want("b")
        assert made[1].heard == made[0].heard
        assert late.poison.count == 0


async def test_a_node_that_missed_too_much_to_hold_comes_back_all_the_same(server: RedisServer, url: str) -> None:
    async with nodes(url) as (one, other):
        await one.want("a")
        loads = [Load(other, "a", f"{n}", 0.0005) for n in range(4)]
        await until(lambda: one.heard)
        # As if as much had come in while it caught up as it may hold.
        one.broker._catch_up._held_room = 0
        one.broker.link.abort("cut")
        await until(lambda: not one.broker.link.up)
        await until(lambda: one.broker.link.up, 5)
        for load in loads:
            await load.stop()
