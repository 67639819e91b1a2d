"""What carries a session: straight to the socket where it can be, in order where it cannot, also through TLS."""

import asyncio
import ssl
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect

from openline import Openline
from openline.transports.engineio_wire import EngineWire
from tests.server import make_certificate, serving, until
from tests.socketio_door.hands import Polled, Spoken, application, polled, spoken
from tests.socketio_door.hosts import HOSTS


def aside(line: Openline, name: str) -> int:
    """How many in a channel do not get their bytes straight into their sockets."""
    channel = line.running.hub.membership.get(name)
    assert channel is not None
    return sum(len(group._aside) for group in channel.seats._groups.values())


@pytest.mark.parametrize("host", ["native", "plain uvicorn"])
async def test_the_first_namespace_of_a_websocket_is_written_to_directly_also_when_it_was_polled_before(
    host: str,
) -> None:
    line = application()
    line.of("/admin").on("x")(lambda socket: 1)
    async with HOSTS[host](line) as served, spoken(served) as born, polled(served) as client:
        await born.enter()
        assert aside(line, "$all") == 0
        await client.enter()
        assert aside(line, "$all") == 1
        async with spoken(served, f"EIO=4&transport=websocket&sid={client.sid}") as upgraded:
            await upgraded.say("2probe", "5", "4")
            await until(lambda: aside(line, "$all") == 0)
            wires: list[Any] = [connection.wire for connection in line.connections]
            assert all(isinstance(wire, EngineWire) and wire.descriptor >= 0 for wire in wires)
            await born.connect("40/admin,")
            assert aside(line, "$all:/admin") == 1


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("how", ["polled", "websocket", "upgraded"])
async def test_what_namespaces_of_one_line_are_told_keeps_its_order(host: str, how: str) -> None:
    line = application()
    spaces = [line.of("/"), line.of("/a"), line.of("/b")]
    async with HOSTS[host](line) as served, polled(served) as client, spoken(served) as spoke:
        one: Polled | Spoken = spoke if how == "websocket" else client
        if isinstance(one, Polled):
            await one.open()
            await one.say("40", "40/a,", "40/b,")
        else:
            await one.hear()
            await one.say("40", "40/a,", "40/b,")
        for _ in range(3):
            assert str(await one.hear()).startswith("40")
        said = [(n, spaces[n * 7 % 3].name) for n in range(60)]
        for n, name in said[:30]:
            line.of(name).emit("n", n)
        if how == "upgraded":
            async with spoken(served, f"EIO=4&transport=websocket&sid={client.sid}") as upgraded:
                await upgraded.say("2probe")
                assert await upgraded.hear() == "3probe"
                heard = [*client.waiting, *(await client.get()).text.split("\x1e")]
                await upgraded.say("5")
                for n, name in said[30:]:
                    line.of(name).emit("n", n)
                heard += [str(await upgraded.hear()) for _ in range(60 - len(heard))]
        else:
            for n, name in said[30:]:
                line.of(name).emit("n", n)
            heard = [str(await one.hear()) for _ in range(60)]
        assert heard == [f'42["n",{n}]' if name == "/" else f'42{name},["n",{n}]' for n, name in said]


async def test_a_session_goes_through_tls_from_polling_to_websocket(tmp_path: Path) -> None:
    certificate, key = make_certificate(tmp_path)
    trust = ssl.create_default_context(cafile=str(certificate))
    line = application()
    line.on("big")(lambda connection: "x" * 100_000)
    async with (
        serving(line, ssl_certfile=str(certificate), ssl_keyfile=str(key)) as served,
        httpx.AsyncClient(verify=trust, trust_env=False) as http,
    ):
        client = Polled(http, served.http)
        await client.enter()
        url = f"{served.ws}/socket.io/?EIO=4&transport=websocket&sid={client.sid}"
        async with connect(url, ssl=trust, proxy=None, compression=None) as socket:
            upgraded = Spoken(socket)
            await upgraded.say("2probe")
            assert await upgraded.hear() == "3probe"
            line.broadcast("while it upgrades", 1)
            await upgraded.say("5", '421["big"]')
            assert await upgraded.hear() == '42["while it upgrades",1]'
            assert len(await upgraded.hear()) > 100_000


async def test_a_client_that_reads_slowly_gets_everything_in_order_once_it_reads() -> None:
    line = application()
    async with serving(line) as served, spoken(served) as client:
        await client.enter()
        client.socket.transport.pause_reading()
        count = 0
        while not aside(line, "$all"):
            line.broadcast("blob", [count, "x" * 50_000])
            count += 1
            await asyncio.sleep(0)
        for n in range(count, count + 10):
            line.broadcast("blob", [n, "x" * 1000])
        client.socket.transport.resume_reading()
        for n in range(count + 10):
            assert str(await client.hear()).startswith(f'42["blob",[{n},')
        await until(lambda: aside(line, "$all") == 0)
        line.broadcast("end")
        assert await client.hear() == '42["end"]'


async def test_the_server_ends_while_clients_poll_without_waiting_for_them() -> None:
    line = application()
    words: list[str] = []
    line.of("/").on_disconnect(lambda socket, reason: words.append(reason))
    async with serving(line) as served, polled(served) as client, spoken(served) as other:
        await client.enter()
        await other.enter()
        poll = asyncio.ensure_future(client.get())  # noqa: TID251  a test's own
        await asyncio.sleep(0.05)
        for connection in list(served.connections):
            connection.shutdown()
        assert (await poll).status_code == 400
        assert await other.ended() == 1012
        assert words == ["server shutting down", "server shutting down"]
        answer = await client.http.get(client.url, params={"EIO": "4", "transport": "polling"})
        assert answer.status_code == 503


@pytest.mark.parametrize("host", HOSTS)
async def test_an_event_whose_attachment_is_left_when_the_client_upgrades_is_still_whole(host: str) -> None:
    line = application()
    async with HOSTS[host](line) as served, polled(served) as client:
        await client.enter()
        for n in range(20):
            line.broadcast("n", bytes([n]) if n == 15 else n)
        async with spoken(served, f"EIO=4&transport=websocket&sid={client.sid}") as upgraded:
            await upgraded.say("2probe")
            assert await upgraded.hear() == "3probe"
            assert (await client.get()).text.split("\x1e")[-1] == '451-["n",{"_placeholder":true,"num":0}]'
            await upgraded.say("5")
            assert await upgraded.hear() == b"\x0f"
            assert [await upgraded.hear() for _ in range(4)] == [f'42["n",{n}]' for n in range(16, 20)]
