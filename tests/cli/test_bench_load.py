"""The load of ``openline bench`` against a server in the same loop: what is published when lines have been closed."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from tests.server import serving

from openline import Openline
from openline.cli.bench.load import Load
from openline.cli.bench.plan import Plan

PATIENCE = 30.0


@asynccontextmanager
async def opened(line: Openline, closed: int, *, rate: float) -> AsyncIterator[tuple[Load, Plan]]:
    """A load of three lines, each of which publishes in a channel of its own; the server has closed the first few."""
    async with serving(line) as served, asyncio.timeout(PATIENCE):
        plan = Plan(
            url=f"{served.ws}/openline",
            token=None,
            connections=3,
            channels=3,
            prefix="c:",
            rate=rate,
            size=100,
            seconds=300 / rate,
        )
        load = Load(plan)
        try:
            # One after the other, so that the first to come is the first of the plan.
            await load.open(lambda _: None)
            for connection in list(line.connections)[:closed]:
                connection.disconnect("thrown out")
            while len(load.closed) < closed:
                await asyncio.sleep(0)
            yield load, plan
        finally:
            await load.close()


def chat() -> Openline:
    line = Openline()
    line.channel("c:*", public=True)
    return line


@pytest.mark.parametrize("closed", [1, 2])
async def test_whose_line_was_closed_publishes_nothing_and_nothing_of_it_is_lost(closed: int) -> None:
    async with opened(chat(), closed, rate=30_000) as (load, plan):
        await load.publish(lambda _: None)
        await load.settle()
        assert sorted(load.published) == [0] * closed + [100] * (3 - closed)
        assert load.expected == load.tally.delivered == sum(load.published) < plan.publications
        assert load.lost() == 0


async def test_where_every_line_was_closed_nobody_waits_for_the_end() -> None:
    async with opened(chat(), 3, rate=1) as (load, _):
        await load.publish(lambda _: None)
        assert (load.published, load.lost(), len(load.closed)) == ([0] * 3, 0, 3)
