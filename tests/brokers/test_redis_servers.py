"""Servers that come back with less than they had, are guarded, or hand over to another: what each means for a node."""

import asyncio
import logging
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import redis

from openline.app import engine
from openline.app.engine import make_broker
from openline.brokers.redis_url import parse_redis_url
from openline.errors import SettingsError
from openline.model import Position, Publication, Retention
from tests.brokers.redis_links import until
from tests.brokers.redis_nodes import Load, Node, check, nodes
from tests.redis_servers import RedisServer, free_port, redis_server
from tests.server import make_certificate

pytestmark = pytest.mark.redis
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    """One that keeps nothing on a disk, unless it is told to."""
    with redis_server() as server:
        yield server


async def test_a_server_that_comes_back_empty_begins_a_new_epoch_and_all_nodes_tell_of_it(server: RedisServer) -> None:
    async with nodes(f"{server.url}?prefix=empty") as made:
        for node in made:
            await node.want("a")
        before = await made[0].send("a", 1)
        server.kill()
        server.start()
        await until(lambda: all(node.breaks for node in made))
        after = await made[1].send("a", 2)
        assert after.epoch != before.epoch
        assert after.stamp > before.stamp
        await made[0].want("a")
        assert made[0].texts("a") == [1, 2]


async def test_an_older_copy_of_the_log_is_noticed_also_by_a_node_that_comes_late(server: RedisServer) -> None:
    async with nodes(f"{server.url}?prefix=older") as made:
        for node in made:
            await node.want("a")
        early, late = made
        await early.send("a", 1)
        server.do("SAVE")
        await early.send("a", 2)
        await late.want("a")
        # The node that comes first knows nothing of the second publication.
        early.broker._stamp = early.broker._wanted["a"] = early.broker._stamp - 1
        server.kill()
        server.start()
        await until(lambda: all(node.breaks == [None] for node in made))
        assert early.broker.position.epoch == late.broker.position.epoch
        assert [p.payload for p in await early.log("a")] == [b"1"]
        # It remembers fewer of the node's numbers than the node, too.
        await early.send("a", 3)
        assert [p.payload for p in await early.log("a")] == [b"1", b"3"]


async def test_a_copy_that_has_everything_goes_on_where_it_was(server: RedisServer) -> None:
    async with nodes(f"{server.url}?prefix=whole") as made:
        await made[0].want("a")
        before = await made[0].send("a", 1)
        server.do("SAVE")
        server.kill()
        server.start()
        after = await made[0].send("a", 2)
        assert after.epoch == before.epoch
        assert made[0].breaks == []
    async with nodes(f"{server.url}?prefix=whole", 1) as (fresh,):
        assert fresh.broker.position.epoch == before.epoch
        assert (await fresh.broker.read("a", after=before)).publications[0].payload == b"2"


async def test_a_node_that_starts_behind_a_restart_nobody_has_seen_begins_a_new_epoch(server: RedisServer) -> None:
    async with nodes(f"{server.url}?prefix=unseen", 1) as (node,):
        before = await node.send("a", 1)
    server.do("SAVE")
    server.kill()
    server.start()
    async with nodes(f"{server.url}?prefix=unseen", 1) as (node,):
        assert node.broker.position.epoch != before.epoch
        assert not (await node.broker.read("a", after=before)).complete
        assert [p.payload for p in await node.log("a")] == [b"1"]


async def test_names_and_passwords(caplog: pytest.LogCaptureFixture) -> None:
    with redis_server(requirepass="let me in") as guarded:
        async with nodes(f"redis://:let%20me%20in@127.0.0.1:{guarded.port}/3", 1) as (node,):
            await node.send("a", 1)
            assert guarded.do("INFO", "keyspace").keys() == {"db3"}
        for login, why in (("", "asks for a password"), (":wrong@", "does not take this name and password")):
            node = Node(f"redis://{login}127.0.0.1:{guarded.port}")
            node.broker.start(node)
            await until(partial(_says, node, why))
            await node.broker.close()
            node.timers.stop()
    assert "let me in" not in caplog.text
    assert "wrong" not in caplog.text


