"""What every directory must do: checks that run against any of them, with nodes that share one."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, cast

import msgspec

from openline.hub.outcome import Outcome
from openline.hub.ports import Directory
from openline.hub.record import LEASE_SECONDS, SILENCE_SECONDS, Beat, Place, Record
from openline.model import Position, User
from openline.testing.broker_bench import holds, same

__all__ = ["CHECKS", "check_directory"]

_ADDRESS: Final = "http://10.0.0.1:8000"
_NOBODY: Final[dict[str, str]] = {}
_MEMBER: Final = b'{"connection":"c"}'


class Nodes:
    """What a check works with: nodes that share an empty directory, and time that goes by."""

    def __init__(
        self,
        make: Callable[[], Directory],
        pass_time: Callable[[float], Awaitable[None]],
        lease: float,
        silence: float,
        patience: float,
    ) -> None:
        self._make = make
        self._patience = patience
        self.pass_time = pass_time
        self.lease = lease
        self.silence = silence

    async def of(self, outcome: Outcome[Any], what: str = "a call") -> Any:
        """What comes of it, in reasonable time."""
        try:
            async with asyncio.timeout(self._patience):
                return await outcome
        except TimeoutError:
            raise AssertionError(f"{what} did not settle within {self._patience:g} s") from None

    async def join(self, name: str) -> Directory:
        """A node that has just joined."""
        node = self._make()
        holds((await self.of(node.join(name, f"{_ADDRESS}/{name}"), "join")).held, f"{name} has a lease")
        return node

    async def pair(self) -> tuple[Directory, Directory]:
        """Two nodes, ``a`` and ``b``."""
        return await self.join("a"), await self.join("b")

    async def beats(self, node: Directory, seconds: float) -> Beat:
        """``node`` alone beats for so long; its last beat."""
        step = self.silence / 3
        beat = await self.of(node.beat(), "beat")
        for _ in range(round(seconds / step) + 1):
            await self.pass_time(step)
            beat = await self.of(node.beat(), "beat")
        return cast("Beat", beat)


def _record(name: str = "c", *secrets: str, **fields: Any) -> Record:
    return Record(name, "/", secrets=secrets or (f"secret-of-{name}",), **fields)


async def a_record_is_found_as_it_was_written(nodes: Nodes) -> None:
    a, b = await nodes.pair()
    rich = Record(
        "c-1_",
        "/déjà vu",
        User("ada\n".strip(), {"name": "Åda", "n": [1, 2.5, None]}),
        Position("e", 7),
        ("one", "two"),
        {"news": Place(Position("e", 3), presence=True), "$all": Place(Position("e", 2)), "x:~é@": Place(None)},
    )
    holds(await nodes.of(a.put(rich), "put"), "put")
    expected = msgspec.structs.replace(rich, owner="a", fence=1)
    for secret in rich.secrets:
        same(await nodes.of(b.find(secret), "find"), expected, f"what {secret!r} finds")
    same(await nodes.of(b.find("three"), "find"), None, "what no secret finds")
    many = {f"room:{n}": Place(Position("e", n)) for n in range(3000)}
    await nodes.of(a.put(_record("m", subscriptions=many)), "put")
    found = await nodes.of(b.find("secret-of-m"), "find")
    same(None if found is None else dict(found.subscriptions), many, "three thousand subscriptions")
    plain = _record("p")
    await nodes.of(a.put(plain), "put")
    same(
        await nodes.of(a.find("secret-of-p"), "find"), msgspec.structs.replace(plain, owner="a", fence=1), "a plain one"
    )


async def a_record_is_written_anew_in_place_of_the_old_one(nodes: Nodes) -> None:
    a, b = await nodes.pair()
    await nodes.of(a.put(_record("c", "old", subscriptions={"x": Place(None)})), "put")
    holds(await nodes.of(a.put(_record("c", "new", subscriptions={"y": Place(None)})), "put"), "put again")
    same(await nodes.of(b.find("old"), "find"), None, "what the old secret finds")
    found = await nodes.of(b.find("new"), "find")
    same(None if found is None else dict(found.subscriptions), {"y": Place(None)}, "the subscriptions")


async def subscriptions_come_and_go_and_secrets_change(nodes: Nodes) -> None:
    a, b = await nodes.pair()
    await nodes.of(a.put(_record()), "put")
    place = Place(Position("e", 9), presence=True)
    await nodes.of(a.subscribed("c", "x", Place(None)), "subscribed")
    await nodes.of(a.subscribed("c", "x", place), "subscribed")
    await nodes.of(a.subscribed("c", "y", place), "subscribed")
    await nodes.of(a.unsubscribed("c", "y"), "unsubscribed")
    await nodes.of(a.unsubscribed("c", "z"), "unsubscribed")
    await nodes.of(a.keep("c", ["one", "two"]), "keep")
    await nodes.of(a.keep("c", ["two", "three"]), "keep")
    for gone in ("secret-of-c", "one"):
        same(await nodes.of(b.find(gone), "find"), None, f"what {gone!r} finds")
    found = await nodes.of(b.find("three"), "find")
    same(None if found is None else dict(found.subscriptions), {"x": place}, "the subscriptions")
    same(None if found is None else set(found.secrets), {"two", "three"}, "the secrets")


async def a_claim_moves_a_connection_and_who_had_it_changes_nothing_any_more(nodes: Nodes) -> None:
    a, b = await nodes.pair()
    await nodes.of(a.put(_record(subscriptions={"x": Place(None)})), "put")
    await nodes.of(a.enter("room", "c", _MEMBER), "enter")
    claimed = await nodes.of(b.claim("c", "secret-of-c"), "claim")
    same(None if claimed is None else (claimed.owner, claimed.fence), ("a", 2), "the owner before, and the fence")
    same(None if claimed is None else dict(claimed.subscriptions), {"x": Place(None)}, "what is known of it")
    before = await nodes.of(b.find("secret-of-c"), "find")
    same(None if before is None else (before.owner, before.fence), ("b", 2), "the owner by now")
    holds(not await nodes.of(a.put(_record("c", "mine")), "put"), "put by who had it")
    await nodes.of(a.subscribed("c", "y", Place(None)), "subscribed")
    await nodes.of(a.unsubscribed("c", "x"), "unsubscribed")
    await nodes.of(a.keep("c", ["mine"]), "keep")
    holds(not await nodes.of(a.end("c"), "end"), "end by who had it")
    await nodes.of(a.forget("c"), "forget")
    same(await nodes.of(a.exit("room", "c"), "exit"), None, "exit by who had it")
    same(await nodes.of(a.enter("hall", "c", _MEMBER), "enter"), None, "enter by who had it")
    same(await nodes.of(b.find("secret-of-c"), "find"), before, "what is known of it, behind all that")
    same(list(await nodes.of(b.count(["room", "hall"]), "count")), [1, 0], "who is present, behind all that")


async def a_claim_needs_a_secret_that_is_good(nodes: Nodes) -> None:
    a, b = await nodes.pair()
    await nodes.of(a.put(_record("c", "one")), "put")
    await nodes.of(a.put(_record("d", "two")), "put")
    await nodes.of(a.keep("c", ["three"]), "keep")
    for connection_id, secret in (("c", "one"), ("c", "two"), ("x", "three"), ("c", "")):
        same(await nodes.of(b.claim(connection_id, secret), "claim"), None, f"{connection_id!r} with {secret!r}")
    holds(await nodes.of(b.claim("c", "three"), "claim") is not None, "the one that is good")


async def whoever_claims_what_it_has_keeps_the_fence(nodes: Nodes) -> None:
    a, b = await nodes.pair()
    await nodes.of(a.put(_record()), "put")
    for node, name, fence in ((a, "a", 1), (b, "a", 2), (b, "b", 2), (a, "b", 3), (a, "a", 3)):
        claimed = await nodes.of(node.claim("c", "secret-of-c"), "claim")
        same(None if claimed is None else (claimed.owner, claimed.fence), (name, fence), "owner before and fence")


async def of_two_claims_one_comes_last(nodes: Nodes) -> None:
    a, b = await nodes.pair()
    c = await nodes.join("c")
    await nodes.of(a.put(_record()), "put")
    claims = [await nodes.of(each, "claim") for each in (b.claim("c", "secret-of-c"), c.claim("c", "secret-of-c"))]
    same(sorted(0 if claim is None else claim.fence for claim in claims), [2, 3], "their fences")
    ends = [await nodes.of(each.end("c"), "end") for each in (a, b, c)]
    same(sum(ends), 1, "how many may end it")


async def an_end_is_one_node_s_and_nobody_takes_it_up_behind_it(nodes: Nodes) -> None:
    a, b = await nodes.pair()
    holds(not await nodes.of(a.end("c"), "end"), "the end of one that nobody knows")
    await nodes.of(a.put(_record()), "put")
    holds(not await nodes.of(b.end("c"), "end"), "the end by another node")
    holds(await nodes.of(a.end("c"), "end"), "the end")
    await nodes.of(a.keep("c", ["late"]), "keep")
    for secret in ("secret-of-c", "late"):
        same(await nodes.of(b.find(secret), "find"), None, f"what {secret!r} finds behind it")
    same(await nodes.of(b.claim("c", "secret-of-c"), "claim"), None, "a claim behind it")
    await nodes.of(a.forget("c"), "forget")
    holds(not await nodes.of(a.end("c"), "end"), "the end of one that is forgotten")
    era = (await nodes.of(a.beat(), "beat")).era
    holds(not await nodes.of(a.end("c", era), "end"), "the end of one that is forgotten, in the same era")
    holds(await nodes.of(a.end("c", "another era"), "end"), "the end of one that all the directory has forgotten")
    holds(await nodes.of(b.put(_record()), "put"), "its id is free again")


async def what_a_node_that_left_had_is_adopted_once(nodes: Nodes) -> None:
    a, b = await nodes.pair()
    c = await nodes.join("c")
    for n in range(7):
        await nodes.of(a.put(_record(f"c{n}", subscriptions={"x": Place(None)})), "put")
    await nodes.of(a.put(_record("over")), "put")
    await nodes.of(a.end("over"), "end")
    await nodes.of(b.claim("c0", "secret-of-c0"), "claim")
    same(list(await nodes.of(b.adopt("a", 10), "adopt")), [], "what is adopted of a node that lives")
    await nodes.of(a.leave(), "leave")
    beat = await nodes.of(b.beat(), "beat")
    same((dict(beat.gone), set(beat.nodes)), ({"a": "left"}, {"b", "c"}), "who is gone, and who lives")
    shares = [await nodes.of(node.adopt("a", 3), "adopt") for node in (b, c, b, c, b)]
    holds(all(len(share) <= 3 for share in shares), "a share is no larger than was asked for")
    found = [record for share in shares for record in share]
    same(sorted(r.id for r in found), ["c1", "c2", "c3", "c4", "c5", "c6", "over"], "what is adopted in all")
    holds(all(record.fence == 2 for record in found), "the fence of each has grown")
    holds(all(not record.secrets for record in found if record.id == "over"), "what was ending has no secrets")
    same(dict((await nodes.of(b.beat(), "beat")).gone), {}, "who is gone when nothing is left of it")
    owners = [await nodes.of(b.find("secret-of-c0"), "find"), await nodes.of(b.find("secret-of-c1"), "find")]
    holds(all(each is not None and each.owner in "bc" for each in owners), "those who adopted are the owners")
    holds(not await nodes.of(a.put(_record("late")), "put"), "put by a node that left")


async def a_lease_runs_out_when_others_beat_and_its_node_does_not(nodes: Nodes) -> None:
    a, b = await nodes.pair()
    await nodes.of(a.put(_record()), "put")
    beat = await nodes.beats(b, nodes.lease * 0.5)
    same((set(beat.nodes), dict(beat.gone)), ({"a", "b"}, _NOBODY), "who lives within a lease")
    same(beat.nodes["a"], f"{_ADDRESS}/a", "its address")
    beat = await nodes.beats(b, nodes.lease)
    same((set(beat.nodes), dict(beat.gone)), ({"b"}, {"a": "lost"}), "who lives behind it")
    beat = await nodes.of(a.beat(), "beat")
    same((beat.held, dict(beat.gone)), (False, {"a": "lost"}), "what its node is told")
    holds(not await nodes.of(a.put(_record("d")), "put"), "put by a node without a lease")
    same(await nodes.of(a.claim("c", "secret-of-c"), "claim"), None, "a claim by it")
    same([record.id for record in await nodes.of(b.adopt("a", 10), "adopt")], ["c"], "what is adopted")
    holds((await nodes.of(a.join("a2", _ADDRESS), "join")).held, "it joins under another id")
    holds(await nodes.of(a.claim("c", "secret-of-c"), "claim") is not None, "and claims what it had")


async def no_lease_runs_out_while_nobody_was_heard(nodes: Nodes) -> None:
    a, b = await nodes.pair()
    await nodes.pass_time(nodes.lease * 2)
    for node, name in ((b, "b"), (a, "a")):
        beat = await nodes.of(node.beat(), "beat")
        same((beat.held, dict(beat.gone)), (True, _NOBODY), f"what {name} is told")
    beat = await nodes.beats(b, nodes.lease * 1.5)
    same(dict(beat.gone), {"a": "lost"}, "who is gone a lease later")


async def who_is_present_is_counted_once_and_listed_in_order(nodes: Nodes) -> None:
    a, b = await nodes.pair()
    versions: list[int] = []
    for n, node in enumerate((a, b, a, b, a)):
        await nodes.of(node.put(_record(f"c{n}")), "put")
        member = b'{"connection":"c%d"}' % n
        turnout = await nodes.of(node.enter("room", f"c{n}", member), "enter")
        same(None if turnout is None else (turnout.count, turnout.member), (n + 1, member), "who comes")
        versions.append(0 if turnout is None else turnout.version)
        same(await nodes.of(node.enter("room", f"c{n}", b"{}"), "enter"), None, "who is in already")
    turnout = await nodes.of(b.exit("room", "c1"), "exit")
    same(None if turnout is None else (turnout.count, turnout.member), (4, b'{"connection":"c1"}'), "who goes")
    versions.append(0 if turnout is None else turnout.version)
    same(await nodes.of(b.exit("room", "c1"), "exit"), None, "who has gone already")
    same(versions, sorted(set(versions)), "versions grow")
    page = msgspec.json.decode(await nodes.of(a.present("room", 3, 0), "present"))
    listed = [member["connection"] for member in page["members"]]
    same((page["count"], listed), (4, ["c0", "c2", "c3"]), "the first page")
    rest = msgspec.json.decode(await nodes.of(b.present("room", 3, page["next"]), "present"))
    same(rest, {"count": 4, "members": [{"connection": "c4"}]}, "the second page")
    same(msgspec.json.decode(await nodes.of(a.present("room", 0, 0), "present"))["count"], 4, "the count alone")
    same(list(await nodes.of(b.count(["room", "hall", "room"]), "count")), [4, 0, 4], "counts")
    same(list(await nodes.of(b.count([]), "count")), [], "no counts")


async def an_empty_channel_s_versions_go_on(nodes: Nodes) -> None:
    a, _ = await nodes.pair()
    await nodes.of(a.put(_record()), "put")
    turnouts = [
        await nodes.of(call, "a change")
        for _ in range(3)
        for call in (a.enter("room", "c", _MEMBER), a.exit("room", "c"))
    ]
    versions = [0 if turnout is None else turnout.version for turnout in turnouts]
    same(versions, sorted(set(versions)), "versions grow")
    same(await nodes.of(a.present("room", 10, 0), "present"), b'{"count":0,"members":[]}', "an empty channel")


CHECKS: Final[Sequence[Callable[[Nodes], Awaitable[None]]]] = (
    a_record_is_found_as_it_was_written,
    a_record_is_written_anew_in_place_of_the_old_one,
    subscriptions_come_and_go_and_secrets_change,
    a_claim_moves_a_connection_and_who_had_it_changes_nothing_any_more,
    a_claim_needs_a_secret_that_is_good,
    whoever_claims_what_it_has_keeps_the_fence,
    of_two_claims_one_comes_last,
    an_end_is_one_node_s_and_nobody_takes_it_up_behind_it,
    what_a_node_that_left_had_is_adopted_once,
    a_lease_runs_out_when_others_beat_and_its_node_does_not,
    no_lease_runs_out_while_nobody_was_heard,
    who_is_present_is_counted_once_and_listed_in_order,
    an_empty_channel_s_versions_go_on,
)


async def check_directory(
    make: Callable[[], Awaitable[Callable[[], Directory]]],
    pass_time: Callable[[float], Awaitable[None]],
    *,
    lease_seconds: float = LEASE_SECONDS,
    silence_seconds: float = SILENCE_SECONDS,
    patience_seconds: float = 10.0,
) -> None:
    """Hold a directory against everything that :class:`openline.hub.ports.Directory` promises.

    ``make`` is called once per check, for an empty directory; what it returns makes one node's end of it.
    ``pass_time`` lets the engine's time go by. Raises one :class:`AssertionError` that names every check that failed,
    and how.
    """
    failures: list[str] = []
    for check in CHECKS:
        try:
            await check(Nodes(await make(), pass_time, lease_seconds, silence_seconds, patience_seconds))
        except Exception as error:
            text = str(error) if isinstance(error, AssertionError) else repr(error)
            failures.append(f"{check.__name__.replace('_', ' ')}: {text}")
    if failures:
        raise AssertionError("the directory breaks its promises\n" + "\n".join(failures))
