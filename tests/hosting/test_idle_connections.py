"""What a client that is connected and silent leaves in memory: its line and its connection, and nothing of HTTP."""

import asyncio
import gc
import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import uvloop
from tests.clients import json_client, upgrade_head
from tests.server import openline, serving, until

from openline import Openline
from openline.accelerator import native
from openline.protocol.websocket import Opcode, encode_masked
from openline.transports.uvicorn_host import NativeHttpProtocol

CLIENTS = 40
COMMANDS = b'[{"type":"$connect","id":1},{"type":"$subscribe","channel":"idle","id":2}]'


@contextmanager
def clients(port: int, count: int) -> Iterator[None]:
    """Sockets that have said all they have to say."""
    with ExitStack() as stack:
        for _ in range(count):
            end = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            end.sendall(upgrade_head() + encode_masked(Opcode.TEXT, COMMANDS, b"mask"))
        yield


def census() -> Counter[str]:
    gc.collect()
    return Counter(type(thing).__name__ for thing in gc.get_objects())


async def what_comes_with_clients() -> dict[str, float]:
    """How many objects of each type the garbage collector knows more of, per client."""
    line = Openline()
    line.channel("idle", public=True)
    async with serving(line) as served:
        hub = line.start().hub

        def seated() -> int:
            channel = hub.membership.get("idle")
            return 0 if channel is None else len(channel.seats)

        with clients(served.port, 2):
            await until(lambda: seated() == 2)
        await until(lambda: not served.connections)
        census()  # which makes things of its own, once
        before = census()
        with clients(served.port, CLIENTS):
            await until(lambda: seated() == CLIENTS)
            grown = census() - before
    return {name: count / CLIENTS for name, count in grown.items()}


def test_an_idle_connection_owns_no_task_buffer_logger_dict_or_future_and_nothing_of_http() -> None:
    grown = uvloop.run(what_comes_with_clients())
    transport = "TCPTransport" if native is None else "SocketTransport"
    assert {grown.get(name, 0) for name in ("WebSocketLine", "SocketWire", "Connection", transport)} == {1}
    unwanted = {
        NativeHttpProtocol.__name__, "HttpRequestParser", "FlowControl", "FrameReader", "Outbox", "Outcome", "Request",
        "Task", "Future", "dict", "set", "deque", "bytearray", "Logger", "cell", "function", "coroutine",
    }  # fmt: skip
    assert transport == "TCPTransport" or not grown.get("TCPTransport")
    assert {name for name in unwanted if grown.get(name, 0) > 0.5} == set()


def test_asyncios_own_loop_lets_go_of_http_too() -> None:
    grown = asyncio.run(what_comes_with_clients())
    assert grown.get(NativeHttpProtocol.__name__, 0) == 0


def test_openline_serve_takes_what_is_there_out_of_the_garbage_collectors_sight(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(
        "import gc\nfrom openline import Openline\nline = Openline()\n"
        '@line.on("frozen")\ndef frozen(connection): return gc.get_freeze_count()\n'
    )
    with openline(tmp_path, "serve", "app:line", "--port", "0") as server:
        _, port = server.address()
        assert asyncio.run(asked(port, "frozen")) > 10_000


async def asked(port: int, event: str) -> Any:
    async with json_client(f"ws://127.0.0.1:{port}") as client:
        return await client.get(event)
