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
async def world_of(seed: int, **options: Any) -> AsyncIterator[World]:
    async with on_stage(patience=1e9, **options) as stage:
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
        # A reader that is slow waits before each event until it is let go on.
        self.go = asyncio.Event()
        self.go.set()
        self.slow = False
        self.task = start(self.listen(world))

    async def listen(self, world: World) -> None:
        channel = await world.line.subscribe(self.name, since="e1.0")
        await self.go.wait()
        async for event in channel:
            self.seen.append(event.position if event.type == "message" else "gap")
            if self.slow:
                self.go.clear()
            await self.go.wait()

    def be_slow(self) -> None:
        self.slow = True
        self.go.clear()

    def be_fast(self) -> None:
        self.slow = False
        self.go.set()


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


async def test_for_any_slowness_of_the_reader_every_publication_is_read_once_and_in_order() -> None:
    held_up = 0
    for seed in range(RUNS):
        async with world_of(seed, inbox_bytes=2500) as world:
            listeners = [Listener(world, name) for name in CHANNELS]
            for listener in listeners:
                listener.be_slow()

            def publish(world: World = world) -> None:
                world.model.publish(world.random.choice(CHANNELS), None)

            def read(world: World = world, listeners: list[Listener] = listeners) -> None:
                world.random.choice(listeners).go.set()

            await move(world, *[publish] * 4, read, world.model.forget)
            held_up += sum(len(listener.seen) < len(world.model.positions(listener.name)) for listener in listeners)
            for listener in listeners:
                listener.be_fast()
            await world.calm()
            for listener in listeners:
                assert listener.seen == world.model.positions(listener.name), f"seed {seed}"
        await asyncio.gather(*(listener.task for listener in listeners))
    assert held_up > RUNS


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

            def forget(world: World = world) -> None:
                # Seldom, so that connections that lost something are taken up again, too.
                if world.random.random() < 0.5:
                    world.cut()
                    world.random.choice([world.model.restart, world.model.forget])()

            await move(world, *[publish] * 5, forget)
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
