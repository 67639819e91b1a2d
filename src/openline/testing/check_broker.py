"""What every engine must do: checks that run against any of them, ours and yours."""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any, Final

from openline.errors import BrokerError
from openline.hub.outcome import Outcome
from openline.hub.ports import Broker
from openline.hub.timers import Timers
from openline.model import NOTHING_KEPT, Page, Position, Publication, Retention
from openline.testing.broker_bench import KEPT, Bench, holds, same, texts

__all__ = ["CHECKS", "check_broker"]

KEY_SECONDS: Final = 300.0


async def publications_keep_the_order_of_the_calls(bench: Bench) -> None:
    await bench.want("a", "b")
    sent = [bench.send("ab"[n % 2], str(n)) for n in range(60)]
    positions = [await bench.of(outcome, "publish") for outcome in sent]
    stamps = [p.stamp for p in positions]
    same(stamps, sorted(set(stamps)), "stamps grow with every call")
    holds(stamps[0] > 0, "the first stamp is above 0")
    same({p.epoch for p in positions}, {bench.broker.position.epoch}, "all are of the engine's epoch")
    same(texts(bench.heard), [str(n) for n in range(60)], "the listener hears the calls in order")
    same([p.position for p in bench.heard], positions, "the listener hears the positions that were answered")


async def every_publication_names_the_one_before_it(bench: Bench) -> None:
    await bench.want("a", "b")
    for n in range(12):
        await bench.publish("aab"[n % 3], str(n))
    for channel in "ab":
        heard = [p for p in bench.heard if p.channel == channel]
        same([p.previous for p in heard[1:]], [p.stamp for p in heard[:-1]], f"`previous` in {channel}, live")
        kept = (await bench.read(channel)).publications
        same([p.previous for p in kept[1:]], [p.stamp for p in kept[:-1]], f"`previous` in {channel}, from the log")


async def the_log_keeps_what_was_published(bench: Bench) -> None:
    await bench.want("a")
    rich = Publication(
        "a",
        "déjà vu",
        b'{"\xc3\xa9":[1,2.5,null]}',
        sender=b'{"id":"x"}',
        exclude=frozenset({"p", "q"}),
        ask="7",
        subject="x",
        exclude_channels=frozenset({"b", "c"}),
    )
    plain = Publication("a", "bytes", bytes(range(256)), binary=True)
    for sent in (rich, plain):
        await bench.of(bench.broker.publish(sent, KEPT), "publish")
    kept = (await bench.read("a")).publications
    same(kept, tuple(bench.heard), "what is read is what was heard")
    for sent, found in zip((rich, plain), kept, strict=True):
        for field in Publication.__struct_fields__:
            if field not in {"epoch", "stamp", "previous"}:
                same(getattr(found, field), getattr(sent, field), f"`{field}` from the log")


async def a_repeated_key_is_one_publication(bench: Bench) -> None:
    await bench.want("a", "b")
    outcomes = [bench.send("a", "first", key="k"), bench.send("a", "repeat", key="k"), bench.send("a", "x", key="l")]
    first, repeat, other = [await bench.of(outcome, "publish") for outcome in outcomes]
    same(repeat, first, "a repeat that comes at once has the position of the first")
    same(await bench.publish("a", "late", key="k"), first, "a repeat that comes later has the position of the first")
    holds(other != first, "another key is another publication")
    holds((await bench.publish("b", "b", key="k")) != first, "a key counts within its channel")
    same(texts(bench.heard), ["first", "x", "b"], "the listener hears the first only")
    same(texts((await bench.read("a")).publications), ["first", "x"], "the log has the first only")


async def a_repeat_is_known_when_the_first_is_no_longer_kept(bench: Bench) -> None:
    first = await bench.publish("a", "first", NOTHING_KEPT, key="k")
    same(await bench.publish("a", "repeat", NOTHING_KEPT, key="k"), first, "the position of a repeat")


async def a_key_is_known_for_five_minutes(bench: Bench) -> None:
    first = await bench.publish("a", "first", key="k")
    bench.clock.advance(KEY_SECONDS - 1)
    same(await bench.publish("a", "repeat", key="k"), first, "a repeat within 5 minutes")
    bench.clock.advance(KEY_SECONDS)
    again = await bench.publish("a", "again", key="k")
    holds(again != first, "a key is free again after 5 minutes")
    same(await bench.publish("a", "repeat", key="k"), again, "a repeat of the key that was used again")


