"""How ``openline bench`` counts: laws of its tallies, and of who is in which channel."""

import resource

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openline.cli.bench.plan import LEAST_BYTES, Plan, Sample, allow_descriptors
from openline.cli.bench.tally import Latencies, Stream, Tally
from openline.errors import SettingsError

counts = st.integers(1, 60)


def plan(connections: int = 1, channels: int = 1, size: int = 100, rate: float = 1.0, seconds: float = 1.0) -> Plan:
    return Plan(
        url="ws://x",
        token=None,
        connections=connections,
        channels=channels,
        prefix="c:",
        rate=rate,
        size=size,
        seconds=seconds,
    )


@given(st.lists(st.integers(0, 30)))
def test_whatever_comes_is_delivered_once_or_duplicated_and_the_rest_is_lost(numbers: list[int]) -> None:
    tally, stream, seen = Tally(), Stream(), set[int]()
    out_of_order = 0
    for number in numbers:
        out_of_order += number not in seen and any(earlier > number for earlier in seen)
        seen.add(number)
        tally.take(stream, number, 5)
    assert tally.delivered == len(seen) == tally.latencies.count
    assert tally.duplicated == len(numbers) - len(seen)
    assert tally.out_of_order == out_of_order
    assert stream.lost(31) == 31 - len(seen)


@given(st.lists(st.integers(-5, 100_000_000), min_size=1), st.floats(0.1, 100))
def test_a_percentile_is_right_to_one_part_in_512(times: list[int], percent: float) -> None:
    latencies = Latencies()
    for time in times:
        latencies.add(time)
    found = latencies.percentile(percent)
    exact = sorted(max(0, time) for time in times)[max(0, -int(-len(times) * percent // 100) - 1)]
    assert found is not None
    assert exact <= found <= exact * (1 + 1 / 512)
    assert latencies.most == max(0, *times)


def test_where_nothing_has_come_there_is_no_percentile() -> None:
    assert Latencies().percentile(99) is None


@given(counts, counts)
def test_every_channel_has_members_and_its_publisher_is_one_of_them(connections: int, channels: int) -> None:
    run = plan(connections, channels)
    members: dict[int, list[int]] = {channel: [] for channel in range(channels)}
    for connection in range(connections):
        for place in run.channels_of(connection):
            members[place % channels].append(connection)
    for channel, its in members.items():
        assert len(its) == len(set(its)) == run.members_of(channel) >= 1
        assert run.publisher_of(channel) == its[0]


@given(st.integers(LEAST_BYTES, 500), st.integers(0, 10**9), st.integers(0, 10**14))
def test_a_payload_has_the_size_that_was_asked_for(size: int, number: int, at: int) -> None:
    payload = plan(size=size).payload("0123abcd", number, at)
    assert msgspec.json.decode(payload, type=Sample) == Sample("0123abcd", number, at)
    assert len(payload) == size


def test_at_least_one_is_published() -> None:
    assert plan(rate=0.1, seconds=1.0).publications == 1


def test_more_descriptors_than_the_system_allows_are_refused_with_the_remedy() -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard != resource.RLIM_INFINITY:
        with pytest.raises(SettingsError, match=f"may have {hard} .*side by side"):
            allow_descriptors(hard)