async def test_a_user_who_may_touch_nothing_but_what_begins_with_the_prefix_is_enough(server: RedisServer) -> None:
    rights = (ROOT / "docs" / "redis.md").read_text().partition("ACL SETUSER openline ")[2].partition("`")[0]
    server.do("ACL", "SETUSER", "openline", *rights.replace("PASSWORD", "secret").split())
    async with nodes(f"redis://openline:secret@127.0.0.1:{server.port}") as made:
        for node in made:
            await node.want("a")
        await made[0].send("a", 1, key="k")
        assert await made[1].send("a", 1, key="k") == made[0].broker.position
        await made[0].want("a")
        assert [node.texts("a") for node in made] == [[1], [1]]
        server.do("FLUSHALL")
        await until(lambda: all(node.breaks for node in made))
    with redis.Redis(port=server.port, username="openline", password="secret", protocol=2) as client:
        for command in (("GET", "other"), ("PUBLISH", "other", "1"), ("FLUSHALL",), ("CONFIG", "GET", "*")):
            with pytest.raises(redis.exceptions.NoPermissionError):
                client.execute_command(*command)


async def test_over_tls_the_server_must_be_the_one_that_its_certificate_names(tmp_path: Path) -> None:
    certificate, key = make_certificate(tmp_path)
    secure = str(free_port())
    options = {"tls_port": secure, "tls_cert_file": str(certificate), "tls_key_file": str(key)}
    with redis_server(**options, tls_ca_cert_file=str(certificate), tls_auth_clients="no"):
        async with nodes(f"rediss://localhost:{secure}?ca={certificate}", 1) as (node,):
            await node.want("a")
            await node.send("a", 1)
            assert node.texts("a") == [1]
        stranger = Node(f"rediss://localhost:{secure}")
        stranger.broker.start(stranger)
        await until(partial(_says, stranger, "certificate verify failed"))
        await stranger.broker.close()
        stranger.timers.stop()


def _says(node: Node, why: str) -> bool:
    return why in (node.broker.trouble or "")


async def test_a_node_that_starts_before_its_server_waits_for_it(server: RedisServer) -> None:
    server.kill()
    node = Node(server.url)
    started = node.broker.start(node)
    wanted = node.broker.subscribe("a")
    sent = node.send("a", 1)
    await until(partial(_says, node, "onnect"))
    assert not started.done
    server.start()
    await started
    await wanted
    await sent
    assert node.texts("a") == [1]
    await node.broker.close()
    node.timers.stop()


async def test_a_failover_by_sentinels_is_followed() -> None:
    with redis_server() as first, redis_server(replicaof=f"127.0.0.1 {first.port}") as second:
        await until(lambda: b"master_link_status:up" in _info(second))
        port = free_port()
        with redis_server("--sentinel", port=str(port), config=_watch(first)) as _:
            url = f"redis+sentinel://127.0.0.1:{port}/mymaster?prefix=ha"
            await until(lambda: f"{second.port}" in str(_ask(port, "SENTINEL", "REPLICAS", "mymaster")))
            async with nodes(url) as made:
                for node in made:
                    await node.want("a")
                loads = {f"{n}": Load(node, "a", f"{n}") for n, node in enumerate(made)}
                await asyncio.sleep(0.3)
                first.kill()
                await until(lambda: all(not node.broker.link.up for node in made))
                await until(lambda: all(node.broker.link.up for node in made), 20.0)
                told = {name: await load.stop() for name, load in loads.items()}
                assert second.do("ROLE")[0] == b"master"
                if not any(node.breaks for node in made):
                    # What was acknowledged had reached the replica: nothing guarantees that, but then it is there.
                    await check("a", made, told)
                after = await made[0].send("a", ["end", 0])
                await until(lambda: made[1].broker.position == after)
                assert made[1].texts("a")[-1] == ["end", 0]


def _info(server: RedisServer) -> bytes:
    with server.client as client:
        return str(client.info("replication")).encode().replace(b"'master_link_status': 'up'", b"master_link_status:up")


def _ask(port: int, *command: str) -> object:
    with redis.Redis(port=port, protocol=2) as client:
        return client.execute_command(*command)


def _watch(server: RedisServer) -> str:
    return (
        f"sentinel monitor mymaster 127.0.0.1 {server.port} 1\nsentinel down-after-milliseconds mymaster 500\n"
        "sentinel failover-timeout mymaster 3000\n"
    )


# -- what others publish


