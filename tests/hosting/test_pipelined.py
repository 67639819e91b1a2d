"""Requests that come down one connection are answered in turn, whoever answers them."""

from pathlib import Path

from tests.clients import bare_socket, upgrade_head
from tests.http_doors.rig import natively

from openline import Openline

SIZE = 4_000_000


async def test_an_upgrade_behind_a_large_answer_does_not_write_into_it(tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(bytes(SIZE))
    line = Openline()
    line.page("/large", tmp_path / "large")
    async with natively(line) as served:
        for read in range(0, SIZE, SIZE // 16):
            async with bare_socket(served.port, limit=1024) as client:
                client.send(b"GET /large HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
                await client.head()
                begun = await client.reader.readexactly(read)
                client.send(upgrade_head("/openline"))
                assert begun + await client.reader.readexactly(SIZE - read) == bytes(SIZE)
                # Refused where the answer was still on its way out when it came.
                assert (await client.head()).split()[1] in (b"101", b"400")