async def no_more_than_count_is_kept(bench: Bench) -> None:
    positions = await bench.fill("a", 10, Retention(count=3, seconds=3600.0, size=10_000_000))
    same(texts((await bench.read("a")).publications), ["7", "8", "9"], "3 are kept")
    await _reaches_back_to(bench, "a", positions, 6)


async def no_more_than_size_is_kept(bench: Bench) -> None:
    size = Publication("a", "note", b'"0"').size
    positions = await bench.fill("a", 10, Retention(count=100, seconds=3600.0, size=3 * size + 1))
    same(texts((await bench.read("a")).publications), ["7", "8", "9"], "as many are kept as there is room for")
    await _reaches_back_to(bench, "a", positions, 6)


async def nothing_older_than_its_seconds_is_kept(bench: Bench) -> None:
    kept = Retention(count=100, seconds=60.0, size=10_000_000)
    positions = await bench.fill("a", 2, kept)
    bench.clock.advance(40)
    positions += [await bench.publish("a", "late", kept)]
    bench.clock.advance(30)
    same(texts((await bench.read("a")).publications), ["late"], "what is younger than 60 s is kept")
    await _reaches_back_to(bench, "a", positions, 1)
    bench.clock.advance(600)
    same((await bench.read("a")).publications, (), "everything is too old")
    await _reaches_back_to(bench, "a", positions, 2)


async def _reaches_back_to(bench: Bench, channel: str, positions: Sequence[Position], gone: int) -> None:
    """``positions[gone]`` is the newest that is not kept: exactly from there on nothing is missing."""
    for n, after in enumerate(positions):
        page = await bench.read(channel, after=after)
        same(page.complete, n >= gone, f"`complete` behind number {n}, where {gone} is the newest that is gone")
        if page.complete:
            found = [p.position for p in page.publications]
            same(found, list(positions[n + 1 :]), f"what is read behind number {n}")


async def a_channel_without_history_says_that_something_is_missing(bench: Bench) -> None:
    await bench.want("a")
    before = await bench.publish("b", "elsewhere")
    positions = await bench.fill("a", 3, NOTHING_KEPT)
    same(texts(bench.heard), ["0", "1", "2"], "the listener hears them")
    same((await bench.read("a")).publications, (), "none is kept")
    await _reaches_back_to(bench, "a", positions, 2)
    holds(not (await bench.read("a", after=before)).complete, "from before all of them, it is not complete")


async def the_latest_publication_says_how_much_is_kept(bench: Bench) -> None:
    await bench.fill("a", 6)
    await bench.publish("a", "less", Retention(count=2, seconds=3600.0, size=10_000_000))
    same(texts((await bench.read("a")).publications), ["5", "less"], "2 are kept from now on")
    await bench.publish("a", "more")
    same(texts((await bench.read("a")).publications), ["5", "less", "more"], "what was gone does not come back")
    last = await bench.publish("a", "none", NOTHING_KEPT)
    same((await bench.read("a")).publications, (), "nothing is kept from now on")
    await bench.publish("a", "begin")
    same(texts((await bench.read("a", after=last)).publications), ["begin"], "what is kept from now on")


async def reading_after_a_position_goes_forward_in_pages(bench: Bench) -> None:
    positions = await bench.fill("a", 10)
    await bench.fill("b", 3)
    page = await bench.read("a", after=positions[2], limit=4)
    same((texts(page.publications), page.complete, page.more), (["3", "4", "5", "6"], True, True), "a page of 4")
    page = await bench.read("a", after=positions[6], limit=3)
    same((texts(page.publications), page.complete, page.more), (["7", "8", "9"], True, False), "the last page")
    page = await bench.read("a", after=positions[9])
    same((page.publications, page.complete, page.more), ((), True, False), "behind the newest")
    page = await bench.read("a", after=bench.broker.position)
    same((page.publications, page.complete, page.more), ((), True, False), "behind the engine's position")


async def reading_before_a_position_goes_backward_in_pages(bench: Bench) -> None:
    positions = await bench.fill("a", 10)
    page = await bench.read("a", limit=4)
    same((texts(page.publications), page.complete, page.more), (["6", "7", "8", "9"], True, True), "the newest 4")
    page = await bench.read("a", before=positions[6], limit=4)
    same((texts(page.publications), page.more), (["2", "3", "4", "5"], True), "the 4 before them")
    page = await bench.read("a", before=positions[2], limit=4)
    same((texts(page.publications), page.more), (["0", "1"], False), "the rest")
    page = await bench.read("a", before=positions[0])
    same((page.publications, page.more), ((), False), "before the oldest")
    same(len((await bench.read("a", limit=10)).publications), 10, "all of them in a page that just holds them")
    holds(not (await bench.read("a", limit=10)).more, "a page that holds all has no `more`")


