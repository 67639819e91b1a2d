"""What hostile packets cost in memory: so much for each session, however much is said, and not more."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from websockets.exceptions import ConnectionClosed

from openline.hub.settings import HubSettings
from tests.memory import Memory
from tests.server import openline
from tests.socketio_door.hands import Polled, Spoken, spoken

pytestmark = [pytest.mark.server, pytest.mark.alone]

SESSIONS = 20
BUDGET = 100_000
#: What may wait behind a command that runs; one that runs, one that is too many, and one that is being read.
EACH = HubSettings().backlog_bytes + 3 * BUDGET
#: What this much takes anyway, for code and arenas.
ANYWAY_KB = 8192
MOST_KB = ANYWAY_KB + SESSIONS * EACH // 1000
APP = f"""
import asyncio
from openline import Openline, Settings, SocketIoSettings

line = Openline(settings=Settings(socketio=SocketIoSettings(max_payload_bytes={BUDGET}, connect_within_seconds=60)))

@line.on("never")
async def never(connection, *values):
    await asyncio.Event().wait()
"""


@dataclass
class At:
    """Where the server is."""

    http: str
    ws: str


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[tuple[At, Memory]]:
    (tmp_path / "app.py").write_text(APP)
    with openline(tmp_path, "serve", "app:line", "--port", "0") as process:
        url, _ = process.address()
        yield At(url, url.replace("http", "ws", 1)), Memory(process.child.pid)


async def unfinished(client: Spoken) -> None:
    """Attachments up to the limit, and never the last one."""
    await client.enter()
    await client.say('459-["never"]', *[b"x" * (BUDGET // 10)] * 8)


async def unanswered(client: Spoken) -> None:
    """Events for handlers that never return, as fast as the server reads."""
    await client.enter()
    for number in range(100):
        await client.say(f'42{number}["never","{"x" * (BUDGET - 100)}"]')


async def unasked(client: Spoken) -> None:
    """Acknowledgements of nothing."""
    await client.enter()
    for number in range(100):
        await client.say(f'43{number}["{"x" * (BUDGET - 100)}"]')


async def unheard(client: Spoken) -> None:
    """Events that nobody handles, of names that are never the same."""
    await client.enter()
    for number in range(100):
        await client.say(f'42["{number}{"x" * (BUDGET - 100)}"]')


async def elsewhere(client: Spoken) -> None:
    """CONNECT to namespaces that do not exist, with names that are long."""
    await client.enter()
    for number in range(100):
        await client.say(f"40/{number}{'x' * (BUDGET - 100)},")


async def unread(client: Spoken) -> None:
    """CONNECT to namespaces that do not exist, and no answer is read."""
    await client.enter()
    client.socket.transport.pause_reading()
    for number in range(3000):
        await client.say(f"40/{number}{'x' * 1000},")


@pytest.mark.parametrize(
    "deed", [unfinished, unanswered, unasked, unheard, elsewhere, unread], ids=lambda deed: deed.__name__
)
async def test_a_session_holds_its_budget_at_most(
    server: tuple[At, Memory], deed: Callable[[Spoken], Awaitable[None]]
) -> None:
    at, memory = server
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(spoken(at)) for _ in range(SESSIONS)]
        before = memory.begin_peak()

        async def done(client: Spoken) -> None:
            # Whoever says too much is cut, or is not read any more.
            with suppress(ConnectionClosed, TimeoutError):
                async with asyncio.timeout(2):
                    await deed(client)

        await asyncio.gather(*[done(client) for client in clients])
        assert memory.peak - before <= MOST_KB
        for client in clients:
            client.cut()


async def test_posts_hold_no_more_than_a_session_s_budget(server: tuple[At, Memory]) -> None:
    at, memory = server
    async with httpx.AsyncClient(timeout=60, trust_env=False) as http:
        clients = [Polled(http, at.http) for _ in range(SESSIONS)]
        for client in clients:
            await client.enter()
        before = memory.begin_peak()

        async def post(client: Polled) -> None:
            for number in range(20):
                with suppress(TimeoutError):
                    async with asyncio.timeout(0.5):
                        answer = await client.post(f'42{number}["never","{"x" * (BUDGET - 100)}"]')
                        if answer.status_code != 200:
                            return

        await asyncio.gather(*[post(client) for client in clients])
        assert memory.peak - before <= MOST_KB
