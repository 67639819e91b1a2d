"""What comes in one read is one pass: its answers leave in one write, in order."""

import asyncio
import json
from typing import Any

from openline import Connection, Openline
from openline.model import Request
from openline.protocol.websocket import FrameReader, Opcode, encode_masked
from openline.transports.websocket import WebSocketLine
from tests.transports.pairs import PacketTransport


def frames(commands: list[dict[str, Any]]) -> bytes:
    return b"".join(encode_masked(Opcode.TEXT, json.dumps(command).encode(), b"mask") for command in commands)


async def test_a_burst_of_frames_is_answered_by_one_write() -> None:
    app = Openline()
    app.channel("a", public=True)

    @app.on("double")
    def double(connection: Connection, payload: int) -> int:
        return payload * 2

    doors, transport = app.start().doors, PacketTransport()
    request = Request("/openline")
    line = WebSocketLine(doors, doors.door(request, native=True), transport, set())  # type: ignore[arg-type]
    line.wire.request = request
    line.begin()
    commands: list[dict[str, Any]] = [{"type": "$connect", "id": 0}, {"type": "$subscribe", "id": 1, "channel": "a"}]
    commands += [{"type": "double", "id": n, "payload": n} for n in range(2, 20)]
    commands += [{"type": "said", "channel": "a", "id": 20}, {"type": "$ping", "id": 21}]
    data = frames(commands)
    # Two reads of one turn, the second of which begins in the middle of a frame, are still one turn.
    line.feed(data[:1000])
    line.feed(data[1000:])
    assert transport.calls() == []
    await asyncio.sleep(0)
    (written,) = transport.calls()
    said = [json.loads(text) for _, text in FrameReader(max_message=65_536, masked=False).feed(written)]
    assert [frame["id"] for frame in said if "id" in frame] == list(range(22))
    assert [frame["payload"] for frame in said if frame.get("id") in range(2, 20)] == [2 * n for n in range(2, 20)]
    assert [frame["type"] for frame in said[20:]] == ["said", "$reply", "$pong"]
    await app.stop()
    transport.close()