async def a_page_ends_early_when_it_is_large_enough(bench: Bench) -> None:
    positions = await bench.fill("a", 10)
    size = Publication("a", "note", b'"0"').size
    page = await bench.read("a", after=positions[0], size=3 * size)
    same((texts(page.publications), page.more), (["1", "2", "3"], True), "forward, room for 3")
    page = await bench.read("a", size=3 * size)
    same((texts(page.publications), page.more), (["7", "8", "9"], True), "backward, room for 3")
    for options in ({"after": positions[4]}, {"before": positions[6]}):
        page = await bench.read("a", size=1, **options)
        same((texts(page.publications), page.more), (["5"], True), "one at least, however large")


async def a_position_of_another_epoch_or_of_the_future_is_not_complete(bench: Bench) -> None:
    positions = await bench.fill("a", 3)
    for after in (Position("elsewhere", positions[0].stamp), Position(positions[0].epoch, 2**50)):
        page = await bench.read("a", after=after)
        same((page.publications, page.complete), ((), False), f"behind {after}")
    page = await bench.read("a", before=Position("elsewhere", 2**50))
    same(page.publications, (), "before a position of another epoch")


async def a_channel_nobody_used_is_empty_and_complete(bench: Bench) -> None:
    await bench.fill("a", 3)
    await bench.want("quiet")
    page = await bench.read("quiet", after=bench.broker.position)
    same((page.publications, page.complete, page.more), ((), True, False), "a quiet channel, from now on")
    same((await bench.read("quiet")).publications, (), "its newest")


async def only_wanted_channels_are_heard(bench: Bench) -> None:
    await bench.publish("a", "early")
    await bench.want("a")
    await bench.publish("a", "heard")
    await bench.publish("b", "elsewhere")
    await bench.want("$user:ada", "$all")
    await bench.publish("$user:ada", "directly")
    bench.broker.unsubscribe("a")
    await bench.publish("a", "late")
    await bench.publish("$all", "to everybody")
    same(texts(bench.heard), ["heard", "directly", "to everybody"], "what the listener hears")
    same(texts((await bench.read("a")).publications), ["early", "heard", "late"], "all of it is kept")


async def nothing_is_missed_once_a_subscription_is_confirmed(bench: Bench) -> None:
    for n in range(20):
        await bench.want(f"c{n}")
        bench.send(f"c{n}", str(n))
    await bench.publish("c0", "end")
    same(texts(bench.heard), [*map(str, range(20)), "end"], "what the listener hears")


async def the_server_s_own_channels_are_kept_like_others(bench: Bench) -> None:
    kept = Retention(count=3, seconds=3600.0, size=10_000_000)
    await bench.want("$user:ada")
    positions = await bench.fill("$user:ada", 5, kept)
    await _reaches_back_to(bench, "$user:ada", positions, 1)
    page = await bench.read("$user:ada", limit=2)
    same((texts(page.publications), page.more), (["3", "4"], True), "the newest 2")
    same([p.previous for p in bench.heard[1:]], [p.stamp for p in bench.heard[:-1]], "`previous`")
    holds((await bench.read("$user:eve", after=positions[4])).complete, "another one is complete from now on")


async def what_is_scattered_keeps_its_place_and_is_not_kept(bench: Bench) -> None:
    await bench.want("a", "$all")
    outcomes: list[Outcome[Any]] = []
    for n in range(0, 30, 3):
        outcomes.append(bench.send("a", str(n)))
        outcomes.append(bench.broker.scatter(Publication("a", "note", b'"%d"' % (n + 1))))
        outcomes.append(bench.send("$all", str(n + 2)))
    outcomes.append(bench.broker.scatter(Publication("unwanted", "note", b"0")))
    for outcome in outcomes:
        await bench.of(outcome, "publish or scatter")
    same(texts(bench.heard), [str(n) for n in range(30)], "what the listener hears, in order")
    same([p.stamp for p in bench.heard[1::3]], [0] * 10, "the stamps of what was scattered")
    same(texts((await bench.read("a")).publications), [str(n) for n in range(0, 30, 3)], "what is kept")


async def the_position_is_where_the_listener_stands(bench: Bench) -> None:
    await bench.want("a")
    sent = [bench.send("ab"[n % 2], str(n)) for n in range(40)]
    for outcome in sent:
        position = await bench.of(outcome, "publish")
        holds(bench.broker.position.stamp >= position.stamp, "the engine's position has come to what it answered")
    for publication, position in zip(bench.heard, bench.heard_at, strict=True):
        holds(position.stamp >= publication.stamp, "the engine's position has come to what the listener is told")


