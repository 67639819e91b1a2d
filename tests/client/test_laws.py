"""What holds whatever happens: cuts at any place, forgotten connections, restarts, an engine that does not answer."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from openline.errors import CommandError

from .model import World
from .stage import on_stage, settle, start

RUNS = 100
STEPS = 150
CHANNELS = ["chat:a", "chat:b"]


@asynccontextmanager
async def world_of(seed: int) -> AsyncIterator[World]:
    async with on_stage(patience=1e9) as stage:
        world = World(stage, seed)
        yield world
        await stage.line.close()


async def move(world: World, *own: Callable[[], Any]) -> None:
    """Frames move often, the line breaks now and then, time goes on, and the test's own steps are taken."""

    async def wait() -> None:
        await world.stage.clock.advance(world.random.random() * 0.8)

    steps = [world.up, world.up, world.up, world.down, world.down, world.down, world.cut, wait, wait, *own]
    for count in range(STEPS):
        done = world.random.choice(steps)()
        if done is not None:
            await done
        if count % 5 == 0:
            await settle()
    await world.calm()


class Listener:
    """Reads a channel from its beginning, and notes positions and gaps."""

    def __init__(self, world: World, name: str) -> None:
        self.name = name
        self.seen: list[str] = []
        self.task = start(self.listen(world))

    async def listen(self, world: World) -> None:
        async for event in await world.line.subscribe(self.name, since="e1.0"):
            self.seen.append(event.position if event.type == "message" else "gap")


async def test_for_any_cuts_and_forgotten_connections_every_publication_is_read_once_and_in_order() -> None:
    for seed in range(RUNS):
        async with world_of(seed) as world:
            listeners = [Listener(world, name) for name in CHANNELS]

            def publish(world: World = world) -> None:
                world.model.publish(world.random.choice(CHANNELS), None)

            await move(world, publish, publish, world.model.forget)
            for listener in listeners:
                assert listener.seen == world.model.positions(listener.name), f"seed {seed}"
        await asyncio.gather(*(listener.task for listener in listeners))


async def test_for_any_restart_and_any_history_that_is_too_short_what_was_lost_is_told_and_nothing_comes_twice() -> (
    None
):
    gaps = 0
    for seed in range(RUNS):
        async with world_of(seed) as world:
            world.model.retention = 4
            listeners = [Listener(world, name) for name in CHANNELS]

            def publish(world: World = world) -> None:
                world.model.publish(world.random.choice(CHANNELS), None)

            def restart(world: World = world) -> None:
                if world.random.random() < 0.25:
                    world.cut()
                    world.model.restart()

            await move(world, publish, publish, publish, world.model.forget, restart)
            for listener in listeners:
                gaps += check_gaps(listener.seen, world.model.positions(listener.name), f"seed {seed}")
        await asyncio.gather(*(listener.task for listener in listeners))
    assert gaps > RUNS


def check_gaps(seen: list[str], log: list[str], where: str) -> int:
    """Between two that are next to each other nothing is missing but where a gap stands; how many gaps there are."""
    places = [None if position == "gap" else log.index(position) for position in seen]
    for before, place in zip([-1, *places], places, strict=False):
        assert None in (before, place) or place == before + 1, where
    read = [place for place in places if place is not None]
    assert read == sorted(set(read)), where
    assert not log or places[-1:] == [None] or places[-1:] == [len(log) - 1], where
    return places.count(None)


async def test_for_any_cuts_and_answers_that_the_engine_does_not_give_publications_are_applied_once_and_in_order() -> (
    None
):
    for seed in range(RUNS):
        async with world_of(seed) as world:
            world.model.engine = lambda world=world: world.random.choice(["taken", "taken", "lost", "refused"])
            published: dict[str, list[int]] = {name: [] for name in CHANNELS}
            answers: list[asyncio.Task[Any]] = []

            def publish(
                world: World = world,
                published: dict[str, list[int]] = published,
                answers: list[asyncio.Task[Any]] = answers,
            ) -> None:
                name = world.random.choice(CHANNELS)
                published[name].append(len(answers))
                answers.append(start(world.line.publish(name, "message", len(answers))))

            await move(world, publish, world.model.forget)
            world.model.engine = lambda: "taken"
            for _ in range(6):
                await world.calm()
            for name in CHANNELS:
                log = [frame["payload"] for _, channel, _, frame in world.model.log if channel == name]
                assert log == published[name], f"seed {seed}"
            positions = {frame["payload"]: frame["position"] for *_, frame in world.model.log}
            told = await asyncio.gather(*answers)
            assert told == [positions[payload] for payload in range(len(answers))], f"seed {seed}"
            assert world.line._outbox.empty


async def test_for_any_cuts_events_are_applied_at_most_once_and_in_order_and_who_is_told_is_told_the_truth() -> None:
    unknown = 0
    for seed in range(RUNS):
        async with world_of(seed) as world:
            outcomes: list[asyncio.Task[Any]] = []

            def emit(world: World = world, outcomes: list[asyncio.Task[Any]] = outcomes) -> None:
                outcomes.append(start(world.line.emit("save", len(outcomes))))

            await move(world, emit, emit, world.model.forget)
            told = await asyncio.gather(*outcomes, return_exceptions=True)
            applied = world.model.applied
            assert applied == sorted(set(applied)), f"seed {seed}"
            for payload, outcome in enumerate(told):
                if isinstance(outcome, CommandError):
                    assert outcome.code == "unavailable"
                    unknown += 1
                else:
                    assert outcome == payload
                    assert payload in applied
    assert unknown > 0


async def test_for_any_moment_of_cancelling_what_others_publish_is_applied_once_and_in_order() -> None:
    for seed in range(RUNS):
        async with world_of(seed) as world:
            answers: list[asyncio.Task[Any]] = []
            cancelled: set[int] = set()

            def publish(world: World = world, answers: list[asyncio.Task[Any]] = answers) -> None:
                answers.append(start(world.line.publish("chat:a", "message", len(answers))))

            def cancel(
                world: World = world, answers: list[asyncio.Task[Any]] = answers, cancelled: set[int] = cancelled
            ) -> None:
                if answers:
                    number = world.random.randrange(len(answers))
                    if answers[number].cancel():
                        cancelled.add(number)

            await move(world, publish, publish, cancel, world.model.forget)
            log = [frame["payload"] for *_, frame in world.model.log]
            assert log == sorted(set(log)), f"seed {seed}"
            assert set(range(len(answers))) - set(log) <= cancelled, f"seed {seed}"
            await asyncio.gather(*answers, return_exceptions=True)
            assert world.line._outbox.empty