POISON = (
    b"not at all",
    b"",
    b"1 2 3",
    b"99999999 0 EPOCH \x01\x93",
    b'99999999 0 EPOCH {"type":"note","payload":1}',
    b"99999999 0 EPOCH \x07later",
    b"99999999999999999999 0 EPOCH \x01\x92\xa4note\xc4\x011",
    b"0 other EPOCH \x01\x92\xa4note\xc4\x03NaN",
    b"0 other EPOCH \x01\x92\xa1\n\xc4\x011",
    b"0 other EPOCH \x01\x92\xa5$fake\xc4\x011",
    b"0 other EPOCH \x01\x92\xa4note\xc4\x05" + b'"\xff\xfe"',
    b"0 other EPOCH \x01\x92\x01\xc4\x011",
    b"0 other EPOCH \x81" + bytes(32) + b"\x92\xa4note\xc4\x011",
)


@pytest.mark.parametrize("key", ["", "a key that all nodes of a cluster share"])
async def test_what_no_node_has_sent_is_counted_and_dropped_and_hearing_goes_on(
    server: RedisServer, key: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with nodes(f"{server.url}?prefix=poison{bool(key)}", 2, key) as made:
        for node in made:
            await node.want("a")
        epoch = made[0].broker.position.epoch.encode()
        caplog.clear()
        for poison in POISON:
            server.do("PUBLISH", f"poison{bool(key)}:c:a", poison.replace(b"EPOCH", epoch))
        position = await made[0].send("a", 1)
        await made[1].want("a")
        assert made[0].texts("a") == made[1].texts("a") == [1]
        assert [node.broker.poison.count for node in made] == [len(POISON)] * 2
        assert made[1].broker.position == position
        assert [r.levelno for r in caplog.records] == [logging.WARNING] * 2


async def test_what_is_forged_by_another_client_of_the_server_needs_the_key(server: RedisServer) -> None:
    async with nodes(f"{server.url}?prefix=forged", 1, "a key that all nodes of a cluster share") as (node,):
        await node.want("a", "b")
        await node.send("a", 1)
        with server.client as client, client.pubsub() as spy:
            spy.subscribe("forged:c:a")
            assert spy.get_message(timeout=1.0)
            await node.send("a", 2)
            caught = spy.get_message(timeout=1.0)["data"]
            # Signed for one channel, it is none of another; and nothing in it may be changed.
            stamp, _, rest = caught.split(b" ", 2)
            client.publish("forged:c:b", b"%d ~0 %b" % (int(stamp) + 1, rest))
            client.publish("forged:c:a", b"%d %b %b" % (int(stamp) + 1, stamp, rest[:-1] + b"3"))
        await node.want("a")
        assert (node.texts("a"), node.texts("b"), node.broker.poison.count) == ([1, 2], [], 2)


async def test_a_forged_entry_of_a_log_makes_it_incomplete(server: RedisServer) -> None:
    async with nodes(f"{server.url}?prefix=entry", 1, "a key that all nodes of a cluster share") as (node,):
        first = await node.send("a", 1)
        last = await node.send("a", 2)
        (_, fields) = server.do("XRANGE", "entry:log:a", f"{last.stamp}-0", "+")[0]
        server.do("DEL", "entry:log:a")
        forged = {**fields, b"e": b"\x01\x92\xa4note\xc4\x011"}
        server.do("XADD", "entry:log:a", f"{last.stamp}-0", *(word for pair in forged.items() for word in pair))
        assert not (await node.broker.read("a", after=first)).complete


async def test_a_message_of_64_mb_costs_no_node_anything_that_was_published(server: RedisServer) -> None:
    async with nodes(f"{server.url}?prefix=large") as made:
        for node in made:
            await node.want("a")
        await made[0].send("a", 1)
        server.do("PUBLISH", "large:c:a", b"x" * (64 << 20))
        await made[0].send("a", 2)
        await until(lambda: made[1].texts("a") == [1, 2])
        assert not any(node.breaks for node in made)


# -- what is kept, by the server's own clock


async def test_keys_and_what_is_kept_end_with_the_server_s_time(server: RedisServer) -> None:
    async with nodes(f"{server.url}?prefix=time", 1) as (node,):
        shortly, long = (Retention(count=100, seconds=seconds, size=1 << 20) for seconds in (0.2, 600.0))
        first = await node.send("a", 1, key="k", kept=shortly)
        assert 240_000 < server.do("PTTL", "time:key:a k") <= 300_000
        while (await node.broker.read("a")).publications:
            await asyncio.sleep(0.02)
        assert (await node.broker.read("a", after=first)).complete
        assert not (await node.broker.read("a", after=_ahead(first))).complete
        # What was too old does not come back when more is kept.
        second = await node.send("a", 2, kept=long)
        page = await node.broker.read("a", after=first)
        assert (page.complete, [p.position for p in page.publications]) == (True, [second])
        assert [p.position for p in (await node.broker.read("a")).publications] == [second]
        assert not (await node.broker.read("a", after=_ahead(first))).complete
        for kind in ("head", "log"):
            assert 3_600_000 < server.do("PTTL", f"time:{kind}:a") < 3 * 3_600_000


def _ahead(position: Position) -> Position:
    return Position(position.epoch, position.stamp - 1)


async def test_a_log_is_pruned_as_it_grows(server: RedisServer) -> None:
    async with nodes(f"{server.url}?prefix=pruned", 1) as (node,):
        size = Publication("a", "said", b"100").size
        for kept in (
            Retention(count=10, seconds=60.0, size=1 << 20),
            Retention(count=1000, seconds=60.0, size=10 * size),
        ):
            for n in range(100, 500):
                outcome = node.send("a", n, kept=kept)
            await outcome
            assert server.do("XLEN", "pruned:log:a") < 10 + 64
            found = (await node.broker.read("a")).publications
            assert [p.payload for p in found] == [b"%d" % n for n in range(490, 500)]


# -- URLs


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("redis://", "it looks like"),
        ("redis://host:99999", "no HOST:PORT"),
        ("redis://host/x", "number of a database"),
        ("redis://a,b", "several addresses"),
        ("redis://host?prefix=a*", "prefix is 1 to 64"),
        ("redis://host?probe=9", "probe is a number of seconds from 0.25 to 3"),
        ("redis://host?timeout=60", "timeout is a number of seconds from 0.5 to 4"),
        ("redis://host?what=1", "no option 'what'"),
        ("redis://:pass#word@host", "write it as %23"),
        ("redis+sentinel://host", "name of the master"),
        ("rediss://host?ca=/no/such/file", "cannot be read"),
        ("redis:host", "is not known"),
    ],
)
def test_a_url_that_cannot_be_says_why(url: str, why: str) -> None:
    loop = asyncio.new_event_loop()
    try:
        with pytest.raises(SettingsError, match=why.replace("(", r"\(")) as refused:
            make_broker(url, loop=loop, timers=None)  # type: ignore[arg-type]
        assert "word@" not in str(refused.value)
    finally:
        loop.close()