async def a_page_has_what_was_heard_and_nothing_else(bench: Bench) -> None:
    await bench.want("a")
    readings: list[tuple[int, Outcome[Page]]] = []
    settled: list[tuple[Page, int]] = []

    def read(_: Publication) -> None:
        outcome = bench.broker.read("a")
        readings.append((len(bench.heard), outcome))
        outcome.then(lambda it: settled.append((it.result(), len(bench.heard))))

    bench.then = read
    sent = [bench.send("a", str(n)) for n in range(40)]
    for outcome in sent:
        await bench.of(outcome, "publish")
    for heard, reading in readings:
        page = await bench.of(reading, "read")
        holds(len(page.publications) >= heard, f"a page read when {heard} were heard has them")
    for page, heard in settled:
        holds(len(page.publications) <= heard, f"a page that settles when {heard} were heard has no more")


async def a_forgotten_log_is_empty(bench: Bench) -> None:
    await bench.want("a")
    await bench.fill("a", 3)
    bench.broker.forget("a")
    bench.broker.forget("never used")
    holds(await bench.publish("a", "new") in {p.position for p in bench.heard}, "publishing goes on")
    same(texts((await bench.read("a")).publications), ["new"], "what was forgotten is gone")


async def a_closed_engine_says_nothing_more(bench: Bench) -> None:
    await bench.want("a")
    await bench.publish("a", "heard")
    waiting = bench.send("a", "waiting")
    await bench.of(bench.broker.close(), "close")
    heard = len(bench.heard)
    with suppress(BrokerError):
        await bench.of(waiting, "a publish that waited when the engine was closed")
    with suppress(BrokerError):
        await bench.of(bench.send("a", "late"), "a publish behind close")
    with suppress(BrokerError):
        await bench.of(bench.broker.scatter(Publication("a", "note", b"1")), "a scatter behind close")
    same(len(bench.heard), heard, "what the listener has heard since the engine was closed")


#: What needs a clock that the test moves, and what does not.
TIMED: Final = (a_key_is_known_for_five_minutes, nothing_older_than_its_seconds_is_kept)
CHECKS: Final[Sequence[Callable[[Bench], Awaitable[None]]]] = (
    publications_keep_the_order_of_the_calls,
    every_publication_names_the_one_before_it,
    the_log_keeps_what_was_published,
    a_repeated_key_is_one_publication,
    a_repeat_is_known_when_the_first_is_no_longer_kept,
    no_more_than_count_is_kept,
    no_more_than_size_is_kept,
    a_channel_without_history_says_that_something_is_missing,
    the_latest_publication_says_how_much_is_kept,
    reading_after_a_position_goes_forward_in_pages,
    reading_before_a_position_goes_backward_in_pages,
    a_page_ends_early_when_it_is_large_enough,
    a_position_of_another_epoch_or_of_the_future_is_not_complete,
    a_channel_nobody_used_is_empty_and_complete,
    only_wanted_channels_are_heard,
    nothing_is_missed_once_a_subscription_is_confirmed,
    the_server_s_own_channels_are_kept_like_others,
    what_is_scattered_keeps_its_place_and_is_not_kept,
    the_position_is_where_the_listener_stands,
    a_page_has_what_was_heard_and_nothing_else,
    a_forgotten_log_is_empty,
    a_closed_engine_says_nothing_more,
    *TIMED,
)


async def check_broker(
    make_broker: Callable[[Timers], Broker], *, timed: bool = True, patience_seconds: float = 10.0
) -> None:
    """Hold an engine against everything that :class:`openline.hub.ports.Broker` promises.

    ``make_broker`` makes one that has not started, with an empty log; it is called once per check. The engine's time is
    that of the timers that it is given; for one with a clock of its own, ``timed=False`` leaves out what depends on
    minutes that pass. Raises one :class:`AssertionError` that names every check that failed, and how.
    """
    failures: list[str] = []
    for check in CHECKS:
        if not timed and check in TIMED:
            continue
        bench = Bench(make_broker, patience_seconds)
        try:
            await bench.of(bench.broker.start(bench), "start")
            await check(bench)
        except Exception as error:
            text = str(error) if isinstance(error, AssertionError) else repr(error)
            failures.append(f"{check.__name__.replace('_', ' ')}: {text}")
        finally:
            await bench.of(bench.broker.close(), "close")
    if failures:
        raise AssertionError("the engine breaks its promises\n" + "\n".join(failures))
