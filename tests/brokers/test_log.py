"""The logs in memory have a bound for all of them together, and whoever loses by it is told."""

from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openline.brokers.log import LOG_BYTES, Logs
from openline.model import NOTHING_KEPT, Page, Publication, Retention

KEPT = Retention(count=1000, seconds=1000.0, size=10**9)
SIZE = Publication("a", "note", b"1").size


class Shelf:
    """Logs with room for so many publications in ``logs`` logs, and a way to fill them."""

    def __init__(self, *, logs: int, publications: int, wanted: frozenset[str] = frozenset()) -> None:
        self.most = logs * LOG_BYTES + publications * SIZE
        self.logs = Logs(self.most, wanted, remedy="Ask for more.")
        self._stamps = count(1)

    def publish(self, *channels: str, kept: Retention = KEPT) -> int:
        """One publication into each; the stamp of the last."""
        stamp = 0
        for channel in channels:
            log, stamp = self.logs.open(channel), next(self._stamps)
            self.logs.append(log, Publication(channel, "note", b"1", stamp=stamp, previous=log.head), kept, 0.0)
        return stamp

    def page(self, channel: str, after: int = 0) -> Page:
        return self.logs.page_after(channel, after, 0.0, 1000, 10**9)

    def stamps(self, channel: str) -> list[int]:
        return [p.stamp for p in self.logs.page_before(channel, None, 0.0, 1000, 10**9).publications]

    @property
    def cost(self) -> int:
        return sum(LOG_BYTES + log.size for log in self.logs.by_channel.values())


def test_the_log_that_was_touched_longest_ago_gives_way_its_oldest_first() -> None:
    shelf = Shelf(logs=2, publications=6)
    shelf.publish("a", "a", "a", "b", "b", "b")
    shelf.publish("a")
    assert (shelf.stamps("b"), shelf.stamps("a")) == ([5, 6], [1, 2, 3, 7])
    shelf.publish("a", "a")
    assert (shelf.stamps("b"), shelf.stamps("a")) == ([], [1, 2, 3, 7, 8, 9])
    assert shelf.page("a").complete
    assert not shelf.page("b", after=3).complete
    assert shelf.page("b", after=6).complete


def test_a_log_that_is_alone_gives_way_to_itself() -> None:
    shelf = Shelf(logs=1, publications=3)
    shelf.publish(*"aaaaa")
    assert shelf.stamps("a") == [3, 4, 5]
    assert not shelf.page("a", after=1).complete
    assert [p.stamp for p in shelf.page("a", after=2).publications] == [3, 4, 5]


def test_empty_logs_cost_something_and_give_way_too() -> None:
    shelf = Shelf(logs=10, publications=0)
    last = shelf.publish(*(f"c{n}" for n in range(1000)), kept=NOTHING_KEPT)
    assert len(shelf.logs.by_channel) == 10
    assert not shelf.page("c0").complete
    assert not shelf.page("nobody knows").complete, "there may have been something"
    assert shelf.page("c0", after=last).complete


def test_what_is_opened_anew_does_not_hide_what_it_had() -> None:
    shelf = Shelf(logs=1, publications=2)
    shelf.publish("a", "b", "b")
    assert "a" not in shelf.logs.by_channel
    again = shelf.publish("a")
    assert not shelf.page("a").complete
    assert [p.stamp for p in shelf.page("a", after=again - 1).publications] == [again]


@pytest.mark.parametrize("channel", ["wanted", "$user:ada"])
def test_the_log_of_a_wanted_channel_or_our_own_is_emptied_and_not_forgotten(channel: str) -> None:
    shelf = Shelf(logs=1, publications=2, wanted=frozenset({"wanted"}))
    mine = shelf.publish(channel, channel)
    shelf.publish("a", "a")
    assert shelf.stamps(channel) == []
    assert not shelf.page(channel, after=mine - 1).complete
    assert shelf.page(channel, after=mine).complete, "nothing was missed there"


def test_a_bound_that_is_reached_is_told_once_with_what_to_do(caplog: pytest.LogCaptureFixture) -> None:
    shelf = Shelf(logs=1, publications=3)
    shelf.publish(*"aaa")
    assert caplog.text == ""
    shelf.publish(*"aaaaaa")
    assert caplog.text.count("Ask for more.") == 1


actions = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", "c", "wanted", "$user:ada"]),
        st.sampled_from(["publish", "publish", "publish", "drop", "sweep", "wait"]),
        st.sampled_from([KEPT, NOTHING_KEPT, Retention(count=2, seconds=1000.0, size=10**9)]),
    ),
    max_size=60,
)


@given(actions, st.integers(1, 4), st.integers(0, 8))
def test_whatever_happens_the_bound_holds_and_nothing_is_missing_in_silence(
    actions: list[tuple[str, str, Retention]], logs: int, publications: int
) -> None:
    shelf = Shelf(logs=logs, publications=publications, wanted=frozenset({"wanted"}))
    published: dict[str, list[int]] = {}
    now = 0.0
    for channel, action, kept in actions:
        if action == "publish":
            published.setdefault(channel, []).append(shelf.publish(channel, kept=kept))
        elif action == "drop":
            shelf.logs.drop("$user:ada")
            published.pop("$user:ada", None)
        elif action == "wait":
            now += 200.0
        else:
            idle = "$user:ada" in shelf.logs.by_channel
            shelf.logs.sweep(now)
            if idle and "$user:ada" not in shelf.logs.by_channel:
                # Nobody can come back to it any more.
                published.pop("$user:ada", None)
        assert shelf.logs._bytes == shelf.cost, "what is counted is what is there"
        held = LOG_BYTES * sum(name in shelf.logs.by_channel for name in ("wanted", "$user:ada"))
        assert shelf.cost <= max(shelf.most, held)
        for name, stamps in published.items():
            for after in (0, *stamps):
                page = shelf.page(name, after)
                found = [p.stamp for p in page.publications]
                assert not page.complete or found == [stamp for stamp in stamps if stamp > after]