def test_where_its_package_is_missing_the_error_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "find_spec", lambda name: None)
    with pytest.raises(SettingsError, match=r"pip install 'openline\[redis\]'"):
        engine.check_engine("redis://localhost")


def test_a_server_elsewhere_without_a_password_is_warned_of_loudly(caplog: pytest.LogCaptureFixture) -> None:
    async def start() -> None:
        node = Node("redis://192.0.2.1")
        node.broker.start(node)
        await node.broker.close()
        node.timers.stop()

    asyncio.run(start())
    assert "SECURITY: the engine at 192.0.2.1:6379 is on another machine and asks for no password" in caplog.text


def test_a_url_says_where_and_how() -> None:
    url = parse_redis_url("rediss+sentinel://ada:p%40ss@one,two:1234/main?db=2&prefix=chat&probe=1")
    assert (url.addresses, url.master, url.tls) == ((("one", 26379), ("two", 1234)), "main", True)
    assert (url.username, url.password, url.db, url.prefix, url.probe) == ("ada", "p@ss", 2, "chat", 1.0)
    assert url.shown == "'main' of the Sentinels one:26379, two:1234"
    assert parse_redis_url("valkey://[::1]:7000/4").addresses == (("::1", 7000),)
    assert parse_redis_url("redis+unix:///run/redis.sock?db=1").path == "/run/redis.sock"
    assert parse_redis_url("redis://10.0.0.1").open_to_others
    assert not parse_redis_url("redis://:secret@10.0.0.1").open_to_others
    assert not parse_redis_url("redis://localhost").open_to_others
