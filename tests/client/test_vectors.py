"""spec/vectors, where they say something to clients: events as they are read, and what positions say of each other."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from openline.client.events import Event, Member
from openline.client.frames import covers, event_of, read, same_epoch

VECTORS = Path(__file__).parents[2] / "spec" / "vectors"
PUSHES = json.loads((VECTORS / "pushes.json").read_text())["pushes"]
ORDER = json.loads((VECTORS / "positions.json").read_text())["order"]


@pytest.mark.parametrize("vector", PUSHES, ids=lambda vector: f"{vector['event']['type']!a}"[:30])
def test_a_push_is_read_as_its_event(vector: dict[str, Any]) -> None:
    frame, event = read(json.dumps(vector["push"])), vector["event"]
    assert frame is not None
    payload = base64.b64decode(event["base64"]) if "base64" in event else event["payload"]
    sender = Member(**event["from"]) if "from" in event else None
    assert event_of(frame) == Event(event["type"], payload, event.get("channel"), event.get("position"), sender)


@pytest.mark.parametrize("vector", ORDER, ids=lambda vector: f"{vector['one']} {vector['other']}")
def test_positions_are_compared_within_their_epoch(vector: dict[str, Any]) -> None:
    assert same_epoch(vector["one"], vector["other"]) is vector["same_epoch"]
    assert covers(vector["one"], vector["other"]) is vector["covers"]
